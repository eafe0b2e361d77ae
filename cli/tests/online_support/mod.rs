//! A sandbox whose node never outlives the test, and an application to load into it.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are test code"
)]

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::common::{Ran, Sandbox};

/// A sandbox with a key and a port of the system's choice; its node ends with it.
pub(crate) struct Host {
    sandbox: Sandbox,
}

impl Deref for Host {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl Host {
    pub(crate) fn new() -> Self {
        let sandbox = Sandbox::with_key();
        sandbox.write("dir/adminport.cfg", "0\n");
        sandbox.write("dir/listen.cfg", "127.0.0.1\n");
        Self { sandbox }
    }

    /// Builds version `version` of the application `foo`, whose `foo.main` is `main`.
    pub(crate) fn build(&self, version: &str, main: &str) -> PathBuf {
        self.write("src/foo/__init__.py", format!("VERSION = '{version}'\n"));
        self.write("src/foo/main.py", main);
        if !self.path("src/foo.tli").exists() {
            self.write("src/foo.tli", TLI);
        }
        self.done(&format!(
            "gensrc foo key.pem src version:{version} foo/*.py"
        ));
        self.path(&format!("dir/foo-{version}.tls"))
    }

    /// Runs it and wants it to fail so; what it says must name all these.
    pub(crate) fn fails(&self, line: &str, code: i32, says: &[&str]) -> Ran {
        let ran = self.run(line);
        assert_eq!(ran.code, code, "director {line}: {ran:?}");
        assert_eq!(ran.stdout, "", "director {line}: data of a failure");
        for text in says {
            assert!(
                ran.stderr.contains(text),
                "director {line}: no `{text}` in {}",
                ran.stderr
            );
        }
        assert!(
            ran.stderr.contains("hint: "),
            "director {line}: no next step in {}",
            ran.stderr
        );
        ran
    }

    /// The document that a command answers.
    pub(crate) fn json(&self, line: &str) -> serde_json::Value {
        serde_json::from_str(&self.done(&format!("--json {line}"))).unwrap()
    }

    /// Runs a Python program that uses the node, whose port is in `PORT`, and wants it to end
    /// well; what it printed.
    pub(crate) fn program(&self, text: &str) -> String {
        self.program_at(&self.port(), text)
    }

    /// The same with this text in `PORT`.
    pub(crate) fn program_at(&self, port: &str, text: &str) -> String {
        let program = self.write("program.py", text);
        let output = std::process::Command::new("python3")
            .arg(program)
            .current_dir(self.path(""))
            .env(
                "PYTHONPATH",
                concat!(env!("CARGO_MANIFEST_DIR"), "/../python"),
            )
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("THESPIAN_DIRECTOR_DIR", self.path("dir"))
            .env("DIRECTOR_BIN", env!("CARGO_BIN_EXE_director"))
            .env("PORT", port)
            .output();
        let ran = self.ran(output.unwrap());
        assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
        ran.stdout
    }

    /// The admin port of the node that runs now.
    pub(crate) fn port(&self) -> String {
        let record: serde_json::Value =
            serde_json::from_slice(&self.read("dir/state/node.pid")).unwrap();
        record["port"].to_string()
    }

    /// The process of the node that runs now.
    pub(crate) fn pid(&self) -> Option<i32> {
        let text = std::fs::read_to_string(self.path("dir/state/node.pid")).ok()?;
        let record: serde_json::Value = serde_json::from_str(&text).ok()?;
        i32::try_from(record["pid"].as_i64()?).ok()
    }

    /// Hashes by version, and the version that is active, as `list` shows them.
    pub(crate) fn active(&self, group: &str) -> Option<String> {
        let list = self.json("list");
        let groups = list["groups"].as_array().unwrap();
        let group = groups.iter().find(|found| found["group"] == group)?;
        let mut sources = group["sources"].as_array().unwrap().iter();
        let active = sources.find(|source| source["state"] == "active")?;
        Some(active["version"].as_str().unwrap().to_owned())
    }

    /// The hash of a version.
    pub(crate) fn hash(&self, group: &str, version: &str) -> String {
        let list = self.json(&format!("list {group}"));
        let sources = list["groups"][0]["sources"].as_array().unwrap();
        let source = sources
            .iter()
            .find(|source| source["version"] == version)
            .unwrap();
        source["hash"].as_str().unwrap().to_owned()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let Some(pid) = self.pid() else { return };
        let _asked = self.sandbox.command(["shutdown"]).output();
        if lives(pid) {
            let process = nix::unistd::Pid::from_raw(pid);
            let _killed = nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

/// Whether a process runs, and is not just unreaped.
pub(crate) fn lives(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status.rsplit_once(") ").map_or("", |(_, rest)| rest);
    !(state.is_empty() || state.starts_with('Z'))
}

/// The processes that have a path of this folder in their command line or working folder.
pub(crate) fn processes_of(folder: &Path) -> Vec<i32> {
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let uses = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        line.contains(folder.to_str().unwrap()) || cwd.starts_with(folder)
    };
    pids.filter(uses).collect()
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < limit, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) const TLI: &str = "{'Actors': {'foo.main.Main': {'OnLoad': {'Role': 'Main'}}}}\n";

pub(crate) const MAIN: &str = "
import os, time
from thespian.actors import *
from foo import VERSION


class Thing:
    def __repr__(self):
        return '<a thing>'


class Main(ActorTypeDispatcher):
    def receiveMsg_str(self, message, sender):
        if message == 'version':
            self.send(sender, VERSION)
        elif message == 'thing':
            self.send(sender, Thing())
        elif message == 'raise':
            raise ValueError('no way')
        elif message == 'delegate':
            self.send(self.createActor('foo.main.Clerk'), {'for': sender})
        elif message == 'die':
            os._exit(3)
        elif message != 'silence':
            self.send(sender, [message, {'n': (1, 2.5, None)}])


class Clerk(ActorTypeDispatcher):
    def receiveMsg_dict(self, message, sender):
        self.send(message['for'], ('from the clerk', VERSION))
";
