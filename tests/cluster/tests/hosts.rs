//! Nodes on hosts of their own: addresses and ports as deployed, cables that are pulled.

use std::time::Duration;

use cluster::{A, Application, B, C, Condition, D, Op, Plan, Scene, Traffic, answers};

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

#[test]
fn a_member_behind_a_nat_serves_and_goes_on_when_it_is_forgotten_and_the_leader_lost() {
    let plan = Plan {
        nodes: 4,
        behind_nat: Some(D),
        application: Application::new("desk").requiring("{'color': 'blue'}"),
        ..Plan::default()
    };
    let Some(scene) = Scene::set_on_hosts(plan) else {
        return;
    };
    scene.write(D, "othercaps.cfg", "{'color': 'blue'}\n");
    scene.write(D, "voter.cfg", "False\n");
    scene.come_together();
    scene.play(&[Op::load(A, "1.0")]);
    for on in scene.nodes() {
        scene.play(&[Op::until(
            answers(on, "('1.0', 'd')"),
            "who has no route to it is answered by it",
        )]);
    }
    let forget = Op::Rebind { from: D, to: A };
    let mut traffic = Traffic::begin(&scene, &[A, B, C, D]).after("1.0");
    traffic.flow(Duration::from_millis(500));
    scene.play(std::slice::from_ref(&forget));
    traffic.flow(Duration::from_millis(500));
    let ran = traffic.load(&scene, B, "load", "2.0");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    scene.phase("forgotten in the middle of a load");
    scene.close_gate("init", "3.0");
    let ran = std::thread::scope(|scope| {
        let loading = scope.spawn(|| traffic.load(&scene, D, "load", "3.0"));
        scene.until("it is built", Duration::from_secs(60), || {
            let there = scene.life().iter().any(|it| it.event == "at-init");
            there.then_some(()).ok_or_else(|| "not yet".to_owned())
        });
        scene.play(std::slice::from_ref(&forget));
        scene.open_gate("init", "3.0");
        loading.join().unwrap()
    });
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let account = traffic.end(&scene);
    account.assert_nothing_lost();
    assert!(account.answered_by("2.0") > 0, "{account}");
    scene.phase("another leader");
    let leader = scene.leader();
    let rest = scene.others(leader);
    // At once with the leader its NAT forgets it.
    scene.play(&[forget, Op::Kill(leader)]);
    scene.play(&[Op::until(
        Condition::LedBy {
            on: D,
            any: rest.clone(),
        },
        "it follows the next one",
    )]);
    scene.play(&[Op::load(D, "4.0")]);
    for on in rest {
        scene.play(&[Op::until(answers(on, "('4.0', 'd')"), "it serves on")]);
    }
    scene.assert_told_once();
}
