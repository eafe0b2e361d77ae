//! The raft log in the voter's file: entries, vote, last purged, last committed.
//!
//! A vote is on disk before `save_vote` returns, and the append callback runs only after the
//! fsync; both run on openraft's own task, so their order is the order of the calls. `committed`
//! costs no fsync of its own: it rides along with the next write, since a restarted voter may
//! learn late, but never wrongly, what was committed.
//! Not here: the state machine and its snapshots (`machine`, `snapshot`).

use std::fmt::Debug;
use std::marker::PhantomData;
use std::ops::RangeBounds;
use std::sync::Arc;

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AsyncRuntime, ErrorSubject, ErrorVerb, LogState, OptionalSend, RaftLogReader};
use protocol::registry::REGISTRY_VERSION;
use redb::{ReadableTable, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::file::{FILE_VERSION, FileError, LOG, META, RaftFile, on_disk};
use super::types::{Entry, LogId, StorageError, TypeConfig, Vote};

const ENTRY: &str = "log entry";

/// openraft's log storage over a [`RaftFile`].
#[derive(Debug)]
pub(crate) struct LogStore<R> {
    reader: LogReader<R>,
    committed: Option<LogId>,
}

/// Reads the log; one for each replication task.
#[derive(Debug)]
pub(crate) struct LogReader<R> {
    file: Arc<RaftFile>,
    runtime: PhantomData<fn() -> R>,
}

impl<R: AsyncRuntime> LogStore<R> {
    pub(crate) fn new(file: Arc<RaftFile>) -> Result<Self, FileError> {
        let reader = LogReader {
            file,
            runtime: PhantomData,
        };
        let committed = reader.value::<Option<LogId>>("committed")?.flatten();
        Ok(Self { reader, committed })
    }

    /// All entries, and the vote.
    pub(crate) fn all(&self) -> Result<(Vec<Entry<R>>, Option<Vote>), FileError> {
        Ok((self.reader.entries(..)?, self.reader.value("vote")?))
    }

    /// Begins a new log behind `purged`, in which `vote` was given.
    pub(crate) fn begin_behind(&self, purged: LogId, vote: &Vote) -> Result<(), FileError> {
        let vote = self.encode("vote", vote)?;
        let purged = self.encode("purged", &purged)?;
        self.write("begin a log", |transaction| {
            let mut meta = transaction.open_table(META)?;
            meta.insert("vote", vote.as_slice())?;
            meta.insert("purged", purged.as_slice())?;
            Ok(())
        })
    }

    /// Commits `work`, and what is known to be committed with it.
    fn write(
        &self,
        doing: &'static str,
        work: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), FileError> {
        let committed = self.encode("committed", &self.committed)?;
        on_disk(|| {
            self.reader.file.write(doing, |transaction| {
                work(transaction)?;
                let mut meta = transaction.open_table(META)?;
                meta.insert("committed", committed.as_slice())?;
                Ok(())
            })
        })
    }

    fn encode(&self, name: &'static str, value: &impl Serialize) -> Result<Vec<u8>, FileError> {
        protocol::encode(name, FILE_VERSION, value)
            .map_err(self.reader.file.codec("encode a value"))
    }

    fn append_entries(&self, entries: impl Iterator<Item = Entry<R>>) -> Result<(), FileError> {
        let encode = |entry: Entry<R>| {
            let bytes = protocol::encode(ENTRY, REGISTRY_VERSION, &entry)?;
            Ok((entry.log_id.index, bytes))
        };
        let rows = entries.map(encode).collect::<Result<Vec<_>, _>>();
        let rows = rows.map_err(self.reader.file.codec("encode log entries"))?;
        self.write("append to the log", |transaction| {
            let mut log = transaction.open_table(LOG)?;
            for (index, bytes) in &rows {
                log.insert(index, bytes.as_slice())?;
            }
            Ok(())
        })
    }

    fn remove(
        &self,
        doing: &'static str,
        range: impl RangeBounds<u64>,
        purged: Option<LogId>,
    ) -> Result<(), FileError> {
        let purged = purged.map(|id| self.encode("purged", &id)).transpose()?;
        self.write(doing, |transaction| {
            transaction
                .open_table(LOG)?
                .retain_in(range, |_, _| false)?;
            if let Some(bytes) = &purged {
                let mut meta = transaction.open_table(META)?;
                meta.insert("purged", bytes.as_slice())?;
            }
            Ok(())
        })
    }
}

impl<R: AsyncRuntime> LogReader<R> {
    /// A single value of the file.
    fn value<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, FileError> {
        let bytes = self.file.read("read a value", |transaction| {
            let meta = transaction.open_table(META)?;
            Ok(meta.get(name)?.map(|bytes| bytes.value().to_vec()))
        })?;
        let decode = |bytes: Vec<u8>| protocol::decode(name, FILE_VERSION, &bytes);
        let value = bytes.map(decode).transpose();
        value.map_err(self.file.codec("read a value"))
    }

    fn entries(&self, range: impl RangeBounds<u64>) -> Result<Vec<Entry<R>>, FileError> {
        let doing = "read the log";
        let rows = self.file.read(doing, |transaction| {
            let log = transaction.open_table(LOG)?;
            let bytes = |row: Result<(_, redb::AccessGuard<'_, &[u8]>), _>| {
                row.map(|(_, bytes)| bytes.value().to_vec())
            };
            Ok(log
                .range(range)?
                .map(bytes)
                .collect::<Result<Vec<_>, _>>()?)
        })?;
        let decode = |bytes: &Vec<u8>| protocol::decode(ENTRY, REGISTRY_VERSION, bytes);
        let entries = rows.iter().map(decode).collect::<Result<_, _>>();
        entries.map_err(self.file.codec(doing))
    }

    fn last(&self) -> Result<Option<LogId>, FileError> {
        let doing = "read the end of the log";
        let bytes = self.file.read(doing, |transaction| {
            let log = transaction.open_table(LOG)?;
            Ok(log.last()?.map(|(_, bytes)| bytes.value().to_vec()))
        })?;
        let decode = |bytes: Vec<u8>| protocol::decode::<Entry<R>>(ENTRY, REGISTRY_VERSION, &bytes);
        let entry = bytes.map(decode).transpose();
        let entry = entry.map_err(self.file.codec(doing))?;
        Ok(entry.map(|entry| entry.log_id))
    }
}

impl<R: AsyncRuntime> RaftLogReader<TypeConfig<R>> for LogReader<R> {
    async fn try_get_log_entries<B: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: B,
    ) -> Result<Vec<Entry<R>>, StorageError> {
        self.entries(range)
            .map_err(|error| error.into_storage(ErrorSubject::Logs, ErrorVerb::Read))
    }
}

impl<R: AsyncRuntime> RaftLogReader<TypeConfig<R>> for LogStore<R> {
    async fn try_get_log_entries<B: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: B,
    ) -> Result<Vec<Entry<R>>, StorageError> {
        self.reader.try_get_log_entries(range).await
    }
}

impl<R: AsyncRuntime> RaftLogStorage<TypeConfig<R>> for LogStore<R> {
    type LogReader = LogReader<R>;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig<R>>, StorageError> {
        let failed = |error: FileError| error.into_storage(ErrorSubject::Logs, ErrorVerb::Read);
        let last_purged_log_id = self.reader.value("purged").map_err(failed)?;
        let last = self.reader.last().map_err(failed)?;
        Ok(LogState {
            last_purged_log_id,
            last_log_id: last.or(last_purged_log_id),
        })
    }

    async fn get_log_reader(&mut self) -> LogReader<R> {
        LogReader {
            file: Arc::clone(&self.reader.file),
            runtime: PhantomData,
        }
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let save = || {
            let bytes = self.encode("vote", vote)?;
            self.write("save the vote", |transaction| {
                let mut meta = transaction.open_table(META)?;
                meta.insert("vote", bytes.as_slice())?;
                Ok(())
            })
        };
        save().map_err(|error| error.into_storage(ErrorSubject::Vote, ErrorVerb::Write))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        self.reader
            .value("vote")
            .map_err(|error| error.into_storage(ErrorSubject::Vote, ErrorVerb::Read))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        self.committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.committed)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig<R>>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry<R>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.append_entries(entries.into_iter())
            .map_err(|error| error.into_storage(ErrorSubject::Logs, ErrorVerb::Write))?;
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, since: LogId) -> Result<(), StorageError> {
        self.remove("cut the log", since.index.., None)
            .map_err(|error| error.into_storage(ErrorSubject::Log(since), ErrorVerb::Delete))
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        self.remove("purge the log", ..=upto.index, Some(upto))
            .map_err(|error| error.into_storage(ErrorSubject::Log(upto), ErrorVerb::Delete))
    }
}
