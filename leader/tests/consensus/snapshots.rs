//! Snapshots take the place of the log behind them.

use std::path::Path;

use leader::{Config, Consensus, Unconnected};
use protocol::registry::State;

use crate::disk::Disk;
use crate::support::{config, entries, propose_all};

fn snapshotting(path: &Path) -> Config {
    Config {
        snapshot_entries: 40,
        kept_entries: 5,
        ..config(path)
    }
}

async fn open_on(disk: &Disk) -> Consensus {
    let config = snapshotting(Path::new("memory"));
    Consensus::open_on(config, disk.clone(), Unconnected)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_registry_comes_back_from_snapshot_and_log() {
    let disk = Disk::default();
    let consensus = open_on(&disk).await;
    propose_all(&consensus, 0..300).await;
    let before = consensus.read(State::clone);
    consensus.shutdown().await;

    let consensus = open_on(&disk).await;
    assert_eq!(consensus.read(State::clone), before);
    assert_eq!(entries(&consensus).len(), 300);
    propose_all(&consensus, 300..400).await;
    consensus.shutdown().await;

    let disk = disk.after_power_cut(1);
    let consensus = open_on(&disk).await;
    assert_eq!(entries(&consensus).len(), 400);
    consensus.shutdown().await;
}

#[tokio::test]
async fn the_file_does_not_grow_with_the_number_of_proposals() {
    let disk = Disk::default();
    let consensus = open_on(&disk).await;
    let mut sizes = Vec::new();
    for _ in 0..10 {
        for _ in 0..10 {
            propose_all(&consensus, 0..20).await;
        }
        sizes.push(redb::StorageBackend::len(&disk).unwrap());
    }
    assert_eq!(sizes[4], sizes[9], "{sizes:?}");
    consensus.shutdown().await;
}
