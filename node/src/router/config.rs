//! What the agent gives the router at its start, and what it tells it about an actor.

use std::fmt;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::{ActorId, Incarnation, NodeId, ProgramId, SourceHash, limits};

/// What the router must know about its node.
pub struct Config {
    /// This run of the node.
    pub incarnation: Incarnation,
    /// The node.
    pub node: NodeId,
    /// Its name.
    pub node_name: String,
    /// Its capabilities, a dictionary literal.
    pub capabilities: String,
    /// Version of the program.
    pub version: String,
    /// Serials of addresses; the agent allots from the same.
    pub serials: Arc<Serials>,
    /// Whether nodes of the same user on this host, of other conventions, are reached as well.
    pub neighbours: bool,
    /// Bounds.
    pub limits: Limits,
    /// Who may connect to the control socket, and with which rights.
    pub authorize: Authorize,
}

/// Decides what the process at the other end of the control socket may do; `None`: nothing.
pub type Authorize = Box<dyn Fn(Peer) -> Option<Rights> + Send>;

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("incarnation", &self.incarnation)
            .field("node", &self.node)
            .field("node_name", &self.node_name)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// The two sockets, bound by the agent.
#[derive(Debug)]
pub struct Listeners {
    /// For clients and commands.
    pub control: UnixListener,
    /// For processes that the node started.
    pub workers: UnixListener,
}

/// Who is at the other end of a connection, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Process, where the kernel tells it.
    pub pid: Option<u32>,
}

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rights {
    /// Ask, tell, list, look up, create actors from loaded sources.
    Use,
    /// Everything.
    Operate,
}

/// An actor that the agent has started, or is about to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorRecord {
    /// Its address.
    pub actor: ActorId,
    /// The secret that its process shows, once.
    pub token: String,
    /// Who created it; [`ActorId::NONE`]: a top-level actor.
    pub parent: ActorId,
    /// Its source; `None`: a client's environment.
    pub source: Option<SourceHash>,
    /// The program of that environment; zeros: it is of a source.
    pub program: ProgramId,
    /// `pkg.mod.Class`.
    pub class: String,
    /// Its global name.
    pub global_name: Option<String>,
}

/// Serials of the addresses that this run of the node allots.
///
/// 1 is the node's own; single ones and the ranges of actors for their children never meet.
#[derive(Debug)]
pub struct Serials {
    single: AtomicU64,
    ranges: AtomicU64,
}

impl Serials {
    /// Serial of the node itself.
    pub const NODE: u64 = 1;

    /// None allotted yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            single: AtomicU64::new(Self::NODE + 1),
            ranges: AtomicU64::new(1),
        }
    }

    /// A serial for one client or top-level actor.
    pub fn single(&self) -> u64 {
        self.single.fetch_add(1, Ordering::Relaxed)
    }

    /// The first of [`limits::ALLOTMENT`] serials for the children of one actor.
    pub fn range(&self) -> u64 {
        self.ranges
            .fetch_add(1, Ordering::Relaxed)
            .saturating_mul(limits::ALLOTMENT)
    }
}

impl Default for Serials {
    fn default() -> Self {
        Self::new()
    }
}

/// Bounds of the router; [`Limits::default`] is what `protocol::limits` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Messages of a pair on the way before the sender waits.
    pub credit_messages: u32,
    /// Bytes of a pair on the way before the sender waits.
    pub credit_bytes: u64,
    /// Bytes sent to a connection ahead of what it took.
    pub window_bytes: u64,
    /// Bytes of a held role for which credit is given back at once; beyond, senders wait.
    pub hold_bytes_max: u64,
    /// Dead letters kept for inspection.
    pub dead_letters_kept: usize,
    /// A worker that waits longer for credit loses the message.
    pub blocked_ms: u64,
    /// Bytes of frames outside of credit (SYSTEM, envelopes) that may wait for one target.
    pub uncredited_bytes_max: u64,
    /// Roles that are looked for at a time; anybody may name new ones.
    pub roles_sought_max: usize,
    /// Roles of the table from which on those are forgotten that were looked for in vain.
    pub roles_kept: usize,
    /// Bytes of control frames that a connection may leave unread.
    pub unread_bytes_max: u64,
    /// Requests of one connection without an answer.
    pub requests_max: u32,
    /// Connections that have not said Hello.
    pub greeting_max: usize,
    /// Time for Hello.
    pub greeting_ms: u64,
    /// Time that closing waits for the last bytes to leave.
    pub closing_ms: u64,
    /// Time that messages wait for a link, or for word on where an actor lives.
    pub link_wait_ms: u64,
    /// Longest time that credit and receipts are kept back from another node.
    pub link_tick_ms: u64,
    /// Time after which an actor or client of another node that is quiet is forgotten.
    pub proxy_idle_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            credit_messages: limits::CREDIT_MESSAGES,
            credit_bytes: limits::CREDIT_BYTES,
            window_bytes: limits::WINDOW_BYTES,
            hold_bytes_max: limits::HOLD_BYTES_MAX,
            dead_letters_kept: limits::DEAD_LETTERS_KEPT,
            blocked_ms: 300_000,
            uncredited_bytes_max: 64 << 20,
            // An answer takes the leader milliseconds, and 6 s where there is none.
            roles_sought_max: 1_024,
            // As many as a large convention plays; an entry has some hundred bytes.
            roles_kept: 10_000,
            unread_bytes_max: 64 << 20,
            requests_max: 1024,
            greeting_max: 256,
            greeting_ms: 5_000,
            closing_ms: 1_000,
            link_wait_ms: 10_000,
            link_tick_ms: 200,
            proxy_idle_ms: 5_000,
        }
    }
}
