//! Nodes on hosts of their own: addresses and ports as deployed, cables that are pulled.

use std::time::Duration;

use cluster::{A, B, C, Condition, Op, Scene, Traffic, answers};

#[test]
fn a_node_serves_on_a_host_of_its_own() {
    let Some(scene) = Scene::on_hosts(1) else {
        return;
    };
    scene.play(&[
        Op::Start(A),
        Op::load(A, "1.0"),
        Op::Isolate(A),
        Op::Heal,
        Op::until(
            answers(A, "('1.0', 'a')"),
            "a cable that was pulled matters nothing to one host alone",
        ),
        Op::Stop(A),
    ]);
}

#[test]
fn the_leaders_cable_is_pulled_and_plugged_in_again() {
    let Some(scene) = Scene::on_hosts(3) else {
        return;
    };
    scene.come_together();
    let leader = scene.leader();
    let rest: Vec<_> = scene.nodes().filter(|node| *node != leader).collect();
    scene.play(&[
        Op::cluster_load(leader, "1.0"),
        Op::until(answers(rest[0], "'1.0'"), "messages cross between hosts"),
        Op::until(answers(rest[1], "'1.0'"), "messages cross between hosts"),
    ]);
    let mut traffic = Traffic::begin(&scene, &[A, B, C]).after("1.0");
    traffic.flow(Duration::from_millis(300));
    scene.play(&[
        Op::Isolate(leader),
        Op::within(
            Duration::from_secs(20),
            Condition::LedBy {
                on: rest[0],
                any: rest.clone(),
            },
            "the others elect one",
        ),
        Op::within(
            Duration::from_secs(30),
            answers(rest[1], "'1.0'"),
            "the desk answers elsewhere",
        ),
    ]);
    let ran = traffic.load(&scene, rest[0], "load", "2.0");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let alone = scene.load(leader, "load", "3.0");
    assert_eq!(alone.code, Some(3), "{alone:?}");
    scene.play(&[Op::Heal]);
    for on in scene.nodes() {
        scene.play(&[
            Op::until(answers(on, "'2.0'"), "it heals by itself"),
            Op::until(Condition::Up { on, count: 3 }, "all are members again"),
        ]);
    }
    let account = traffic.end(&scene);
    account.assert_sound();
    assert!(account.answered_by("2.0") > 0, "{account}");
    scene.assert_told_once();
}
