//! Errors of consensus: refused, unavailable, unknown and fatal are never mixed up.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use openraft::error::{Fatal, ForwardToLeader};
use protocol::registry::Refusal;

use super::file::FileOpenError;
use super::types::{RaftId, Voter};

/// Why a node could not take up its part in the consensus.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its file cannot be used.
    #[error(transparent)]
    File(#[from] FileOpenError),
    /// Its file can be opened, but not read or written.
    #[error(transparent)]
    Fatal(#[from] FatalError),
    /// The single voter did not become leader.
    #[error(
        "this single voter did not become leader within `{waited_ms}` ms; is the disk very slow? \
         Start the node again"
    )]
    NoLeader {
        /// How long it waited.
        waited_ms: u64,
    },
}

/// Why a proposal was not (or perhaps not) carried out.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProposeError {
    /// The registry refuses the command; proposing it again changes nothing.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It was not proposed; propose it again, to the leader.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// It may be carried out or not; propose it again with the same request id.
    #[error(
        "no outcome after `{waited_ms}` ms: the command may still be carried out; \
         repeat it under the same request id"
    )]
    Unknown {
        /// How long it was waited for.
        waited_ms: u64,
    },
    /// Consensus has stopped for good; the command may be carried out after the next start.
    #[error(transparent)]
    Fatal(#[from] FatalError),
}

/// Why a read could not be made linearizable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// Ask the leader, or again later.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Consensus has stopped for good.
    #[error(transparent)]
    Fatal(#[from] FatalError),
}

/// This node cannot do it now; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unavailable: {reason}{hint}", hint = Hint(not_leader))]
pub struct Unavailable {
    /// Why.
    pub reason: &'static str,
    /// The leader, where it is another node and known.
    pub not_leader: Option<Voter>,
}

/// Consensus on this node has stopped and does not start again in this process: the disk failed,
/// or there is a bug. The node must stop.
#[derive(Debug, Clone, thiserror::Error)]
#[error("consensus has stopped on this node; stop the node, mend the cause, start it again")]
pub struct FatalError {
    source: Arc<dyn Error + Send + Sync>,
}

/// What stopped openraft; its errors print their causes themselves.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Stopped(String);

struct Hint<'a>(&'a Option<Voter>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(voter) => write!(
                f,
                "; the leader is node `{}` at `{}`",
                voter.node, voter.address
            ),
            None => Ok(()),
        }
    }
}

impl Unavailable {
    pub(crate) fn because(reason: &'static str) -> Self {
        Self {
            reason,
            not_leader: None,
        }
    }
}

impl FatalError {
    pub(crate) fn new(source: impl Error + Send + Sync + 'static) -> Self {
        Self {
            source: Arc::new(source),
        }
    }

    /// What openraft says where it has nothing to say but that it has stopped.
    pub(crate) fn of(error: &impl fmt::Display) -> Self {
        Self::new(Stopped(error.to_string()))
    }
}

impl From<Fatal<RaftId>> for FatalError {
    fn from(fatal: Fatal<RaftId>) -> Self {
        Self::new(Stopped(fatal.to_string()))
    }
}

impl From<ForwardToLeader<RaftId, Voter>> for Unavailable {
    fn from(forward: ForwardToLeader<RaftId, Voter>) -> Self {
        Self {
            reason: "this node is not the leader",
            not_leader: forward.leader_node,
        }
    }
}
