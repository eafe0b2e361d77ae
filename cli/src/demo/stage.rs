//! Where the demo plays: a temporary directory with the examples and three nodes of its own.
//!
//! Dropped, it leaves nothing behind, whatever happened: agents that still run are killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use include_dir::{Dir, include_dir};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use node::directory::{Directory, NodeRecord};
use serde_json::Value;
use tempfile::TempDir;

use crate::Printer;

/// The application, in the binary so that the demo needs no checkout.
static ORDERS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../examples/orders");

/// The nodes, by name.
pub(super) const NODES: [&str; 3] = ["a", "b", "c"];

/// Where packages are built; no node's directory.
const PACKAGES: &str = "packages";

/// Longer than an election or a promotion takes.
const WAIT: Duration = Duration::from_secs(60);

/// The demo's directory and clock.
pub(super) struct Stage {
    folder: TempDir,
    begun: Instant,
    printer: Printer,
}

impl Stage {
    /// Lays out the examples and a Director directory with a fresh key.
    pub(super) fn set(printer: Printer) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("director-demo-")
            .tempdir()?;
        let stage = Self {
            folder,
            begun: Instant::now(),
            printer,
        };
        for folder in NODES.into_iter().chain([PACKAGES]) {
            fs::create_dir(stage.directory(folder))?;
        }
        fs::create_dir(stage.orders())?;
        ORDERS.extract(stage.orders())?;
        stage.command(PACKAGES, &["keygen", "release"])?;
        for node in NODES {
            let write = |file: &str, text: &str| {
                fs::write(stage.directory(node).join(file), format!("{text}\n"))
            };
            // Any free port of this host alone: the demo disturbs nobody.
            write("adminport.cfg", "0")?;
            write("listen.cfg", "127.0.0.1")?;
            write("nodename.cfg", node)?;
            let public = stage.folder.path().join("release_tls.key");
            fs::copy(public, stage.directory(node).join("release_tls.key"))?;
        }
        Ok(stage)
    }

    fn directory(&self, node: &str) -> PathBuf {
        self.folder.path().join(node)
    }

    fn orders(&self) -> PathBuf {
        self.folder.path().join("orders")
    }

    fn journal_path(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// One line of the timeline.
    pub(super) fn tell(&self, what: &str) {
        if !self.printer.is_json() {
            let at = self.begun.elapsed().as_secs_f64();
            self.printer
                .raw(format!("{at:>7.2} s  {what}\n").as_bytes());
        }
    }

    /// Packs and signs a version of the example with its dependency.
    pub(super) fn pack(&self, version: &str) -> Result<()> {
        let orders = self.orders();
        let sources = orders.join(version);
        let words = [
            "gensrc".to_owned(),
            "orders".to_owned(),
            "release.pem".to_owned(),
            sources.display().to_string(),
            format!("version:{version}"),
            format!("deps:{}", orders.join("deps.txt").display()),
            format!("tli:{}", orders.join("orders.tli").display()),
            "orders/*.py".to_owned(),
        ];
        self.command(PACKAGES, &words.each_ref().map(String::as_str))?;
        for node in NODES {
            let tli = self.directory(PACKAGES).join("orders.tli");
            fs::copy(tli, self.directory(node).join("orders.tli"))?;
        }
        Ok(())
    }

    /// Starts the first node, invites the others and waits until all are members and voters.
    pub(super) fn come_together(&self) -> Result<()> {
        let [first, rest @ ..] = NODES;
        self.command(first, &["start"])?;
        self.tell(&format!("node {first} started: a convention of one"));
        let invited = self.command(first, &["cluster", "invite", "--uses", "2"])?;
        let token = invited.lines().last().context("no token was given out")?;
        let record = self
            .record(first)
            .context("the first node's record is gone")?;
        for node in rest {
            let write = |file: &str, text: &str| {
                fs::write(self.directory(node).join(file), format!("{text}\n"))
            };
            write("convleader.cfg", &format!("127.0.0.1:{}", record.port))?;
            write("convtoken.cfg", token)?;
            self.command(node, &["start"])?;
            self.tell(&format!("node {node} started: joined with a token"));
        }
        self.until("three voters", |status| {
            status["voters"].as_array().map_or(0, Vec::len) == NODES.len()
        })?;
        self.tell("three voters: any one of them may fail");
        Ok(())
    }

    /// The node that leads.
    pub(super) fn leader(&self) -> Result<&'static str> {
        let mut leader = None;
        self.until("a leader", |status| {
            let name = &status["leader"];
            leader = NODES
                .into_iter()
                .find(|node| name == node && self.runs(node));
            leader.is_some()
        })?;
        leader.context("nobody leads")
    }

    /// Waits until so many members are up.
    pub(super) fn until_up(&self, count: usize) -> Result<()> {
        self.until("all members", |status| status["up"] == count)
    }

    fn until(&self, what: &str, mut holds: impl FnMut(&Value) -> bool) -> Result<()> {
        let begun = Instant::now();
        loop {
            let running = NODES.into_iter().filter(|node| self.runs(node));
            for node in running {
                let status = self.command(node, &["--json", "cluster", "status"]);
                let status = status
                    .ok()
                    .and_then(|text| serde_json::from_str(&text).ok());
                if status.is_some_and(|status| holds(&status)) {
                    return Ok(());
                }
            }
            let limit_s = WAIT.as_secs();
            ensure!(
                begun.elapsed() < WAIT,
                "waited {limit_s} s in vain for {what}"
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Loads the package of a version on all nodes; returns when it is active.
    pub(super) fn cluster_load(&self, node: &str, version: &str) -> Result<()> {
        let package = self.package(version);
        self.command(node, &["cluster", "load", &package])?;
        Ok(())
    }

    /// As `cluster_load`, without waiting for it.
    pub(super) fn begin_load(&self, node: &str, version: &str) -> Result<Child> {
        let package = self.package(version);
        let mut command = self.prepare(node, &["cluster", "load", &package])?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command.spawn()?)
    }

    /// As `cluster_load`, again while no leader is there.
    pub(super) fn load_until_done(&self, node: &str, version: &str) -> Result<()> {
        let begun = Instant::now();
        loop {
            match self.cluster_load(node, version) {
                Err(failure) if begun.elapsed() > WAIT => return Err(failure),
                Err(_no_leader) => thread::sleep(Duration::from_millis(50)),
                Ok(()) => return Ok(()),
            }
        }
    }

    fn package(&self, version: &str) -> String {
        let file = format!("orders-{version}.tls");
        self.directory(PACKAGES).join(file).display().to_string()
    }

    /// Runs one command of this program for a node; gives what it wrote as data.
    pub(super) fn command(&self, node: &str, words: &[&str]) -> Result<String> {
        let output = self.prepare(node, words)?.output()?;
        ensure!(
            output.status.success(),
            "`director {}` ended with {}: {}",
            words.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn prepare(&self, node: &str, words: &[&str]) -> Result<Command> {
        let program = std::env::current_exe().context("this program's own file is gone")?;
        let mut command = Command::new(program);
        command
            .args(words)
            .current_dir(self.folder.path())
            .env("THESPIAN_DIRECTOR_DIR", self.directory(node))
            .env("ORDERS_JOURNAL", self.journal_path())
            .env("PYTHONPATH", self.orders().join("site"))
            .stdin(Stdio::null());
        Ok(command)
    }

    /// A function that finds the control socket for a client: of its own node while that runs.
    pub(super) fn socket_finder(
        &self,
    ) -> impl Fn(usize) -> Option<PathBuf> + Send + Clone + 'static {
        let directories = NODES.map(|node| self.directory(node));
        move |client| {
            let turned = directories.iter().cycle().skip(client % NODES.len());
            turned.take(NODES.len()).find_map(|it| find_socket(it))
        }
    }

    /// Kills a node's agent without a word and gives its process id.
    pub(super) fn kill_agent(&self, node: &str) -> Result<i32> {
        match agent(&self.directory(node)) {
            Some(pid) => {
                kill(pid, Signal::SIGKILL)?;
                Ok(pid.as_raw())
            }
            None => bail!("the record of {node} is not there"),
        }
    }

    fn record(&self, node: &str) -> Option<NodeRecord> {
        let record = Directory::at(self.directory(node)).state().record();
        record.ok().flatten()
    }

    fn runs(&self, node: &str) -> bool {
        find_socket(&self.directory(node)).is_some()
    }

    /// The numbers of the orders handled, one for each time.
    pub(super) fn journal(&self) -> Result<Vec<u64>> {
        let text = fs::read_to_string(self.journal_path())?;
        let number = |line: &str| line.split(' ').next().and_then(|word| word.parse().ok());
        Ok(text.lines().filter_map(number).collect())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let agents = NODES
            .into_iter()
            .filter_map(|node| agent(&self.directory(node)));
        for pid in agents {
            let _gone = kill(pid, Signal::SIGKILL);
        }
    }
}

fn find_socket(directory: &Path) -> Option<PathBuf> {
    Directory::at(directory)
        .find_node(0)
        .into_iter()
        .next()
        .map(|place| place.socket)
}

/// The process of the node that runs there, if one does.
fn agent(directory: &Path) -> Option<Pid> {
    let mut places = Directory::at(directory).find_node(0).into_iter();
    let record = places.find_map(|place| place.record)?;
    i32::try_from(record.pid).ok().map(Pid::from_raw)
}
