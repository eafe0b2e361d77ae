//! Where the demo plays: a temporary directory with the examples and a node of its own.
//!
//! Dropped, it leaves nothing behind, whatever happened: an agent that still runs is killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use include_dir::{Dir, include_dir};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use node::directory::Directory;
use tempfile::TempDir;

use crate::Printer;

/// The application, in the binary so that the demo needs no checkout.
static ORDERS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../examples/orders");

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
        fs::create_dir(stage.director())?;
        fs::create_dir(stage.orders())?;
        ORDERS.extract(stage.orders())?;
        // Any free port: the demo disturbs no node that runs on this host.
        fs::write(stage.director().join("adminport.cfg"), "0\n")?;
        fs::write(stage.director().join("listen.cfg"), "127.0.0.1\n")?;
        stage.command(&["keygen", "release"])?;
        let public = stage.folder.path().join("release_tls.key");
        fs::copy(public, stage.director().join("release_tls.key"))?;
        Ok(stage)
    }

    fn director(&self) -> PathBuf {
        self.folder.path().join("director")
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
        self.command(&words.each_ref().map(String::as_str))
    }

    /// Loads the package of a version; returns when it is active.
    pub(super) fn load(&self, version: &str) -> Result<()> {
        let file = self.director().join(format!("orders-{version}.tls"));
        self.command(&["load", &file.display().to_string()])
    }

    /// Runs one command of this program in the demo's directory.
    pub(super) fn command(&self, words: &[&str]) -> Result<()> {
        let program = std::env::current_exe().context("this program's own file is gone")?;
        let output = Command::new(program)
            .args(words)
            .current_dir(self.folder.path())
            .env("THESPIAN_DIRECTOR_DIR", self.director())
            .env("ORDERS_JOURNAL", self.journal_path())
            .env("PYTHONPATH", self.orders().join("site"))
            .stdin(Stdio::null())
            .output()?;
        ensure!(
            output.status.success(),
            "`director {}` ended with {}: {}",
            words.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// A function that finds the node's control socket, if a node runs.
    pub(super) fn socket_finder(&self) -> impl Fn() -> Option<PathBuf> + Send + Clone + 'static {
        let directory = self.director();
        move || find_socket(&directory)
    }

    /// Kills the agent without a word and gives its process id.
    pub(super) fn kill_agent(&self) -> Result<i32> {
        match agent(&self.director()) {
            Some(pid) => {
                kill(pid, Signal::SIGKILL)?;
                Ok(pid.as_raw())
            }
            None => bail!("the node's record is not there"),
        }
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
        if let Some(pid) = agent(&self.director()) {
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

fn agent(directory: &Path) -> Option<Pid> {
    let record = Directory::at(directory).state().record().ok().flatten()?;
    i32::try_from(record.pid).ok().map(Pid::from_raw)
}
