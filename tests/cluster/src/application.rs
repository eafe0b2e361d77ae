//! The application of the scenarios: a desk that answers orders and writes down each.
//!
//! A reply tells number, version and node; the journal has a line for each order handled, so that
//! one handled twice, or not at all, shows. Beside it the actors write down their own lives
//! (`life`), and wait at gates that a scenario closes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// One group of the application, to be built in several versions.
#[derive(Debug, Clone)]
pub struct Application {
    group: String,
    requirements: Option<String>,
    further: String,
    of_group: String,
    ballast_bytes: usize,
}

impl Default for Application {
    fn default() -> Self {
        Self::new("desk")
    }
}

impl Application {
    /// A group with the role `Desk`.
    #[must_use]
    pub fn new(group: &str) -> Self {
        Self {
            group: group.to_owned(),
            requirements: None,
            further: String::new(),
            of_group: String::new(),
            ballast_bytes: 0,
        }
    }

    /// Its actor runs only where the capabilities have these entries (a dictionary literal).
    #[must_use]
    pub fn requiring(mut self, requirements: &str) -> Self {
        self.requirements = Some(requirements.to_owned());
        self
    }

    /// With further entries of the actor in the `.tli`, as `'Placement': 'each'`.
    #[must_use]
    pub fn with(mut self, entries: &str) -> Self {
        self.further = format!("{}, {entries}", self.further);
        self
    }

    /// With further entries of the group in the `.tli`, as `'AutoUnload': True`.
    #[must_use]
    pub fn with_group(mut self, entries: &str) -> Self {
        self.of_group = format!("{}, {entries}", self.of_group);
        self
    }

    /// With so many bytes that do not shrink.
    #[must_use]
    pub fn weighing(mut self, bytes: usize) -> Self {
        self.ballast_bytes = bytes;
        self
    }

    /// Its group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Lays out the sources of a version; returns their folder and the `.tli`.
    pub(crate) fn lay_out(
        &self,
        version: &str,
        folder: &Path,
        journal: &Path,
    ) -> (PathBuf, PathBuf) {
        let group = &self.group;
        let sources = folder.join(format!("{group}-{version}"));
        let package = sources.join(group);
        fs::create_dir_all(&package).unwrap();
        fs::write(
            package.join("__init__.py"),
            format!("VERSION = {version:?}\n"),
        )
        .unwrap();
        let path = format!("{:?}", journal.display().to_string());
        let main = MAIN.replace("GROUP", group).replace("JOURNAL", &path);
        fs::write(package.join("main.py"), main).unwrap();
        if self.ballast_bytes > 0 {
            let mut ballast = vec![0; self.ballast_bytes];
            rand::RngCore::fill_bytes(&mut rand::rng(), &mut ballast);
            fs::write(package.join("ballast.bin"), ballast).unwrap();
        }
        let tli = folder.join(format!("{group}.tli"));
        fs::write(&tli, self.tli(journal)).unwrap();
        (sources, tli)
    }

    fn tli(&self, journal: &Path) -> String {
        let message = format!(
            "'Message': ('journal', {:?})",
            journal.display().to_string()
        );
        let requirements = self.requirements.iter();
        let requirements: String = requirements
            .map(|literal| format!(", 'Requirements': {literal}"))
            .collect();
        format!(
            "{{'Actors': {{'{group}.main.Desk': {{\n\
             'OnLoad': {{'Role': 'Desk', {message}}},\n\
             'OnDeactivate': {{'Message': ('left', None)}},\n\
             'OnReactivate': {{'Message': ('back', None)}}\
             {requirements}{further}}}}}{of_group}}}\n",
            group = self.group,
            further = self.further,
            of_group = self.of_group,
        )
    }
}

const MAIN: &str = r#""""A desk that answers orders and writes down each."""
import datetime
import logging
import os
import time
from thespian.actors import ActorTypeDispatcher
from GROUP import VERSION

NODE = os.environ.get('NODE', '?')
LIFE = JOURNAL + '.life'


def live(event):
    """Writes down what happens to this actor; waits while the event's gate is closed."""
    gate = '%s.gate.%s.%s' % (JOURNAL, event, VERSION)
    if os.path.exists(gate):
        write('at-' + event)
    while os.path.exists(gate):
        time.sleep(0.005)
    write(event)


def write(event):
    line = '%s %s %s %d %d\n' % (event, VERSION, NODE, os.getpid(), time.monotonic_ns())
    with open(LIFE, 'a', encoding='utf-8') as file:
        file.write(line)


class Clerk(ActorTypeDispatcher):
    @staticmethod
    def actorSystemCapabilityCheck(capabilities, requirements):
        wanted = requirements or {}
        return all(capabilities.get(name) == value for name, value in wanted.items())

    def receiveMsg_str(self, message, sender):
        self.send(sender, (message, VERSION, NODE))

    def receiveMsg_dict(self, message, sender):
        self.send(message['for'], ('clerk', VERSION, NODE))


class Desk(ActorTypeDispatcher):
    def __init__(self):
        super().__init__()
        self.journal = None
        self.exited = 0
        self.members = []
        live('init')

    def receiveMsg_tuple(self, message, sender):
        word, value = message[0], message[1]
        if word == 'journal':
            self.journal = value
            live('loaded')
            if os.path.exists(JOURNAL + '.ticks'):
                self.wakeupAfter(datetime.timedelta(milliseconds=20))
        elif word in ('left', 'back'):
            live(word)
        elif word == 'watch':
            self.notifyOnSystemRegistrationChanges(True)
            self.send(sender, word)
        elif word == 'order':
            if self.journal:
                with open(self.journal, 'a', encoding='utf-8') as file:
                    file.write('%d %s %s\n' % (value, VERSION, NODE))
            self.send(sender, (value, VERSION, NODE))
        elif word == 'clerk':
            # A child elsewhere when `value` requires it; it answers who asked.
            child = self.createActor('GROUP.main.Clerk', value)
            self.send(child, {'for': sender})
        elif word == 'print':
            for number in range(value):
                print('printed', number)
            self.send(sender, 'printed')
        elif word == 'log':
            for level, text, times in value:
                for number in range(times):
                    logging.getLogger('desk').log(level, '%s %d', text, number)
            self.send(sender, 'logged')

    def receiveMsg_str(self, message, sender):
        if message == 'where':
            self.send(sender, (VERSION, NODE))
        elif message == 'exited':
            self.send(sender, self.exited)
        elif message == 'members':
            self.send(sender, self.members)

    def receiveMsg_ActorSystemConventionUpdate(self, message, sender):
        color = (message.remoteCapabilities or {}).get('color')
        self.members.append((color, message.remoteAdded))

    def receiveMsg_WakeupMessage(self, message, sender):
        write('tick')
        self.wakeupAfter(datetime.timedelta(milliseconds=20))

    def receiveMsg_ActorExitRequest(self, message, sender):
        live('exit')

    def receiveMsg_ChildActorExited(self, message, sender):
        self.exited += 1
"#;

/// A key pair of this process: private PEM and public key.
pub(crate) fn key_pair() -> &'static (String, String) {
    static PAIR: OnceLock<(String, String)> = OnceLock::new();
    PAIR.get_or_init(fresh_pair)
}

/// A private key that no node trusts.
#[must_use]
pub fn foreign_key() -> String {
    foreign_pair().0
}

/// The private PEM and the public key of a pair that no node knows.
#[must_use]
pub fn foreign_pair() -> (String, String) {
    fresh_pair()
}

fn fresh_pair() -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut keygen = std::process::Command::new(crate::program::director());
    let made = keygen
        .args(["keygen", "key", "--bits", "2048"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    (read("key.pem"), read("key_tls.key"))
}
