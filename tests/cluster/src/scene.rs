//! The scene of a scenario: nodes, the relay between them, the application, the timeline.
//!
//! Dropped, all its processes end; in a failing test the timeline is printed first.
//! Not here: how an operation is carried out (`play`).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::application::{Application, key_pair};
use crate::condition::{Condition, Seen};
use crate::disk::Disk;
use crate::hosts::Hosts;
use crate::name::{A, Node};
use crate::net::Net;
use crate::op::{Op, PATIENCE};
use crate::process::Process;
use crate::ran::Ran;
use crate::relay::Relay;
use crate::timeline::Timeline;
use crate::watchdog::Watchdog;

/// What a scenario starts from.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// How many nodes it may have.
    pub nodes: usize,
    /// What is loaded in it.
    pub application: Application,
    /// Whether each node has a host of its own, instead of the relay on loopback.
    pub on_hosts: bool,
    /// Which of them is behind a router that translates addresses.
    pub behind_nat: Option<Node>,
    /// How much room the disk under each Director directory has, if it has one of its own.
    pub disks_bytes: Option<usize>,
}

/// Nodes, links and what happened.
#[derive(Debug)]
pub struct Scene {
    // First dropped: nothing runs any more when the rest goes.
    pub(crate) cast: Mutex<Cast>,
    pub(crate) net: Net,
    pub(crate) timeline: Timeline,
    // Before the folder that they are mounted in.
    _disks: Vec<Disk>,
    folder: Option<TempDir>,
    nodes: usize,
    application: Application,
}

/// The processes, changed by one operation at a time.
#[derive(Debug)]
pub(crate) struct Cast {
    pub(crate) processes: Vec<Process>,
    pub(crate) watchdog: Watchdog,
}

impl Scene {
    /// Lays out so many nodes with the usual application; none runs yet.
    #[must_use]
    pub fn with(nodes: usize) -> Self {
        Self::set(Plan {
            nodes,
            ..Plan::default()
        })
    }

    /// A convention of so many running nodes, founded by the first.
    ///
    /// # Panics
    /// When it does not come together.
    #[must_use]
    pub fn convention(nodes: usize) -> Self {
        let scene = Self::with(nodes);
        scene.come_together();
        scene
    }

    /// Starts the first node, lets all others join, and waits for the voters that there can be.
    ///
    /// # Panics
    /// When they do not come together.
    pub fn come_together(&self) {
        self.play(&[Op::Start(A)]);
        for node in self.nodes().skip(1) {
            self.play(&[Op::Join { node, at: A }]);
        }
        let count = if self.nodes >= 3 { 3 } else { 1 };
        let voters = Condition::Voters { on: A, count };
        self.wait(&voters, "three willing members make three voters");
    }

    /// Lays out a plan; none of its nodes runs yet.
    #[must_use]
    pub fn set(plan: Plan) -> Self {
        Self::try_set(plan).unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// So many nodes on hosts of their own; `None`, and a word on stderr, where there can be none.
    #[must_use]
    pub fn on_hosts(nodes: usize) -> Option<Self> {
        Self::set_on_hosts(Plan {
            nodes,
            ..Plan::default()
        })
    }

    /// As planned, on hosts; `None`, and a word on stderr, where there can be none.
    #[must_use]
    pub fn set_on_hosts(plan: Plan) -> Option<Self> {
        let on_hosts = true;
        match Self::try_set(Plan { on_hosts, ..plan }) {
            Ok(scene) => Some(scene),
            Err(reason) => {
                eprintln!("skipped: this process may make no network namespaces: {reason}");
                None
            }
        }
    }

    /// As `set`, where the system may not allow what the plan wants.
    ///
    /// # Errors
    /// What it does not allow, for people.
    pub fn try_set(plan: Plan) -> Result<Self, String> {
        let seed = seed();
        let net = match plan.on_hosts {
            true => Net::Hosts(Hosts::make(plan.nodes, plan.behind_nat)?),
            false => Net::relayed(plan.nodes, seed),
        };
        let folder = tempfile::Builder::new()
            .prefix("cluster-")
            .tempdir()
            .unwrap();
        let mut disks = Vec::new();
        for node in (0..plan.nodes).map(Node) {
            if let Some(bytes) = plan.disks_bytes {
                let at = folder.path().join(node.to_string());
                fs::create_dir(&at).unwrap();
                disks.push(Disk::mount(&at, bytes)?);
            }
        }
        let lay_out = |node| {
            let process = Process::lay_out(node, folder.path(), net.place(node));
            process.write("test_tls.key", &key_pair().1);
            process
        };
        let cast = Cast {
            processes: (0..plan.nodes).map(Node).map(lay_out).collect(),
            watchdog: Watchdog::new(),
        };
        let scene = Self {
            cast: Mutex::new(cast),
            net,
            timeline: Timeline::default(),
            nodes: plan.nodes,
            application: plan.application,
            _disks: disks,
            folder: Some(folder),
        };
        scene
            .timeline
            .tell(format!("scene of {} nodes, seed {seed}", scene.nodes));
        Ok(scene)
    }

    /// Carries out operations one after the other.
    ///
    /// # Panics
    /// When one cannot be carried out or a condition does not come true.
    pub fn play(&self, ops: &[Op]) {
        for op in ops {
            self.carry_out(op);
        }
    }

    /// A new phase of the scenario, for the timeline.
    pub fn phase(&self, why: &str) {
        self.timeline.tell(format!("--- {why}"));
    }

    /// Waits until something is so that only this scenario knows of.
    ///
    /// # Panics
    /// When it is not so within the limit.
    pub fn until(&self, because: &str, limit: Duration, mut look: impl FnMut() -> Seen) {
        let begun = Instant::now();
        while let Err(seen) = look() {
            if begun.elapsed() > limit {
                self.timeline
                    .tell(format!("in vain: {because}; seen: {seen}"));
                panic!("waited {limit:?} in vain: {because}; seen: {seen}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let took_ms = begun.elapsed().as_millis();
        self.timeline.tell(format!("after {took_ms} ms: {because}"));
    }

    /// Waits for a condition with patience.
    ///
    /// # Panics
    /// When it does not come true.
    pub fn wait(&self, until: &Condition, because: &str) {
        self.until(because, PATIENCE, || until.look(self));
    }

    /// Runs `director` with the words of a line on a node, whatever comes of it.
    pub fn run(&self, on: Node, line: &str) -> Ran {
        let words: Vec<_> = line.split_whitespace().collect();
        let ran = self.run_words(on, &words, PATIENCE);
        self.timeline.tell(format!("{}: {}", ran.line, ran.shown()));
        ran
    }

    /// Runs a command that never ends by itself, for a while; gives what it wrote.
    pub fn watch(&self, on: Node, line: &str, duration: Duration) -> Ran {
        let words: Vec<_> = line.split_whitespace().collect();
        let ran = self.run_words(on, &words, duration);
        self.timeline.tell(format!("{}: {}", ran.line, ran.shown()));
        ran
    }

    /// Runs a command that succeeds and gives its document.
    ///
    /// # Panics
    /// When it fails.
    pub fn json(&self, on: Node, line: &str) -> Value {
        let ran = self.run(on, &format!("--json {line}"));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.json()
    }

    /// Runs words without a line in the timeline.
    pub(crate) fn run_words(&self, on: Node, words: &[&str], limit: Duration) -> Ran {
        let (mut command, line) = {
            let cast = self.cast();
            let process = &cast.processes[on.0];
            (process.command(words), process.line(words))
        };
        Ran::run(&mut command, line, limit)
    }

    /// Asks a target and gives the reply's text.
    ///
    /// # Errors
    /// How the command ended when there is none.
    pub fn ask(&self, on: Node, target: &str, literal: &str) -> Result<String, Ran> {
        self.ask_within(on, target, literal, PATIENCE)
    }

    /// Asks a target and waits no longer than the limit.
    ///
    /// # Errors
    /// How the command ended when there is no reply.
    pub fn ask_within(
        &self,
        on: Node,
        target: &str,
        literal: &str,
        limit: Duration,
    ) -> Result<String, Ran> {
        let ran = self.run_words(on, &["ask", target, literal, "--timeout", "20"], limit);
        self.timeline.tell(format!("{}: {}", ran.line, ran.shown()));
        if ran.code == Some(0) {
            Ok(ran.stdout.trim().to_owned())
        } else {
            Err(ran)
        }
    }

    /// The node that leads now, as the first that answers says; waits until there is one.
    ///
    /// # Panics
    /// When nobody knows a leader.
    pub fn leader(&self) -> Node {
        let mut found = None;
        self.until("somebody leads", PATIENCE, || {
            let mut running = (0..self.nodes).map(Node).filter(|node| self.runs(*node));
            found = running.find_map(|node| self.leader_as_seen_by(node));
            found.map(|_| ()).ok_or_else(|| "no leader".to_owned())
        });
        found.unwrap()
    }

    fn leader_as_seen_by(&self, node: Node) -> Option<Node> {
        let words = ["--json", "cluster", "status"];
        let ran = self.run_words(node, &words, Duration::from_secs(10));
        let status: Value = serde_json::from_str(&ran.stdout).ok()?;
        let leader = status["leader"].as_str()?;
        let found = (0..self.nodes)
            .map(Node)
            .find(|it| it.to_string() == leader)?;
        self.runs(found).then_some(found)
    }

    /// Whether the node's process is there.
    pub fn runs(&self, node: Node) -> bool {
        self.cast().processes[node.0].is_running()
    }

    /// The exit code of a node that has ended by itself.
    pub fn exit_code(&self, node: Node) -> Option<i32> {
        self.cast().processes[node.0].exit_code()
    }

    /// Builds a version of the application and gives the package.
    ///
    /// # Panics
    /// When it cannot be built.
    pub fn build(&self, version: &str) -> PathBuf {
        self.build_signed(version, &key_pair().0)
    }

    /// Builds a version signed by another private key.
    ///
    /// # Panics
    /// When it cannot be built.
    pub fn build_signed(&self, version: &str, private_key: &str) -> PathBuf {
        let packages = self.path("packages");
        let package = packages.join(format!("{}-{version}.tls", self.group()));
        if package.exists() {
            return package;
        }
        fs::create_dir_all(&packages).unwrap();
        let key = packages.join("signing.pem");
        fs::write(&key, private_key).unwrap();
        let (sources, tli) = self
            .application
            .lay_out(version, &packages, &self.journal());
        let line = format!(
            "gensrc {group} {key} {sources} version:{version} tli:{tli} {group}/*",
            group = self.group(),
            key = key.display(),
            sources = sources.display(),
            tli = tli.display(),
        );
        let words: Vec<_> = line.split(' ').collect();
        let mut command = std::process::Command::new(crate::program::director());
        command
            .args(&words)
            .current_dir(&packages)
            .env("THESPIAN_DIRECTOR_DIR", &packages);
        let ran = Ran::run(&mut command, line.clone(), PATIENCE);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        package
    }

    /// Writes a file of a node's Director directory.
    pub fn write(&self, node: Node, file: &str, content: &str) {
        self.cast().processes[node.0].write(file, content);
    }

    /// A node's Director directory.
    pub fn directory(&self, node: Node) -> PathBuf {
        self.cast().processes[node.0].folder().to_owned()
    }

    /// What a node has logged so far.
    pub fn log(&self, node: Node) -> String {
        let path = self.cast().processes[node.0].log();
        let bytes = fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A path in the scenario's folder.
    ///
    /// # Panics
    /// When the folder is gone.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.as_ref().map(TempDir::path).unwrap().join(name)
    }

    /// Where handled orders are written down.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.path("journal")
    }

    pub(crate) fn beside_journal(&self, suffix: &str) -> PathBuf {
        self.path(&format!("journal.{suffix}"))
    }

    /// The group of the scenario's application.
    #[must_use]
    pub fn group(&self) -> &str {
        self.application.group()
    }

    /// The relay between the nodes.
    ///
    /// # Panics
    /// When they are on hosts of their own.
    #[must_use]
    pub fn relay(&self) -> &Relay {
        self.net.relay()
    }

    /// All nodes but this one.
    #[must_use]
    pub fn others(&self, one: Node) -> Vec<Node> {
        self.nodes().filter(|node| *node != one).collect()
    }

    /// All nodes of the scene.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + use<> {
        (0..self.nodes).map(Node)
    }

    pub(crate) fn cast(&self) -> MutexGuard<'_, Cast> {
        self.cast.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn print_timeline(&self) {
        let logs: Vec<_> = {
            let cast = self.cast();
            let log =
                |(index, process): (usize, &Process)| (Node(index).to_string(), process.log());
            cast.processes.iter().enumerate().map(log).collect()
        };
        let logs = logs
            .iter()
            .map(|(name, path)| (name.clone(), path.as_path()));
        let text = self.timeline.merged(logs);
        let lines: Vec<_> = text.lines().collect();
        let begin = lines.len().saturating_sub(LINES_SHOWN);
        let kept = keep(&text);
        eprintln!(
            "the last of {} lines of the timeline ({kept}):",
            lines.len()
        );
        lines[begin..].iter().for_each(|line| eprintln!("{line}"));
    }
}

/// Enough to see what led to a failure, and no more than a person reads.
const LINES_SHOWN: usize = 500;

fn keep(text: &str) -> String {
    let file = tempfile::Builder::new()
        .prefix("cluster-timeline-")
        .suffix(".log")
        .tempfile();
    let kept = file.and_then(|file| {
        fs::write(file.path(), text)?;
        Ok(file.keep()?.1)
    });
    kept.map_or_else(
        |cause| format!("not kept: {cause}"),
        |path| format!("all in {}", path.display()),
    )
}

impl Drop for Scene {
    fn drop(&mut self) {
        let is_failing = std::thread::panicking();
        {
            let Cast {
                processes,
                watchdog,
            } = &mut *self.cast();
            processes.iter_mut().for_each(|it| it.kill(watchdog));
        }
        if is_failing {
            self.print_timeline();
        }
        if std::env::var_os("DIRECTOR_CLUSTER_KEEP").is_some()
            && let Some(folder) = self.folder.take()
        {
            eprintln!("kept {}", show(&folder.keep()));
        }
    }
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

fn seed() -> u64 {
    let given = std::env::var("DIRECTOR_CLUSTER_SEED").ok();
    let given = given.and_then(|text| text.parse().ok());
    given.unwrap_or_else(rand::random)
}
