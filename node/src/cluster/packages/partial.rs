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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::SourceHash;
use protocol::limits::TRANSFER_CHUNK_BYTES;
use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempPath};
use tokio_util::sync::CancellationToken;

use super::pull::FileSink;
use super::{HoldFault, Packages};
use crate::store::{Arrived, PackageStore, StoreError};

/// The one right to write a partial file, or to give it its own name. Whatever still works on the
/// file holds it as well: nobody else begins before the last of them has ended, also where whoever
/// wanted the package has given up waiting.
#[derive(Debug)]
pub(super) struct Claim {
    arriving: Arriving,
    hash: SourceHash,
}

/// Whose partial file somebody is writing.
// Held for a look-up, an insertion or the removal of a file only.
pub(super) type Arriving = Arc<Mutex<BTreeSet<SourceHash>>>;

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.arriving).remove(&self.hash);
    }
}

/// A partial file in the hands of the one pull that writes it.
#[derive(Debug)]
pub(super) struct Partial {
    claim: Arc<Claim>,
    store: PackageStore,
    file: File,
    path: PathBuf,
}

impl Packages {
    /// The partial file of a package, begun if there is none; `None` while another pull has it.
    pub(super) fn partial(&self, hash: SourceHash) -> Result<Option<Partial>, StoreError> {
        if !lock(&self.arriving).insert(hash) {
            return Ok(None);
        }
        let arriving = Arc::clone(&self.arriving);
        let claim = Arc::new(Claim { arriving, hash });
        let path = self.store.partial_path(hash);
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(false);
        let file = opened.mode(0o600).open(&path);
        Ok(Some(Partial {
            claim,
            store: self.store.clone(),
            file: file.map_err(|cause| self.store.io(cause))?,
            path,
        }))
    }

    /// Removes what has come of a package that nobody wants any more.
    pub(super) fn drop_partial(&self, hash: SourceHash) {
        let arriving = lock(&self.arriving);
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
}

impl Partial {
    /// Where a pull puts what comes, behind what the file has.
    pub(super) fn sink(&self) -> Result<FileSink, StoreError> {
        let sink = FileSink::over(&self.file, Some(Arc::clone(&self.claim)));
        sink.map_err(|cause| self.store.io(cause))
    }

    /// Whether nothing of it is worth keeping.
    pub(super) fn is_empty(&self) -> bool {
        self.file.metadata().is_ok_and(|about| about.len() == 0)
    }

    /// Forgets what has come.
    pub(super) fn remove(self) {
        let _absent = fs::remove_file(&self.path);
    }

    /// Keeps the package, of which all has come, in the store.
    ///
    /// # Errors
    /// The system's; or that the file has other bytes than were counted, and is gone.
    ///
    /// # Cancel safety
    /// It is kept all the same, and the file is nobody else's before.
    pub(super) async fn keep(self, bytes: u64) -> Result<(), HoldFault> {
        let keeping = move || {
            let Self {
                claim,
                store,
                file,
                path,
            } = self;
            let arrived = whole(file, &path, claim.hash, bytes);
            let kept = arrived
                .map_err(|cause| store.io(cause))
                .and_then(|arrived| store.keep(arrived));
            drop(claim);
            kept
        };
        tokio::task::spawn_blocking(keeping).await??;
        Ok(())
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

fn lock(arriving: &Arriving) -> MutexGuard<'_, BTreeSet<SourceHash>> {
    arriving.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a partial file of a package that the registry does not name is kept: a load that
/// fails is given again within this, or never.
const KEPT: Duration = Duration::from_secs(600);

/// Between two looks for such files.
const LOOK: Duration = Duration::from_secs(60);
