//! What a node itself tells its actors, beside the messages that it passes on.
//!
//! Not here: facts about connections (`Notice`).

use serde::{Deserialize, Serialize};

use crate::id::{ActorId, SourceHash};

/// System messages that the node itself sends, as JSON payload or around an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "system", rename_all = "snake_case")]
pub enum SystemMessage {
    /// `ActorExitRequest(recursive)`.
    ActorExitRequest {
        /// Whether children are to exit as well.
        recursive: bool,
    },
    /// `ChildActorExited(child)`.
    ChildActorExited {
        /// The child's address.
        child: ActorId,
    },
    /// Envelope: `DeadEnvelope(target, message)`.
    DeadEnvelope {
        /// The target, 32 hex digits.
        target: String,
        /// Whether it is a role's address.
        role: bool,
        /// Why it could not be delivered.
        reason: String,
    },
    /// Envelope: `PoisonMessage(message, details)` to the sender.
    PoisonMessage {
        /// The details.
        details: String,
    },
    /// The node's capabilities have changed: the actor's check is made again.
    Capabilities {
        /// All of them, a dictionary literal.
        capabilities: String,
    },
    /// `ActorSystemConventionUpdate(admin, capabilities, added)`.
    ConventionUpdate {
        /// The member's own address in its present run.
        admin: ActorId,
        /// Its capabilities, a dictionary literal.
        capabilities: String,
        /// Whether it has come, or gone.
        added: bool,
    },
    /// `ValidateSource(hash, data, info)`, for the application's source authority.
    ValidateSource {
        /// The source.
        hash: SourceHash,
        /// The file with its bytes as they were loaded.
        path: String,
        /// Where it came from, for people.
        info: String,
    },
    /// `LoadedSource(hash, info)`.
    LoadedSource {
        /// The source.
        hash: SourceHash,
        /// Where it came from, for people.
        info: String,
    },
    /// `UnloadedSource(hash, info)`.
    UnloadedSource {
        /// The source.
        hash: SourceHash,
        /// Where it came from, for people.
        info: String,
    },
    /// `Thespian_StatusReq()`, of an actor or client to an actor or to a node's own address.
    StatusRequest,
    /// `Thespian_SystemStatus`, the node's answer.
    SystemStatus(SystemStatus),
}

/// What a node tells of itself to whoever asks it by a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemStatus {
    /// Its own address.
    pub admin: ActorId,
    /// The leader's own address, if another node leads.
    pub leader: Option<ActorId>,
    /// Its capabilities, a dictionary literal.
    pub capabilities: String,
    /// Whether it stops.
    pub stopping: bool,
    /// The other members' own addresses, and how they are.
    pub members: Vec<(ActorId, String)>,
    /// Actors here that no actor created.
    pub actors: Vec<ActorId>,
    /// Global names given here.
    pub named: Vec<(String, ActorId)>,
    /// Sources that actors can be created from, and where they came from.
    pub sources: Vec<(SourceHash, String)>,
    /// The application's source authority.
    pub authority: Option<ActorId>,
    /// Actors here that are told of members.
    pub told_of_members: Vec<ActorId>,
}
