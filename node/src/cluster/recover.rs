//! A survivor goes on alone: its convention's quorum is lost for good and an operator says so.
//!
//! The node does not run meanwhile. What other voters acknowledged without it is lost; they are
//! never heard again and have to join anew. Not here: how the log is made anew (`leader`).

use std::path::PathBuf;

use leader::{RestoreError, Voter};
use protocol::Stamp;

use super::identity::{Identity, IdentityError};
use super::reachable;
use crate::directory::{Directory, SettingsError};

/// What a survivor has after its recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Its convention, which stays the same.
    pub convention: String,
    /// How often the convention has been recovered, this time included.
    pub recovery: u64,
    /// The last entry of the log that the survivor held.
    pub index: u64,
    /// How many voters there were, itself included.
    pub voters_before: usize,
    /// Where the log from before is kept.
    pub kept: PathBuf,
    /// Whether it holds the authority's key; without it no node can join.
    pub has_authority: bool,
}

/// Why nothing was recovered; everything is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The settings cannot be read.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The node runs.
    #[error("the node of `{directory}` runs (process {pid})", directory = .directory.display())]
    Running {
        /// Its directory.
        directory: PathBuf,
        /// Its process.
        pid: u32,
    },
    /// It never was a voter, or is none any more.
    #[error("`{path}` is not there: this node was no voter", path = .path.display())]
    NoVoter {
        /// Where a voter's log would be.
        path: PathBuf,
    },
    /// Its identity cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The log cannot be made anew.
    #[error(transparent)]
    Log(#[from] RestoreError),
}

impl RecoverError {
    /// The next step to take.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Running { .. } => {
                "a quorum that may come back is not lost; else `director shutdown`, then repeat"
            }
            Self::NoVoter { .. } => {
                "recover on a node that was a voter, or `director cluster restore` a backup into \
                 a fresh convention"
            }
            Self::Settings(_) | Self::Identity(_) | Self::Log(_) => {
                "check the Director directory and its disk, then repeat"
            }
        }
    }
}

/// Makes the node of this directory the only voter of its convention.
///
/// # Errors
/// [`RecoverError`].
pub fn recover(directory: &Directory, now: Stamp) -> Result<Recovery, RecoverError> {
    let settings = directory.settings()?.settings;
    let state = directory.state();
    let mut places = directory.find_node(0).into_iter();
    if let Some(record) = places.find_map(|place| place.record) {
        return Err(RecoverError::Running {
            directory: directory.path().to_owned(),
            pid: record.pid,
        });
    }
    let path = state.raft();
    if !path.exists() {
        return Err(RecoverError::NoVoter { path });
    }
    let identity = Identity::open(&state, false, now)?;
    let voter = Voter {
        node: identity.node(),
        address: reachable::address(&settings, settings.listen, settings.admin_port),
    };
    let recovered = leader::recover(&path, voter)?;
    Ok(Recovery {
        convention: recovered.identity.convention.to_string(),
        recovery: recovered.identity.recovery_epoch,
        index: recovered.index.0,
        voters_before: recovered.voters.len(),
        kept: recovered.kept,
        has_authority: identity.authority().is_some(),
    })
}
