//! The node's process: run here in the foreground, or started as a detached copy of this program.
//!
//! The copy says on its standard output, as one line of JSON, that commands are served or why not,
//! and closes it. It keeps no descriptor of its starter, has a session of its own and writes its
//! log into a file. Not here: what a node is (`node::agent`).

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use node::agent::{Agent, Options, Warning};
use node::directory::{Directory, NodeRecord, Settings};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::log::InternalLog;
use super::session::Online;
use super::warnings::Warnings;
use crate::commands::Context;
use crate::progress::Progress;
use crate::{Exit, Failure};

/// How long a node may take until it serves.
const START_LIMIT: Duration = Duration::from_secs(120);

/// Names the Python that a node is started by.
const PYTHON_VARIABLE: &str = "DIRECTOR_PYTHON";

/// Sets what the node's log tells, as in `debug` or `node::router=trace`.
const LOG_VARIABLE: &str = "DIRECTOR_LOG";

/// What a detached node tells its starter, once.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Ready(NodeRecord),
    Failed { message: String, hint: String },
}

/// A node that answers, and whether it had to be started.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) online: Online,
    /// The record of a node that was started now; `None`: it ran already.
    pub(crate) fresh: Option<NodeRecord>,
}

/// The node of the directory, started if it does not run.
///
/// # Errors
/// `exit` when it does not start.
pub(crate) fn start(context: &Context, exit: Exit) -> Result<Started, Failure> {
    start_or_found(context, exit, false)
}

/// As [`start`]; `found`: a convention even where other nodes are listed.
///
/// # Errors
/// As [`start`].
pub(crate) fn start_or_found(
    context: &Context,
    exit: Exit,
    found: bool,
) -> Result<Started, Failure> {
    let settings = context.settings()?;
    if let Some(online) = Online::find(context, &settings)? {
        return Ok(Started {
            online,
            fresh: None,
        });
    }
    context.directory.check().map_err(|error| {
        let hint = error.hint();
        Failure::new(exit, error).hint(hint)
    })?;
    // Of several starters one starts; the others wait and find what it started.
    let _turn = turn(&context.directory);
    if let Some(online) = Online::find(context, &settings)? {
        return Ok(Started {
            online,
            fresh: None,
        });
    }
    let spawned = {
        let _sign_of_life = Progress::spinner("starting the node");
        spawn(&settings, exit, found)
    };
    match (spawned, Online::find(context, &settings)?) {
        (Ok(record), Some(online)) => Ok(Started {
            online,
            fresh: Some(record),
        }),
        // Somebody else was faster.
        (Err(_running), Some(online)) => Ok(Started {
            online,
            fresh: None,
        }),
        (Err(failure), None) => Err(failure),
        (Ok(record), None) => Err(Failure::text(
            exit,
            format_args!(
                "the node started as process {} and does not answer",
                record.pid
            ),
        )
        .hint(log_hint(&settings))),
    }
}

/// Locks the directory itself against other starters, for as long as the file is open.
fn turn(directory: &Directory) -> Option<File> {
    let folder = File::open(directory.path()).ok()?;
    // A file system without locks is none to be refused: the admin port decides there.
    let _locked = rustix::fs::flock(&folder, FlockOperation::LockExclusive);
    Some(folder)
}

fn spawn(settings: &Settings, exit: Exit, found: bool) -> Result<NodeRecord, Failure> {
    let fault =
        |what: &str, cause: std::io::Error| Failure::text(exit, format_args!("{what}: {cause}"));
    let log = InternalLog::open(settings.internal_log.clone(), u64::MAX)
        .and_then(|_log| File::options().append(true).open(&settings.internal_log))
        .map_err(|cause| {
            let path = settings.internal_log.display();
            fault(&format!("the node's log `{path}` cannot be written"), cause)
                .hint("check the rights of its folder, or name another file in `thesplogf.cfg`")
        })?;
    let program = std::env::current_exe();
    let program = program.map_err(|cause| fault("this program cannot find itself", cause))?;
    let mut child = Command::new(program)
        .args(["start", "--foreground", "--detached"])
        .args(found.then_some("--found"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(|cause| fault("the node's process cannot be started", cause))?;
    let Some(stdout) = child.stdout.take() else {
        return Err(Failure::text(
            Exit::Bug,
            "the node's process has no standard output",
        ));
    };
    let (told, word) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _end = BufReader::new(stdout).read_line(&mut line);
        told.send(serde_json::from_str::<Word>(&line))
    });
    match word.recv_timeout(START_LIMIT) {
        Ok(Ok(Word::Ready(record))) => Ok(record),
        Ok(Ok(Word::Failed { message, hint })) => {
            let _reaped = child.wait();
            Err(Failure::text(exit, message).hint(hint))
        }
        Ok(Err(_nothing_said)) => {
            let status = child
                .wait()
                .map(|status| status.to_string())
                .unwrap_or_default();
            let text = format!("the node ended before it served commands ({status})");
            Err(Failure::text(exit, text).hint(log_hint(settings)))
        }
        Err(_elapsed) => {
            let limit_s = START_LIMIT.as_secs();
            let text = format!("the node does not serve commands after {limit_s} s");
            Err(Failure::text(Exit::Unavailable, text).hint(log_hint(settings)))
        }
    }
}

fn log_hint(settings: &Settings) -> String {
    format!("its log tells more: `{}`", settings.internal_log.display())
}

/// A node in this process.
#[derive(Debug)]
pub(crate) struct Daemon {
    directory: Directory,
    settings: Settings,
    found: bool,
}

impl Daemon {
    /// A node for this directory.
    pub(crate) fn new(directory: Directory, settings: Settings) -> Self {
        Self {
            directory,
            settings,
            found: false,
        }
    }

    /// Whether it founds a convention even where other nodes are listed.
    pub(crate) fn founding(self, found: bool) -> Self {
        Self { found, ..self }
    }

    /// Runs it as the detached copy that a starter waits for.
    pub(crate) fn run_detached(self) -> Result<(), Failure> {
        leave_starter(&self.directory);
        let log = InternalLog::open(
            self.settings.internal_log.clone(),
            self.settings.internal_log_bytes_max,
        );
        let log = log.map_err(|cause| Failure::new(Exit::Failed, cause))?;
        let (layer, warnings) = Warnings::new();
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_env_filter(filter())
            .with_writer(Mutex::new(log))
            .finish()
            .with(layer)
            .init();
        let outcome = self.run(warnings, |record| tell(&Word::Ready(record.clone())));
        if let Err(failure) = &outcome {
            tracing::error!(%failure, "node not started");
            let (message, hint) = failure.parts();
            tell(&Word::Failed { message, hint });
        }
        outcome
    }

    /// Runs it in the foreground, its log on stderr; `ready` is told when commands are served.
    pub(crate) fn run_foreground(self, ready: impl FnOnce(&NodeRecord)) -> Result<(), Failure> {
        let (layer, warnings) = Warnings::new();
        tracing_subscriber::fmt()
            .with_ansi(std::io::stderr().is_terminal())
            .with_env_filter(filter())
            .with_writer(std::io::stderr)
            .finish()
            .with(layer)
            .init();
        self.run(warnings, ready)
    }

    fn run(
        self,
        warnings: Receiver<Warning>,
        ready: impl FnOnce(&NodeRecord),
    ) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        let runtime = runtime.map_err(|cause| Failure::new(Exit::Failed, cause))?;
        let python = std::env::var_os(PYTHON_VARIABLE).filter(|path| !path.is_empty());
        let options = Options {
            directory: self.directory,
            python_hint: python.map(PathBuf::from),
            found: self.found,
            warnings: Some(warnings),
        };
        let served = runtime.block_on(async {
            let shutdown = CancellationToken::new();
            let signals = tokio::spawn(stop_on_signals(shutdown.clone()));
            let agent = Agent::start(options).await.map_err(|error| {
                let hint = error.hint();
                Failure::new(Exit::Failed, error).hint(hint)
            })?;
            ready(&agent.record());
            let served = agent.serve(shutdown).await;
            signals.abort();
            served.map_err(|fatal| {
                let hint = "see that the disk of its directory has room and is whole, then start \
                            it again; where others vote they go on meanwhile";
                Failure::new(Exit::Failed, fatal).hint(hint)
            })
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
        served
    }
}

fn filter() -> EnvFilter {
    let wanted = std::env::var(LOG_VARIABLE).unwrap_or_default();
    let usual = EnvFilter::new("info,openraft=warn");
    if wanted.is_empty() {
        usual
    } else {
        EnvFilter::try_new(&wanted).unwrap_or(usual)
    }
}

/// The first signal asks for an orderly stop, the second does not wait for it.
async fn stop_on_signals(shutdown: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        tracing::warn!("signals cannot be listened to");
        return;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if shutdown.is_cancelled() {
            #[expect(clippy::exit, reason = "a second signal demands the end at once")]
            std::process::exit(1);
        }
        tracing::info!("a signal asked for the stop");
        shutdown.cancel();
    }
}

/// Says its one word to the starter and lets go of it.
fn tell(word: &Word) {
    let mut line = serde_json::to_vec(word).unwrap_or_default();
    line.push(b'\n');
    // A starter that has gone does not need the word.
    let _gone = std::io::stdout().lock().write_all(&line);
    let _flushed = std::io::stdout().lock().flush();
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _replaced = nix::unistd::dup2_stdout(null);
    }
}

/// A session of its own, no descriptor of the starter, and no folder that it stands in.
fn leave_starter(directory: &Directory) {
    let _own_session = nix::unistd::setsid();
    let _moved = std::env::set_current_dir(directory.path());
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let numbers = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let open: Vec<i32> = numbers.collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        // The one that listed them is closed already.
        let _closed = nix::unistd::close(descriptor);
    }
}
