//! `state/`, our part of the directory: identity, raft log, packages, unpacked sources, node.pid.
//!
//! Deleting it forgets the node. It is 0700 and belongs to who runs the node; parts are made when
//! they are wanted.
//! Not here: what the parts hold (`store`, `leader`).

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use protocol::Incarnation;
use serde::{Deserialize, Serialize};

use super::place::Directory;

/// The `state/` folder of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateFolder {
    path: PathBuf,
}

impl Directory {
    /// The state folder, whether it exists or not.
    #[must_use]
    pub fn state(&self) -> StateFolder {
        StateFolder {
            path: self.file("state"),
        }
    }
}

impl StateFolder {
    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the folder, 0700, with the folders above it.
    ///
    /// # Errors
    /// The system's; `PermissionDenied` when it is there and others may write it or own it.
    pub fn create(&self) -> io::Result<&Path> {
        private_folder(&self.path)?;
        Ok(&self.path)
    }

    /// `identity/`, made if it is not there.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn identity(&self) -> io::Result<PathBuf> {
        self.folder("identity")
    }

    /// `packages/`: packages by hash, made if it is not there.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn packages(&self) -> io::Result<PathBuf> {
        self.folder("packages")
    }

    /// `unpacked/`: unpacked sources by hash, made if it is not there.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn unpacked(&self) -> io::Result<PathBuf> {
        self.folder("unpacked")
    }

    /// The folder of what applications load themselves; it is of one run of the node.
    #[must_use]
    pub fn applications(&self) -> PathBuf {
        self.path.join("applications")
    }

    /// `python/`: our Python package by its own hash, made if it is not there.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn python(&self) -> io::Result<PathBuf> {
        self.folder("python")
    }

    /// The path of the raft log and snapshots.
    #[must_use]
    pub fn raft(&self) -> PathBuf {
        self.path.join("raft.redb")
    }

    /// The path of the running node's record.
    #[must_use]
    pub fn record_path(&self) -> PathBuf {
        self.path.join("node.pid")
    }

    /// The record of the node that runs, or ran last, on this directory.
    ///
    /// # Errors
    /// When it is there and cannot be read or understood.
    pub fn record(&self) -> Result<Option<NodeRecord>, RecordError> {
        let path = self.record_path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(RecordError::Unreadable { path, source }),
        };
        let record = serde_json::from_slice(&bytes);
        record
            .map(Some)
            .map_err(|source| RecordError::Malformed { path, source })
    }

    /// Writes the record, whole or not at all.
    ///
    /// # Errors
    /// The system's.
    pub fn write_record(&self, record: &NodeRecord) -> io::Result<()> {
        self.create()?;
        let fresh = self.path.join("node.pid.new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        serde_json::to_writer(&file, record)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(fresh, self.record_path())
    }

    /// Removes the record if it is still that of `incarnation`.
    ///
    /// # Errors
    /// The system's.
    pub fn remove_record(&self, incarnation: Incarnation) -> io::Result<()> {
        match self.record() {
            Ok(Some(record)) if record.incarnation == incarnation => {
                fs::remove_file(self.record_path())
            }
            _ => Ok(()),
        }
    }

    fn folder(&self, name: &str) -> io::Result<PathBuf> {
        private_folder(&self.path)?;
        let path = self.path.join(name);
        private_folder(&path)?;
        Ok(path)
    }
}

/// `node.pid`: which process serves the directory, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Process id of the agent.
    pub pid: u32,
    /// Its admin port, the real one also where `adminport.cfg` says 0.
    pub port: u16,
    /// Its control socket.
    pub socket: PathBuf,
    /// Its run.
    pub incarnation: Incarnation,
}

/// Why the record of a node is of no use.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The system does not let it be read.
    #[error("`{path}` cannot be read", path = .path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is not what a node writes.
    #[error("`{path}` is no record of a node", path = .path.display())]
    Malformed {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

/// Makes a folder that only its owner may enter; one that is there must be such a folder.
pub(super) fn private_folder(path: &Path) -> io::Result<()> {
    if let Some(above) = path.parent() {
        fs::create_dir_all(above)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => check_private(path),
        Err(cause) => Err(cause),
    }
}

fn check_private(path: &Path) -> io::Result<()> {
    let about = fs::symlink_metadata(path)?;
    let me = rustix::process::geteuid().as_raw();
    let problem = if !about.is_dir() {
        "is not a folder".to_owned()
    } else if about.uid() != me {
        let owner = about.uid();
        format!(
            "belongs to user {owner}, not to user {me}: run this as that user if the node is \
             theirs, else remove or `chown` it"
        )
    } else if about.mode() & 0o022 != 0 {
        "may be written by others: `chmod go-w` it".to_owned()
    } else {
        return Ok(());
    };
    let text = format!("`{}` {problem}", path.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}
