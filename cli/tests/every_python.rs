//! The whole path with every Python that this machine has, of 3.8 and later: as the program's
//! interpreter, as that of a node that the program starts, and as the node's `python.cfg`.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail the test")]

mod common;
mod online_support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::Sandbox;
use online_support::{Host, until};

/// Where version managers and distributions put interpreters, besides PATH.
const FOLDERS: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/opt/python/bin"];

/// The interpreters of this machine, one for each minor version.
fn interpreters() -> BTreeMap<(u32, u32), PathBuf> {
    let mut folders: Vec<PathBuf> = FOLDERS.map(PathBuf::from).to_vec();
    folders.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    let home = std::env::home_dir().unwrap_or_default();
    let root = std::env::var_os("PYENV_ROOT").map_or_else(|| home.join(".pyenv"), PathBuf::from);
    let versions = std::fs::read_dir(root.join("versions"));
    let versions = versions.into_iter().flatten().flatten();
    folders.extend(versions.map(|version| version.path().join("bin")));
    let mut found = BTreeMap::new();
    for folder in folders {
        let names = (8..=14).map(|minor| format!("python3.{minor}"));
        for name in names.chain(["python3".to_owned()]) {
            let path = folder.join(name);
            if let Some(version) = version(&path) {
                found.entry(version).or_insert(path);
            }
        }
    }
    found
}

/// The version of an interpreter that runs and that Director knows; a shim without one is none.
fn version(path: &Path) -> Option<(u32, u32)> {
    let asks = "import sys; print(*sys.version_info[:2])";
    let asked = path
        .exists()
        .then(|| Command::new(path).args(["-c", asks]).output());
    let told = String::from_utf8(asked?.ok()?.stdout).ok()?;
    let (major, minor) = told.trim().split_once(' ')?;
    let version = (major.parse().ok()?, minor.parse().ok()?);
    (version >= (3, 8)).then_some(version)
}

/// A program that uses the API at length, and the loaded source of the node at `PORT`, if it is
/// given one; prints the versions of Python that its actors, and those of the source, have.
const PROGRAM: &str = r#"
import datetime, json, logging, os, socket, sys, threading
from thespian.actors import *
from thespian.initmsgs import initializing_messages
from thespian.runcommand import Command, RunCommand
from thespian.transient import transient
from thespian.troupe import troupe
import thespian.importlib, thespian.local_importlib


class Own:
    def __init__(self, value):
        self.value = value


class Echo(ActorTypeDispatcher):
    def receiveMsg_Own(self, message, sender):
        self.send(sender, Own(message.value * 2))

    def receiveMsg_str(self, message, sender):
        if message == 'version':
            self.send(sender, sys.version_info[:2])
        elif message == 'later':
            self.later = sender
            self.wakeupAfter(datetime.timedelta(milliseconds=20), 'woken')
        elif message == 'child':
            self.send(self.createActor(Child), sender)
        elif message == 'raise':
            raise ValueError('as asked')

    def receiveMsg_WakeupMessage(self, message, sender):
        self.send(self.later, message.payload)

    def receiveMsg_ChildActorExited(self, message, sender):
        logging.info('child gone')


class Child(ActorTypeDispatcher):
    def receiveMsg_ActorAddress(self, message, sender):
        self.send(message, 'from the child')
        self.send(self.myAddress, ActorExitRequest())


@troupe(max_count=3, idle_count=1)
class Squares(ActorTypeDispatcher):
    def receiveMsg_int(self, number, sender):
        self.send(sender, number * number)


@initializing_messages([('told', str)], initdone='ready')
class Told(ActorTypeDispatcher):
    def ready(self):
        self.done = self.told + '!'

    def receiveMsg_int(self, number, sender):
        self.send(sender, self.done * number)


@transient(datetime.timedelta(seconds=5))
class Short(ActorTypeDispatcher):
    def receiveMsg_str(self, message, sender):
        self.send(sender, message)


@requireCapability('there')
class Picky(ActorTypeDispatcher):
    def receiveMsg_str(self, message, sender):
        self.send(sender, message)


def use(asys, node):
    echo = asys.createActor(Echo)
    assert asys.ask(echo, Own(21), 20).value == 42
    assert asys.ask(echo, 'later', 20) == 'woken'
    assert asys.ask(echo, 'child', 20) == 'from the child'
    poison = asys.ask(echo, 'raise', 20)
    assert isinstance(poison, PoisonMessage) and 'as asked' in poison.details, poison
    squares = asys.createActor(Squares)
    for number in range(20):
        asys.tell(squares, number)
    answers = sorted(asys.listen(20) for _ in range(20))
    assert answers == [number * number for number in range(20)], answers
    told = asys.createActor(Told)
    asys.tell(told, 2)
    asys.tell(told, 'x')
    assert asys.listen(20) == 'x!x!'
    assert asys.ask(asys.createActor(Short), 'short', 20) == 'short'
    try:
        asys.createActor(Picky)
        raise AssertionError('it has no such capability')
    except NoCompatibleSystemForActor:
        pass
    asys.updateCapability('there', True)
    assert asys.ask(asys.createActor(Picky), 'here', 20) == 'here'
    asys.updateCapability('there', None)
    if node:
        command = Command(sys.executable, ['-c', 'print(6*7)'])
        ran = asys.ask(asys.createActor(RunCommand), command, 20)
        assert ran and ran.stdout.strip() == '42', vars(ran)
        found = []

        def other():
            with asys.private() as mine:
                found.append(mine.ask(echo, Own(2), 20).value)

        threads = [threading.Thread(target=other) for _ in range(3)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert found == [4, 4, 4]
    seen = asys.ask(echo, 'version', 20)
    asys.tell(echo, ActorExitRequest())
    assert asys.ask(echo, 'version', 20) is None
    return seen


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(('127.0.0.1', 0))
        return one.getsockname()[1]


if __name__ == '__main__':
    assert thespian.importlib.import_module is thespian.local_importlib.import_module
    simple = ActorSystem('simpleSystemBase', transientUnique=True)
    use(simple, False)
    simple.shutdown()
    shown = {}
    asys = ActorSystem('multiprocTCPBase', {'Admin Port': int(os.environ['PORT'])},
                       transientUnique=True)
    shown['actors'] = use(asys, True)
    main = asys.createActor('foo.main.Main')
    shown['source'] = asys.ask(main, 'python', 20)
    del os.environ['THESPIAN_DIRECTOR_DIR']
    own = ActorSystem('multiprocTCPBase', {'Admin Port': free_port()}, transientUnique=True)
    try:
        shown['started'] = use(own, True)
        assert own.capabilities['Python Version'][:2] == sys.version_info[:2]
    finally:
        own.shutdown()
    print(json.dumps(shown))
"#;

const MAIN: &str = "
import sys
from thespian.actors import *

class Main(ActorTypeDispatcher):
    def receiveMsg_str(self, message, sender):
        self.send(sender, sys.version_info[:2])
";

/// Runs the program under this interpreter against the host's node.
fn run(host: &Sandbox, port: &str, python: &Path) -> serde_json::Value {
    let program = host.write("program.py", PROGRAM);
    let ran = Command::new(python)
        .args(["-W", "error::SyntaxWarning"])
        .arg(program)
        .current_dir(host.path(""))
        .env(
            "PYTHONPATH",
            concat!(env!("CARGO_MANIFEST_DIR"), "/../python"),
        )
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("THESPIAN_DIRECTOR_DIR", host.path("dir"))
        .env("DIRECTOR_BIN", env!("CARGO_BIN_EXE_director"))
        .env("PORT", port)
        .output();
    let ran = host.ran(ran.unwrap());
    assert_eq!(ran.code, 0, "{}: {ran:?}", python.display());
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn every_python_of_this_machine_serves_programs_actors_and_sources() {
    let found = interpreters();
    assert!(!found.is_empty(), "no Python of 3.8 or later is on PATH");
    eprintln!("{found:#?}");
    // A program under another Python than the node's talks to the node's actors all the same.
    let oldest = found.first_key_value().unwrap();
    let newest = found.last_key_value().unwrap();
    std::thread::scope(|scope| {
        for one in &found {
            scope.spawn(move || serve(one, one));
        }
        if oldest != newest {
            scope.spawn(move || serve(oldest, newest));
            scope.spawn(move || serve(newest, oldest));
        }
    });
}

type Interpreter<'a> = (&'a (u32, u32), &'a PathBuf);

/// A node whose sources run under one Python serves a program under another, or the same.
fn serve(node: Interpreter<'_>, program: Interpreter<'_>) {
    let host = Host::new();
    host.write("dir/python.cfg", node.1.to_str().unwrap());
    host.build("1.0", MAIN);
    host.done("start");
    until("it is active", || {
        host.active("foo").as_deref() == Some("1.0")
    });
    let seen = run(&host, &host.port(), program.1);
    let (theirs, own) = ([program.0.0, program.0.1], [node.0.0, node.0.1]);
    let wanted = serde_json::json!({"actors": theirs, "source": own, "started": theirs});
    assert_eq!(seen, wanted, "{program:?} at a node of {node:?}");
    host.done("shutdown");
}
