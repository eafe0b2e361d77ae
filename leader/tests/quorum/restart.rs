//! Voters that start again, and files that must not be used any more.

use std::time::Duration;

use leader::{Consensus, Identity, RaftId, RestoreError, Start};
use protocol::ConventionId;
use tokio::time::{Instant, sleep};

use crate::hub::{CONVENTION, Group, entries, entry, identity, ids, voter, wait};

#[tokio::test(start_paused = true)]
async fn all_three_restart_and_go_on() {
    let mut group = Group::of(3).await;
    for number in 0..30 {
        group.open[&1].propose(entry(number)).await.unwrap();
    }
    group.agree(&(0..30).collect::<Vec<_>>()).await;
    group.kill_all().await;
    for raft in [3, 2, 1] {
        group.start(raft, Start::Resume).await;
    }
    let took = group.propose_anywhere(30).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    group.agree(&(0..31).collect::<Vec<_>>()).await;
}

#[tokio::test(start_paused = true)]
async fn a_voter_opens_without_waiting_for_a_leader_and_reads_what_it_applied() {
    let mut group = Group::of(3).await;
    group.open[&1].propose(entry(1)).await.unwrap();
    group.open[&1].propose(entry(2)).await.unwrap();
    group.agree(&[1, 2]).await;
    group.kill_all().await;
    let begun = Instant::now();
    group.start(2, Start::Resume).await;
    assert!(begun.elapsed() < Duration::from_millis(10));
    sleep(Duration::from_secs(10)).await;
    let alone = &group.open[&2];
    assert!(entries(alone).starts_with(&[1]), "{:?}", entries(alone));
    assert_eq!(alone.standing().borrow().leader, None);
    assert!(alone.linearizable().await.is_err());
    assert!(alone.propose(entry(3)).await.is_err());
    group.start(3, Start::Resume).await;
    group.propose_anywhere(4).await;
    group.agree(&[1, 2, 4]).await;
}

#[tokio::test(start_paused = true)]
async fn the_old_file_of_a_removed_voter_is_refused() {
    let mut group = Group::of(3).await;
    group.kill(3).await;
    group.learn(4).await;
    group.open[&1].change_voters(ids([1, 2, 4])).await.unwrap();
    group.open[&1].propose(entry(1)).await.unwrap();
    let term = group.open[&1].standing().borrow().term;

    // It starts again: nobody follows it, and it learns that it was removed.
    group.start(3, Start::Resume).await;
    let mut standing = group.open[&3].standing();
    standing.wait_for(|it| it.removed).await.unwrap();
    sleep(Duration::from_secs(20)).await;
    assert_eq!(group.open[&1].standing().borrow().term, term);
    assert!(group.open[&1].standing().borrow().leads);
    assert!(entries(&group.open[&3]).is_empty());
    group.kill(3).await;

    // The node of voter 4 gets back a directory from when it was voter 3.
    group.kill(4).await;
    let old = Consensus::open(group.config(3, Start::Resume), group.plug(4)).await;
    group.put(4, old.unwrap());
    group.open[&1].propose(entry(2)).await.unwrap();
    let refused = group.hub.refusal(1, 4).await;
    assert!(
        refused.contains("raft id 3, the message is for raft id 4; was an old state"),
        "{refused}"
    );
    assert!(entries(&group.open[&4]).is_empty());
    let refused = Consensus::<openraft::TokioRuntime>::open(
        group.config(4, Start::Join(identity(5))),
        group.plug(4),
    );
    let refused = refused.await.unwrap_err().to_string();
    assert!(refused.contains("raft id 4, not to"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_voter_with_an_older_copy_of_its_own_file_is_refused() {
    let mut group = Group::of(3).await;
    group.open[&1].propose(entry(1)).await.unwrap();
    group.agree(&[1]).await;
    group.kill(3).await;
    let old = std::fs::read(group.path(3)).unwrap();
    group.start(3, Start::Resume).await;
    group.open[&1].propose(entry(2)).await.unwrap();
    group.agree(&[1, 2]).await;
    wait("it is known to have all", || {
        group.open[&1].lag(RaftId(3)) == Some(0)
    })
    .await;
    group.kill(3).await;
    std::fs::write(group.path(3), old).unwrap();
    group.start(3, Start::Resume).await;
    group.open[&1].propose(entry(3)).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    assert!(!group.open[&1].caught_up(RaftId(3)));
    assert_eq!(entries(&group.open[&2]), [1, 2, 3]);
    assert!(!entries(&group.open[&3]).contains(&3));
}

#[tokio::test(start_paused = true)]
async fn a_survivor_is_recovered_and_the_others_are_refused() {
    let mut group = Group::of(3).await;
    for number in 0..30 {
        group.open[&1].propose(entry(number)).await.unwrap();
    }
    let all: Vec<_> = (0..30).collect();
    group.agree(&all).await;
    let term = group.open[&1].standing().borrow().term;
    group.kill_all().await;
    let recovered = leader::recover(&group.path(2), voter(2)).unwrap();
    assert_eq!(recovered.identity.recovery_epoch, 1);
    assert_eq!(recovered.identity.raft, RaftId(2));
    assert_eq!(recovered.voters.len(), 3);
    assert!(recovered.kept.exists());

    group.start(2, Start::Resume).await;
    let alone = &group.open[&2];
    assert_eq!(entries(alone), all);
    assert!(alone.standing().borrow().term > term);
    alone.propose(entry(30)).await.unwrap();
    group.kill(2).await;
    group.start(2, Start::Resume).await;
    assert_eq!(entries(&group.open[&2]).len(), 31);

    // The others come back with the old epoch: they agree among themselves, never with it.
    group.start(1, Start::Resume).await;
    group.start(3, Start::Resume).await;
    let refused = group.hub.refusal(1, 2).await;
    assert!(refused.contains("epoch 0; a node whose"), "{refused}");
    sleep(Duration::from_secs(5)).await;
    assert!(group.open[&2].standing().borrow().leads);
    assert_eq!(entries(&group.open[&2]).len(), 31);

    // A node without the old file joins the recovered convention.
    group.kill(1).await;
    std::fs::remove_file(group.path(1)).unwrap();
    let joins = Identity {
        recovery_epoch: 1,
        ..identity(4)
    };
    group.start(4, Start::Join(joins)).await;
    let leader = &group.open[&2];
    leader.add_learner(RaftId(4), voter(4)).await.unwrap();
    wait("it has the registry", || {
        entries(&group.open[&4]).len() == 31
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_backup_founds_the_convention_again() {
    let mut group = Group::of(1).await;
    for number in 0..30 {
        group.open[&1].propose(entry(number)).await.unwrap();
    }
    let backup = group.open[&1].export().unwrap();
    group.kill(1).await;
    let path = group.path(1);
    let taken = leader::found_from(&path, CONVENTION, voter(1), &backup).unwrap_err();
    assert!(matches!(taken, RestoreError::Exists { .. }), "{taken:?}");
    std::fs::remove_file(&path).unwrap();
    let other = ConventionId([6; 16]);
    let foreign = leader::found_from(&path, other, voter(1), &backup).unwrap_err();
    assert!(
        matches!(foreign, RestoreError::Foreign { .. }),
        "{foreign:?}"
    );
    let cut = leader::found_from(&path, CONVENTION, voter(1), &backup[1..]).unwrap_err();
    assert!(matches!(cut, RestoreError::Backup(_)), "{cut:?}");
    assert!(!path.exists());

    let identity = leader::found_from(&path, CONVENTION, voter(1), &backup).unwrap();
    assert_eq!(identity.recovery_epoch, 1);
    group.start(1, Start::Resume).await;
    assert_eq!(entries(&group.open[&1]), (0..30).collect::<Vec<_>>());
    group.open[&1].propose(entry(30)).await.unwrap();
    group.kill(1).await;
    group.start(1, Start::Resume).await;
    assert_eq!(entries(&group.open[&1]).len(), 31);
}
