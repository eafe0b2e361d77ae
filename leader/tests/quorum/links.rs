//! Links that flap, work one way only, delay or repeat: a live leader stays.

use std::time::Duration;

use tokio::time::sleep;

use crate::hub::{Fault, Group, entry};

/// Lets `seconds` pass and checks that voter 1 leads on in the same term.
async fn leads_on(group: &Group, during: impl Fn(u64), seconds: u64) {
    let before = group.open[&1].standing().borrow().term;
    for step in 0..seconds * 10 {
        during(step);
        sleep(Duration::from_millis(100)).await;
        let standing = group.open[&1].standing().borrow().clone();
        assert!(standing.leads, "after {step} steps: {standing:?}");
        assert_eq!(standing.term, before, "after {step} steps");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flapping_follower_does_not_depose() {
    let group = Group::of(3).await;
    let flap = |step: u64| {
        let fault = (step / 13).is_multiple_of(2).then_some(Fault::Silent);
        group.hub.set_both(1, 3, fault);
        group.hub.set_both(2, 3, fault);
    };
    leads_on(&group, flap, 60).await;
    group.hub.set_both(1, 3, None);
    group.hub.set_both(2, 3, None);
    group.open[&1].propose(entry(1)).await.unwrap();
    group.agree(&[1]).await;
    assert_eq!(group.leader().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_hears_nothing_but_can_speak_does_not_depose() {
    for fault in [Fault::Cut, Fault::Silent] {
        let group = Group::of(3).await;
        group.hub.set(1, 3, Some(fault));
        leads_on(&group, |_| {}, 20).await;
        group.open[&1].propose(entry(1)).await.unwrap();
        assert_eq!(group.open[&3].standing().borrow().leader, None);
        group.hub.set(1, 3, None);
        group.agree(&[1]).await;
        leads_on(&group, |_| {}, 5).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_heard_but_hears_nothing_gives_way() {
    let group = Group::of(3).await;
    group.hub.set(2, 1, Some(Fault::Silent));
    group.hub.set(3, 1, Some(Fault::Silent));
    let mut standing = group.open[&1].standing();
    standing.wait_for(|it| !it.leads).await.unwrap();
    group.hub.set(2, 1, None);
    group.hub.set(3, 1, None);
    group.propose_anywhere(1).await;
    group.agree(&[1]).await;
    group.leader().await;
}

#[tokio::test(start_paused = true)]
async fn delayed_and_repeated_messages_change_nothing() {
    let group = Group::of(3).await;
    group
        .hub
        .set_both(1, 2, Some(Fault::Delayed(Duration::from_millis(40))));
    group.hub.set_both(1, 3, Some(Fault::Twice));
    for number in 0..40 {
        group.open[&1].propose(entry(number)).await.unwrap();
    }
    leads_on(&group, |_| {}, 5).await;
    group.agree(&(0..40).collect::<Vec<_>>()).await;
}
