//! The root forkserver of one interpreter: Python and `thespian` up, nothing else imported.
//!
//! It is a child of the agent; all other Python processes descend from it.
//! Not here: which interpreters have one (`forkservers`).

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use protocol::control::{ActorFailure, FailureCode};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::hosting::handle::HostingConfig;
use crate::hosting::link::{Dialled, Link};
use crate::hosting::output::Output;
use crate::hosting::process::{Fate, Fates, failure, in_words, known_within};
use crate::hosting::resources;
use crate::hosting::runtime::Runtime;
use crate::hosting::spawner::Spawner;

/// A root forkserver that runs.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    /// The connection to it.
    pub(crate) link: Arc<Link>,
    /// What it and the forkservers below it write.
    pub(crate) output: Arc<Output>,
    /// How it ends.
    pub(crate) fate: Fate,
}

/// What starting one takes.
#[derive(Debug)]
pub(crate) struct RootStart<'a> {
    pub(crate) config: &'a HostingConfig,
    pub(crate) runtime: &'a Runtime,
    pub(crate) interpreter: &'a Path,
    pub(crate) spawner: &'a Spawner,
    pub(crate) fates: &'a Arc<Fates>,
    pub(crate) tasks: &'a TaskTracker,
}

impl RootStart<'_> {
    /// Starts it and waits until it has dialled and said Hello with `token`.
    pub(crate) async fn run(
        &self,
        token: &str,
        dialled: oneshot::Receiver<Dialled>,
    ) -> Result<Root, ActorFailure> {
        let output = Arc::new(Output::new(
            "forkserver",
            &self.interpreter.to_string_lossy(),
        ));
        let (pid, fate) = self.start_process(token, &output).await.map_err(|cause| {
            let program = self.interpreter.display();
            let text = format!("the Python `{program}` cannot be started: {cause}");
            failure(FailureCode::Failure, text)
        })?;
        let mut ended = fate.clone();
        tokio::select! {
            biased;
            dialled = dialled => {
                let dialled = dialled.map_err(|_cause| self.no_start(&fate, &output))?;
                let link = Link::open(dialled, Arc::clone(self.fates), self.tasks);
                let link = link.map_err(|cause| failure(FailureCode::Failure, cause.to_string()))?;
                Ok(Root { link, output, fate })
            }
            _ = known_within(&mut ended, DIAL_LIMIT) => {
                output.drained(OUTPUT_LIMIT).await;
                let reason = self.no_start(&fate, &output);
                resources::kill(pid);
                self.fates.forget(pid);
                Err(reason)
            }
        }
    }

    async fn start_process(&self, token: &str, output: &Arc<Output>) -> io::Result<(u32, Fate)> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut child = self.spawner.spawn(self.command(token, theirs)?).await?;
        let pid = child.id();
        drop(child.stdin.take());
        let fate = self.fates.follow(pid);
        resources::restore_open_files(pid);
        self.tasks.spawn(Arc::clone(output).drain(ours, Vec::new()));
        Ok((pid, fate))
    }

    fn command(&self, token: &str, output: UnixStream) -> io::Result<Command> {
        let output = OwnedFd::from(output);
        let mut command = Command::new(self.interpreter);
        command
            .args(["-I", "-S", "-c", self.runtime.bootstrap.as_str()])
            .arg(&self.config.worker_socket)
            // Everybody can read this in /proc: it is good once, and the worker socket takes no
            // process of another user (`router`, `Door::Workers`).
            .arg(token)
            .arg(&self.runtime.folder)
            .arg(std::process::id().to_string())
            .env_clear()
            .envs(self.config.environment.pick(std::env::vars_os()))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        Ok(command)
    }

    fn no_start(&self, fate: &Fate, output: &Output) -> ActorFailure {
        let program = self.interpreter.display();
        let status = *fate.borrow();
        let (code, what) = match status {
            Some(_) => (FailureCode::ProcessDied, in_words(status)),
            None => (
                FailureCode::TimedOut,
                format!("no word from it within {} s", DIAL_LIMIT.as_secs()),
            ),
        };
        ActorFailure {
            code,
            message: format!("the Python `{program}` did not come up: {what}"),
            traceback: Some(output.tail()).filter(|text| !text.is_empty()),
        }
    }
}

/// A start takes 0.1 s; a loaded host with a cold disk may need many times that.
const DIAL_LIMIT: Duration = Duration::from_secs(30);

/// How long the last words of a process that has ended may take to arrive.
const OUTPUT_LIMIT: Duration = Duration::from_millis(300);
