//! The reconciler and an operator's orders against a registry in memory: what crosses each other.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail the test"
)]

mod members;
mod memory;
mod office;
mod stage;
mod troupe;

use leader::reconcile::{OrderError, Replica, RoleOrder};
use protocol::control::RoleAction;
use protocol::registry::{Change, Command, SlotState};
use protocol::{RequestId, RolloutId, Stamp};
use stage::{Stage, hash, order, request};

#[tokio::test]
async fn a_load_constructs_then_sends_on_load() {
    let stage = Stage::new();
    let loaded = stage.director.load(&order("1.0", &["a", "b"])).await;
    assert!(loaded.unwrap().changed);
    let mut log = stage.troupe.log();
    log.sort();
    let wanted = [
        "construct a",
        "construct b",
        "deliver OnLoad 'loaded'",
        "deliver OnLoad 'loaded'",
    ];
    assert_eq!(log, wanted);
    assert_eq!(stage.slot("a").1, SlotState::Running);
}

#[tokio::test]
async fn one_that_does_not_stand_has_the_others_discarded() {
    let stage = Stage::new();
    *stage.troupe.failing.lock().unwrap() = Some("b");
    let failed = stage.director.load(&order("1.0", &["a", "b"])).await;
    let Err(OrderError::Failed { reason }) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!(reason, "`b`: it raised\nTraceback");
    let log = stage.troupe.log();
    assert!(
        log.iter().any(|line| line.starts_with("discard")),
        "{log:?}"
    );
    assert!(stage.memory.read(|state| state.sources.is_empty()));
}

#[tokio::test]
async fn one_that_stood_and_ended_before_the_hold_refuses_the_load() {
    let stage = Stage::new();
    let dies = Box::new(|registry: &mut convention::Registry| {
        let slots = registry.state().slots.iter();
        let (slot, actor) = slots.map(|(id, slot)| (*id, slot.actor)).next().unwrap();
        registry.apply(&Command::Ended {
            slot,
            actor,
            reason: "it crashed".to_owned(),
            stamp: Stamp(1_000),
        });
    });
    *stage.troupe.stood.lock().unwrap() = Some(("a", dies));
    let failed = stage.director.load(&order("1.0", &["a"])).await;
    assert!(
        matches!(failed, Err(OrderError::Failed { .. })),
        "{failed:?}"
    );
    let delivered = |log: &[String]| log.iter().any(|line| line.starts_with("deliver"));
    assert!(!delivered(&stage.troupe.log()));
}

#[tokio::test]
async fn one_that_is_stopped_while_it_is_constructed_is_discarded() {
    let stage = Stage::new();
    stage.director.load(&order("1.0", &["a"])).await.unwrap();
    let (slot, _) = stage.slot("a");
    let stops = Box::new(move |registry: &mut convention::Registry| {
        let stop = true;
        registry.apply(&Command::Ordered {
            request: RequestId([7; 16]),
            told: Vec::new(),
            change: Change::Operate { slot, stop },
            stamp: Stamp(1_000),
        });
    });
    *stage.troupe.stood.lock().unwrap() = Some(("a", stops));
    let restarted = stage.director.operate(restart(&stage, "a")).await;
    assert!(
        matches!(restarted, Err(OrderError::Failed { .. })),
        "{restarted:?}"
    );
    assert_eq!(stage.slot("a").1, SlotState::Stopped);
    for _turn in 0..100 {
        tokio::task::yield_now().await;
    }
    let log = stage.troupe.log();
    assert!(
        log.iter().any(|line| line.starts_with("discard")),
        "{log:?}"
    );
}

#[tokio::test]
async fn messages_wait_while_an_actor_is_restarted_and_not_while_it_is_stopped() {
    let stage = Stage::new();
    stage.director.load(&order("1.0", &["a"])).await.unwrap();
    for (action, standing) in [(RoleAction::Restart, "Held"), (RoleAction::Stop, "Unbound")] {
        stage
            .director
            .operate(RoleOrder {
                action,
                ..restart(&stage, "a")
            })
            .await
            .unwrap();
        let log = stage.troupe.log();
        let mut ends = log.iter().filter(|line| line.starts_with("end "));
        let last = ends.next_back().unwrap();
        assert!(last.contains(&format!("while [{standing}")), "{last}");
    }
}

/// A restart of the first actor of a class, as ordered by nobody before.
fn restart(stage: &Stage, class: &str) -> RoleOrder {
    RoleOrder {
        request: request(),
        slot: stage.slot(class).0,
        action: RoleAction::Restart,
    }
}

fn count(stage: &Stage, what: &str) -> usize {
    let log = stage.troupe.log();
    log.iter().filter(|line| line.starts_with(what)).count()
}

#[tokio::test]
async fn a_restart_that_the_next_leader_is_asked_for_again_happens_once() {
    let stage = Stage::new();
    stage.director.load(&order("1.0", &["a"])).await.unwrap();
    let restart = restart(&stage, "a");
    stage.director.operate(restart).await.unwrap();
    let done = (count(&stage, "end "), count(&stage, "construct a"));
    assert_eq!(done, (1, 2));
    let stage = stage.next_leader();
    stage.director.operate(restart).await.unwrap();
    assert_eq!((count(&stage, "end "), count(&stage, "construct a")), done);
    // Another order is another restart.
    let request = request();
    let another = RoleOrder { request, ..restart };
    stage.director.operate(another).await.unwrap();
    assert_eq!(
        (count(&stage, "end "), count(&stage, "construct a")),
        (2, 3)
    );
}

#[tokio::test]
async fn the_next_leader_ends_a_restart_that_the_last_one_has_begun() {
    let stage = Stage::new();
    stage.director.load(&order("1.0", &["a"])).await.unwrap();
    let restart = restart(&stage, "a");
    let (slot, until) = (restart.slot, Stamp(u64::MAX));
    let actor = stage.memory.read(|state| state.slots[&slot].actor);
    // It was lost before it told the actor.
    stage.memory.apply(&Command::Ordered {
        request: restart.request.step(1),
        told: Vec::new(),
        change: Change::Rest { slot, actor, until },
        stamp: Stamp(1_000),
    });
    let stage = stage.next_leader();
    assert!(matches!(stage.slot("a").1, SlotState::Waiting { .. }));
    stage.director.operate(restart).await.unwrap();
    assert_eq!(
        (count(&stage, "end "), count(&stage, "construct a")),
        (1, 2)
    );
    assert_eq!(stage.slot("a").1, SlotState::Running);
}

#[tokio::test]
async fn a_stop_asked_for_again_leaves_what_was_resumed_since() {
    let stage = Stage::new();
    stage.director.load(&order("1.0", &["a"])).await.unwrap();
    let stop = RoleOrder {
        action: RoleAction::Stop,
        ..restart(&stage, "a")
    };
    stage.director.operate(stop).await.unwrap();
    let resume = RoleOrder {
        request: request(),
        action: RoleAction::Resume,
        ..stop
    };
    stage.director.operate(resume).await.unwrap();
    let ended = count(&stage, "end ");
    let stage = stage.next_leader();
    stage.director.operate(stop).await.unwrap();
    assert_eq!(stage.slot("a").1, SlotState::Running);
    assert_eq!(count(&stage, "end "), ended);
}

#[tokio::test]
async fn an_unload_whose_source_becomes_active_meanwhile_leaves_it() {
    let stage = Stage::new();
    stage.director.load(&order("1.0", &["a"])).await.unwrap();
    stage.director.load(&order("1.1", &["b"])).await.unwrap();
    // Right before 1.0 begins to drain, it becomes active again.
    stage.memory.before("Drain", |registry| {
        let load = Command::Load {
            request: request(),
            hash: hash("1.0"),
            group: "foo".to_owned(),
            version: Some("1.0".to_owned()),
            bytes: 1,
            definition: order("1.0", &["a"]).definition,
            placements: Vec::new(),
            by: "another".to_owned(),
            stamp: Stamp(1_000),
        };
        registry.apply(&load);
        let rollout: RolloutId = *registry.state().rollouts.keys().next().unwrap();
        let stamp = Stamp(1_000);
        registry.apply(&Command::Hold { rollout, stamp });
        registry.apply(&Command::Switch { rollout, stamp });
        registry.apply(&Command::Finish { rollout, stamp });
    });
    let prefix = hash("1.0").to_string();
    let unloading = stage.director.unload(&prefix, request(), false, "a test");
    let limit = std::time::Duration::from_secs(10);
    let unloaded = tokio::time::timeout(limit, unloading).await.unwrap();
    assert_eq!(unloaded.unwrap().0, hash("1.0"));
    let active = stage.memory.read(|state| state.groups["foo"].active);
    assert_eq!(active, Some(hash("1.1")));
}

#[tokio::test]
async fn a_restart_that_fails_is_tried_again_after_a_delay() {
    let stage = Stage::new();
    stage.director.load(&order("1.0", &["a"])).await.unwrap();
    *stage.troupe.failing.lock().unwrap() = Some("a");
    let (slot, _) = stage.slot("a");
    let actor = stage.memory.read(|state| state.slots[&slot].actor);
    let ended = Command::Ended {
        slot,
        actor,
        reason: "it crashed".to_owned(),
        stamp: Stamp(1_000),
    };
    stage.memory.propose(ended).await.unwrap();
    // The clock stands still: it is started once at once, then waits.
    let waits = |state: &SlotState| match state {
        SlotState::Waiting { not_before, .. } => not_before.0 > 1_000,
        _ => false,
    };
    stage.until(|state| waits(&state.slots[&slot].state)).await;
}

#[tokio::test]
async fn a_load_is_proposed_only_while_a_majority_of_the_voters_holds_its_bytes() {
    let stage = Stage::new();
    stage.director.load(&order("1.0", &["a"])).await.unwrap();
    assert_eq!(*stage.troupe.secured.lock().unwrap(), [false, true]);
    *stage.troupe.lacking.lock().unwrap() = Some(false);
    let refused = stage.director.load(&order("1.1", &["a"])).await;
    let Err(OrderError::Code(failure)) = refused else {
        panic!("{refused:?}");
    };
    assert!(failure.message.contains("only 1 of 3 voters"));
    let known = stage.memory.read(|state| state.sources.len());
    assert_eq!(known, 1, "nothing was proposed");
    // The voters changed between the last look and the commit.
    *stage.troupe.lacking.lock().unwrap() = Some(true);
    let loaded = stage.director.load(&order("1.1", &["a"])).await.unwrap();
    assert!(loaded.changed);
    let told = loaded.notes.iter().any(|note| note.contains("only 1 of 3"));
    assert!(told, "{loaded:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_a_member_does_not_confirm_is_reverted() {
    let stage = Stage::new();
    stage.director.load(&order("1.0", &["a"])).await.unwrap();
    *stage.troupe.stuck.lock().unwrap() = true;
    let failed = stage.director.load(&order("1.1", &["b"])).await;
    let Err(OrderError::Failed { reason }) = failed else {
        panic!("{failed:?}");
    };
    assert!(reason.contains("not every member confirmed"), "{reason}");
    let active = stage.memory.read(|state| state.groups["foo"].active);
    assert_eq!(active, Some(hash("1.0")));
    let log = stage.troupe.log();
    let left = log.iter().any(|line| line.contains("OnDeactivate"));
    assert!(!left, "the old version goes on as it was: {log:?}");
}
