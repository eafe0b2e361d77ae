//! How a node takes up its part in the consensus: file, founding, timing, limits.
//!
//! Not here: what openraft does with it (`consensus`).

use std::path::PathBuf;
use std::time::Duration;

use openraft::{AsyncRuntime, Instant, SnapshotPolicy};
use protocol::ConventionId;

use super::file::{FileOpenError, Identity};
use super::types::{RaftId, Voter};

/// How a node takes up its part.
#[derive(Debug, Clone)]
pub struct Config {
    /// The voter's file, `state/raft.redb`.
    pub path: PathBuf,
    /// What to do where there is no file yet.
    pub start: Start,
    /// This node, as other voters are to know it.
    pub voter: Voter,
    /// Heartbeats and elections.
    pub timing: Timing,
    /// Entries between two snapshots.
    pub snapshot_entries: u64,
    /// Entries kept behind a snapshot, for voters that lag a little.
    pub kept_entries: u64,
    /// How long a proposal is waited for before its outcome is called unknown.
    pub propose_limit_ms: u64,
}

/// What to do where there is no file yet. A file that exists is always taken up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Found the convention with this id, as its single voter.
    Found(ConventionId),
    /// Wait for the leader to fill the log; a file of another identity is refused.
    Join(Identity),
    /// There must be a file.
    Resume,
}

/// Heartbeats and elections, once there are several voters; a voter that is alone has neither.
/// Voters far apart need larger values, the same on all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats.
    pub heartbeat_ms: u64,
    /// Shortest time without a leader before an election; until then voters hold to the leader.
    pub election_min_ms: u64,
    /// Longest such time; a leader that no majority answered for so long refuses proposals.
    pub election_max_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat_ms: 100,
            election_min_ms: 300,
            election_max_ms: 600,
        }
    }
}

impl Timing {
    /// How long after the last heartbeat this round's election begins.
    pub(crate) fn draw<R: AsyncRuntime>(self) -> Duration {
        let range = openraft::Config {
            election_timeout_min: self.election_min_ms,
            election_timeout_max: self.election_max_ms.max(self.election_min_ms + 1),
            ..openraft::Config::default()
        };
        Duration::from_millis(range.new_rand_election_timeout::<R>())
    }

    /// Whether a voter that last heard its leader at `heard` still holds to it.
    pub(crate) fn hears<I: Instant>(self, heard: Option<I>) -> bool {
        heard.is_some_and(|at| at.elapsed() < Duration::from_millis(self.election_min_ms))
    }

    /// After this a leader counts as silent, and a voter as out of reach.
    pub(crate) fn silence(self) -> Duration {
        Duration::from_millis(self.election_max_ms)
    }

    /// How long an append of `count` entries is waited for; the next one waits behind it.
    pub(crate) fn append_limit(self, count: usize) -> Duration {
        let limit = self.silence();
        if count == 0 { limit } else { limit * 2 }
    }
}

impl Config {
    /// The usual limits.
    #[must_use]
    pub fn single(path: PathBuf, start: Start, voter: Voter) -> Self {
        Self {
            path,
            start,
            voter,
            timing: Timing::default(),
            snapshot_entries: 5_000,
            kept_entries: 1_000,
            propose_limit_ms: 10_000,
        }
    }

    pub(crate) fn create(&self) -> Option<Identity> {
        match self.start {
            Start::Found(convention) => Some(Identity {
                convention,
                recovery_epoch: 0,
                raft: RaftId::FOUNDER,
                founder: true,
            }),
            Start::Join(identity) => Some(identity),
            Start::Resume => None,
        }
    }

    pub(crate) fn openraft(&self, identity: Identity) -> openraft::Config {
        openraft::Config {
            cluster_name: identity.convention.to_string(),
            heartbeat_interval: NEVER_MS,
            // Of both only this is used: how long voters hold to a leader, and how long a vote
            // is waited for.
            election_timeout_min: self.timing.election_min_ms.saturating_sub(1),
            election_timeout_max: self.timing.election_min_ms,
            install_snapshot_timeout: SNAPSHOT_LIMIT_MS,
            replication_lag_threshold: self.snapshot_entries.saturating_mul(2),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_entries),
            max_in_snapshot_log_to_keep: self.kept_entries,
            purge_batch_size: self.kept_entries.clamp(1, 256),
            max_payload_entries: APPEND_ENTRIES,
            snapshot_max_chunk_size: SNAPSHOT_CHUNK_BYTES,
            enable_tick: false,
            enable_heartbeat: false,
            enable_elect: false,
            ..openraft::Config::default()
        }
    }

    pub(crate) fn check_identity(&self, found: Identity) -> Result<(), FileOpenError> {
        match self.start {
            Start::Join(wanted) if wanted != found => Err(FileOpenError::Foreign {
                path: self.path.clone(),
                found: found.to_string(),
                wanted: wanted.to_string(),
            }),
            _ => Ok(()),
        }
    }
}

/// openraft's ticker turns over even when it is switched off: once an hour then. The interval is
/// also openraft's limit of each append; `network` has shorter ones.
const NEVER_MS: u64 = 2_400_000;

/// Entries in one append at most: while it is under way the voter gets no heartbeat.
const APPEND_ENTRIES: u64 = 64;

/// Piece of a snapshot on its way to a voter that lags.
const SNAPSHOT_CHUNK_BYTES: u64 = 1 << 20;

/// A snapshot of the largest registry planned for must pass over a slow link.
const SNAPSHOT_LIMIT_MS: u64 = 60_000;
