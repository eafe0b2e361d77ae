//! A disk that fails ends this node's part; what was acknowledged is there afterwards.

use std::path::Path;
use std::time::Duration;

use leader::{Config, Consensus, OpenError, ProposeError, Unconnected};
use tokio::time::timeout;

use crate::disk::Disk;
use crate::support::{config, entries, entry, text};

async fn open_on(disk: &Disk) -> Result<Consensus, OpenError> {
    let config = Config {
        snapshot_entries: 8,
        kept_entries: 2,
        ..config(Path::new("sim/raft.redb"))
    };
    Consensus::open_on(config, disk.clone(), Unconnected).await
}

/// Proposes until the first failure; the numbers that were acknowledged.
async fn propose_until_failure(consensus: &Consensus, count: u64) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    for number in 0..count {
        match consensus.propose(entry(number)).await {
            Ok(_) => acknowledged.push(number),
            Err(ProposeError::Fatal(_)) => break,
            Err(other) => panic!("{other:?}"),
        }
    }
    acknowledged
}

#[tokio::test]
async fn a_failing_fsync_is_fatal_and_nothing_acknowledged_is_lost() {
    for seed in 0..10 {
        let disk = Disk::default();
        let consensus = open_on(&disk).await.unwrap();
        assert_eq!(propose_until_failure(&consensus, 5).await.len(), 5);
        disk.fail_syncs();
        let error = consensus.propose(entry(99)).await.unwrap_err();
        assert!(matches!(error, ProposeError::Fatal(_)), "{error:?}");
        assert_eq!(
            text(&error),
            "consensus has stopped on this node; stop the node, mend the cause, start it again: \
             when Write Logs: cannot append to the log in `sim/raft.redb`: I/O error: fsync failed"
        );
        let failed = timeout(Duration::from_secs(5), consensus.failed()).await;
        assert!(text(&failed.unwrap()).contains("fsync failed"));
        assert!(consensus.propose(entry(100)).await.is_err());
        consensus.shutdown().await;
        assert_eq!(disk.calls_after_failure(), 0, "a failed sync was repeated");

        let consensus = open_on(&disk.after_power_cut(seed)).await.unwrap();
        let found = entries(&consensus);
        assert!(found.starts_with(&[0, 1, 2, 3, 4]), "{found:?}");
        assert!(!found.contains(&100), "{found:?}");
        consensus.shutdown().await;
    }
}

#[tokio::test]
async fn acknowledged_proposals_survive_a_kill_at_each_write() {
    const COUNT: u64 = 12;
    let whole = Disk::default();
    whole.fail_after(u64::MAX);
    let consensus = open_on(&whole).await.unwrap();
    assert_eq!(propose_until_failure(&consensus, COUNT).await.len(), 12);
    let calls = whole.writes() + whole.syncs() + 20;
    consensus.shutdown().await;

    let mut cut_in_founding = 0;
    let mut cut_in_proposing = 0;
    for calls in 0..calls {
        let disk = Disk::default();
        disk.fail_after(calls);
        let acknowledged = match open_on(&disk).await {
            Ok(consensus) => {
                let acknowledged = propose_until_failure(&consensus, COUNT).await;
                cut_in_proposing += u32::from(acknowledged.len() < 12);
                consensus.shutdown().await;
                acknowledged
            }
            Err(OpenError::File(_) | OpenError::Fatal(_)) => {
                cut_in_founding += 1;
                Vec::new()
            }
            Err(other) => panic!("{other:?}"),
        };
        for seed in 0..3 {
            recover(&disk.after_power_cut(seed), &acknowledged, calls).await;
        }
    }
    assert!(cut_in_founding > 5, "{cut_in_founding}");
    assert!(cut_in_proposing > 20, "{cut_in_proposing}");
}

/// What was acknowledged is there, in order, with at most one more that was under way.
async fn recover(disk: &Disk, acknowledged: &[u64], calls: u64) {
    let consensus = match open_on(disk).await {
        Ok(consensus) => consensus,
        // A raw disk has no rename: a cut while its first bytes were laid out leaves no file.
        Err(OpenError::File(_)) if acknowledged.is_empty() => return,
        Err(error) => panic!("after {calls} calls: {}", text(&error)),
    };
    let found = entries(&consensus);
    assert!(
        found.starts_with(acknowledged) && found.len() <= acknowledged.len() + 1,
        "after {calls} calls: acknowledged {acknowledged:?}, found {found:?}"
    );
    consensus.propose(entry(1000)).await.unwrap();
    assert_eq!(entries(&consensus).last(), Some(&1000));
    consensus.shutdown().await;
}
