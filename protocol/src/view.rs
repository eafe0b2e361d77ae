//! Shapes of the registry's stream to a follower: what it wishes to know, and what has changed of
//! that.
//!
//! What a view holds, and how changes are made and taken in, is `convention::view`'s.

use serde::{Deserialize, Serialize};

use crate::id::{ConventionId, NodeId, RoleId, RolloutId, SlotId, SourceHash};
use crate::registry::{Authorities, Group, Member, Removal, Rollout, Slot, Source};

/// Something that a follower wishes to know, from now on, besides what concerns itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Wish {
    /// The group of this name.
    Group(String),
    /// The group of this role.
    Role(RoleId),
    /// The group of this source.
    Source(SourceHash),
    /// The groups in which a role, or a global name of a `.tli`, is called so.
    Called(String),
    /// This member.
    Node(NodeId),
    /// All groups.
    Groups,
    /// All members.
    Members,
}

/// What a view holds besides its maps.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Settings {
    /// The convention.
    pub convention: Option<ConventionId>,
    /// Lowest feature level that every voter supports.
    pub feature_level: u32,
    /// Voters wanted.
    pub voters_wanted: u8,
    /// How often the convention was recovered from a lost quorum.
    pub recoveries: u64,
}

/// One entry of a view that is another than before; `None`: it has gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The settings.
    Settings(Settings),
    /// A member.
    Member(NodeId, Option<Box<Member>>),
    /// A group, of its history only how its source became active; gone: with all that is its own.
    Group(String, Option<Box<Group>>),
    /// A source.
    Source(SourceHash, Option<Box<Source>>),
    /// A Director actor.
    Slot(SlotId, Option<Box<Slot>>),
    /// A rollout.
    Rollout(RolloutId, Option<Box<Rollout>>),
    /// The group that owns a global name.
    Name(String, Option<String>),
    /// A former member.
    Removed(NodeId, Option<Removal>),
    /// The convention's authorities.
    Authorities(Box<Authorities>),
}

/// A document of the registry's stream; it may be longer than a frame, and goes in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streamed {
    /// Whether the changes are from nothing: what the member had before counts no more.
    pub whole: bool,
    /// With them the member has its view as of this index.
    pub index: u64,
    /// Number of the last wish that the view covers.
    pub covers: u64,
    /// The nodes that vote, if others than told before.
    pub voters: Option<Vec<NodeId>>,
    /// What has changed.
    pub changes: Vec<Change>,
}
