//! openraft's state machine: the convention's registry in memory, rebuilt from the newest snapshot
//! and the log behind it.
//!
//! Readers share the registry through [`Replica`]; it never changes but by an applied entry.
//! Not here: any decision about a command, they are all `convention::Registry::apply`'s.

use std::collections::VecDeque;
use std::io::Cursor;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};

use convention::Registry;
use openraft::storage::RaftStateMachine;
use openraft::{
    AnyError, AsyncRuntime, EntryPayload, ErrorSubject, ErrorVerb, LogIdOptionExt, OptionalSend,
    RaftSnapshotBuilder, StorageIOError, StoredMembership,
};
use protocol::registry::{Outcome, State};
use tokio::sync::watch;

use super::file::{FileError, RaftFile, on_disk};
use super::snapshot::{self, Image};
use super::types::{
    Entry, LeaderId, LogId, Membership, RaftId, Snapshot, SnapshotMeta, StorageError, TypeConfig,
};

/// The registry as applied so far, shared between the state machine and its readers.
#[derive(Debug, Clone)]
pub(crate) struct Replica {
    // A lock because reads come from any task; held for one entry or one read, never across an
    // await. A panic in `apply` is caught inside, so it is never poisoned by a half-done change.
    applied: Arc<RwLock<Applied>>,
    index: watch::Sender<u64>,
}

/// Leads remembered: many times those that follow each other without the voters' doing.
const LEADS_KEPT: usize = 64;

#[derive(Debug)]
struct Applied {
    registry: Registry,
    log_id: Option<LogId>,
    membership: Membership,
    // Whose entries were applied, one lead after the other, the last one at the end; the oldest go
    // first, and none is known from before a snapshot.
    leads: VecDeque<LeaderId>,
}

/// openraft's state machine over a [`Replica`].
#[derive(Debug)]
pub(crate) struct Machine<R> {
    file: Arc<RaftFile>,
    replica: Replica,
    runtime: PhantomData<fn() -> R>,
}

/// Writes down a view of the registry while entries go on being applied.
#[derive(Debug)]
pub(crate) struct SnapshotBuilder<R> {
    file: Arc<RaftFile>,
    image: Image,
    runtime: PhantomData<fn() -> R>,
}

impl Replica {
    /// Runs `read` on the registry.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        let applied = self.applied.read().unwrap_or_else(PoisonError::into_inner);
        read(applied.registry.state())
    }

    /// Runs `read` on the registry and the index that it stands at.
    pub(crate) fn read_at<T>(&self, read: impl FnOnce(u64, &State) -> T) -> T {
        let applied = self.applied.read().unwrap_or_else(PoisonError::into_inner);
        read(
            applied.log_id.index().unwrap_or_default(),
            applied.registry.state(),
        )
    }

    /// The leads whose entries were applied, the last one first, as far back as is known.
    pub(crate) fn leads(&self) -> Vec<LeaderId> {
        let applied = self.applied.read().unwrap_or_else(PoisonError::into_inner);
        applied.leads.iter().rev().copied().collect()
    }

    /// The last applied index, as it moves.
    pub(crate) fn index(&self) -> watch::Receiver<u64> {
        self.index.subscribe()
    }

    /// All of it, to be written down.
    pub(crate) fn image(&self) -> Image {
        let applied = self.applied.read().unwrap_or_else(PoisonError::into_inner);
        Image {
            applied: applied.log_id,
            membership: applied.membership.clone(),
            state: applied.registry.state().clone(),
        }
    }

    fn replace(&self, image: Image) {
        let Image {
            applied: log_id,
            membership,
            state,
        } = image;
        let mut applied = self.applied.write().unwrap_or_else(PoisonError::into_inner);
        *applied = Applied {
            registry: Registry::from_state(state),
            log_id,
            membership,
            leads: log_id.map(|log_id| log_id.leader_id).into_iter().collect(),
        };
        drop(applied);
        self.index.send_replace(log_id.index().unwrap_or_default());
    }

    fn apply<R: AsyncRuntime>(&self, entry: Entry<R>) -> Vec<Outcome> {
        let mut applied = self.applied.write().unwrap_or_else(PoisonError::into_inner);
        applied.log_id = Some(entry.log_id);
        let lead = entry.log_id.leader_id;
        if applied.leads.back() != Some(&lead) {
            applied.leads.push_back(lead);
            if applied.leads.len() > LEADS_KEPT {
                applied.leads.pop_front();
            }
        }
        let mut outcomes = Vec::new();
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Normal(commands) => {
                for command in &commands {
                    outcomes.push(applied.registry.apply(command));
                }
            }
            EntryPayload::Membership(membership) => {
                applied.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
        }
        drop(applied);
        self.index.send_replace(entry.log_id.index);
        outcomes
    }
}

impl<R: AsyncRuntime> Machine<R> {
    /// The machine as the file's snapshot has it; openraft then applies the log behind it.
    pub(crate) fn restore(file: Arc<RaftFile>) -> Result<Self, FileError> {
        let replica = Replica {
            applied: Arc::new(RwLock::new(Applied {
                registry: Registry::new(),
                log_id: None,
                membership: Membership::default(),
                leads: VecDeque::new(),
            })),
            index: watch::Sender::new(0),
        };
        if let Some((_meta, bytes)) = snapshot::load(&file)? {
            replica.replace(Image::decode(&file, &bytes)?);
        }
        Ok(Self {
            file,
            replica,
            runtime: PhantomData,
        })
    }

    pub(crate) fn replica(&self) -> Replica {
        self.replica.clone()
    }

    /// Applies what of `entries` is not applied yet, committed or not.
    pub(crate) fn replay(&self, entries: Vec<Entry<R>>) {
        let applied = self.replica.image().applied.next_index();
        for entry in entries {
            if entry.log_id.index >= applied {
                self.replica.apply(entry);
            }
        }
    }
}

impl<R: AsyncRuntime> RaftStateMachine<TypeConfig<R>> for Machine<R> {
    type SnapshotBuilder = SnapshotBuilder<R>;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), StorageError> {
        let applied = self.replica.applied.read();
        let applied = applied.unwrap_or_else(PoisonError::into_inner);
        Ok((applied.log_id, applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Vec<Outcome>>, StorageError>
    where
        I: IntoIterator<Item = Entry<R>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut outcomes = Vec::new();
        for entry in entries {
            let log_id = entry.log_id;
            let applied = catch_unwind(AssertUnwindSafe(|| self.replica.apply(entry)));
            outcomes.push(applied.map_err(|_panic| {
                let detail = format!(
                    "applying the log entry at index `{}` panicked",
                    log_id.index
                );
                StorageIOError::<RaftId>::apply(log_id, AnyError::error(detail))
            })?);
        }
        Ok(outcomes)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder<R> {
        SnapshotBuilder {
            file: Arc::clone(&self.file),
            image: self.replica.image(),
            runtime: PhantomData,
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let bytes = snapshot.into_inner();
        let install = || {
            let image = Image::decode(&self.file, &bytes)?;
            on_disk(|| snapshot::save(&self.file, meta, &bytes))?;
            self.replica.replace(image);
            Ok(())
        };
        install().map_err(|error: FileError| snapshot_error(error, ErrorVerb::Write))
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<R>>, StorageError> {
        let found = snapshot::load(&self.file);
        let found = found.map_err(|error| snapshot_error(error, ErrorVerb::Read))?;
        Ok(found.map(|(meta, bytes)| Snapshot {
            meta,
            snapshot: Box::new(Cursor::new(bytes)),
        }))
    }
}

impl<R: AsyncRuntime> RaftSnapshotBuilder<TypeConfig<R>> for SnapshotBuilder<R> {
    async fn build_snapshot(&mut self) -> Result<Snapshot<R>, StorageError> {
        let meta = self.image.meta();
        let build = || {
            let bytes = self.image.encode(&self.file)?;
            snapshot::save(&self.file, &meta, &bytes)?;
            Ok(bytes)
        };
        let bytes = on_disk(build);
        let bytes = bytes.map_err(|error: FileError| snapshot_error(error, ErrorVerb::Write))?;
        Ok(Snapshot {
            meta,
            snapshot: Box::new(Cursor::new(bytes)),
        })
    }
}

fn snapshot_error(error: FileError, verb: ErrorVerb) -> StorageError {
    error.into_storage(ErrorSubject::Snapshot(None), verb)
}
