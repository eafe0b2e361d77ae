//! Start and stop of a node, each in one place and in order.
//!
//! Start: settings, identity, port and sockets, the registry, hosting, router, then the tasks that
//! follow the registry; only then the record that says "here I am".
//! Stop: the member is marked down, actors are asked to exit, workers end, the router closes, the
//! log closes, sockets and record go.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use leader::reconcile::{ProposeFailure, Replica};
use leader::{FatalError, OpenError};
use protocol::Incarnation;
use protocol::registry::Command;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::actors::Actors;
use super::applications::{self, Applications};
use super::leftovers::{self, Pins};
use super::log_plan;
use super::node::{Node, Patience, stamp};
use super::sources::{Sources, SourcesConfig};
use super::{binder, events};
use crate::authority::SourceAuthority;
use crate::cluster::identity::{Identity, IdentityError, draw};
use crate::cluster::membership::{Membership, TakeUpFault};
use crate::cluster::mutual::Mutual;
use crate::cluster::packages::Packages;
use crate::cluster::warnings::{self, Warning, Warnings};
use crate::cluster::{farewell, founding, lanes, leadership, same_user, start, voters};
use crate::directory::{
    Directory, NodeRecord, Settings, SettingsError, log_socket_path, relay_socket_path,
    runtime_folder, socket_path, worker_socket_path,
};
use crate::hosting::{Ends, Hosting, HostingConfig, PythonPolicy, WorkerEnvironment};
use crate::router::{self, Config as RouterConfig, Limits, Listeners, Router, Serials};
use crate::store::PackageStore;

/// What a node is started with.
#[derive(Debug)]
pub struct Options {
    /// Its Director directory.
    pub directory: Directory,
    /// The Python that started it, if a Python program did.
    pub python_hint: Option<PathBuf>,
    /// Found a convention even where `convleader.cfg` lists other nodes.
    pub found: bool,
    /// The program's own warnings, for the leader's log.
    pub warnings: Option<mpsc::Receiver<Warning>>,
}

/// A running node.
#[derive(Debug)]
pub struct Agent {
    node: Arc<Node>,
    router: Router,
    record: NodeRecord,
    hosting_stopped: CancellationToken,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The Director directory or a file in it.
    #[error(transparent)]
    Directory(#[from] crate::directory::DirectoryError),
    /// A setting.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Another process serves the directory.
    #[error("a node already serves `{}` (process {pid})", .directory.display())]
    Running {
        /// The directory.
        directory: PathBuf,
        /// The process.
        pid: u32,
    },
    /// The admin port is taken.
    #[error("UDP port {port} (`adminport.cfg`) cannot be bound")]
    Port {
        /// The port.
        port: u16,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A socket cannot be made.
    #[error("the socket `{path}` cannot be made", path = .path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The node's identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The registry's log.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The registry cannot be written.
    #[error(transparent)]
    Registry(#[from] ProposeFailure),
    /// The system.
    #[error("the state folder or a thread of the node cannot be set up")]
    System(#[from] io::Error),
}

impl StartError {
    fn of(fault: TakeUpFault, port: u16) -> Self {
        match fault {
            TakeUpFault::Identity(error) => error.into(),
            TakeUpFault::Io(error) => error.into(),
            taken @ (TakeUpFault::Bind(_) | TakeUpFault::Taken { .. }) => Self::Port {
                port,
                cause: Box::new(taken),
            },
        }
    }

    /// The next step to take.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Directory(error) => error.hint(),
            Self::Settings(error) => error.hint(),
            Self::Running { .. } => "`director shutdown` stops it".to_owned(),
            Self::Port { port, .. } => format!(
                "find out who uses it with `ss -ulpn sport = :{port}`, or write another port \
                 into `adminport.cfg`"
            ),
            Self::Socket { .. } => "check the rights of the folder".to_owned(),
            Self::Identity(IdentityError::Damaged { .. }) | Self::Log(_) => {
                "restore `state/` from a backup, or move it away to start as a new node".to_owned()
            }
            Self::Identity(_) | Self::System(_) | Self::Registry(_) => {
                "check the disk and the rights of the Director directory".to_owned()
            }
        }
    }
}

impl Agent {
    /// Starts a node; it serves commands when this returns.
    ///
    /// # Errors
    /// [`StartError`]; then nothing of it is left running.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        Self::start_with(options, Patience::default()).await
    }

    /// As [`Self::start`], with other times to wait for actors.
    ///
    /// # Errors
    /// [`StartError`]; then nothing of it is left running.
    pub async fn start_with(options: Options, patience: Patience) -> Result<Self, StartError> {
        let directory = options.directory;
        directory.check()?;
        let read = directory.settings()?;
        let mut warnings: Vec<_> = read.warnings.iter().map(ToString::to_string).collect();
        let settings = read.settings;
        let state = directory.state();
        state.create()?;
        not_running(&directory)?;
        let incarnation = Incarnation(draw());
        let folder = runtime_folder()?;
        let is_served = |port| answers_within(&socket_path(&folder, port), SERVED_LIMIT);
        let found = start::founds(&settings, options.found).await
            || directory.is_private() && start::is_first(&settings, is_served).await;
        let mut identity = Identity::open(&state, found, stamp())?;
        if directory.is_private() {
            identity.trust_user(same_user::secret(&folder)?);
        }
        let tasks = TaskTracker::new();
        let is_taken = |port| answers(&socket_path(&folder, port));
        let taken_up = Membership::take_up(identity, incarnation, &settings, &tasks, is_taken);
        let (membership, port) =
            taken_up.map_err(|fault| StartError::of(fault, settings.admin_port))?;
        let membership = Arc::new(membership);
        let socket = socket_path(&folder, port);
        let worker_socket = worker_socket_path(&folder, port);
        let listeners = Listeners {
            control: listen(&socket, 0o666)?,
            workers: listen(&worker_socket, 0o600)?,
        };
        let relay =
            tokio::net::UnixListener::from_std(listen(&relay_socket_path(&folder, port), 0o600)?)?;
        let log = log_plan::variable(&settings).map(|_plan| log_socket_path(&folder, port));
        let voter_to_be = start::take_part(&membership, &state).await?;
        let replica = Arc::clone(&membership.registry);
        let store = PackageStore::new(state.packages()?, settings.store_limit_bytes);
        let named = replica.read(leftovers::named);
        let (path, swept) = (state.path().to_owned(), store.clone());
        tokio::task::spawn_blocking(move || leftovers::sweep(&path, &swept, &named))
            .await
            .map_err(io::Error::other)?;
        let (hosting, ends) = Hosting::start(HostingConfig {
            state: state.path().to_owned(),
            worker_socket: worker_socket.clone(),
            runtime: None,
            environment: environment(&settings),
            import_timeout: Duration::from_secs(60),
        })?;
        let sources = Sources::new(SourcesConfig {
            state: state.path().to_owned(),
            policy: PythonPolicy::of_process(settings.python.clone(), options.python_hint),
            python_path: settings.python_path.clone(),
            other_capabilities: settings.other_capabilities.clone(),
            port,
            start_ms: stamp().0,
        });
        if let Err(error) = sources.interpreter(None) {
            warnings.push(error);
        }
        warnings
            .iter()
            .for_each(|warning| tracing::warn!(warning, "noticed at the start"));
        let serials = Arc::new(Serials::new());
        let (sender, events) = mpsc::unbounded_channel();
        let config = RouterConfig {
            incarnation,
            node: membership.me,
            node_name: settings.node_name.clone(),
            capabilities: sources.capabilities(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            serials: Arc::clone(&serials),
            neighbours: directory.is_private(),
            limits: Limits::default(),
            authorize: super::rights::authorize(settings.client_group.as_deref()),
        };
        let (handle, router) = router::start(config, listeners, sender)?;
        let record = NodeRecord {
            pid: std::process::id(),
            port,
            socket: socket.clone(),
            incarnation,
        };
        let authority = SourceAuthority::new(directory.clone());
        let node = Arc::new(Node {
            id: membership.me,
            incarnation,
            port,
            packages: Arc::new(Packages::new(store.clone(), authority.clone())),
            authority,
            store,
            directory,
            settings,
            warnings,
            sources,
            hosting,
            router: handle,
            serials,
            actors: Actors::default(),
            applications: Applications::new(state.applications()),
            pins: Pins::default(),
            membership,
            replica,
            mutual: Mutual::default(),
            for_leader: Warnings::new(log),
            tasks,
            answering: TaskTracker::new(),
            patience,
            stop: CancellationToken::new(),
            shutdown: CancellationToken::new(),
        });
        node.tasks
            .spawn(warnings::collect(Arc::clone(&node), relay));
        if let Some(own) = options.warnings {
            node.tasks.spawn(warnings::own(Arc::clone(&node), own));
        }
        let agent = Self {
            node,
            router,
            record,
            hosting_stopped: CancellationToken::new(),
        };
        founding::announce(&agent.node).await?;
        agent.follow(events, ends);
        if let Some(log) = voter_to_be {
            voters::go_on(&agent.node, log);
        }
        if let Some(trouble) = start::ready(&agent.node).await {
            tracing::warn!(
                trouble,
                "commands are served, but not by the convention yet"
            );
        }
        state.write_record(&agent.record)?;
        tracing::info!(node = %agent.node.id, port, "node serves");
        Ok(agent)
    }

    #[cfg(test)]
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Which process serves where.
    #[must_use]
    pub fn record(&self) -> NodeRecord {
        self.record.clone()
    }

    /// Serves until `shutdown` is cancelled or a command asks for it, then stops in order.
    ///
    /// # Errors
    /// [`FatalError`] when it stopped because it can write its log no longer: somebody has to look
    /// at its disk, and who supervises it may start it again.
    pub async fn serve(self, shutdown: CancellationToken) -> Result<(), FatalError> {
        let node = Arc::clone(&self.node);
        let fatal = tokio::select! {
            biased;
            () = shutdown.cancelled() => None,
            () = node.stop.cancelled() => None,
            () = node.shutdown.cancelled() => None,
            fatal = node.replica.failed() => Some(fatal),
        };
        if let Some(fatal) = &fatal {
            let cause = std::error::Error::source(fatal).map(ToString::to_string);
            let cause = cause.unwrap_or_default();
            tracing::error!(%fatal, cause, "the registry's log failed; the node stops");
        }
        self.stop().await;
        fatal.map_or(Ok(()), Err)
    }

    async fn stop(self) {
        let node = self.node;
        tracing::info!("node stops");
        node.stop.cancel();
        let stopped = Command::MemberStopped {
            node: node.id,
            stamp: stamp(),
        };
        leadership::serve_no_roles(&node).await;
        let told = Replica::propose(&*node.replica, stopped);
        let told = tokio::time::timeout(STOPPED_LIMIT, told);
        tokio::select! {
            biased;
            told = told => match told {
                Ok(Ok((index, _))) => farewell::heard(&node.membership.sessions, index).await,
                Ok(Err(failure)) => tracing::warn!(%failure, "the stop is not in the registry"),
                Err(_elapsed) => tracing::warn!("the stop is not in the registry: no answer"),
            },
            () = leadership::leaderless(&node) => {
                tracing::warn!("the stop is not in the registry: nobody leads");
            }
        }
        leadership::hand_over(&node).await;
        node.shutdown.cancel();
        let exits = node.actors.all().into_iter().map(|actor| {
            let node = Arc::clone(&node);
            node.tasks
                .clone()
                .spawn(async move { node.exit(actor, EXIT_GRACE).await })
        });
        for exit in exits.collect::<Vec<_>>() {
            let _joined = exit.await;
        }
        node.hosting.shutdown(Duration::from_secs(1)).await;
        self.hosting_stopped.cancel();
        // One of them may have asked for this stop, and is not through with its answer.
        node.answering.close();
        let _in_vain = tokio::time::timeout(ANSWERS_GRACE, node.answering.wait()).await;
        node.router.close().await;
        node.membership.close().await;
        node.replica.let_go();
        node.tasks.close();
        if tokio::time::timeout(TASKS_GRACE, node.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("tasks were left behind at the stop");
        }
        node.replica.shutdown().await;
        node.applications.remove_files();
        let record = self.record;
        remove_sockets(&record.socket, record.port);
        if let Err(cause) = node.directory.state().remove_record(record.incarnation) {
            tracing::warn!(%cause, "the record of the node was not removed");
        }
        let _joined = tokio::task::spawn_blocking(|| self.router.join()).await;
        if node.mutual.leaves.load(Ordering::Acquire)
            && let Err(cause) = fs::remove_dir_all(node.directory.state().path())
        {
            tracing::warn!(%cause, "the state of a node that has left stays behind: remove it");
        }
        tracing::info!("node stopped");
    }

    /// Starts the tasks that serve the router, hosting and the registry.
    fn follow(&self, events: mpsc::UnboundedReceiver<router::AgentEvent>, ends: Ends) {
        let node = &self.node;
        leadership::equip(node);
        node.tasks
            .spawn(events::from_router(Arc::clone(node), events));
        node.tasks.spawn(events::from_hosting(
            Arc::clone(node),
            ends,
            self.hosting_stopped.clone(),
        ));
        node.tasks.spawn(binder::run(Arc::clone(node)));
        node.tasks.spawn(applications::follow(Arc::clone(node)));
        node.tasks.spawn(leadership::run(Arc::clone(node)));
        node.tasks.spawn(leadership::run_offline(Arc::clone(node)));
        node.tasks.spawn(lanes::run(Arc::clone(node)));
        let packages = (Arc::clone(node), Arc::clone(&node.packages));
        node.tasks.spawn(async move {
            let (node, packages) = packages;
            let named = || node.replica.read(leftovers::named);
            let keys = packages.follow_keys(named, node.shutdown.clone());
            tokio::join!(keys, packages.drop_leftovers(named, node.shutdown.clone()));
        });
        start::run(node);
    }
}

/// Time for an actor to handle its exit request at shutdown.
const EXIT_GRACE: Duration = Duration::from_secs(5);

/// Time for the leader to hear that this node stops.
const STOPPED_LIMIT: Duration = Duration::from_secs(3);

/// Time for the last answers to be given.
const ANSWERS_GRACE: Duration = Duration::from_secs(1);

/// Time for the last tasks to end.
const TASKS_GRACE: Duration = Duration::from_secs(5);

/// What `pickle.cfg` allows, for the forkservers, which take it out of the environment.
const PICKLE_VARIABLE: &str = "DIRECTOR_PICKLE_ALLOW";

fn not_running(directory: &Directory) -> Result<(), StartError> {
    let Ok(Some(record)) = directory.state().record() else {
        return Ok(());
    };
    if answers(&record.socket) {
        let directory = directory.path().to_owned();
        return Err(StartError::Running {
            directory,
            pid: record.pid,
        });
    }
    // A killed node leaves its sockets; with `adminport.cfg` 0 nobody would bind in their place.
    remove_sockets(&record.socket, record.port);
    Ok(())
}

/// Whether somebody waits for a hello behind the socket; a process that is dying does not.
fn answers(socket: &Path) -> bool {
    answers_within(socket, DYING_LIMIT)
}

fn answers_within(socket: &Path, limit: Duration) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else {
        return false;
    };
    let waits = stream
        .set_read_timeout(Some(limit))
        .and_then(|()| stream.read(&mut [0]));
    waits.is_err_and(|cause| cause.kind() == io::ErrorKind::WouldBlock)
}

/// How long a node that is listed has to wait for a hello to count as running.
const SERVED_LIMIT: Duration = Duration::from_millis(20);

/// How long a killed process may take to be gone.
const DYING_LIMIT: Duration = Duration::from_secs(1);

/// Binds a socket in place of one that a killed node left behind.
fn listen(path: &Path, mode: u32) -> Result<UnixListener, StartError> {
    let _stale = fs::remove_file(path);
    let bound = UnixListener::bind(path).and_then(|listener| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|cause| StartError::Socket {
        path: path.to_owned(),
        cause,
    })
}

fn remove_sockets(socket: &Path, port: u16) {
    let _gone = fs::remove_file(socket);
    if let Some(folder) = socket.parent() {
        for path in [worker_socket_path, relay_socket_path] {
            let _gone = fs::remove_file(path(folder, port));
        }
    }
}

fn environment(settings: &Settings) -> WorkerEnvironment {
    let entries = settings.environment.as_deref();
    let only = entries.map(|entries| entries.iter().map(|entry| entry.name.clone()).collect());
    let given = entries.unwrap_or_default().iter();
    let given = given.filter_map(|entry| Some((entry.name.clone(), entry.value.clone()?)));
    let mut added: Vec<_> = given.collect();
    if !settings.pickle.is_empty() {
        added.push((PICKLE_VARIABLE.to_owned(), settings.pickle.join(",")));
    }
    added.extend(log_plan::variable(settings));
    WorkerEnvironment {
        without_python: true,
        only,
        withheld: Vec::new(),
        added,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sockets_of_a_killed_node_go_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::at(folder.path());
        let socket = socket_path(folder.path(), 7);
        let workers = worker_socket_path(folder.path(), 7);
        drop(listen(&socket, 0o600).unwrap());
        drop(listen(&workers, 0o600).unwrap());
        let record = NodeRecord {
            pid: std::process::id(),
            port: 7,
            socket: socket.clone(),
            incarnation: Incarnation(1),
        };
        directory.state().create().unwrap();
        directory.state().write_record(&record).unwrap();
        not_running(&directory).unwrap();
        assert!(!socket.exists() && !workers.exists());
    }

    #[test]
    fn the_sockets_of_a_node_that_serves_stay() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::at(folder.path());
        let socket = socket_path(folder.path(), 7);
        let _serving = listen(&socket, 0o600).unwrap();
        let record = NodeRecord {
            pid: std::process::id(),
            port: 7,
            socket: socket.clone(),
            incarnation: Incarnation(1),
        };
        directory.state().create().unwrap();
        directory.state().write_record(&record).unwrap();
        assert!(matches!(
            not_running(&directory),
            Err(StartError::Running { .. })
        ));
        assert!(socket.exists());
    }
}
