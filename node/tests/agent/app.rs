//! The application that the tests load: a group of one source file, put together on the spot.

use std::io::Cursor;
use std::sync::OnceLock;

use package::{Builder, Format, PrivateKey};
use protocol::SourceHash;

/// A package and its `.tli`.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) tli: String,
    pub(crate) files: Vec<(String, String)>,
}

/// What an actor of the tests does: each message says.
const MAIN: &str = "
import os, time
from thespian.actors import *

VERSION = '@VERSION@'

class Foo(ActorTypeDispatcher):
    def __init__(self):
        super().__init__()
        self.heard = []
        self.constructed()

    def constructed(self):
        pass

    def receiveMsg_str(self, message, sender):
        if message == 'version':
            self.send(sender, VERSION)
        elif message == 'heard':
            self.send(sender, self.heard)
        elif message == 'pid':
            self.send(sender, os.getpid())
        elif message == 'hang':
            time.sleep(1000)
        elif message == 'die':
            os._exit(3)
        elif message == 'raise':
            raise ValueError('as asked')
        else:
            self.heard.append(message)

    def receiveMsg_float(self, seconds, sender):
        time.sleep(seconds)
        self.send(sender, VERSION)
";

impl App {
    /// Group `foo`, role `Main`.
    pub(crate) fn new(version: &str) -> Self {
        let app = Self {
            group: "foo".to_owned(),
            version: version.to_owned(),
            tli: String::new(),
            files: Vec::new(),
        };
        let main = MAIN.replace("@VERSION@", version);
        app.tli("'OnLoad': {'Role': 'Main', 'Message': 'loaded'}")
            .file("foo/__init__.py", "")
            .file("foo/main.py", &main)
    }

    pub(crate) fn group(mut self, group: &str) -> Self {
        group.clone_into(&mut self.group);
        self
    }

    /// The definition of the only class, `foo.main.Foo`.
    pub(crate) fn tli(self, actor: &str) -> Self {
        self.whole_tli(&format!("{{'Actors': {{'foo.main.Foo': {{{actor}}}}}}}"))
    }

    pub(crate) fn whole_tli(mut self, tli: &str) -> Self {
        tli.clone_into(&mut self.tli);
        self
    }

    pub(crate) fn file(mut self, name: &str, text: &str) -> Self {
        self.files.retain(|(known, _)| known != name);
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Adds code to the end of the main module.
    pub(crate) fn code(mut self, code: &str) -> Self {
        let main = self
            .files
            .iter_mut()
            .find(|(name, _)| name == "foo/main.py");
        main.unwrap().1.push_str(code);
        self
    }

    pub(crate) fn hash(&self) -> SourceHash {
        SourceHash::of(&self.package())
    }

    pub(crate) fn package(&self) -> Vec<u8> {
        let mut zip = Builder::new(Cursor::new(Vec::new()));
        let mut files = self.files.clone();
        files.sort();
        for (name, text) in files {
            zip.add(&name, &mut text.as_bytes()).unwrap();
        }
        let mut zip = zip.finish().unwrap();
        let mut out = Vec::new();
        package::sign(&mut zip, key(), Format::DirectorFmt1, &mut out).unwrap();
        out
    }
}

/// The key of all packages of this run.
pub(crate) fn key() -> &'static PrivateKey {
    static KEY: OnceLock<PrivateKey> = OnceLock::new();
    KEY.get_or_init(|| PrivateKey::generate(2048, |bytes| rand::fill(bytes)).unwrap())
}
