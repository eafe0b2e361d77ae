//! What this node is in its convention: the parts that all of `cluster` shares.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::wire::Refusal;
use protocol::{Incarnation, NodeId};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::task::TaskTracker;
use transport::endpoint::BindFault;
use transport::{Connection, CredentialsCell, Endpoint};

use super::admission::Admission;
use super::audit::Audit;
use super::endpoint;
use super::identity::{Identity, IdentityError};
use super::lease::Lease;
use super::peers::Peers;
use super::reachable;
use super::registry::RegistryHandle;
use super::sessions::Sessions;
use crate::agent::binder::Sought;
use crate::directory::Settings;

/// This node's membership; one per process, shared by its tasks.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) me: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) name: String,
    // What its own settings say.
    may_vote: bool,
    // Where the node that has fetched this one into its convention is reached. Held for a look.
    invited_by: Mutex<Option<String>>,
    // Held for a look or the few writes of a renewal, never across an await.
    identity: Mutex<Identity>,
    pub(crate) credentials: Arc<CredentialsCell>,
    pub(crate) registry: Arc<RegistryHandle>,
    pub(crate) endpoint: Endpoint,
    pub(crate) peers: Peers,
    pub(crate) audit: Audit,
    /// Whether this node may deliver to Director actors by role or name.
    pub(crate) lease: Lease,
    /// The sessions of the others, while this node leads.
    pub(crate) sessions: Sessions,
    /// Who waits to be let in, while this node leads.
    pub(crate) admission: Admission,
    /// The leader with which this node has a session, also where it is a voter that the leader
    /// sends nothing any more.
    pub(crate) session_with: watch::Sender<Option<NodeId>>,
    /// How often this run came back after it had counted as lost.
    pub(crate) returned: watch::Sender<u64>,
    /// Last index that the router has, roles included.
    pub(crate) bound: watch::Sender<u64>,
    /// What is asked of who binds the roles.
    pub(crate) sought: watch::Sender<Sought>,
    /// Whether the router delivers by role and name; behind the lease by what that takes.
    pub(crate) serves: watch::Sender<bool>,
    /// What keeps this node from being a member with a live session, for people; `None`: nothing.
    pub(crate) trouble: watch::Sender<Option<String>>,
    /// Another authority issues than the one of this node's certificate.
    pub(crate) renewal: Notify,
    /// Moves with each new certificate and key of the authority here: the leader waits for them.
    pub(crate) certified: watch::Sender<u64>,
    lanes: mpsc::UnboundedSender<Connection>,
    waiting: Mutex<Waiting>,
}

/// What is taken once, by the task that serves it.
#[derive(Debug, Default)]
struct Waiting {
    dialled: Option<mpsc::UnboundedReceiver<Connection>>,
    lanes: Option<mpsc::UnboundedReceiver<Connection>>,
}

/// The membership cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeUpFault {
    /// The port.
    #[error(transparent)]
    Bind(#[from] BindFault),
    /// The identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A node on another address of this host has the port, and with it the sockets' names.
    #[error("a node on another address of this host uses port {port}")]
    Taken {
        /// The port.
        port: u16,
    },
    /// The system.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Membership {
    /// Binds the port and takes up who this node is; its registry is still empty.
    pub(crate) fn take_up(
        identity: Identity,
        incarnation: Incarnation,
        settings: &Settings,
        tasks: &TaskTracker,
        is_taken: impl Fn(u16) -> bool,
    ) -> Result<(Self, u16), TakeUpFault> {
        let me = identity.node();
        let credentials = Arc::new(match identity.credentials()? {
            Some(credentials) => CredentialsCell::new(credentials),
            None => CredentialsCell::empty(),
        });
        let registry = Arc::new(RegistryHandle::new(tasks.clone()));
        let listen = settings.listen;
        let mut tries = FREE_PORT_TRIES;
        let (endpoint, port) = loop {
            let bound = endpoint::bind(
                listen,
                settings.admin_port,
                incarnation,
                &credentials,
                &registry,
            )?;
            let port = bound.local_address()?.port();
            tries -= 1;
            if !is_taken(port) {
                break (bound, port);
            }
            if settings.admin_port != 0 || tries == 0 {
                return Err(TakeUpFault::Taken { port });
            }
        };
        let address = reachable::address(settings, listen, port);
        let hints = settings.convention_leaders.iter().map(reachable::dialled);
        let (peers, dialled) = Peers::new(
            me,
            address,
            endpoint.clone(),
            Arc::clone(&registry),
            hints.collect(),
        );
        registry.reach(&peers);
        let (lanes, lanes_waiting) = mpsc::unbounded_channel();
        let membership = Self {
            me,
            incarnation,
            name: settings.node_name.clone(),
            may_vote: settings.voter,
            invited_by: Mutex::default(),
            identity: Mutex::new(identity),
            credentials,
            audit: Audit::new(Arc::clone(&registry), tasks.clone()),
            registry,
            endpoint,
            peers,
            lease: Lease::default(),
            sessions: Sessions::default(),
            admission: Admission::default(),
            session_with: watch::Sender::new(None),
            returned: watch::Sender::new(0),
            bound: watch::Sender::new(0),
            sought: watch::Sender::default(),
            serves: watch::Sender::new(false),
            trouble: watch::Sender::new(None),
            renewal: Notify::new(),
            certified: watch::Sender::new(0),
            lanes,
            waiting: Mutex::new(Waiting {
                dialled: Some(dialled),
                lanes: Some(lanes_waiting),
            }),
        };
        Ok((membership, port))
    }

    /// Whether this node leads now.
    pub(crate) fn leads(&self) -> bool {
        self.registry.standing().borrow().leads
    }

    /// Whether this node lets itself be made a voter. One that was invited does not: its convention
    /// is its inviter's, and ends for it with that one.
    pub(crate) fn may_vote(&self) -> bool {
        self.may_vote && self.invited_by().is_none()
    }

    /// Where the node is reached that has fetched this one into its convention, if one has.
    pub(crate) fn invited_by(&self) -> Option<String> {
        let by = self.invited_by.lock();
        by.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on this node is in a convention because of an invitation, or is not.
    pub(super) fn set_invited(&self, by: Option<String>) {
        let held = self.invited_by.lock();
        *held.unwrap_or_else(PoisonError::into_inner) = by;
    }

    /// Where others reach this node.
    pub(crate) fn address(&self) -> &str {
        self.peers.address()
    }

    /// Who this node is.
    pub(crate) fn identity(&self) -> MutexGuard<'_, Identity> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connections that this node dials, to be served; once.
    pub(super) fn take_dialled(&self) -> Option<mpsc::UnboundedReceiver<Connection>> {
        self.waiting().dialled.take()
    }

    /// `lane/1` connections, whoever dialled them; once.
    pub(crate) fn take_lanes(&self) -> Option<mpsc::UnboundedReceiver<Connection>> {
        self.waiting().lanes.take()
    }

    /// Hands a `lane/1` connection to whoever took the lanes.
    pub(super) fn lane(&self, connection: Connection) {
        let _nobody_takes_them = self.lanes.send(connection);
    }

    /// Closes all connections and the port.
    pub(crate) async fn close(&self) {
        let refusal = Refusal::new(
            protocol::wire::RefusalCode::Stopping,
            format!("node `{}` is stopping", self.name),
        );
        let closing = self.endpoint.close(&refusal);
        let _peers_may_be_gone = tokio::time::timeout(CLOSE_LIMIT, closing).await;
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Free ports that are tried until one has no node on another address of this host.
const FREE_PORT_TRIES: u32 = 16;

/// How long peers may take to learn that this node stops.
const CLOSE_LIMIT: std::time::Duration = std::time::Duration::from_millis(500);
