//! JSON documents of the control frames between a node and its forkservers, workers and clients.
//!
//! Python values (capabilities, requirements, messages) travel as the text of a literal.
//! Not here: the header in front of each (`header`), the replicated registry (`registry`), what
//! a node shows of itself (`listing`).

mod application;
pub use application::{ActorDelivery, ApplicationRequest};
mod calling;
pub use calling::{NodeAnswer, NodeCall, NodeWish};

mod cluster;
pub use cluster::{
    AuthorityStatus, Candidate, ClusterRequest, ClusterResponse, ConventionStatus, DrawnToken,
    Explanation, Lies, ListedAuthority, ListedEvent, ListedMember, ListedToken, MemberDirectory,
    MemberProgress, OfferedGroup, Reach, WaitingJoiner,
};

mod system;
pub use system::{SystemMessage, SystemStatus};

mod greeting;
pub use greeting::{ConnectionRole, Hello, Welcome};

mod listing;
pub use listing::{DeadLetter, ListedActor, ListedGroup, ListedSource, Match, NodeStatus};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::definition::GroupDefinition;
use crate::id::{ActorId, Incarnation, ProgramId, RequestId, SourceHash};
use crate::registry::HistoryEntry;

/// Where the code of a worker comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A loaded source.
    Source(SourceHash),
    /// The modules of a client program.
    Client(ClientEnvironment),
}

/// The environment of a client whose own classes are actors.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientEnvironment {
    /// The Python interpreter.
    pub interpreter: String,
    /// Its `sys.path`.
    pub sys_path: Vec<String>,
    /// The file of `__main__`, imported again as `__mp_main__`.
    pub main: Option<String>,
    /// Its working directory, for relative entries of the path.
    pub directory: String,
}

impl ClientEnvironment {
    /// Which program this is.
    ///
    /// # Format
    /// SHA-256 over interpreter, main file, directory and the entries of the path, each followed by
    /// a zero byte.
    #[must_use]
    pub fn program(&self) -> ProgramId {
        let main = self.main.as_deref().unwrap_or_default();
        let fields = [self.interpreter.as_str(), main, &self.directory];
        let path = self.sys_path.iter().map(String::as_str);
        let mut digest = Sha256::new();
        for field in fields.into_iter().chain(path) {
            digest.update(field);
            digest.update([0]);
        }
        ProgramId(digest.finalize().into())
    }
}

/// All that a forkserver needs to start one actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerSpec {
    /// Secret that the worker shows in its hello.
    pub token: String,
    /// The actor's address.
    pub actor: ActorId,
    /// Where its code comes from.
    pub origin: Origin,
    /// `pkg.mod.Class`.
    pub class: String,
    /// Who created it; [`ActorId::NONE`] for a top-level actor.
    pub parent: ActorId,
    /// Its global name.
    pub global_name: Option<String>,
    /// `targetActorRequirements`, a dictionary literal.
    pub requirements: Option<String>,
    /// The node's capabilities, a dictionary literal.
    pub capabilities: String,
    /// Run of the node.
    pub incarnation: Incarnation,
    /// First serial of the addresses that the worker may allot to children
    /// (`limits::ALLOTMENT` of them).
    pub allotment: u64,
    /// Variables to set for this worker; a seam, empty today.
    #[serde(default)]
    pub environment: Vec<(String, String)>,
    /// User to run as; a seam, `None` today.
    #[serde(default)]
    pub user: Option<String>,
}

/// From the node to a forkserver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ForkserverRequest {
    /// To the root one: fork a forkserver for this origin. It dials with `token`.
    Fork {
        /// Secret for its hello.
        token: String,
        /// Origin that it serves.
        origin: Origin,
        /// Entries for the front of `sys.path`, the unpacked source first.
        path: Vec<String>,
    },
    /// To one of an origin: import what the classes need, once, and look at them.
    Prepare {
        /// Classes or modules named by the `.tli`.
        classes: Vec<String>,
        /// Sets of capabilities to evaluate each class's check against (dictionary literals).
        capability_sets: Vec<String>,
        /// Requirements per class, in the order of `classes`.
        requirements: Vec<Option<String>>,
        /// Whether the import may be done here, once for all actors.
        preload: bool,
    },
    /// To one of an origin: fork a worker.
    Spawn(WorkerSpec),
    /// End when no child is left.
    Finish,
}

/// What a forkserver answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum ForkserverAnswer {
    /// A forkserver or worker was forked.
    Forked {
        /// Its process id.
        pid: u32,
    },
    /// The classes were looked at.
    Prepared {
        /// One a class, in the order asked.
        classes: Vec<PreparedClass>,
        /// Why actors must import for themselves (threads, open files...), if they must.
        per_actor: Option<String>,
    },
    /// It could not be done.
    Failed(ActorFailure),
}

/// What was found out about one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedClass {
    /// The name as asked.
    pub name: String,
    /// `pkg.mod.Class`, resolved.
    pub class: Option<String>,
    /// Whether each capability set passes the class's check.
    pub fits: Vec<bool>,
    /// Why it cannot be used.
    pub failure: Option<ActorFailure>,
}

/// Why an actor or its code could not be brought up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ActorFailure {
    /// What kind of failure.
    pub code: FailureCode,
    /// One line for people.
    pub message: String,
    /// The Python traceback, if there is one.
    #[serde(default)]
    pub traceback: Option<String>,
}

/// Kinds of [`ActorFailure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// The module could not be imported.
    ImportError,
    /// The module has no such class, the name is not qualified, or it is no Actor.
    InvalidSpecification,
    /// The hash names no loaded source.
    InvalidSourceHash,
    /// The capability check says no here.
    NoCompatibleSystem,
    /// The constructor raised.
    ConstructorFailed,
    /// The process ended before the actor stood.
    ProcessDied,
    /// It took too long.
    TimedOut,
    /// Something else.
    Failure,
}

/// Facts that want no answer. From workers and forkservers to the node, and back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// Worker: the actor is constructed.
    Started,
    /// Worker: the actor could not be constructed; the process ends.
    StartFailed(ActorFailure),
    /// Worker: the actor has handled its exit request and ends now.
    Exiting,
    /// Worker: it waits for credit to send to `target` (`None`: it goes on).
    Blocked {
        /// The target waited for; 32 hex digits.
        target: Option<String>,
        /// Whether its inbox is full, so that nothing more flows to it.
        inbox_full: bool,
    },
    /// Node to worker: the wait for credit cannot end; the message is a dead letter.
    Unblock {
        /// Why.
        reason: String,
    },
    /// Forkserver: a child has ended.
    ChildEnded {
        /// Its process id.
        pid: u32,
        /// Exit code, or minus the signal.
        status: i32,
    },
    /// Worker or client: it becomes (or is no longer) the handler of dead letters.
    HandleDeadLetters {
        /// Whether it handles them from now on.
        on: bool,
    },
    /// Node to asker: its ask will not be answered.
    AskEnded {
        /// `sequence` of the ask.
        sequence: u64,
        /// The target it was for, 32 hex digits.
        target: String,
        /// What is known.
        outcome: AskOutcome,
        /// Why.
        reason: String,
    },
    /// Node to asker: a marker that nothing more comes; reserved for orderly closing.
    Closing,
}

/// How an ask ended that was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskOutcome {
    /// It was never handed to the actor.
    DeadLettered,
    /// It was handed to the actor, which ended before answering.
    Unknown,
}

/// A request of a worker or a client to its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// Create an actor. Asked with number 0 by an actor: a failure comes as ChildActorExited.
    CreateActor {
        /// Address allotted by the creator; `None`: the node allots one.
        actor: Option<ActorId>,
        /// `pkg.mod.Class`.
        class: String,
        /// The source; `None`: the creator's own, or found by module name.
        source: Option<SourceHash>,
        /// The client's own environment, when its modules may define the class.
        client: Option<ClientEnvironment>,
        /// `targetActorRequirements`, a dictionary literal.
        requirements: Option<String>,
        /// Name to register; an actor that has it already is returned instead.
        global_name: Option<String>,
    },
    /// Find role, global name or address.
    Resolve {
        /// What to look for.
        target: String,
        /// Only in this group.
        group: Option<String>,
        /// As the leader confirms it, instead of as this node knows it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        confirmed: bool,
    },
    /// Who and what the node is.
    Status,
    /// Load the package that was uploaded under this request's number.
    Load {
        /// Idempotency id.
        request: RequestId,
        /// The group.
        group: String,
        /// The version; `None`: a file without one.
        version: Option<String>,
        /// The file that it came from, for people.
        path: String,
        /// The group's definition as evaluated by the caller.
        definition: GroupDefinition,
        /// Who asks, for the history.
        by: String,
        /// Answer at commit already.
        no_wait: bool,
        /// Only if the version is higher than the active one, and not withdrawn (`refresh`).
        upwards_only: bool,
        /// Whether all members pull and verify it first (`cluster load`).
        #[serde(default, skip_serializing_if = "Reach::is_default")]
        reach: Reach,
        /// Nothing was uploaded: the package lies in the Director directory of another member.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lies: Option<Lies>,
    },
    /// Unload a source.
    Unload {
        /// Idempotency id.
        request: RequestId,
        /// Unambiguous prefix of the hash.
        hash: String,
        /// Do not wait for its actors to drain.
        now: bool,
        /// Who asks.
        by: String,
    },
    /// Switch a group back to the version before.
    Rollback {
        /// Idempotency id.
        request: RequestId,
        /// The group.
        group: String,
        /// Who asks.
        by: String,
    },
    /// What is loaded and running.
    List {
        /// Only this group.
        group: Option<String>,
        /// As this node knows it, without asking the leader.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        stale: bool,
    },
    /// Act on the actors of a role.
    Role {
        /// What to do.
        action: RoleAction,
        /// The role.
        role: String,
        /// Only in this group.
        group: Option<String>,
        /// Who asks.
        by: String,
    },
    /// The dead letters kept.
    DeadLetters,
    /// What happened to a group.
    History {
        /// The group.
        group: String,
        /// As this node knows it, without asking the leader.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        stale: bool,
    },
    /// Read a group's definition from a dictionary as in a `.tli`, without variables.
    ReadDefinition {
        /// The group.
        group: String,
        /// The dictionary, a literal.
        text: String,
    },
    /// Wait, a moment at most, until these actors have handled their exit requests and their
    /// creators are told: who asks something next finds it done.
    AwaitExits {
        /// Those that are not alive on this node are not waited for.
        actors: Vec<ActorId>,
    },
    /// Wait until what is loaded and active is another than `known` stands for.
    AwaitActivation {
        /// The mark of the last answer; `None`: answer at once.
        known: Option<String>,
    },
    /// Something about the convention as a whole.
    Cluster(ClusterRequest),
    /// Stop the node.
    Shutdown,
    /// What applications ask of their node besides actors.
    Application(ApplicationRequest),
}

/// What an operator does to a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleAction {
    /// End its actor and start a new one.
    Restart,
    /// End its actor and start none.
    Stop,
    /// Start it again after a stop or a failure.
    Resume,
    /// Show where its process stands.
    Dump,
}

/// The node's answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Response {
    /// The actor stands.
    Created {
        /// Its address.
        actor: ActorId,
    },
    /// What was found.
    Resolved {
        /// All matches.
        matches: Vec<Match>,
        /// Raft index that the answer covers.
        #[serde(default)]
        index: u64,
        /// Milliseconds since the answerer heard of the leader.
        #[serde(default)]
        age_ms: u64,
    },
    /// Who and what the node is.
    Status(NodeStatus),
    /// The version is active (or, with `no_wait`, committed).
    Loaded {
        /// Its hash.
        hash: SourceHash,
        /// Whether anything changed: false when it was active already or `upwards_only` skipped.
        changed: bool,
        /// Why nothing changed, or what to know (warnings).
        notes: Vec<String>,
    },
    /// The source is unloaded.
    Unloaded {
        /// Its hash.
        hash: SourceHash,
    },
    /// An application's source has arrived; whether it is ever usable, its authority says.
    SourceTaken {
        /// Its hash.
        hash: SourceHash,
    },
    /// The group was switched back.
    RolledBack {
        /// The version left, withdrawn from now on.
        from: SourceHash,
        /// The version active now.
        to: SourceHash,
    },
    /// What is loaded and running.
    Listed {
        /// The groups by name.
        groups: Vec<ListedGroup>,
        /// Raft index that the answer covers.
        index: u64,
        /// Milliseconds since the answerer heard of the leader.
        #[serde(default)]
        age_ms: u64,
    },
    /// The action on a role is done.
    Done {
        /// Text to show (a dump), empty otherwise.
        text: String,
    },
    /// The dead letters kept, newest last.
    DeadLetters {
        /// All counted since the node started.
        total: u64,
        /// Those kept.
        kept: Vec<DeadLetter>,
    },
    /// What happened to a group.
    History {
        /// Oldest first.
        entries: Vec<HistoryEntry>,
        /// Raft index that the answer covers.
        #[serde(default)]
        index: u64,
        /// Milliseconds since the answerer heard of the leader.
        #[serde(default)]
        age_ms: u64,
    },
    /// The definition that was read.
    Definition {
        /// As a load takes it.
        definition: GroupDefinition,
        /// What to know (keys that nothing reads).
        notes: Vec<String>,
    },
    /// What is loaded and active now.
    Activation {
        /// Stands for it; to be given back as `known`. The same after a minute without a change.
        mark: String,
    },
    /// The answer about the convention.
    Cluster(ClusterResponse),
    /// It was not done.
    Failed(RequestError),
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct RequestError {
    /// What kind of failure.
    pub code: ErrorCode,
    /// One line for people that names the thing.
    pub message: String,
    /// The next step to take.
    #[serde(default)]
    pub hint: Option<String>,
    /// The Python traceback, if there is one.
    #[serde(default)]
    pub traceback: Option<String>,
    /// For a failed creation: which kind.
    #[serde(default)]
    pub failure: Option<FailureCode>,
}

/// Kinds of [`RequestError`]; the command line maps them to exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The caller's fault, or forbidden by state: exit 1.
    Refused,
    /// The request itself is not understood: exit 2.
    Usage,
    /// Try again: exit 3.
    Unavailable,
    /// The time ran out; what happened is unknown: exit 3.
    TimedOut,
    /// Not allowed for this user: exit 1.
    Forbidden,
    /// A bug in Director: exit 70.
    Internal,
}
