//! The package store: packages by content address, under `state/packages/<sha256>`.
//!
//! A package is written to a temporary file while its hash is computed, made durable, and renamed
//! to its hash: a name in the store is a promise of its bytes. What is pulled from others arrives
//! in a partial file (`<sha256>.part`), which outlives a run that is killed.
//! Not here: trust (`authority`), unpacked sources (`hosting`).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use protocol::SourceHash;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio::sync::mpsc;

/// The packages of a node.
#[derive(Debug, Clone)]
pub struct PackageStore {
    folder: PathBuf,
    limit_bytes: Option<u64>,
}

/// A package that has arrived and is not in the store yet; dropped, it is gone.
#[derive(Debug)]
pub struct Arrived {
    file: NamedTempFile,
    hash: SourceHash,
    bytes: u64,
}

/// Why a package could not be received or kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk failed or is full.
    #[error("the package store `{path}` cannot be written", path = .folder.display())]
    Io {
        /// The store.
        folder: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The package, or the store with it, is too large.
    #[error("{bytes} bytes do not fit: {what}")]
    TooLarge {
        /// Bytes that there would be.
        bytes: u64,
        /// The bound.
        what: String,
    },
}

impl PackageStore {
    /// The store in this folder; `limit_bytes` bounds all packages together.
    #[must_use]
    pub fn new(folder: PathBuf, limit_bytes: Option<u64>) -> Self {
        Self {
            folder,
            limit_bytes,
        }
    }

    /// Receives a package piece by piece. Blocks until the pieces end.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is left behind.
    pub fn receive(&self, mut chunks: mpsc::Receiver<Vec<u8>>) -> Result<Arrived, StoreError> {
        let mut file = NamedTempFile::new_in(&self.folder).map_err(|cause| self.io(cause))?;
        let (mut digest, mut bytes) = (Sha256::new(), 0_u64);
        let bytes_max = package::Limits::default().package_bytes_max;
        while let Some(chunk) = chunks.blocking_recv() {
            bytes += chunk.len() as u64;
            if bytes > bytes_max {
                let what = format!("a package may have {bytes_max} bytes");
                return Err(StoreError::TooLarge { bytes, what });
            }
            digest.update(&chunk);
            file.write_all(&chunk).map_err(|cause| self.io(cause))?;
        }
        Ok(Arrived {
            file,
            hash: SourceHash(digest.finalize().into()),
            bytes,
        })
    }

    /// Takes bytes that are in memory already, as if they had arrived. Blocks.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is left behind.
    pub fn take(&self, bytes: &[u8]) -> Result<Arrived, StoreError> {
        let written = NamedTempFile::new_in(&self.folder).and_then(|mut file| {
            file.write_all(bytes)?;
            Ok(file)
        });
        Ok(Arrived {
            file: written.map_err(|cause| self.io(cause))?,
            hash: SourceHash::of(bytes),
            bytes: bytes.len() as u64,
        })
    }

    /// Keeps an arrived package, durably, under its hash. Blocks for the disk.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn keep(&self, arrived: Arrived) -> Result<PathBuf, StoreError> {
        let path = self.path(arrived.hash);
        // One whose bytes have changed on the disk is replaced.
        if self.is_whole(arrived.hash).unwrap_or(false) {
            return Ok(path);
        }
        let bytes = self.bytes() + arrived.bytes;
        if let Some(limit) = self.limit_bytes.filter(|limit| bytes > *limit) {
            let what = format!("`storelimit.cfg` allows the store {limit} bytes");
            return Err(StoreError::TooLarge { bytes, what });
        }
        let kept = arrived.file.as_file().sync_all();
        let kept = kept.and_then(|()| arrived.file.persist(&path).map_err(|error| error.error));
        let kept = kept.and_then(|_file| File::open(&self.folder)?.sync_all());
        kept.map_err(|cause| self.io(cause))?;
        Ok(path)
    }

    /// Whether the bytes that lie under a hash are those that have it. Blocks: it reads them all.
    ///
    /// # Errors
    /// The system's, also when there are none.
    pub(crate) fn is_whole(&self, hash: SourceHash) -> io::Result<bool> {
        let mut digest = Sha256::new();
        io::copy(&mut File::open(self.path(hash))?, &mut digest)?;
        Ok(SourceHash(digest.finalize().into()) == hash)
    }

    /// A file in which a package can arrive by other ways than [`Self::receive`].
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn incoming(&self) -> Result<NamedTempFile, StoreError> {
        NamedTempFile::new_in(&self.folder).map_err(|cause| self.io(cause))
    }

    /// Bytes of a package, if it is here.
    #[must_use]
    pub fn length(&self, hash: SourceHash) -> Option<u64> {
        fs::metadata(self.path(hash)).ok().map(|about| about.len())
    }

    /// Where a package lies, or would.
    #[must_use]
    pub fn path(&self, hash: SourceHash) -> PathBuf {
        self.folder.join(hash.to_string())
    }

    /// Removes a package; one that is not there is no error.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn remove(&self, hash: SourceHash) -> Result<(), StoreError> {
        match fs::remove_file(self.path(hash)) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(self.io(cause)),
            _ => Ok(()),
        }
    }

    /// Where a package arrives that is pulled.
    pub(crate) fn partial_path(&self, hash: SourceHash) -> PathBuf {
        self.folder.join(format!("{hash}{PARTIAL}"))
    }

    /// The partial files there are, and when each was written last.
    pub(crate) fn partials(&self) -> Vec<(SourceHash, SystemTime)> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let partials = entries.filter_map(|entry| {
            let hash = partial_of(&entry.file_name())?;
            let written = entry.metadata().and_then(|about| about.modified());
            Some((hash, written.unwrap_or(SystemTime::UNIX_EPOCH)))
        });
        partials.collect()
    }

    /// Removes packages that `named` does not name and temporary files of earlier runs; partial
    /// ones stay, as a pull may go on.
    pub fn sweep(&self, named: &BTreeSet<SourceHash>) -> Vec<SourceHash> {
        let mut removed = Vec::new();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let hash = hash_of(&entry.file_name());
            let is_named = hash.is_some_and(|hash| named.contains(&hash));
            if is_named || partial_of(&entry.file_name()).is_some() {
                continue;
            }
            if fs::remove_file(entry.path()).is_ok() {
                removed.extend(hash);
            }
        }
        removed
    }

    /// The packages that are held.
    #[must_use]
    pub fn hashes(&self) -> Vec<SourceHash> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let hashes = entries.filter_map(|entry| hash_of(&entry.file_name()));
        hashes.collect()
    }

    /// Bytes of all packages.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let packages = entries.filter(|entry| hash_of(&entry.file_name()).is_some());
        packages
            .filter_map(|entry| entry.metadata().ok())
            .map(|about| about.len())
            .sum()
    }

    /// What a writer tells that ended before it was done.
    pub(crate) fn interrupted(&self, cause: &tokio::task::JoinError) -> StoreError {
        self.io(io::Error::other(cause.to_string()))
    }

    pub(crate) fn io(&self, cause: io::Error) -> StoreError {
        StoreError::Io {
            folder: self.folder.clone(),
            cause,
        }
    }
}

/// The package that a file of the store holds; `None`: one that is arriving.
fn hash_of(name: &OsStr) -> Option<SourceHash> {
    name.to_str()?.parse().ok()
}

/// The package that a partial file is of.
fn partial_of(name: &OsStr) -> Option<SourceHash> {
    name.to_str()?.strip_suffix(PARTIAL)?.parse().ok()
}

/// What the name of a partial file ends with.
const PARTIAL: &str = ".part";

impl Arrived {
    /// A package whose bytes are all in this file and were found to have this hash.
    pub(crate) fn checked(file: NamedTempFile, hash: SourceHash, bytes: u64) -> Self {
        Self { file, hash, bytes }
    }

    /// The source's identity.
    #[must_use]
    pub fn hash(&self) -> SourceHash {
        self.hash
    }

    /// Its size.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where it lies for now.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(store: &PackageStore, pieces: &[&[u8]]) -> Result<Arrived, StoreError> {
        let (sender, chunks) = mpsc::channel(8);
        for piece in pieces {
            sender.try_send(piece.to_vec()).unwrap();
        }
        drop(sender);
        store.receive(chunks)
    }

    #[test]
    fn a_package_is_kept_under_the_hash_of_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let store = PackageStore::new(folder.path().to_owned(), None);
        let arrived = arrive(&store, &[b"fo", b"o"]).unwrap();
        let hash = arrived.hash();
        assert_eq!((hash, arrived.bytes()), (SourceHash::of(b"foo"), 3));
        assert_eq!(fs::read(store.keep(arrived).unwrap()).unwrap(), b"foo");
        assert!(store.sweep(&BTreeSet::from([hash])).is_empty());
        assert_eq!(store.sweep(&BTreeSet::new()), [hash]);
    }

    #[test]
    fn a_dropped_arrival_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = PackageStore::new(folder.path().to_owned(), None);
        drop(arrive(&store, &[b"foo"]).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_package_beyond_the_stores_limit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = PackageStore::new(folder.path().to_owned(), Some(5));
        store.keep(arrive(&store, &[b"foo"]).unwrap()).unwrap();
        let error = store.keep(arrive(&store, &[b"bar"]).unwrap()).unwrap_err();
        assert!(error.to_string().contains("storelimit.cfg"), "{error}");
        assert_eq!(store.bytes(), 3);
    }
}
