//! The one file of a voter, `state/raft.redb`: its identity, vote, log and newest snapshot.
//!
//! Everything that raft must not forget is in this file, so that one storage backend is where
//! disk faults are injected, and one transaction is what a crash can cut. A commit of redb is one
//! fsync. The first write that fails closes the file to all further ones: after a failed fsync
//! nobody knows what the disk holds, so it is never tried again.
//! Not here: which bytes are written (`log`, `snapshot`); nothing here retries.

use std::error::Error;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use openraft::{AnyError, ErrorSubject, ErrorVerb, StorageIOError};
use protocol::{CodecError, ConventionId};
use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, StorageBackend, TableDefinition,
    WriteTransaction,
};

use super::types::{RaftId, StorageError};

/// Entries by index.
pub(crate) const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
/// Single values by name: `identity`, `vote`, `committed`, `purged`, `snapshot`.
pub(crate) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// Pieces of the newest snapshot, in order.
pub(crate) const SNAPSHOT: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("snapshot");

/// Version of [`Identity`] and of openraft's own values in this file. 1: the first.
pub(crate) const FILE_VERSION: u16 = 1;

/// redb's default is 1 GiB; the log is read from its end, where a few pages are enough.
const CACHE_BYTES: usize = 4 << 20;

/// Whose file this is; written once, when the file is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The convention.
    pub convention: ConventionId,
    /// Counts up when an operator recovers a convention whose quorum was lost for good.
    pub recovery_epoch: u64,
    /// This voter.
    pub raft: RaftId,
    /// It founded the convention: an empty log is initialised, not waited for.
    pub founder: bool,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            convention,
            recovery_epoch,
            raft,
            founder: _,
        } = self;
        write!(
            f,
            "convention {convention}, epoch {recovery_epoch}, raft id {raft}"
        )
    }
}

/// Why the file of a voter could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum FileOpenError {
    /// Another process (or this one) has it open.
    #[error(
        "`{path}` is in use by another node; stop that node, or use another directory",
        path = path.display()
    )]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// It should be there.
    #[error(
        "`{path}` is missing: this node was a voter; restore its state directory from a backup, \
         or delete all of it to make this node forget the convention",
        path = path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Its bytes are not what was written.
    #[error(
        "`{path}` is damaged ({detail}); restore it from a backup, or delete the state directory \
         to make this node forget the convention",
        path = path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// It is the file of another convention or voter.
    #[error(
        "`{path}` belongs to {found}, not to {wanted}; it must not be used here",
        path = path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// The operating system refuses.
    #[error("`{path}` cannot be opened", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A read or write of the file that failed; the node must stop.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("cannot {doing} in `{path}`", path = path.display())]
    Redb {
        path: PathBuf,
        doing: &'static str,
        #[source]
        source: Box<redb::Error>,
    },
    #[error("cannot {doing} in `{path}`", path = path.display())]
    Codec {
        path: PathBuf,
        doing: &'static str,
        #[source]
        source: CodecError,
    },
    #[error(
        "a snapshot of {found} does not belong in `{path}`, the file of {wanted}",
        path = path.display()
    )]
    ForeignSnapshot {
        path: PathBuf,
        found: String,
        wanted: String,
    },
    #[error("cannot {doing} in `{path}`: an earlier write to it failed", path = path.display())]
    Failed { path: PathBuf, doing: &'static str },
    #[error("cannot {doing} in `{path}`: it is closed", path = path.display())]
    Closed { path: PathBuf, doing: &'static str },
}

/// The open file. Shared by log, state machine and snapshots; closed by [`RaftFile::close`].
#[derive(Debug)]
pub(crate) struct RaftFile {
    path: PathBuf,
    identity: Identity,
    // A lock for the sake of `close`: at shutdown the file must be free when the call returns,
    // although openraft's tasks may still hold this struct. Never held across an await.
    database: RwLock<Option<Database>>,
    failed: AtomicBool,
}

impl RaftFile {
    /// Opens the file at `path`; creates it for `create` where there is none.
    pub(crate) fn open(path: &Path, create: Option<Identity>) -> Result<Self, FileOpenError> {
        let io = |source| FileOpenError::Io {
            path: path.to_owned(),
            source,
        };
        if !path.try_exists().map_err(io)? {
            let identity = create.ok_or_else(|| FileOpenError::Missing {
                path: path.to_owned(),
            })?;
            create_file(path, identity)?;
        }
        let file = File::options().read(true).write(true).open(path);
        let file = file.map_err(io)?;
        if file.metadata().map_err(io)?.len() == 0 {
            return Err(FileOpenError::Damaged {
                path: path.to_owned(),
                detail: "it is empty".to_owned(),
            });
        }
        let backend = FileBackend::new(file).map_err(|error| refused(path, error))?;
        Self::open_backend(path, backend, None)
    }

    /// Opens what `backend` holds; `path` stands for it in messages.
    pub(crate) fn open_backend(
        path: &Path,
        backend: impl StorageBackend,
        create: Option<Identity>,
    ) -> Result<Self, FileOpenError> {
        // redb says that damage which its checksums do not cover can make it panic.
        catch_unwind(AssertUnwindSafe(|| open_database(path, backend, create))).unwrap_or_else(
            |_panic| {
                Err(FileOpenError::Damaged {
                    path: path.to_owned(),
                    detail: "its pages contradict each other".to_owned(),
                })
            },
        )
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// Runs `work` on a consistent view.
    pub(crate) fn read<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, FileError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or_else(|| self.closed(doing))?;
        (|| work(&database.begin_read()?))().map_err(|source| self.redb(doing, source))
    }

    /// Runs `work` and commits it: when this returns `Ok`, it is on disk.
    pub(crate) fn write<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, FileError> {
        if self.failed.load(Ordering::Acquire) {
            return Err(FileError::Failed {
                path: self.path.clone(),
                doing,
            });
        }
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or_else(|| self.closed(doing))?;
        let commit = || {
            let transaction = database.begin_write()?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        commit().map_err(|source| {
            self.failed.store(true, Ordering::Release);
            self.redb(doing, source)
        })
    }

    /// Closes the file: it can be opened anew as soon as this returns.
    pub(crate) fn close(&self) {
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = database.take()
            && let Err(error) = database.close()
        {
            // Nothing is lost: every commit was synced; the next open repairs.
            tracing::warn!(path = %self.path.display(), %error, "raft file closed uncleanly");
        }
    }

    /// Names the file in a codec's error.
    pub(crate) fn codec(&self, doing: &'static str) -> impl Fn(CodecError) -> FileError {
        move |source| FileError::Codec {
            path: self.path.clone(),
            doing,
            source,
        }
    }

    /// A snapshot of another convention came in.
    pub(crate) fn foreign_snapshot(&self, found: ConventionId, recovery_epoch: u64) -> FileError {
        FileError::ForeignSnapshot {
            path: self.path.clone(),
            found: format!("convention {found}, epoch {recovery_epoch}"),
            wanted: self.identity.to_string(),
        }
    }

    fn redb(&self, doing: &'static str, source: redb::Error) -> FileError {
        FileError::Redb {
            path: self.path.clone(),
            doing,
            source: Box::new(source),
        }
    }

    fn closed(&self, doing: &'static str) -> FileError {
        FileError::Closed {
            path: self.path.clone(),
            doing,
        }
    }
}

impl FileError {
    /// As openraft reports it; openraft then stops.
    pub(crate) fn into_storage(
        self,
        subject: ErrorSubject<RaftId>,
        verb: ErrorVerb,
    ) -> StorageError {
        // As text: openraft clones and sends its errors, and would print each cause twice.
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        StorageIOError::new(subject, verb, AnyError::error(text)).into()
    }
}

/// Runs work that waits for the disk without starving the runtime's other tasks.
///
/// On tokio's multi-threaded runtime the thread's other tasks move on; elsewhere (a simulation)
/// it simply runs, which keeps it deterministic.
pub(crate) fn on_disk<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Builds the file under another name first, so that a crash leaves it whole or absent.
fn create_file(path: &Path, identity: Identity) -> Result<(), FileOpenError> {
    NewFile::create(path, identity)?.put_in_place()
}

/// A file that is being built under another name.
#[derive(Debug)]
pub(crate) struct NewFile {
    pub(crate) file: Arc<RaftFile>,
    path: PathBuf,
}

impl NewFile {
    pub(crate) fn create(path: &Path, identity: Identity) -> Result<Self, FileOpenError> {
        let new = path.with_extension("redb.new");
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&new)
            .map_err(|source| FileOpenError::Io {
                path: new.clone(),
                source,
            })?;
        let backend = FileBackend::new(file).map_err(|error| refused(&new, error))?;
        Ok(Self {
            file: Arc::new(RaftFile::open_backend(&new, backend, Some(identity))?),
            path: path.to_owned(),
        })
    }

    /// Gives it the name that it is for, in the place of what is there.
    pub(crate) fn put_in_place(self) -> Result<(), FileOpenError> {
        self.file.close();
        let folder = self.path.parent().filter(|it| !it.as_os_str().is_empty());
        fs::rename(&self.file.path, &self.path)
            .and_then(|()| File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all())
            .map_err(|source| FileOpenError::Io {
                path: self.path.clone(),
                source,
            })
    }
}

fn open_database(
    path: &Path,
    backend: impl StorageBackend,
    create: Option<Identity>,
) -> Result<RaftFile, FileOpenError> {
    let damaged = |detail: String| FileOpenError::Damaged {
        path: path.to_owned(),
        detail,
    };
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true)
        .create_with_backend(backend)
        .map_err(|error| refused(path, error))?;
    let create = create.map(encode_identity).transpose();
    let create = create.map_err(|error| damaged(error.to_string()))?;
    let found = prepare(&database, create).map_err(|error| damaged(error.to_string()))?;
    let bytes = found.ok_or_else(|| damaged("it names no convention".to_owned()))?;
    let identity = decode_identity(&bytes).map_err(|error| damaged(error.to_string()))?;
    Ok(RaftFile {
        path: path.to_owned(),
        identity,
        database: RwLock::new(Some(database)),
        failed: AtomicBool::new(false),
    })
}

/// Makes the tables where they are missing and reads whose file it is.
fn prepare(database: &Database, create: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, redb::Error> {
    let read = |transaction: &ReadTransaction| -> Result<Option<Vec<u8>>, redb::Error> {
        match transaction.open_table(META) {
            Ok(meta) => Ok(meta.get("identity")?.map(|bytes| bytes.value().to_vec())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    };
    let found = read(&database.begin_read()?)?;
    let (None, Some(bytes)) = (&found, create) else {
        return Ok(found);
    };
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert("identity", bytes.as_slice())?;
        transaction.open_table(LOG)?;
        transaction.open_table(SNAPSHOT)?;
    }
    transaction.commit()?;
    Ok(Some(bytes))
}

fn encode_identity(identity: Identity) -> Result<Vec<u8>, CodecError> {
    let Identity {
        convention,
        recovery_epoch,
        raft,
        founder,
    } = identity;
    let fields = (convention, recovery_epoch, raft, founder);
    protocol::encode("raft identity", FILE_VERSION, &fields)
}

fn decode_identity(bytes: &[u8]) -> Result<Identity, CodecError> {
    let (convention, recovery_epoch, raft, founder) =
        protocol::decode("raft identity", FILE_VERSION, bytes)?;
    Ok(Identity {
        convention,
        recovery_epoch,
        raft,
        founder,
    })
}

fn refused(path: &Path, error: DatabaseError) -> FileOpenError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => FileOpenError::Locked { path },
        DatabaseError::Storage(redb::StorageError::Io(source))
            if !matches!(
                source.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ) =>
        {
            FileOpenError::Io { path, source }
        }
        other => FileOpenError::Damaged {
            path,
            detail: other.to_string(),
        },
    }
}
