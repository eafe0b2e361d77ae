//! The thread that starts forkservers, alive as long as hosting.
//!
//! A forkserver asks for SIGKILL at its parent's death, and the kernel takes the *thread* that
//! started it for the parent: from a pool's thread it would be killed at random.
//! Not here: what is started (`root`).

use std::io;
use std::process::{Child, Command};
use std::sync::mpsc;

use tokio::sync::oneshot;

/// Starts processes from one long-lived thread.
#[derive(Debug, Clone)]
pub(crate) struct Spawner {
    jobs: mpsc::Sender<Job>,
}

#[derive(Debug)]
struct Job {
    command: Command,
    started: oneshot::Sender<io::Result<Child>>,
}

impl Spawner {
    /// Starts the thread; it ends with the last handle.
    pub(crate) fn start() -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("forkserver-parent".to_owned())
            .spawn(move || {
                for mut job in queue {
                    let _ = job.started.send(job.command.spawn());
                }
            })?;
        Ok(Self { jobs })
    }

    /// Starts a process.
    pub(crate) async fn spawn(&self, command: Command) -> io::Result<Child> {
        let (started, child) = oneshot::channel();
        let gone = || io::Error::other("the thread that starts processes has ended");
        self.jobs
            .send(Job { command, started })
            .map_err(|_cause| gone())?;
        child.await.map_err(|_cause| gone())?
    }
}
