//! Requests between the nodes of a convention, asked one by one on `convention/1` connections,
//! and the documents of a session.
//!
//! Versioned like all shapes of `wire`. Control requests and responses travel in them as the JSON
//! that the control socket knows, so that an order means the same wherever it is given.
//! Not here: streams (`transport`), what a request does (`node`), messages of actors (`header`).

use serde::{Deserialize, Serialize};

use crate::control::{ActorFailure, Origin, PreparedClass};
use crate::definition::{GroupDefinition, OnLostLease};
use crate::id::{ActorId, Incarnation, NodeId, RequestId, RolloutId, SlotId, SourceHash, Stamp};
use crate::registry::{Command, KeyDigest, Outcome};
use crate::view::{Streamed, Wish};
use crate::wire::{JoinRequest, JoinResponse, RenewRequest, RenewResponse, Shape};

/// A request of one node to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerRequest {
    /// Who leads, and who else could be asked?
    Leader,
    /// To the leader: what an operator or client asked of the sender.
    Order {
        /// Idempotency id, made by the node that took it: what was done under it is not done again.
        id: RequestId,
        /// JSON of a `control::Request`.
        request: Vec<u8>,
        /// Package that was uploaded with it; the sender holds and trusts it.
        package: Option<SourceHash>,
    },
    /// To a member: a `control::Request` (JSON) that only it can answer.
    Control {
        /// JSON of a `control::Request`.
        request: Vec<u8>,
    },
    /// To the leader: a command about the sender itself.
    Propose {
        /// What.
        command: Command,
    },
    /// Between voters: a message of the consensus.
    Raft {
        /// Its envelope.
        message: Vec<u8>,
    },
    /// From the leader: a step of its work.
    Step {
        /// Term of the leader; a member that knows a newer one refuses.
        term: u64,
        /// What to do.
        step: Step,
    },
    /// To the leader or a member: start an actor that the sender allotted.
    Create(Creation),
    /// To a member: is this actor there, or does the member know where it is?
    Locate {
        /// The actor.
        actor: ActorId,
    },
    /// To the leader: have this member dial the sender, which cannot dial it.
    CallBack {
        /// Who is to dial.
        node: NodeId,
        /// What kind of connection is wanted.
        link: LinkKind,
    },
    /// From the leader: dial this member.
    Dial {
        /// Whom.
        node: NodeId,
        /// Where it is.
        address: String,
        /// What kind of connection is wanted.
        link: LinkKind,
    },
    /// To the leader: a session of the sender; on its stream go `SessionUp` and `SessionDown`.
    Session(SessionOpen),
    /// To a node with the authority's key: a new certificate for the sender's key.
    Renew(RenewRequest),
    /// To the leader, from a member that a joiner has found: let it in.
    Join {
        /// What the joiner asks.
        request: JoinRequest,
        /// Where it asked from, for people.
        from: String,
    },
    /// To the leader: warnings of the sender's actors, for the leader's log.
    Warnings {
        /// Run of the sender.
        run: Incarnation,
        /// Number of these in that run: the same ones have the same, and are written once.
        number: u64,
        /// A JSON object each.
        records: Vec<Vec<u8>>,
        /// How many more were dropped since the last ones.
        dropped: u64,
    },
    /// Prove that you hold the key of the convention's authority, as voters do.
    Vouch,
    /// Is this node a member with this key, as far as you know?
    Knows {
        /// The node.
        node: NodeId,
        /// The key.
        key: KeyDigest,
    },
    /// From a voter to another one: a key of the convention's authority that the registry names.
    AuthorityKey {
        /// SHA-256 of its public key info.
        key: KeyDigest,
    },
    /// To a member that has loaded a source of an application: what is to be known to take it over.
    Source {
        /// The source.
        hash: SourceHash,
        /// That the sender knows the user's secret, as in [`Creation::proof`].
        proof: Option<[u8; 32]>,
    },
    /// To a member that may have a source of an application: it is unloaded.
    UnloadSource {
        /// The source.
        hash: SourceHash,
        /// That the sender knows the user's secret, as in [`Creation::proof`].
        proof: Option<[u8; 32]>,
    },
    /// To the leader: all of the registry. The answer is a run of [`PeerResponse::Registry`].
    Registry,
}

/// A source of an application as its holder passes it on, by `bulk/1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceOffer {
    /// Where it was loaded from, for people.
    pub info: String,
    /// Length of its bytes as they were loaded.
    pub bytes: u64,
    /// Hash and length of the zip that an application's authority made of them; only to nodes of
    /// the same user.
    pub zip: Option<(SourceHash, u64)>,
}

/// Kind of a connection between two members, apart from joining.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkKind {
    /// Requests and sessions.
    Control,
    /// Messages of actors.
    Lane,
    /// Packages.
    Bulk,
}

/// Answer to a [`PeerRequest`]; the variant follows the request's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerResponse {
    /// Who leads.
    Leader {
        /// The leader and its address, if the answerer knows one.
        leader: Option<(NodeId, String)>,
        /// The voters and their addresses.
        voters: Vec<(NodeId, String)>,
    },
    /// JSON of a `control::Response`.
    Control {
        /// The JSON.
        response: Vec<u8>,
    },
    /// The command was applied.
    Proposed {
        /// At this index.
        index: u64,
        /// With this outcome.
        outcome: Outcome,
    },
    /// Answer of a voter.
    Raft {
        /// Its envelope.
        message: Vec<u8>,
    },
    /// A step is done.
    Step(StepOutcome),
    /// The actor stands on this node, or why it does not.
    Created(Result<NodeId, ActorFailure>),
    /// Where the actor is, if the answerer knows.
    Located {
        /// The node.
        node: Option<NodeId>,
    },
    /// It is under way.
    Done,
    /// The new certificate.
    Renewed(RenewResponse),
    /// The joiner is a member.
    Joined(JoinResponse),
    /// What the authority says of the answerer.
    Vouched {
        /// Its certificate for the answerer's key, and those above it (X.509, DER).
        chain: Vec<Vec<u8>>,
    },
    /// A key of the convention's authority.
    AuthorityKey {
        /// The key and its certificate, PEM.
        bundle: SecretText,
    },
    /// Whether the node is a member with that key.
    Known {
        /// As far as the answerer knows.
        is_member: bool,
    },
    /// The actor that has the name of the one to be started, on this or another node.
    Existing(ActorId),
    /// The source, if the answerer has it and it is valid there.
    Source(Option<SourceOffer>),
    /// The next part of the whole registry: a document of its index and its state.
    Registry {
        /// The bytes that follow.
        bytes: Vec<u8>,
        /// Whether nothing follows.
        last: bool,
    },
}

/// What a joiner wishes to be, as the document of a `JoinRequest`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinWishes {
    /// The id that it has drawn.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Where others reach it; empty: it only dials out.
    pub address: String,
    /// Whether it is willing to become a voter.
    pub may_vote: bool,
    /// When it asks, by its clock: a proof that it is of the same user and host counts for a
    /// minute, and undoes nothing that was done after it.
    pub asked: Stamp,
}

/// What a new member is told, as the document of a `JoinResponse`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinedTo {
    /// Members that it may ask who leads, the leader first, and their addresses.
    pub known: Vec<(NodeId, String)>,
    /// To a joiner of the same user and host: that the convention knows the user's secret too, for
    /// this very request.
    pub proof: Vec<u8>,
}

/// An actor to be started on another node than its creator's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creation {
    /// Its address, allotted by the creator's node.
    pub actor: ActorId,
    /// Who created it; [`ActorId::NONE`] for a top-level actor.
    pub parent: ActorId,
    /// Where its code comes from; a client's environment only between nodes of one user and host.
    pub origin: Origin,
    /// `pkg.mod.Class`.
    pub class: String,
    /// Its global name.
    pub global_name: Option<String>,
    /// `targetActorRequirements`, a dictionary literal.
    pub requirements: Option<String>,
    /// With a client's environment: that the sender knows the secret of the user, for all of the
    /// above and the member that is asked.
    pub proof: Option<[u8; 32]>,
}

/// A step of the leader's work that a member carries out; repeated steps are carried out once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Get the package, keep it, and say whether an own key validates it.
    Hold {
        /// The package.
        hash: SourceHash,
        /// Its length.
        bytes: u64,
        /// Who holds it.
        holders: Vec<NodeId>,
    },
    /// Import a source's classes and evaluate their checks; changes nothing.
    Preflight {
        /// The source.
        hash: SourceHash,
        /// Its group.
        group: String,
        /// The definition.
        definition: GroupDefinition,
        /// Capabilities to check against, dictionary literals.
        capability_sets: Vec<String>,
        /// Who holds the package.
        holders: Vec<NodeId>,
    },
    /// Construct a Director actor and wait until it stands.
    Construct {
        /// Its slot.
        slot: SlotId,
        /// Its address.
        actor: ActorId,
        /// Its source.
        source: SourceHash,
        /// `pkg.mod.Class`.
        class: String,
        /// Its name in the convention.
        global_name: Option<String>,
        /// Dictionary literal of the capabilities it requires.
        requirements: Option<String>,
        /// What it does when the node's lease ends.
        on_lost_lease: OnLostLease,
        /// Who holds the package.
        holders: Vec<NodeId>,
    },
    /// End an actor that was constructed and got nothing yet.
    Discard {
        /// The actor.
        actor: ActorId,
    },
    /// Wait until this index is applied here, routing included, and all that left this node
    /// before has arrived.
    Applied {
        /// The index.
        index: u64,
    },
    /// Send a literal to an actor, once for its key.
    Deliver {
        /// The rollout; `None` for a start outside of one.
        rollout: Option<RolloutId>,
        /// Number of the delivery's kind.
        kind: u8,
        /// The actor.
        actor: ActorId,
        /// The literal.
        literal: String,
    },
    /// Wait until an actor has handled all that it was sent before.
    Flush {
        /// The actor.
        actor: ActorId,
    },
    /// End all actors of a source, whoever created them.
    Drain {
        /// The source.
        source: SourceHash,
        /// At once, or when they are idle.
        now: bool,
    },
    /// Ask a Director actor to end.
    End {
        /// The actor.
        actor: ActorId,
    },
    /// Become a voter: open an empty log under this raft id, with the CA key in hand.
    OpenLog {
        /// The raft id.
        raft: u64,
        /// How often the convention was recovered.
        recoveries: u64,
        /// Key of the convention's authority and its certificate, PEM.
        authority: SecretText,
    },
    /// Be no voter any more: drop the log and the CA key. Nothing is done where another raft id
    /// has been opened since.
    CloseLog {
        /// The raft id of the log.
        raft: u64,
    },
}

/// A text that nobody may find in a log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretText(pub String);

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretText(..)")
    }
}

/// How a [`Step`] ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepOutcome {
    /// It is done.
    Done,
    /// The package is held; whether an own key validates it, or why not.
    Held {
        /// `None`: trusted.
        distrust: Option<String>,
    },
    /// What the preflight found.
    Preflight {
        /// One a class.
        classes: Vec<PreparedClass>,
        /// What an operator should know.
        notes: Vec<String>,
    },
    /// The member cannot do it.
    Failed(ActorFailure),
    /// The actor has ended.
    Lost,
}

/// First document of a session, from the member that dials the leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOpen {
    /// Run of the member.
    pub incarnation: Incarnation,
    /// Its name.
    pub name: String,
    /// Where others reach it; empty: it only dials out.
    pub address: String,
    /// Its capabilities, a dictionary literal.
    pub capabilities: String,
    /// Whether its own settings let it be a voter.
    pub may_vote: bool,
    /// Highest feature level of the registry that it can apply.
    pub feature_level: u32,
    /// How often it knows the convention to have been recovered from a lost quorum.
    pub recoveries: u64,
    /// The raft id of its log, where it holds itself for a voter.
    pub raft: Option<u64>,
    /// What it wishes to know, and the number of the last of these wishes. `None`: it is a voter
    /// and needs no stream.
    pub wishes: Option<(u64, Vec<Wish>)>,
}

/// From the member to the leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionUp {
    /// It lives.
    Heartbeat {
        /// Its number.
        number: u64,
        /// Last index applied, routing included.
        bound: u64,
        /// The raft id of its log, where it holds itself for a voter.
        raft: Option<u64>,
        /// Actors alive on it.
        actors: u64,
        /// Packages that it holds, of those that the registry names.
        held: Vec<SourceHash>,
        /// Those among them that no own key validates, with the reason.
        distrusted: Vec<(SourceHash, String)>,
        /// Key of the authority that issued its certificate.
        certified_by: Option<KeyDigest>,
        /// Keys of authorities that it holds.
        authorities: Vec<KeyDigest>,
    },
    /// So much of the registry's stream has come, since the session began: the leader keeps
    /// `STREAM_WINDOW_BYTES` under way, so that no acknowledgement waits behind more.
    Received {
        /// Bytes of all parts.
        bytes: u64,
    },
    /// It wishes to know more.
    Wish {
        /// Number of the last of these wishes.
        number: u64,
        /// What it wishes to know, besides what it has said before.
        wishes: Vec<Wish>,
    },
    /// It stops in order.
    Stopping,
}

/// From the leader to the member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionDown {
    /// The session stands.
    Welcome {
        /// Term of the leader.
        term: u64,
        /// How often the convention was recovered; a member that knows of more has nothing to do
        /// with this leader.
        recoveries: u64,
        /// How long a lease lasts from the moment that its heartbeat was sent.
        lease_ms: u64,
        /// Milliseconds between two heartbeats.
        heartbeat_ms: u64,
        /// Whether the member counted as lost: what was reported dead or placed elsewhere has to
        /// end there.
        was_lost: bool,
    },
    /// That heartbeat has come.
    Acknowledged {
        /// Its number.
        number: u64,
    },
    /// A piece of a [`Streamed`], at most `STREAM_PART_BYTES`.
    Part {
        /// The next bytes of its envelope.
        bytes: Vec<u8>,
        /// Whether they are the last.
        last: bool,
    },
    /// This node leads no longer.
    NotLeader,
    /// By the log of the leader nobody votes or learns under this raft id any more: the member is
    /// to drop that log and to follow.
    VotesNot {
        /// The raft id that the member named.
        raft: u64,
    },
    /// No session until an operator has acted.
    Refused {
        /// Why, and the next step.
        reason: String,
    },
}

macro_rules! shapes {
    ($($type:ty => $name:literal, $version:literal;)*) => {
        $(impl Shape for $type {
            const NAME: &'static str = $name;
            const VERSION: u16 = $version;
        })*
    };
}

shapes! {
    PeerRequest => "peer request", 1;
    PeerResponse => "peer response", 1;
    SessionOpen => "session open", 1;
    SessionUp => "session up", 1;
    SessionDown => "session down", 1;
    Streamed => "streamed", 1;
    JoinWishes => "join wishes", 1;
    JoinedTo => "joined to", 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authoritys_key_is_in_no_log() {
        let step = Step::OpenLog {
            raft: 2,
            recoveries: 0,
            authority: SecretText("-----BEGIN PRIVATE KEY-----".to_owned()),
        };
        let request = PeerRequest::Step { term: 1, step };
        let shown = format!("{request:?}");
        assert!(
            shown.contains("OpenLog") && !shown.contains("PRIVATE"),
            "{shown}"
        );
    }
}
