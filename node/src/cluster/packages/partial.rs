//! Packages that have arrived in part: what a run that was killed, or a pull that failed, had of
//! one is there for the next pull.
//!
//! A partial file has the name of its hash with `.part` behind it; one pull at a time writes it.
//! Its bytes are nobody's until the whole has the right hash, read from the disk: wrong ones cost
//! a pull from the beginning and are never kept.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use protocol::SourceHash;
use protocol::limits::TRANSFER_CHUNK_BYTES;
use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempPath};
use tokio_util::sync::CancellationToken;

use super::{HoldFault, Packages};
use crate::store::{Arrived, StoreError};

/// A partial file in the hands of the one pull that writes it.
#[derive(Debug)]
pub(super) struct Partial<'a> {
    packages: &'a Packages,
    hash: SourceHash,
    file: File,
    path: PathBuf,
}

impl Packages {
    /// The partial file of a package, begun if there is none; `None` while another pull has it.
    pub(super) fn partial(&self, hash: SourceHash) -> Result<Option<Partial<'_>>, StoreError> {
        if !self.arriving().insert(hash) {
            return Ok(None);
        }
        let path = self.store.partial_path(hash);
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(false);
        let opened = opened.mode(0o600);
        match opened.open(&path) {
            Ok(file) => Ok(Some(Partial {
                packages: self,
                hash,
                file,
                path,
            })),
            Err(cause) => {
                self.arriving().remove(&hash);
                Err(self.store.io(cause))
            }
        }
    }

    /// Removes what has come of a package that nobody wants any more.
    pub(super) fn drop_partial(&self, hash: SourceHash) {
        let arriving = self.arriving();
        if !arriving.contains(&hash) {
            let _absent = fs::remove_file(self.store.partial_path(hash));
        }
    }

    /// Removes partial files that no load has asked for in a long while, and those of packages that
    /// are here; runs until `shutdown`.
    pub(crate) async fn drop_leftovers(
        &self,
        named: impl Fn() -> BTreeSet<SourceHash>,
        shutdown: CancellationToken,
    ) {
        loop {
            self.drop_older(&named(), KEPT);
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    pub(super) fn drop_older(&self, named: &BTreeSet<SourceHash>, age: Duration) {
        for (hash, written) in self.store.partials() {
            let is_wanted = named.contains(&hash) && !self.has(hash);
            let is_old = written.elapsed().is_ok_and(|elapsed| elapsed >= age);
            if !is_wanted && (is_old || self.has(hash)) {
                self.drop_partial(hash);
            }
        }
    }

    fn arriving(&self) -> std::sync::MutexGuard<'_, BTreeSet<SourceHash>> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Partial<'_> {
    /// The file, at its beginning.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Whether nothing of it is worth keeping.
    pub(super) fn is_empty(&self) -> bool {
        self.file.metadata().is_ok_and(|about| about.len() == 0)
    }

    /// Forgets what has come.
    pub(super) fn remove(self) {
        let _absent = fs::remove_file(&self.path);
    }

    /// The package, of which all has come.
    ///
    /// # Errors
    /// The system's; or that the file has other bytes than were counted, and is gone.
    pub(super) async fn arrived(&self, bytes: u64) -> Result<Arrived, HoldFault> {
        let (file, path, hash) = (self.file.try_clone(), self.path.clone(), self.hash);
        let reading = move || whole(file?, &path, hash, bytes);
        let arrived = tokio::task::spawn_blocking(reading).await?;
        Ok(arrived.map_err(|cause| self.packages.store.io(cause))?)
    }
}

/// A stale write of an earlier pull would be on the disk alone: what counts is read from there.
fn whole(file: File, path: &Path, wanted: SourceHash, bytes: u64) -> io::Result<Arrived> {
    let file = NamedTempFile::from_parts(file, TempPath::try_from_path(path)?);
    let mut digest = Sha256::new();
    let mut written = File::open(path)?;
    let mut chunk = vec![0; TRANSFER_CHUNK_BYTES];
    loop {
        let read = written.read(&mut chunk)?;
        let Some(piece) = chunk.get(..read).filter(|piece| !piece.is_empty()) else {
            break;
        };
        digest.update(piece);
    }
    if SourceHash(digest.finalize().into()) != wanted {
        let text = format!("the partial file of {} was damaged", wanted.short());
        return Err(io::Error::other(text));
    }
    Ok(Arrived::checked(file, wanted, bytes))
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        self.packages.arriving().remove(&self.hash);
    }
}

/// How long a partial file of a package that the registry does not name is kept: a load that
/// fails is given again within this, or never.
const KEPT: Duration = Duration::from_secs(600);

/// Between two looks for such files.
const LOOK: Duration = Duration::from_secs(60);
