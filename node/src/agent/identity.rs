//! Who this node is, for good: its id and its convention, in `state/identity/node.json`.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use protocol::{ConventionId, NodeId};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::directory::StateFolder;

/// Identity of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The node.
    pub(super) node: NodeId,
    /// Its convention.
    pub(super) convention: ConventionId,
}

/// Why the identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The disk.
    #[error("the state folder cannot be used")]
    Io(#[from] std::io::Error),
    /// The file is damaged.
    #[error("`{path}` is no identity of a node", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: serde_json::Error,
    },
}

impl Identity {
    /// Reads the identity, or draws and keeps a new one.
    pub(super) fn open(state: &StateFolder) -> Result<Self, IdentityError> {
        let path = state.identity()?.join("node.json");
        if let Ok(text) = fs::read(&path) {
            return serde_json::from_slice(&text)
                .map_err(|cause| IdentityError::Damaged { path, cause });
        }
        let convention = ConventionId(rand::random());
        let identity = Self {
            node: NodeId(draw()),
            convention,
        };
        let text = serde_json::to_vec(&identity).map_err(|cause| IdentityError::Damaged {
            path: path.clone(),
            cause,
        })?;
        let mut file = NamedTempFile::new_in(state.identity()?)?;
        file.write_all(&text)?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(identity)
    }
}

/// A number that is not zero.
pub(super) fn draw() -> u64 {
    rand::random::<u64>().max(1)
}
