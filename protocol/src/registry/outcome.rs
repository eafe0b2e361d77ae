//! What a command did, or why the registry refuses it.

use serde::{Deserialize, Serialize};

use super::KeyDigest;
use crate::id::{NodeId, RolloutId, SourceHash};

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It is done.
    Done,
    /// A rollout began.
    Began {
        /// Its id.
        rollout: RolloutId,
    },
    /// The source is active already; nothing changed.
    AlreadyActive,
    /// The source is loaded but not active, and was not made so.
    AlreadyLoaded,
    /// Nothing changed, because the command is about something past.
    Stale,
    /// A raft id was taken.
    RaftId(u64),
    /// The registry refuses.
    Refused(Refusal),
    /// The rollout that the request began is over: what a repeat of the request is told.
    Ended {
        /// The rollout.
        rollout: RolloutId,
        /// The source that was active.
        from: Option<SourceHash>,
        /// The source that became active, or would have.
        to: Option<SourceHash>,
        /// Why it did not; `None`: it did.
        failure: Option<String>,
    },
}

/// Why the registry refuses a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The group has a rollout in progress.
    #[error("group `{group}` has a rollout in progress")]
    Busy {
        /// The group.
        group: String,
    },
    /// Another group owns the global name.
    #[error("global name `{name}` belongs to group `{owner}`")]
    NameTaken {
        /// The name.
        name: String,
        /// Its group.
        owner: String,
    },
    /// No such source.
    #[error("source {hash} is not loaded")]
    UnknownSource {
        /// The hash.
        hash: SourceHash,
    },
    /// The source belongs to another group.
    #[error("source {hash} is loaded as group `{group}`")]
    OtherGroup {
        /// The hash.
        hash: SourceHash,
        /// Its group.
        group: String,
    },
    /// There is nothing to go back to.
    #[error("group `{group}` has no other loaded version to go back to")]
    NoOtherVersion {
        /// The group.
        group: String,
    },
    /// The source drains.
    #[error("source {hash} is being unloaded")]
    Draining {
        /// The hash.
        hash: SourceHash,
    },
    /// No such member.
    #[error("no member `{node}` is known")]
    UnknownMember {
        /// The member.
        node: NodeId,
    },
    /// The member was removed; its id is never used again.
    #[error("member `{node}` was removed from the convention")]
    RemovedMember {
        /// The member.
        node: NodeId,
    },
    /// The id belongs to a member with another key.
    #[error("the id `{node}` belongs to a member with another key")]
    IdTaken {
        /// That member.
        node: NodeId,
    },
    /// The key belongs to another member.
    #[error("the key of the joiner belongs to member `{node}` already")]
    KeyTaken {
        /// That member.
        node: NodeId,
    },
    /// No such join token, or it was revoked.
    #[error("join token `{id}` is not known")]
    UnknownToken {
        /// Its id.
        id: String,
    },
    /// The join token was used as often as it may.
    #[error("join token `{id}` has been used as often as it may")]
    TokenUsed {
        /// Its id.
        id: String,
    },
    /// The join token is too old.
    #[error("join token `{id}` has expired")]
    TokenExpired {
        /// Its id.
        id: String,
    },
    /// Nobody has approved the joiner.
    #[error("the joiner with key `{key}` waits for approval")]
    NotApproved {
        /// Its key.
        key: KeyDigest,
    },
    /// The number of voters cannot be that.
    #[error("a convention has 1, 3, 5 or 7 voters, not {wanted}: an even number adds no safety")]
    Voters {
        /// What was asked.
        wanted: u8,
    },
    /// More orders were given than are remembered; none is forgotten for another.
    #[error(
        "{kept} orders given at node `{node}` within the last hour are remembered, and no more of \
         its are taken before the oldest is an hour old"
    )]
    TooManyOrders {
        /// Where they were given.
        node: NodeId,
        /// How many of them are remembered.
        kept: u64,
    },
    /// A token may not be good for so many uses or so long.
    #[error(
        "a token is good for 1 to {uses_max} uses and at most {ttl_max_ms} ms, not for {uses} \
         uses and {ttl_ms} ms"
    )]
    TokenTooGood {
        /// Uses that were asked for.
        uses: u32,
        /// How long it was to be good.
        ttl_ms: u64,
        /// The most that may be.
        uses_max: u32,
        /// The longest that may be.
        ttl_max_ms: u64,
    },
    /// The rollout is not in a step that allows it.
    #[error("rollout {rollout} is not in a step that allows this")]
    WrongStep {
        /// The rollout.
        rollout: RolloutId,
    },
    /// The authority's key is being replaced already.
    #[error("the authority's key is being replaced already, as `{by}` asked")]
    Rotating {
        /// Who asked.
        by: String,
    },
    /// No authority can retire now.
    #[error("no key of the authority has taken over from another: none can retire")]
    NotIssuing,
}
