//! The leader loses its office at any proposal, and the next one goes on and answers the same.

use leader::reconcile::{OrderError, ProposeFailure, Replica};

use crate::memory::Loss;
use crate::stage::{Stage, hash, lost, order, request};

/// More proposals than any order makes.
const PROPOSALS_MAX: usize = 40;

#[tokio::test]
async fn a_load_goes_on_under_the_next_leader_at_whatever_step_it_was() {
    let mut changes = 0;
    for loss in [Loss::Before, Loss::After] {
        for at in 0..PROPOSALS_MAX {
            let stage = Stage::new();
            stage.director.load(&order("1.0", &["a"])).await.unwrap();
            let second = order("1.1", &["b", "each:c"]);
            stage.memory.lose_office_at(at, loss);
            let first_answer = stage.director.load(&second).await;
            if first_answer.is_ok() && stage.memory.leads() {
                break;
            }
            changes += 1;
            let stage = stage.next_leader();
            let loaded = stage.director.load(&second).await.unwrap();
            assert!(loaded.changed, "{loss:?} {at}: {loaded:?}");
            check_updated(&stage, &format!("{loss:?} {at}"));
            let again = stage.director.load(&second).await.unwrap();
            assert!(again.changed, "the same answer once more");
        }
    }
    assert!(changes >= 8, "{changes}");
}

fn check_updated(stage: &Stage, case: &str) {
    let active = stage.memory.read(|state| state.groups["foo"].active);
    assert_eq!(active, Some(hash("1.1")), "{case}");
    assert_eq!(stage.running("b"), [1], "{case}");
    assert_eq!(stage.running("c"), [1, 2, 3], "{case}");
    let log = stage.troupe.log();
    let of = |what: &str| log.iter().filter(|line| line.contains(what)).count();
    assert_eq!(of("deliver OnLoad"), 1 + 4, "{case}: {log:?}");
    assert_eq!(of("deliver OnDeactivate"), 1, "{case}: {log:?}");
    assert_eq!(of("OnRevert") + of("OnReactivate"), 0, "{case}: {log:?}");
}

#[tokio::test]
async fn a_member_and_the_leader_lost_together_leave_one_running_version() {
    for at in 0..PROPOSALS_MAX {
        let stage = Stage::new();
        stage
            .director
            .load(&order("1.0", &["a", "each:d"]))
            .await
            .unwrap();
        let second = order("1.1", &["b", "each:c"]);
        stage.memory.lose_office_at(at, Loss::After);
        let first_answer = stage.director.load(&second).await;
        if first_answer.is_ok() && stage.memory.leads() {
            assert!(at >= 4, "{at}");
            break;
        }
        // The leader was on member 1, where the actors are.
        stage.memory.apply(&lost(1));
        let stage = stage.next_leader();
        let answer = stage.director.load(&second).await;
        stage.until(|state| state.rollouts.is_empty()).await;
        let active = stage.memory.read(|state| state.groups["foo"].active);
        let (one, each) = match &answer {
            Ok(loaded) => {
                assert!(loaded.changed);
                assert_eq!(active, Some(hash("1.1")));
                ("b", "c")
            }
            Err(OrderError::Failed { .. }) => {
                assert_eq!(active, Some(hash("1.0")));
                ("a", "d")
            }
            other => panic!("{at}: {other:?}"),
        };
        stage.until_running(one, &[2]).await;
        stage.until_running(each, &[2, 3]).await;
    }
}

#[tokio::test]
async fn a_rollback_and_an_unload_are_answered_the_same_by_the_next_leader() {
    for loss in [Loss::Before, Loss::After] {
        for at in 0..PROPOSALS_MAX {
            let stage = Stage::new();
            stage.director.load(&order("1.0", &["a"])).await.unwrap();
            stage.director.load(&order("1.1", &["b"])).await.unwrap();
            let id = request();
            stage.memory.lose_office_at(at, loss);
            let before = stage.director.rollback("foo", id, "a test").await;
            if before.is_ok() && stage.memory.leads() {
                break;
            }
            let stage = stage.next_leader();
            let left = stage.director.rollback("foo", id, "a test").await.unwrap();
            assert_eq!((left.from, left.to), (hash("1.1"), hash("1.0")), "{at}");
            let again = stage.director.rollback("foo", id, "a test").await.unwrap();
            assert_eq!(again, left);
        }
        for (at, version) in (0..PROPOSALS_MAX).flat_map(|at| [(at, "1.0"), (at, "1.1")]) {
            let stage = Stage::new();
            stage.director.load(&order("1.0", &["a"])).await.unwrap();
            stage.director.load(&order("1.1", &["b"])).await.unwrap();
            let (id, prefix) = (request(), hash(version).to_string());
            stage.memory.lose_office_at(at, loss);
            let _before = stage.director.unload(&prefix, id, false, "a test").await;
            let stage = stage.next_leader();
            for _repeat in 0..2 {
                let unloaded = stage.director.unload(&prefix, id, false, "a test").await;
                assert_eq!(unloaded.unwrap().0, hash(version), "{at} {version}");
            }
            let loaded = stage.memory.read(|state| state.sources.len());
            assert_eq!(loaded, 1);
        }
    }
}

#[tokio::test]
async fn a_load_that_failed_is_told_so_again() {
    let stage = Stage::new();
    stage.director.load(&order("1.0", &["a"])).await.unwrap();
    *stage.troupe.failing.lock().unwrap() = Some("b");
    let second = order("1.1", &["b"]);
    let first = stage.director.load(&second).await.unwrap_err();
    *stage.troupe.failing.lock().unwrap() = None;
    let stage = stage.next_leader();
    let again = stage.director.load(&second).await.unwrap_err();
    assert_eq!(first, again);
    let anew = leader::reconcile::LoadOrder {
        request: request(),
        ..second
    };
    assert!(stage.director.load(&anew).await.unwrap().changed);
}

#[tokio::test]
async fn one_who_does_not_lead_refuses() {
    let stage = Stage::new();
    stage.director.load(&order("1.0", &["a"])).await.unwrap();
    stage.memory.set_leads(false);
    // Also what would change nothing: who leads may know better.
    for version in ["1.0", "1.1"] {
        let refused = stage.director.load(&order(version, &["a"])).await;
        assert!(
            matches!(
                refused,
                Err(OrderError::Propose(ProposeFailure::Unavailable { .. }))
            ),
            "{refused:?}"
        );
    }
}
