//! Growing, shrinking and replacing voters while the same consensus stays open.

use std::sync::Arc;
use std::time::Duration;

use leader::{ChangeError, Consensus, ProposeError, RaftId, Start};

use crate::hub::{Fault, Group, address, entries, entry, ids, voter, wait};

#[tokio::test(start_paused = true)]
async fn one_grows_to_three_and_shrinks_to_one_without_reopening() {
    let mut group = Group::of(1).await;
    for number in 0..60 {
        group.open[&1].propose(entry(number)).await.unwrap();
    }
    // The log behind the snapshot is purged by now: the others can only start from it.
    group.grow(2..=3).await;
    group.agree(&(0..60).collect::<Vec<_>>()).await;
    assert_eq!(group.leader().await, 1);
    let standing = group.open[&2].standing().borrow().clone();
    assert_eq!(
        standing.voters.into_keys().collect::<Vec<_>>(),
        [1, 2, 3].map(RaftId)
    );

    group.open[&1].change_voters(ids([1])).await.unwrap();
    group.kill(2).await;
    group.kill(3).await;
    group.open[&1].propose(entry(60)).await.unwrap();
    let standing = group.open[&1].standing().borrow().clone();
    assert_eq!(standing.voters.into_keys().collect::<Vec<_>>(), [RaftId(1)]);
    assert!(standing.learners.is_empty());
    group.grow(4..=5).await;
    group.agree(&(0..61).collect::<Vec<_>>()).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_removed_leaves_the_lead_to_the_others() {
    let mut group = Group::of(3).await;
    group.open[&1].change_voters(ids([2])).await.unwrap();
    let refused = group.open[&1].propose(entry(1)).await.unwrap_err();
    assert!(
        matches!(refused, ProposeError::Unavailable(_)),
        "{refused:?}"
    );
    group.kill(1).await;
    group.kill(3).await;
    group.propose_anywhere(2).await;
    assert!(group.open[&2].standing().borrow().leads);
    assert_eq!(entries(&group.open[&2]), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_replaced_and_stays_open_does_not_hold_the_others_up() {
    let mut group = Group::of(3).await;
    group.learn(4).await;
    let changed = group.open[&1].change_voters(ids([2, 3, 4])).await;
    changed.unwrap();
    let took = group.propose_anywhere(1).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    wait("the one that left shows it", || {
        !group.open[&1].standing().borrow().leads
    })
    .await;
    let left = group.open.remove(&1).unwrap();
    group.agree(&[1]).await;
    assert_ne!(group.leader().await, 1);
    left.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_voter_is_replaced_by_one_of_a_fresh_raft_id() {
    let mut group = Group::of(3).await;
    group.open[&1].propose(entry(1)).await.unwrap();
    group.kill(2).await;
    group.learn(4).await;
    group.open[&1].change_voters(ids([1, 3, 4])).await.unwrap();
    group.open[&1].propose(entry(2)).await.unwrap();
    group.agree(&[1, 2]).await;
    group.kill(1).await;
    group.propose_anywhere(3).await;
    group.agree(&[1, 2, 3]).await;
}

#[tokio::test(start_paused = true)]
async fn changes_that_make_no_sense_are_refused() {
    let mut group = Group::of(3).await;
    let first = &group.open[&1];
    let refused = first.change_voters(ids([1, 2, 9])).await.unwrap_err();
    assert!(
        matches!(refused, ChangeError::Refused { .. }),
        "{refused:?}"
    );
    let refused = first.change_voters(ids([])).await.unwrap_err();
    assert!(
        matches!(refused, ChangeError::Refused { .. }),
        "{refused:?}"
    );
    let refused = group.open[&2].change_voters(ids([1])).await.unwrap_err();
    assert!(
        matches!(refused, ChangeError::Unavailable(_)),
        "{refused:?}"
    );
    let refused = first.remove_learner(RaftId(3)).await.unwrap_err();
    assert!(
        matches!(refused, ChangeError::Refused { .. }),
        "{refused:?}"
    );

    group.learn(4).await;
    let first = &group.open[&1];
    assert_eq!(first.lag(RaftId(4)), Some(0));
    assert!(first.standing().borrow().learners.contains_key(&RaftId(4)));
    first.remove_learner(RaftId(4)).await.unwrap();
    wait("the learner is gone", || {
        first.standing().borrow().learners.is_empty()
    })
    .await;
    assert!(!first.caught_up(RaftId(4)));
}

#[tokio::test(start_paused = true)]
async fn a_voter_with_a_new_address_is_reached_there() {
    let mut group = Group::of(3).await;
    group.kill(3).await;
    group.open[&1].propose(entry(1)).await.unwrap();
    let moved = Consensus::open(group.config(3, Start::Resume), group.plug(33)).await;
    group.put(33, moved.unwrap());
    let first = &group.open[&1];
    let moved = first.update_voter_address(RaftId(3), address(33)).await;
    moved.unwrap();
    group.agree(&[1]).await;
    let standing = group.open[&1].standing().borrow().clone();
    let known = &standing.voters[&RaftId(3)];
    assert_eq!(
        (known.node, known.address.as_str()),
        (voter(3).node, "voter-33")
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_that_a_leader_left_half_done_is_ended_by_the_next() {
    let mut group = Group::of(3).await;
    group.learn(4).await;
    for other in [2, 3, 4] {
        group
            .hub
            .set(other, 1, Some(Fault::Delayed(Duration::from_millis(200))));
    }
    let first = Arc::clone(&group.open[&1]);
    let change = tokio::spawn(async move { first.change_voters(ids([2, 3, 4])).await });
    for other in [2, 3, 4] {
        let mut standing = group.open[&other].standing();
        let half = standing.wait_for(|it| it.voters.len() == 4);
        half.await.unwrap();
    }
    group.open[&1].shutdown().await;
    assert!(change.await.unwrap().is_err());
    group.kill(1).await;
    wait("the change is ended", || {
        group.open.values().all(|it| {
            let standing = it.standing().borrow().clone();
            standing.voters.keys().copied().eq([2, 3, 4].map(RaftId))
        })
    })
    .await;
    group.propose_anywhere(1).await;
    group.agree(&[1]).await;
}
