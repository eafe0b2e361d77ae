//! openraft's own storage suite, run on a file for each of its tests.

use std::path::Path;
use std::sync::Arc;

use openraft::TokioRuntime;
use openraft::testing::{StoreBuilder, Suite};
use protocol::ConventionId;
use tempfile::TempDir;

use super::file::{Identity, RaftFile};
use super::log::LogStore;
use super::machine::Machine;
use super::types::{RaftId, StorageError, TypeConfig};

struct Builder;

fn open(folder: &Path) -> Arc<RaftFile> {
    let identity = Identity {
        convention: ConventionId([7; 16]),
        recovery_epoch: 0,
        raft: RaftId::FOUNDER,
        founder: true,
    };
    Arc::new(RaftFile::open(&folder.join("raft.redb"), Some(identity)).unwrap())
}

impl StoreBuilder<TypeConfig<TokioRuntime>, LogStore<TokioRuntime>, Machine<TokioRuntime>, TempDir>
    for Builder
{
    async fn build(
        &self,
    ) -> Result<(TempDir, LogStore<TokioRuntime>, Machine<TokioRuntime>), StorageError> {
        let folder = tempfile::tempdir().unwrap();
        let file = open(folder.path());
        let log = LogStore::new(Arc::clone(&file)).unwrap();
        Ok((folder, log, Machine::restore(file).unwrap()))
    }
}

#[test]
fn openrafts_storage_suite_passes() {
    Suite::test_all(Builder).unwrap();
}
