//! One node in the harness: what every scenario with more rests on.

use cluster::{A, Condition, Op, Scene, Traffic};
use std::time::Duration;

#[test]
fn a_node_is_updated_under_load_and_nothing_is_lost() {
    let scene = Scene::with(1);
    scene.play(&[Op::Start(A), Op::load(A, "1.0")]);
    let mut traffic = Traffic::begin(&scene, &[A, A]).after("1.0");
    traffic.flow(Duration::from_millis(300));
    let loaded = traffic.load(&scene, A, "load", "2.0");
    assert_eq!(loaded.code, Some(0), "{loaded:?}");
    traffic.flow(Duration::from_millis(300));
    let account = traffic.end(&scene);
    account.assert_nothing_lost();
    assert!(account.answered_by("1.0") > 0, "{account}");
    assert!(account.answered_by("2.0") > 0, "{account}");
}

#[test]
fn a_killed_node_starts_with_what_was_active() {
    let scene = Scene::with(1);
    let answers = |reply| Condition::Answers {
        on: A,
        target: "Desk",
        literal: "'where'",
        reply,
    };
    scene.play(&[
        Op::Start(A),
        Op::load(A, "1.0"),
        Op::until(answers("('1.0', 'a')"), "what is loaded answers"),
        Op::Kill(A),
        Op::Start(A),
        Op::until(answers("('1.0', 'a')"), "a load survives a kill"),
        Op::Stop(A),
    ]);
    assert!(!scene.runs(A));
}

#[test]
fn a_stopped_process_answers_nobody_until_it_goes_on() {
    let scene = Scene::with(1);
    scene.play(&[Op::Start(A), Op::load(A, "1.0"), Op::Pause(A)]);
    assert!(
        scene
            .ask_within(A, "Desk", "'where'", Duration::from_millis(500))
            .is_err()
    );
    scene.play(&[Op::Continue(A)]);
    assert_eq!(scene.ask(A, "Desk", "'where'").unwrap(), "('1.0', 'a')");
}
