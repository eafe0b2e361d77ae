//! Members are lost, stop, are drained, join and leave while versions are rolled out.

use convention::{Standing, role_standings};
use leader::reconcile::{OrderError, Replica};
use protocol::definition;
use protocol::registry::{Command, MemberCommand, SlotState};
use protocol::{NodeId, Stamp};

use crate::stage::{Stage, drained, hash, joined, lost, order, request, started};

#[tokio::test]
async fn an_actor_whose_member_is_lost_runs_elsewhere() {
    let stage = Stage::new();
    stage.director.load(&order("1.0", &["a"])).await.unwrap();
    assert_eq!(stage.running("a"), [1], "where the load came from");
    stage.memory.apply(&lost(1));
    stage.until_running("a", &[2]).await;
    let log = stage.troupe.log();
    let delivered = log.iter().filter(|line| line.contains("OnLoad")).count();
    assert_eq!(delivered, 2, "the new incarnation gets its own: {log:?}");
    assert!(!log.iter().any(|line| line.starts_with("end")), "{log:?}");
}

#[tokio::test]
async fn an_actor_whose_process_died_stays_where_it_was() {
    let stage = Stage::new();
    stage
        .director
        .load(&order("1.0", &["a", "b"]))
        .await
        .unwrap();
    let (slot, _) = stage.slot("a");
    let actor = stage.memory.read(|state| state.slots[&slot].actor);
    stage.memory.apply(&Command::Ended {
        slot,
        actor,
        reason: "it crashed".to_owned(),
        stamp: Stamp(1_000),
    });
    stage
        .until(|state| state.slots[&slot].actor != actor && is_running(&state.slots[&slot].state))
        .await;
    assert_eq!(stage.running("a"), [1]);
}

#[tokio::test]
async fn the_actors_of_a_member_that_starts_again_or_stops_run_again() {
    let stage = Stage::new();
    stage.director.load(&order("1.0", &["a"])).await.unwrap();
    let (slot, _) = stage.slot("a");
    let actor = stage.memory.read(|state| state.slots[&slot].actor);
    stage.memory.apply(&started(1, 2));
    stage
        .until(|state| state.slots[&slot].actor != actor && is_running(&state.slots[&slot].state))
        .await;
    assert_eq!(stage.running("a"), [1], "it stays on its member");
    stage.memory.apply(&Command::MemberStopped {
        node: NodeId(1),
        stamp: Stamp(1_000),
    });
    stage.until_running("a", &[2]).await;
}

#[tokio::test]
async fn a_drained_member_loses_its_actors_and_ends_them_first() {
    let stage = Stage::new();
    stage.director.load(&order("1.0", &["old"])).await.unwrap();
    stage.director.load(&order("1.1", &["a"])).await.unwrap();
    stage.memory.apply(&drained(1, true));
    stage.until_running("a", &[2]).await;
    stage.until_running("old", &[]).await;
    let log = stage.troupe.log();
    let ends: Vec<_> = log.iter().filter(|line| line.starts_with("end")).collect();
    assert!(ends.iter().any(|line| line.contains("[Held]")), "{ends:?}");
    let here = stage.troupe.alive.lock().unwrap().clone();
    assert!(here.values().all(|node| *node != NodeId(1)), "{here:?}");
    // The inactive version's actor is created again, elsewhere, when it is gone back to.
    stage
        .director
        .rollback("foo", request(), "a test")
        .await
        .unwrap();
    assert_ne!(stage.running("old"), [1]);
    assert_eq!(stage.running("old").len(), 1);
}

#[tokio::test]
async fn an_actor_that_nobody_can_run_waits_with_a_reason_until_somebody_can() {
    let stage = Stage::new();
    stage
        .troupe
        .only
        .lock()
        .unwrap()
        .insert("a", vec![NodeId(1)]);
    stage.director.load(&order("1.0", &["a"])).await.unwrap();
    stage.memory.apply(&drained(1, true));
    let (slot, _) = stage.slot("a");
    stage
        .until(|state| state.slots[&slot].node == NodeId::NONE)
        .await;
    let SlotState::Waiting { reason, .. } = stage.slot("a").1 else {
        panic!("{:?}", stage.slot("a"));
    };
    assert_eq!(reason, "no member that is up can run `a`");
    let before = stage.memory.log.lock().unwrap().len();
    for _turn in 0..200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        stage.memory.log.lock().unwrap().len(),
        before,
        "nothing is tried"
    );
    stage.memory.apply(&drained(1, false));
    stage.until_running("a", &[1]).await;
}

#[tokio::test]
async fn a_member_lost_while_it_constructs_is_replaced_by_another() {
    let stage = Stage::new();
    let dies = Box::new(|registry: &mut convention::Registry| {
        registry.apply(&lost(1));
    });
    *stage.troupe.stood.lock().unwrap() = Some(("a", dies));
    let loaded = stage.director.load(&order("1.0", &["a", "b"])).await;
    assert!(loaded.unwrap().changed);
    stage.until_running("a", &[2]).await;
    assert_eq!(stage.running("b").len(), 1);
    assert_ne!(stage.running("b"), [1]);
}

#[tokio::test]
async fn the_last_member_lost_while_it_constructs_refuses_the_load() {
    let stage = Stage::new();
    stage
        .troupe
        .only
        .lock()
        .unwrap()
        .insert("a", vec![NodeId(1)]);
    let dies = Box::new(|registry: &mut convention::Registry| {
        registry.apply(&lost(1));
    });
    *stage.troupe.stood.lock().unwrap() = Some(("a", dies));
    let failed = stage.director.load(&order("1.0", &["a"])).await;
    assert_eq!(
        failed.unwrap_err().to_string(),
        "no member that is up can run `a`"
    );
    assert!(stage.memory.read(|state| state.sources.is_empty()));
}

#[tokio::test]
async fn a_new_versions_member_lost_in_the_hold_reverts() {
    let stage = Stage::new();
    stage.director.load(&order("1.0", &["a"])).await.unwrap();
    stage.memory.before("Switch", |registry| {
        registry.apply(&lost(2));
    });
    let second = leader::reconcile::LoadOrder {
        origin: NodeId(2),
        ..order("1.1", &["b"])
    };
    // Lost right before the switch: the actor is placed elsewhere after it.
    assert!(stage.director.load(&second).await.unwrap().changed);
    stage
        .until(|state| {
            let mut slots = state.slots.values();
            slots.any(|slot| slot.class == "b" && is_running(&slot.state) && slot.node != NodeId(2))
        })
        .await;
    let third = leader::reconcile::LoadOrder {
        origin: NodeId(3),
        ..order("1.2", &["c"])
    };
    // Lost with the hold: it reverts.
    stage.memory.before("Hold", |registry| {
        registry.apply(&lost(3));
    });
    let failed = stage.director.load(&third).await;
    assert!(
        matches!(failed, Err(OrderError::Failed { .. })),
        "{failed:?}"
    );
    let active = stage.memory.read(|state| state.groups["foo"].active);
    assert_eq!(active, Some(hash("1.1")));
    let left = stage.director.rollback("foo", request(), "a test").await;
    assert_eq!(left.unwrap().to, hash("1.0"), "not to what was reverted");
}

#[tokio::test]
async fn an_old_versions_member_lost_in_the_hold_reverts_and_it_runs_elsewhere() {
    let stage = Stage::new();
    stage.director.load(&order("1.0", &["a"])).await.unwrap();
    let second = leader::reconcile::LoadOrder {
        origin: NodeId(2),
        ..order("1.1", &["b"])
    };
    // Its OnDeactivate does not reach it.
    stage.troupe.cut_off("Hold", 1);
    let memory = std::sync::Arc::clone(&stage.memory);
    let failed = stage.director.load(&second).await;
    assert!(
        matches!(failed, Err(OrderError::Failed { .. })),
        "{failed:?}"
    );
    memory.apply(&lost(1));
    stage
        .until(|state| {
            let mut slots = state.slots.values();
            slots.any(|slot| slot.class == "a" && is_running(&slot.state) && slot.node != NodeId(1))
        })
        .await;
}

#[tokio::test]
async fn each_eligible_member_runs_one_and_those_that_join_later() {
    let stage = Stage::new();
    stage
        .director
        .load(&order("1.0", &["each:e"]))
        .await
        .unwrap();
    stage.until_running("e", &[1, 2, 3]).await;
    for command in joined(4) {
        stage.memory.apply(&command);
    }
    stage.until_running("e", &[1, 2, 3, 4]).await;
    stage.memory.apply(&drained(2, true));
    stage.until_running("e", &[1, 3, 4]).await;
    stage
        .until(|state| state.slots.values().all(|slot| slot.node != NodeId(2)))
        .await;
    stage.memory.apply(&drained(2, false));
    stage.until_running("e", &[1, 2, 3, 4]).await;
    stage.memory.apply(&Command::Member(MemberCommand::Remove {
        node: NodeId(4),
        left: false,
        by: "a test".to_owned(),
        stamp: Stamp(1_000),
    }));
    stage.until_running("e", &[1, 2, 3]).await;
    assert_eq!(stage.memory.read(|state| state.slots.len()), 3);
    stage.memory.apply(&lost(3));
    stage.until_running("e", &[1, 2]).await;
    stage.memory.apply(&started(3, 2));
    stage.until_running("e", &[1, 2, 3]).await;
}

#[tokio::test]
async fn a_role_of_each_member_is_its_own_nodes() {
    let stage = Stage::new();
    stage
        .director
        .load(&order("1.0", &["each:e"]))
        .await
        .unwrap();
    let bound = |own: u64| {
        stage.memory.read(|state| {
            let standings = role_standings(state, Some(NodeId(own)));
            let standing = standings.into_values().next().unwrap().standing;
            let Standing::Bound(actor) = standing else {
                panic!("{standing:?}");
            };
            let mut slots = state.slots.values();
            slots.find(|slot| slot.actor == actor).unwrap().node.0
        })
    };
    assert_eq!([bound(1), bound(2), bound(3)], [1, 2, 3]);
    assert_eq!(bound(9), 1, "another node's is the first that runs");
    stage.memory.apply(&lost(1));
    assert_eq!(bound(9), 2);
}

#[tokio::test]
async fn one_of_each_that_is_lost_in_a_step_does_not_stop_the_rollout() {
    for step in ["Hold", "Switch", "Finish"] {
        let stage = Stage::new();
        let first = order("1.0", &["each:e"]);
        stage.director.load(&first).await.unwrap();
        stage.memory.before(step, |registry| {
            registry.apply(&lost(3));
        });
        let second = stage.director.load(&order("1.1", &["each:f"])).await;
        assert!(second.unwrap().changed, "{step}");
        stage.until_running("f", &[1, 2]).await;
        // It returns, and a fourth joins.
        stage.memory.apply(&started(3, 2));
        for command in joined(4) {
            stage.memory.apply(&command);
        }
        stage.until_running("f", &[1, 2, 3, 4]).await;
    }
}

#[tokio::test]
async fn one_that_joins_in_a_step_gets_its_own_afterwards() {
    for step in ["Load", "Hold", "Switch", "Finish"] {
        let stage = Stage::new();
        stage
            .director
            .load(&order("1.0", &["each:e"]))
            .await
            .unwrap();
        stage.memory.before(step, |registry| {
            for command in joined(4) {
                registry.apply(&command);
            }
        });
        stage
            .director
            .load(&order("1.1", &["each:f"]))
            .await
            .unwrap();
        stage.until_running("f", &[1, 2, 3, 4]).await;
    }
}

#[tokio::test]
async fn without_waiting_a_class_that_no_member_fits_waits_for_one() {
    let stage = Stage::new();
    stage
        .troupe
        .only
        .lock()
        .unwrap()
        .insert("b", vec![NodeId(4)]);
    let refused = stage.director.load(&order("1.0", &["a", "b"])).await;
    assert!(matches!(refused, Err(OrderError::Code(_))), "{refused:?}");
    let at_once = leader::reconcile::LoadOrder {
        no_wait: true,
        ..order("1.0", &["a", "b"])
    };
    assert!(stage.director.load(&at_once).await.unwrap().changed);
    stage.until_running("a", &[1]).await;
    stage
        .until(|state| {
            let mut slots = state.slots.values();
            slots.any(|slot| slot.class == "b" && matches!(slot.state, SlotState::Waiting { .. }))
        })
        .await;
    for command in joined(4) {
        stage.memory.apply(&command);
    }
    stage.until_running("b", &[4]).await;
}

#[tokio::test]
async fn actors_go_to_the_least_loaded_when_the_origin_cannot_run_them() {
    let stage = Stage::new();
    let classes = ["a", "b", "c", "d"];
    let elsewhere = [NodeId(2), NodeId(3)];
    for class in classes {
        let mut only = stage.troupe.only.lock().unwrap();
        only.insert(class, elsewhere.to_vec());
    }
    stage.director.load(&order("1.0", &classes)).await.unwrap();
    let nodes: Vec<_> = classes
        .iter()
        .flat_map(|class| stage.running(class))
        .collect();
    assert_eq!(nodes, [2, 3, 2, 3]);
}

#[tokio::test]
async fn bytes_that_are_loaded_keep_the_definition_they_came_with() {
    let stage = Stage::new();
    stage.director.load(&order("1.0", &["a"])).await.unwrap();
    stage.director.load(&order("1.1", &["b"])).await.unwrap();
    let edited = order("1.0", &["each:x", "y"]);
    stage.director.load(&edited).await.unwrap();
    let placement = stage.memory.read(|state| {
        let actors = &state.sources[&hash("1.0")].definition.actors;
        (actors.len(), actors[0].placement)
    });
    assert_eq!(placement, (1, definition::Placement::One));
    assert_eq!(stage.running("a"), [1]);
    assert!(stage.running("x").is_empty());
}

fn is_running(state: &SlotState) -> bool {
    *state == SlotState::Running
}
