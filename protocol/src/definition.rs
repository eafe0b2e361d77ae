//! A group's definition: what its `.tli` file says, evaluated once and replicated as values.
//!
//! Messages are kept as the text of a Python literal (the `repr` of the evaluated value), so that
//! the registry needs no Python values and the bytes are the same everywhere.
//! Not here: reading the file (`package::tli`).

use serde::{Deserialize, Serialize};

/// What the Director does with a group's sources and actors.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GroupDefinition {
    /// The group's actors in the order of the file.
    pub actors: Vec<ActorDefinition>,
    /// What happens to the version before when a new one is active.
    pub auto_unload: AutoUnload,
    /// `TLS_Keep_Limit`: packages of the group to keep in the directory.
    pub keep_limit: Option<u32>,
}

/// `AutoUnload`: how many versions stay loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AutoUnload {
    /// All versions stay loaded.
    #[default]
    KeepAll,
    /// The active one and so many in all stay loaded; at least 1.
    Keep(u32),
}

/// One entry of `Actors`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ActorDefinition {
    /// `pkg.mod.Class`, or a module that defines exactly one actor class.
    pub class: String,
    /// Name under which the actor is found.
    pub role: Option<String>,
    /// Name of the actor in the whole convention.
    pub global_name: Option<String>,
    /// Literal sent when the version becomes active; `None`: absent, nothing is sent.
    pub on_load: Option<String>,
    /// Literal sent when the version stops being active.
    pub on_deactivate: Option<String>,
    /// Literal sent when the version becomes active again.
    pub on_reactivate: Option<String>,
    /// On how many members the actor runs.
    pub placement: Placement,
    /// Dictionary literal of capabilities that the member must have.
    pub requirements: Option<String>,
    /// Whether the source is imported once before its actors are forked.
    pub preload: Preload,
    /// What the actor does when its node loses its lease.
    pub on_lost_lease: OnLostLease,
}

/// `'Placement'`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Placement {
    /// One actor in the convention.
    #[default]
    One,
    /// One on every eligible member.
    Each,
}

/// `'Preload'`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Preload {
    /// Import once per source, then fork.
    #[default]
    Once,
    /// Import in every actor's own process.
    PerActor,
}

/// `'OnLostLease'`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnLostLease {
    /// The process lives on; deliveries by role or name stop.
    #[default]
    Keep,
    /// The actor ends before its lease can be given away.
    Stop,
}
