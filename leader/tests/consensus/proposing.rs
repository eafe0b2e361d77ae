//! What a proposal gives, and what it costs.

use std::path::Path;
use std::sync::Arc;

use leader::{Consensus, ProposeError, Unconnected};
use protocol::registry::{Command, Outcome, Refusal};
use protocol::{RolloutId, SourceHash, Stamp};

use crate::disk::Disk;
use crate::support::{config, entries, entry, open};

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_is_visible_when_it_returns() {
    let folder = tempfile::tempdir().unwrap();
    let consensus = open(&folder.path().join("raft.redb")).await.unwrap();
    let applied = consensus.applied();
    assert!(consensus.is_leader());

    let (index, outcome) = consensus.propose(entry(5)).await.unwrap();
    assert_eq!(outcome, Outcome::Done);
    assert_eq!(entries(&consensus), [5]);
    assert!(*applied.borrow() >= index.0);
    assert!(consensus.linearizable().await.unwrap() >= index);
    consensus.shutdown().await;
}

#[tokio::test]
async fn what_the_registry_refuses_is_refused_and_not_fatal() {
    let consensus = Consensus::<openraft::TokioRuntime>::open_on(
        config(Path::new("memory")),
        Disk::default(),
        Unconnected,
    );
    let consensus = consensus.await.unwrap();
    let hash = SourceHash([3; 32]);
    let drain = Command::Drain {
        request: Default::default(),
        hash,
        now: false,
        by: "test".to_owned(),
        stamp: Stamp(1),
    };
    let refused = consensus.propose(drain).await.unwrap_err();
    let ProposeError::Refused(refusal) = &refused else {
        panic!("{refused}");
    };
    assert_eq!(*refusal, Refusal::UnknownSource { hash });
    let stale = Command::Finish {
        rollout: RolloutId(9),
        stamp: Stamp(2),
    };
    assert_eq!(consensus.propose(stale).await.unwrap().1, Outcome::Stale);
    consensus.shutdown().await;
}

#[tokio::test]
async fn one_proposal_costs_one_sync_and_many_at_once_share_theirs() {
    let disk = Disk::default();
    let consensus = Consensus::open_on(config(Path::new("memory")), disk.clone(), Unconnected);
    let consensus = Arc::new(consensus.await.unwrap());
    // The first ones grow the file.
    for number in 0..50 {
        consensus.propose(entry(number)).await.unwrap();
    }
    let before = disk.syncs();
    for number in 0..20 {
        consensus.propose(entry(number)).await.unwrap();
    }
    assert_eq!(disk.syncs() - before, 20);

    let before = disk.syncs();
    let mut all = tokio::task::JoinSet::new();
    for number in 100..300 {
        let consensus: Arc<Consensus> = Arc::clone(&consensus);
        all.spawn(async move { consensus.propose(entry(number)).await });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap().unwrap();
    }
    assert!(disk.syncs() - before < 20, "{}", disk.syncs() - before);
    assert_eq!(entries(&consensus).len(), 250);
}

#[expect(
    clippy::await_holding_lock,
    reason = "the guard is the hanging disk; only the disk waits for it"
)]
// One thread: the timer only runs if a disk that hangs does not hold up the runtime.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_proposal_that_takes_too_long_is_unknown_and_may_still_be_carried_out() {
    let limited = leader::Config {
        propose_limit_ms: 300,
        ..config(Path::new("memory"))
    };
    let disk = Disk::default();
    let consensus = Consensus::open_on(limited, disk.clone(), Unconnected);
    let consensus: Arc<Consensus> = Arc::new(consensus.await.unwrap());
    let hang = disk.hang();
    let proposer = Arc::clone(&consensus);
    let proposal = tokio::spawn(async move { proposer.propose(entry(5)).await });
    let unknown = proposal.await.unwrap().unwrap_err();
    assert!(
        matches!(unknown, ProposeError::Unknown { waited_ms } if waited_ms >= 300),
        "{unknown:?}"
    );
    assert!(entries(&consensus).is_empty());

    let mut applied = consensus.applied();
    let before = *applied.borrow_and_update();
    drop(hang);
    applied.wait_for(|index| *index > before).await.unwrap();
    assert_eq!(entries(&consensus), [5]);
}

#[tokio::test]
async fn reading_and_waiting_cost_no_write() {
    let disk = Disk::default();
    let consensus = Consensus::<openraft::TokioRuntime>::open_on(
        config(Path::new("memory")),
        disk.clone(),
        Unconnected,
    );
    let consensus = consensus.await.unwrap();
    let before = (disk.writes(), disk.syncs());
    for _ in 0..10 {
        consensus.linearizable().await.unwrap();
    }
    assert_eq!((disk.writes(), disk.syncs()), before);
    consensus.shutdown().await;
}
