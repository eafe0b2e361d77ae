//! Hosts whose clocks differ by hours, and jump.

use std::time::Duration;

use cluster::{A, B, C, Clock, Condition, D, Op, Scene, Traffic, answers};

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn members_whose_clocks_differ_by_two_hours_join_load_and_lose_a_leader() {
    let scene = Scene::with(4);
    scene.set_clock(A, Clock::Ahead(Duration::ZERO));
    scene.set_clock(B, Clock::Ahead(HOUR));
    scene.set_clock(C, Clock::Behind(HOUR));
    scene.set_clock(D, Clock::Ahead(Duration::ZERO));
    scene.play(&[
        Op::Start(A),
        Op::Join { node: B, at: A },
        Op::Join { node: C, at: B },
        Op::until(Condition::Voters { on: A, count: 3 }, "three vote"),
        Op::load(C, "1.0"),
    ]);
    for on in [A, B, C] {
        scene.play(&[Op::until(answers(on, "('1.0', 'c')"), "all find it")]);
    }
    let leader = scene.leader();
    let rest: Vec<_> = [A, B, C].into_iter().filter(|it| *it != leader).collect();
    let by = Condition::LedBy {
        on: rest[0],
        any: rest.clone(),
    };
    scene.play(&[
        Op::Kill(leader),
        Op::until(by, "one whose clock differs by hours"),
        Op::load(rest[0], "2.0"),
    ]);
    let lost = Condition::State {
        on: rest[0],
        member: leader,
        state: "lost",
    };
    scene.play(&[
        Op::within(
            Duration::from_secs(20),
            lost,
            "a lease is no matter of clocks",
        ),
        Op::Start(leader),
        Op::Join {
            node: D,
            at: rest[1],
        },
        Op::load(D, "3.0"),
    ]);
    for on in scene.nodes() {
        scene.play(&[Op::until(answers(on, "'3.0'"), "all go on")]);
    }
    scene.assert_told_once();
}

#[test]
fn clocks_that_jump_an_hour_ahead_and_back_lose_nothing() {
    let scene = Scene::with(3);
    for node in scene.nodes() {
        scene.set_clock(node, Clock::Ahead(Duration::ZERO));
    }
    scene.come_together();
    let leader = scene.leader();
    let rest = scene.others(leader);
    scene.play(&[Op::cluster_load(rest[0], "1.0")]);
    let mut traffic = Traffic::begin(&scene, &[A, B, C]).after("1.0");
    let jumps = [
        (leader, Clock::Ahead(HOUR), "2.0"),
        (rest[0], Clock::Behind(HOUR), "3.0"),
        (leader, Clock::Behind(HOUR), "4.0"),
        (rest[1], Clock::Ahead(HOUR), "5.0"),
    ];
    for (node, clock, version) in jumps {
        scene.set_clock(node, clock);
        let ran = traffic.load(&scene, rest[1], "load", version);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        for on in scene.nodes() {
            scene.play(&[
                Op::until(answers(on, version), "one version"),
                Op::until(Condition::Up { on, count: 3 }, "nobody is lost by it"),
            ]);
        }
    }
    traffic.end(&scene).assert_nothing_lost();
    scene.phase("started again with the clock an hour behind what it has seen");
    scene.play(&[Op::Kill(leader), Op::Start(leader), Op::load(leader, "6.0")]);
    for on in scene.nodes() {
        scene.play(&[Op::until(answers(on, "'6.0'"), "it goes on")]);
    }
    scene.assert_told_once();
}
