//! The types that openraft is instantiated with, generic over its runtime.
//!
//! A log entry carries a batch of registry commands: openraft writes entries one at a time, so the
//! proposals that wait together share one entry and one fsync (`batch`). An empty batch changes
//! nothing and marks that an entry of this run has committed.
//! Not here: what a command means (`convention`), how bytes are laid out (`protocol`).

use std::cmp::Ordering;
use std::fmt;
use std::io::Cursor;
use std::marker::PhantomData;

use openraft::{AsyncRuntime, RaftTypeConfig};
use protocol::NodeId;
use protocol::registry::{Command, Outcome};
use serde::{Deserialize, Serialize};

/// Identity of one voter or learner in one term of service: fresh at each promotion, apart from
/// [`NodeId`], so that a demoted voter's log can never be taken for a promoted one's.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RaftId(pub u64);

impl RaftId {
    /// The voter that founds a convention.
    pub const FOUNDER: Self = Self(1);
}

impl From<u64> for RaftId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for RaftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The node behind a [`RaftId`], as the membership in the log names it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Voter {
    /// The node.
    pub node: NodeId,
    /// Where it can be reached; empty for a single host.
    pub address: String,
}

/// Position in the raft log. Everything that one index changes becomes visible at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Index(pub u64);

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// openraft's type configuration over the runtime `R` (clock, random numbers, spawn).
pub struct TypeConfig<R>(PhantomData<fn() -> R>);

impl<R: AsyncRuntime> RaftTypeConfig for TypeConfig<R> {
    type D = Vec<Command>;
    type R = Vec<Outcome>;
    type NodeId = RaftId;
    type Node = Voter;
    type Entry = openraft::Entry<Self>;
    type SnapshotData = Cursor<Vec<u8>>;
    type AsyncRuntime = R;
    type Responder = openraft::impls::OneshotResponder<Self>;
}

pub(crate) type LogId = openraft::LogId<RaftId>;

/// A lead: its term and who had it.
pub(crate) type LeaderId = openraft::LeaderId<RaftId>;
pub(crate) type Vote = openraft::Vote<RaftId>;
pub(crate) type Membership = openraft::StoredMembership<RaftId, Voter>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<RaftId, Voter>;
pub(crate) type Entry<R> = openraft::Entry<TypeConfig<R>>;
pub(crate) type Snapshot<R> = openraft::Snapshot<TypeConfig<R>>;
pub(crate) type StorageError = openraft::StorageError<RaftId>;

// openraft asks these of the configuration; derived, they would be asked of `R` as well.
impl<R> Clone for TypeConfig<R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<R> Copy for TypeConfig<R> {}
impl<R> Default for TypeConfig<R> {
    fn default() -> Self {
        Self(PhantomData)
    }
}
impl<R> fmt::Debug for TypeConfig<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TypeConfig")
    }
}
impl<R> PartialEq for TypeConfig<R> {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}
impl<R> Eq for TypeConfig<R> {}
impl<R> PartialOrd for TypeConfig<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<R> Ord for TypeConfig<R> {
    fn cmp(&self, _other: &Self) -> Ordering {
        Ordering::Equal
    }
}
