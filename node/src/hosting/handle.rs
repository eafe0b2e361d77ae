//! What the agent holds of worker hosting: prepare code, start actors, end them, hear of ends.
//!
//! Cloning is cheap. Every started worker gives exactly one [`WorkerEnded`], however it ended.
//! Not here: how forkservers come about (`forkservers`), how an end is noticed (`worker`).

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::ActorId;
use protocol::control::{ActorFailure, FailureCode, Hello, Origin, PreparedClass, WorkerSpec};
use tokio::sync::mpsc;

use crate::hosting::dump::DumpError;
use crate::hosting::forkservers::Forkservers;
use crate::hosting::link::Dialled;
use crate::hosting::runtime::Runtime;
use crate::hosting::workers::Workers;
use crate::hosting::{WorkerEnvironment, process, resources};

/// What hosting needs to know of its node.
#[derive(Debug, Clone)]
pub struct HostingConfig {
    /// The node's state folder.
    pub state: PathBuf,
    /// Where processes that the node started dial.
    pub worker_socket: PathBuf,
    /// The Python side; `None`: the embedded one.
    pub runtime: Option<Runtime>,
    /// Variables that workers get.
    pub environment: WorkerEnvironment,
    /// How long the import of a source may take.
    pub import_timeout: Duration,
}

/// Where the code of an origin lies and what runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginSetup {
    /// The origin.
    pub origin: Origin,
    /// The interpreter's program.
    pub interpreter: PathBuf,
    /// Entries for the front of `sys.path`, the unpacked source first.
    pub path: Vec<PathBuf>,
}

/// What is to be imported and looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrepareRequest {
    /// Classes or modules named by the `.tli`.
    pub classes: Vec<String>,
    /// Sets of capabilities to evaluate each class's check against (dictionary literals).
    pub capability_sets: Vec<String>,
    /// Requirements per class, in the order of `classes`.
    pub requirements: Vec<Option<String>>,
    /// Whether the import may be done once for all actors.
    pub preload: bool,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// One a class, in the order asked.
    pub classes: Vec<PreparedClass>,
    /// Why actors must import for themselves, if they must.
    pub per_actor: Option<String>,
}

/// A worker's process is gone, and all that it had forked into its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerEnded {
    /// Its actor.
    pub actor: ActorId,
    /// Its process id.
    pub pid: u32,
    /// Exit code, or minus the signal; `None`: it went with its forkserver.
    pub status: Option<i32>,
    /// The last lines that it wrote.
    pub stderr_tail: String,
}

/// Where [`WorkerEnded`] arrive; as many as workers were started, so it needs no bound.
pub type Ends = mpsc::UnboundedReceiver<WorkerEnded>;

/// Handle to worker hosting.
#[derive(Debug, Clone)]
pub struct Hosting {
    forkservers: Arc<Forkservers>,
    workers: Arc<Workers>,
}

impl Hosting {
    /// Makes this process the reaper of all that it starts and lets it open as many files as it
    /// may; starts no Python yet.
    ///
    /// Call it once, inside the runtime that is to do the work.
    ///
    /// # Errors
    /// When the system refuses a signal handler or a thread.
    pub fn start(config: HostingConfig) -> std::io::Result<(Self, Ends)> {
        resources::raise_open_files();
        let fates = process::start_reaper()?;
        let (sender, ends) = mpsc::unbounded_channel();
        let workers = Arc::new(Workers::new(Arc::clone(&fates), sender));
        let forkservers = Arc::new(Forkservers::new(config, fates)?);
        tokio::spawn(Forkservers::keep_trim(Arc::downgrade(&forkservers)));
        let handle = Self {
            forkservers,
            workers,
        };
        Ok((handle, ends))
    }

    /// Imports what the classes need in the origin's forkserver and looks at them.
    ///
    /// # Errors
    /// [`ActorFailure`]; `TimedOut` and `ProcessDied` when the import hung or crashed.
    pub async fn prepare(
        &self,
        setup: OriginSetup,
        request: PrepareRequest,
    ) -> Result<Prepared, ActorFailure> {
        let forkservers = Arc::clone(&self.forkservers);
        let prepared = self
            .forkservers
            .tasks()
            .spawn(async move { forkservers.prepare(setup, request).await });
        prepared
            .await
            .unwrap_or_else(|_cause| Err(process::going_down()))
    }

    /// Tells where the code of an origin lies, for a [`Hosting::spawn`] without preparation.
    pub async fn set_up(&self, setup: OriginSetup) {
        self.forkservers.set_up(setup).await;
    }

    /// Starts the process of an actor; answers its process id as soon as it is forked.
    ///
    /// # Errors
    /// [`ActorFailure`]; then no [`WorkerEnded`] follows.
    ///
    /// # Cancel safety
    /// A dropped call is carried through; its worker ends as any other.
    pub async fn spawn(&self, spec: WorkerSpec) -> Result<u32, ActorFailure> {
        let (forkservers, workers) = (Arc::clone(&self.forkservers), Arc::clone(&self.workers));
        let started = self.forkservers.tasks().spawn(async move {
            let link = forkservers.serving(&spec.origin).await?;
            let spawned = workers.spawn(&forkservers, link, spec.clone()).await;
            match spawned {
                // The forkserver was dying when it was asked; whatever it had forked dies with it.
                Err(failure) if failure.code == FailureCode::ProcessDied => {
                    let link = forkservers.serving(&spec.origin).await?;
                    workers.spawn(&forkservers, link, spec).await
                }
                spawned => spawned,
            }
        });
        started
            .await
            .unwrap_or_else(|_cause| Err(process::going_down()))
    }

    /// Takes a connection on which a forkserver said Hello.
    pub fn forkserver_connected(
        &self,
        hello: &Hello,
        pid: u32,
        stream: UnixStream,
        read_ahead: Vec<u8>,
    ) {
        let dialled = Dialled {
            pid,
            stream,
            read_ahead,
        };
        self.forkservers.dialled(hello, dialled);
    }

    /// Takes a connection that has become a worker's standard output and error.
    pub fn stdio_connected(
        &self,
        hello: &Hello,
        pid: u32,
        stream: UnixStream,
        read_ahead: Vec<u8>,
    ) {
        let dialled = Dialled {
            pid,
            stream,
            read_ahead,
        };
        self.workers.stdio(hello, dialled, self.forkservers.tasks());
    }

    /// Kills an actor's process group; false when it has no process (any more).
    #[must_use]
    pub fn kill(&self, actor: ActorId) -> bool {
        self.workers.kill(actor)
    }

    /// Where an actor's threads stand now, as Python tracebacks.
    ///
    /// # Errors
    /// [`DumpError`]: it has no process, or did not say in time.
    pub async fn dump(&self, actor: ActorId) -> Result<String, DumpError> {
        self.workers.dump(actor).await
    }

    /// The last lines that an actor's process wrote.
    #[must_use]
    pub fn tail(&self, actor: ActorId) -> Option<String> {
        self.workers.tail(actor)
    }

    /// The process of an actor, while it has one.
    #[must_use]
    pub fn pid(&self, actor: ActorId) -> Option<u32> {
        self.workers.pid(actor)
    }

    /// Lets the origin's forkserver end once its last worker has; the next use starts another.
    pub async fn finish(&self, origin: &Origin) {
        self.forkservers.finish(origin).await;
    }

    /// As [`Hosting::finish`], and forgets where the origin's code lies: it is to be removed.
    pub async fn forget(&self, origin: &Origin) {
        self.forkservers.forget(origin).await;
    }

    /// Lets forkservers end that nothing has used for `idle`. Hosting does so by itself with a
    /// minute; call it when memory is short.
    pub async fn end_idle(&self, idle: Duration) {
        self.forkservers.end_idle(idle).await;
    }

    /// Waits until all workers have ended, at most `grace`; kills what is left, then every
    /// forkserver, and answers when no process of theirs is left.
    pub async fn shutdown(&self, grace: Duration) {
        self.forkservers.close();
        self.workers.end_all(grace).await;
        self.forkservers.end_all().await;
    }
}
