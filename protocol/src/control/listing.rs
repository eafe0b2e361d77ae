//! What a node shows: itself, what is loaded and running, what a name stands for, dead letters.

use serde::{Deserialize, Serialize};

use crate::id::{ActorId, NodeId, RoleId, SourceHash, Stamp};

/// One thing that a name stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// `role`, `name` or `address`.
    pub kind: String,
    /// The group, for roles and `.tli` names.
    pub group: Option<String>,
    /// The role.
    pub role: Option<String>,
    /// The role's address.
    pub role_address: Option<RoleId>,
    /// The actor that plays it now.
    pub actor: Option<ActorId>,
    /// The actor's class.
    pub class: Option<String>,
    /// Its source.
    pub source: Option<SourceHash>,
    /// When it started.
    pub started: Option<Stamp>,
}

/// Who and what a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its id.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Its admin port.
    pub port: u16,
    /// Its Director directory.
    pub directory: String,
    /// The interpreter for workers, with its version, if one was found.
    pub python: Option<String>,
    /// Actors alive.
    pub actors: u64,
    /// Clients connected.
    pub clients: u64,
    /// Messages routed since the start.
    pub messages: u64,
    /// Dead letters since the start.
    pub dead_letters: u64,
    /// Last raft index applied.
    pub index: u64,
    /// Warnings an operator should see.
    pub warnings: Vec<String>,
}

/// One group of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedGroup {
    /// Its name.
    pub group: String,
    /// Its sources, newest version first.
    pub sources: Vec<ListedSource>,
}

/// One source of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedSource {
    /// Its hash.
    pub hash: SourceHash,
    /// Its version.
    pub version: Option<String>,
    /// `active`, `loaded`, `draining`, `withdrawn` or `loading`.
    pub state: String,
    /// Bytes of the package.
    pub bytes: u64,
    /// When it was loaded.
    pub loaded: Stamp,
    /// Who loaded it.
    pub by: String,
    /// Why its actors import one by one, if they do.
    pub per_actor_import: Option<String>,
    /// Its Director actors.
    pub actors: Vec<ListedActor>,
}

/// One Director actor of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedActor {
    /// Its address, if it runs.
    pub actor: Option<ActorId>,
    /// Its class.
    pub class: String,
    /// Its role.
    pub role: Option<String>,
    /// Its global name.
    pub global_name: Option<String>,
    /// Its node's name.
    pub node: String,
    /// When it started.
    pub started: Option<Stamp>,
    /// Restarts since the version became active.
    pub restarts: u32,
    /// Why it does not run, if it failed.
    pub failed: Option<String>,
    /// `running`, `starting`, `restarting`, `stopped`, `failed` or `gone`.
    pub state: String,
}

/// One message that was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// When.
    pub stamp: Stamp,
    /// Who sent it.
    pub sender: ActorId,
    /// The target, 32 hex digits.
    pub target: String,
    /// Bytes of payload.
    pub bytes: u64,
    /// Why.
    pub reason: String,
}
