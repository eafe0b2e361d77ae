//! How the operations of a scenario are carried out.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::condition::Condition;
use crate::name::Node;
use crate::op::{Op, PATIENCE};
use crate::ran::Ran;
use crate::relay::Weather;
use crate::scene::{Cast, Scene};

impl Scene {
    pub(crate) fn carry_out(&self, op: &Op) {
        self.timeline.tell(op.to_string());
        match op {
            Op::Start(node) => {
                self.launch(*node);
                self.wait(&Condition::Serves(*node), "a started node serves");
            }
            Op::Launch(node) => self.launch(*node),
            Op::Join { node, at } => self.join(*node, *at),
            Op::Stop(node) => self.stop(*node),
            Op::Terminate(node) => self.terminate(*node),
            Op::Install { node, release } => self.install(*node, *release),
            Op::Kill(node) => self.kill(&[*node]),
            Op::KillAll(nodes) => self.kill(nodes),
            Op::Pause(node) => self.cast().processes[node.0].signal(Signal::SIGSTOP),
            Op::Continue(node) => self.cast().processes[node.0].signal(Signal::SIGCONT),
            Op::Cut { from, to } => self.relay().sky().set(*from, *to, Weather::CUT),
            Op::Isolate(node) => {
                let others = self.nodes().filter(|other| other != node);
                self.net.isolate(*node, others);
            }
            Op::Blow { from, to, weather } => self.relay().sky().set(*from, *to, *weather),
            Op::BlowAll(weather) => self.blow_all(*weather),
            Op::Heal => self.net.heal(),
            Op::Shelter(node) => self.relay().sky().shelter(*node),
            Op::Rebind { from, to } => self.net.rebind(*from, *to),
            Op::Run {
                on,
                line,
                code,
                says,
            } => check(&self.run(*on, line), *code, says),
            Op::Load { verb, on, version } => check(&self.load(*on, verb, version), 0, &[]),
            Op::Await {
                until,
                because,
                limit,
            } => self.until(because, *limit, || until.look(self)),
        }
    }

    /// Loads a version of the application on a node, whatever comes of it.
    pub fn load(&self, on: Node, verb: &str, version: &str) -> Ran {
        let file = self.lay(on, &self.build(version));
        let ran = self.run(on, &format!("{verb} {file}"));
        // A node that starts again loads what the registry says, not what lies about here.
        let _absent = fs::remove_file(self.directory(on).join(&file));
        ran
    }

    /// Lays a package and its `.tli` into a node's Director directory; gives the file's name.
    pub fn lay(&self, on: Node, package: &Path) -> String {
        let directory = self.directory(on);
        let tli = format!("{}.tli", self.group());
        let file = package.file_name().unwrap().to_string_lossy().into_owned();
        fs::copy(package, directory.join(&file)).unwrap();
        fs::copy(package.with_file_name(&tli), directory.join(&tli)).unwrap();
        file
    }

    /// Gives a node what it needs to join, as an operator would; it does not start yet.
    pub fn invite(&self, node: Node, at: Node, options: &str) -> String {
        let invited = self.run(at, &format!("cluster invite {options}"));
        assert_eq!(invited.code, Some(0), "{invited:?}");
        let token = invited.last_line().to_owned();
        self.point(node, &[at]);
        self.write(node, "convtoken.cfg", &format!("{token}\n"));
        token
    }

    /// Tells a node where its convention's members are.
    pub fn point(&self, node: Node, members: &[Node]) {
        let fronts = members.iter().map(|it| self.net.address(*it).to_string());
        let fronts: Vec<_> = fronts.map(|front| format!("{front:?}")).collect();
        let text = match fronts.as_slice() {
            [one] => one.trim_matches('"').to_owned(),
            several => format!("[{}]", several.join(", ")),
        };
        self.write(node, "convleader.cfg", &format!("{text}\n"));
    }

    /// Starts a node that founds a convention although it is not alone in its list.
    pub fn found(&self, node: Node) {
        self.timeline.tell(format!("start {node} --found"));
        {
            let Cast {
                processes,
                watchdog,
            } = &mut *self.cast();
            processes[node.0].start(watchdog, &["--found"]);
        }
        self.wait(&Condition::Serves(node), "a founder serves");
    }

    fn launch(&self, node: Node) {
        let Cast {
            processes,
            watchdog,
        } = &mut *self.cast();
        processes[node.0].start(watchdog, &[]);
    }

    fn join(&self, node: Node, at: Node) {
        self.invite(node, at, "");
        self.launch(node);
        for on in [at, node] {
            let up = Condition::State {
                on,
                member: node,
                state: "up",
            };
            self.wait(&up, "who has a good token becomes a member");
        }
    }

    fn stop(&self, node: Node) {
        check(&self.run(node, "shutdown"), 0, &[]);
        self.await_end(node);
    }

    fn terminate(&self, node: Node) {
        self.cast().processes[node.0].signal(Signal::SIGTERM);
        self.await_end(node);
    }

    fn await_end(&self, node: Node) {
        let Cast {
            processes,
            watchdog,
        } = &mut *self.cast();
        let ended = processes[node.0].ended(Duration::from_secs(30), watchdog);
        assert!(ended, "{node} was told to stop, and runs");
    }

    fn kill(&self, nodes: &[Node]) {
        let Cast {
            processes,
            watchdog,
        } = &mut *self.cast();
        // All of them before the first is waited for.
        for node in nodes {
            processes[node.0].signal(Signal::SIGKILL);
        }
        for node in nodes {
            processes[node.0].kill(watchdog);
        }
    }

    fn blow_all(&self, weather: Weather) {
        for from in self.nodes() {
            for to in self.nodes().filter(|to| *to != from) {
                self.relay().sky().set(from, to, weather);
            }
        }
    }
}

fn check(ran: &Ran, code: i32, says: &[String]) {
    assert!(ran.code.is_some(), "no end within {PATIENCE:?}: {ran:?}");
    assert_eq!(ran.code, Some(code), "{ran:?}");
    for text in says {
        let said = ran.stdout.contains(text) || ran.stderr.contains(text);
        assert!(said, "no `{text}` in {ran:?}");
    }
}
