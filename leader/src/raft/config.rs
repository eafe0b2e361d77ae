//! How a node takes up its part in the consensus: file, founding, timing, limits.
//!
//! Not here: what openraft does with it (`consensus`).

use std::path::PathBuf;

use openraft::SnapshotPolicy;
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

/// Heartbeats and elections. Growing from one voter to three opens the consensus anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// The single voter: no heartbeat, no timer, elected at once.
    Alone,
    /// One of several.
    Quorum {
        /// Between two heartbeats.
        heartbeat_ms: u64,
        /// Shortest time without a leader before an election.
        election_min_ms: u64,
        /// Longest such time, and the lease of a leader.
        election_max_ms: u64,
    },
}

impl Config {
    /// A single voter with the usual limits.
    #[must_use]
    pub fn single(path: PathBuf, start: Start, voter: Voter) -> Self {
        Self {
            path,
            start,
            voter,
            timing: Timing::Alone,
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
        let (heartbeat_ms, election_min_ms, election_max_ms) = match self.timing {
            Timing::Alone => ALONE_MS,
            Timing::Quorum {
                heartbeat_ms,
                election_min_ms,
                election_max_ms,
            } => (heartbeat_ms, election_min_ms, election_max_ms),
        };
        let timed = self.timing != Timing::Alone;
        openraft::Config {
            cluster_name: identity.convention.to_string(),
            heartbeat_interval: heartbeat_ms,
            election_timeout_min: election_min_ms,
            election_timeout_max: election_max_ms,
            install_snapshot_timeout: SNAPSHOT_LIMIT_MS,
            replication_lag_threshold: self.snapshot_entries.saturating_mul(2),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_entries),
            max_in_snapshot_log_to_keep: self.kept_entries,
            purge_batch_size: self.kept_entries.clamp(1, 256),
            enable_tick: timed,
            enable_heartbeat: timed,
            enable_elect: timed,
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

/// openraft's ticker turns over even when it is switched off: once an hour then.
const ALONE_MS: (u64, u64, u64) = (2_400_000, 2_400_001, 2_400_002);

/// A snapshot of the largest registry planned for must pass over a slow link.
const SNAPSHOT_LIMIT_MS: u64 = 60_000;
