//! What voters say to each other, as bytes.
//!
//! Each message names the convention, its recovery epoch and the raft id that it is for, so that
//! a reused raft id, a restored old directory or a foreign convention is refused by name and never
//! counted as a voter.
//! Not here: how bytes travel (`peers`), what a voter does with them (`answer`).
//!
//! # Format
//! `protocol`'s envelope, version [`MESSAGE_VERSION`], around (convention, recovery epoch, raft id
//! of the receiver, raft id of the sender, the rpc as bytes); the rpc is an envelope of its own,
//! of version [`REGISTRY_VERSION`], since it carries log entries. The answer is the same without
//! a receiver.

use openraft::AsyncRuntime;
use openraft::error::InstallSnapshotError;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use protocol::registry::REGISTRY_VERSION;
use protocol::{CodecError, ConventionId, NodeId};
use serde::{Deserialize, Serialize};

use super::error::FatalError;
use super::file::Identity;
use super::types::{LogId, RaftId, TypeConfig, Vote};

/// Version of the envelope around messages. 1: the first.
pub const MESSAGE_VERSION: u16 = 1;

/// Longest message that is sent where it can be cut shorter; a wire document may be twice that.
pub(crate) const MESSAGE_BYTES_MAX: usize = 8 << 20;

const SHAPE: &str = "raft message";
const RPC: &str = "raft rpc";
const ANSWER: &str = "raft answer";

/// Why a message was not answered. The text goes back to the sender as `CallFault::Refused`.
#[derive(Debug, thiserror::Error)]
pub enum AnswerFault {
    /// It belongs to another convention, or to another recovery epoch of this one.
    #[error(
        "this voter is of {ours}, the message is for convention {convention}, epoch \
         {recovery_epoch}; a node whose convention was recovered must join anew"
    )]
    Foreign {
        /// Whose file this voter has.
        ours: Identity,
        /// Convention of the message.
        convention: ConventionId,
        /// Its recovery epoch.
        recovery_epoch: u64,
    },
    /// It is for another raft id: an old directory was restored, or an address is used again.
    #[error(
        "this voter is of {ours}, the message is for raft id {wanted}; was an old state directory \
         restored? Delete it and let the node join anew"
    )]
    OtherVoter {
        /// Whose file this voter has.
        ours: Identity,
        /// Raft id of the message.
        wanted: RaftId,
    },
    /// It speaks for a raft id that is another node's, or for a lead or candidacy of another.
    #[error("node `{node}` speaks for raft id {claimed}, which is not its own")]
    NotItsOwn {
        /// Who sent it.
        node: NodeId,
        /// The raft id that it speaks for.
        claimed: RaftId,
    },
    /// Nothing here says that the sender votes, and nobody vouches for it.
    #[error("node `{node}` is no voter that this one knows of")]
    Stranger {
        /// Who sent it.
        node: NodeId,
        /// The raft id that it claims.
        claimed: RaftId,
    },
    /// Its bytes cannot be read, perhaps because of their version.
    #[error("the message cannot be read")]
    Codec(#[from] CodecError),
    /// Consensus on this node has stopped.
    #[error(transparent)]
    Stopped(#[from] FatalError),
}

/// Who sent a message, as the connection proves that it came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    /// The node.
    pub node: NodeId,
    /// Whether something else than the log here says that it votes: a voter that was away, or is
    /// to become one, hears of the others' changes from those that it does not know.
    pub is_trusted: bool,
}

/// What one voter asks of another.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) enum Rpc<R: AsyncRuntime> {
    Append(AppendEntriesRequest<TypeConfig<R>>),
    Vote(VoteRequest<RaftId>),
    Snapshot(InstallSnapshotRequest<TypeConfig<R>>),
    /// Before a campaign: would this voter vote for the sender, whose log ends there?
    Poll {
        last: Option<LogId>,
    },
    /// The leader with this vote wishes that the receiver campaigns at once.
    Campaign {
        vote: Vote,
    },
}

/// The answer to an [`Rpc`] of the same name.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Append(AppendEntriesResponse<RaftId>),
    Vote(VoteResponse<RaftId>),
    Snapshot(Result<InstallSnapshotResponse<RaftId>, InstallSnapshotError>),
    Poll(Opinion),
    Campaign(bool),
}

/// What a voter thinks of a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Opinion {
    /// It knows no live leader, and the sender's log is at least as fresh as its own.
    For,
    /// It hears of a leader.
    LeaderLives,
    /// Its own log is fresher.
    StaleLog,
    /// By its log, which is fresher there, the sender is no voter any more.
    Removed,
}

type Fields = (ConventionId, u64, RaftId, RaftId, Vec<u8>);

/// Writes `rpc` for the voter `to`.
pub(crate) fn ask<R: AsyncRuntime>(
    ours: Identity,
    to: RaftId,
    rpc: &Rpc<R>,
) -> Result<Vec<u8>, CodecError> {
    let rpc = protocol::encode(RPC, REGISTRY_VERSION, rpc)?;
    let fields = (ours.convention, ours.recovery_epoch, to, ours.raft, rpc);
    protocol::encode(SHAPE, MESSAGE_VERSION, &fields)
}

/// Reads who asks, and what, if it is for `ours`.
pub(crate) fn read<R: AsyncRuntime>(
    ours: Identity,
    message: &[u8],
) -> Result<(RaftId, Rpc<R>), AnswerFault> {
    let fields: Fields = protocol::decode(SHAPE, MESSAGE_VERSION, message)?;
    let (convention, recovery_epoch, to, from, rpc) = fields;
    if (convention, recovery_epoch) != (ours.convention, ours.recovery_epoch) {
        return Err(AnswerFault::Foreign {
            ours,
            convention,
            recovery_epoch,
        });
    }
    if to != ours.raft {
        return Err(AnswerFault::OtherVoter { ours, wanted: to });
    }
    Ok((from, protocol::decode(RPC, REGISTRY_VERSION, &rpc)?))
}

pub(crate) fn answer(reply: &Reply) -> Result<Vec<u8>, CodecError> {
    protocol::encode(ANSWER, MESSAGE_VERSION, reply)
}

pub(crate) fn read_answer(bytes: &[u8]) -> Result<Reply, CodecError> {
    protocol::decode(ANSWER, MESSAGE_VERSION, bytes)
}
