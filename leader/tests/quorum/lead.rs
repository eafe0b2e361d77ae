//! Who leads, who takes over, and who may not.

use std::time::Duration;

use leader::{ProposeError, ReadError};
use tokio::time::Instant;

use crate::hub::{Fault, Group, PATIENCE, entries, entry, voter, wait};

#[tokio::test(start_paused = true)]
async fn three_voters_agree_and_the_others_name_the_leader() {
    let group = Group::of(3).await;
    for number in 0..30 {
        group.open[&1].propose(entry(number)).await.unwrap();
    }
    group.agree(&(0..30).collect::<Vec<_>>()).await;
    assert_eq!(group.leader().await, 1);
    let refused = group.open[&2].propose(entry(1001)).await.unwrap_err();
    let ProposeError::Unavailable(unavailable) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(unavailable.not_leader, Some(voter(1)));
}

#[tokio::test(start_paused = true)]
async fn a_lost_leader_costs_about_a_second() {
    let mut times = Vec::new();
    for _ in 0..10 {
        let mut group = Group::of(3).await;
        group.open[&1].propose(entry(1)).await.unwrap();
        assert_eq!(group.leader().await, 1);
        group.kill(1).await;
        times.push(group.propose_anywhere(2).await);
        group.agree(&[1, 2]).await;
        group.kill_all().await;
    }
    times.sort();
    assert!(times[5] < Duration::from_secs(1), "{times:?}");
    assert!(times[9] < Duration::from_secs(3), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_in_the_minority_refuses_and_follows_when_it_is_back() {
    let group = Group::of(3).await;
    group.open[&1].propose(entry(1)).await.unwrap();
    for other in [2, 3] {
        group.hub.set_both(1, other, Some(Fault::Silent));
    }
    let cut = Instant::now();
    let mut standing = group.open[&1].standing();
    standing.wait_for(|it| !it.leads).await.unwrap();
    assert!(
        cut.elapsed() < Duration::from_millis(800),
        "{:?}",
        cut.elapsed()
    );
    assert_eq!(standing.borrow().leader, None);
    let refused = group.open[&1].propose(entry(9)).await.unwrap_err();
    let ProposeError::Unavailable(unavailable) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(
        unavailable.to_string(),
        "unavailable: no majority of the voters answers"
    );
    let stale = group.open[&1].linearizable().await.unwrap_err();
    assert!(matches!(stale, ReadError::Unavailable(_)), "{stale:?}");

    group.propose_anywhere(2).await;
    let term = group.open[&2].standing().borrow().term;
    for other in [2, 3] {
        group.hub.set_both(1, other, None);
    }
    group.agree(&[1, 2]).await;
    assert_ne!(group.leader().await, 1);
    // The one that came back did not cost another election.
    assert_eq!(group.open[&1].standing().borrow().term, term);
}

#[tokio::test(start_paused = true)]
async fn a_leader_hands_over_when_it_steps_down() {
    let group = Group::of(3).await;
    group.open[&1].propose(entry(1)).await.unwrap();
    let begun = Instant::now();
    group.open[&1].step_down().await.unwrap();
    let leader = group.leader().await;
    assert_ne!(leader, 1);
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    group.open[&leader].propose(entry(2)).await.unwrap();
    group.agree(&[1, 2]).await;
    let refused = group.open[&1].step_down().await.unwrap_err();
    assert!(refused.to_string().contains("not the leader"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_nobody_can_take_over_from_leads_on() {
    let mut group = Group::of(1).await;
    let refused = group.open[&1].step_down().await.unwrap_err();
    assert!(refused.to_string().contains("no other voter"), "{refused}");
    group.grow(2..=3).await;
    for other in [2, 3] {
        group.hub.set_both(1, other, Some(Fault::Cut));
    }
    let mut standing = group.open[&1].standing();
    standing.wait_for(|it| !it.leads).await.unwrap();
    let refused = group.open[&1].step_down().await.unwrap_err();
    assert!(refused.to_string().contains("no other voter"), "{refused}");
    for other in [2, 3] {
        group.hub.set_both(1, other, None);
    }
    group.propose_anywhere(1).await;
    group.agree(&[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_leader_is_replaced_on_a_real_clock_too() {
    let mut group = Group::of(3).await;
    group.open[&1].propose(entry(1)).await.unwrap();
    group.kill(1).await;
    let took = group.propose_anywhere(2).await;
    assert!(took < PATIENCE / 4, "{took:?}");
    group.agree(&[1, 2]).await;
    let leader = group.leader().await;
    wait("reads are fresh", || {
        entries(&group.open[&leader]) == [1, 2]
    })
    .await;
    group.open[&leader].linearizable().await.unwrap();
    group.kill_all().await;
}
