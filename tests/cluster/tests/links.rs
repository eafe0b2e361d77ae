//! Bad links: partitions, one-way cuts, storms of packets, a narrow path.

use std::time::Duration;

use cluster::{A, B, C, Condition, Op, Scene, Traffic, Weather, answers};

#[test]
fn the_majority_goes_on_and_a_leader_in_the_minority_refuses_loads() {
    let scene = Scene::convention(3);
    let leader = scene.leader();
    let rest = scene.others(leader);
    scene.play(&[Op::load(leader, "1.0"), Op::Isolate(leader)]);
    let by = Condition::LedBy {
        on: rest[0],
        any: rest.clone(),
    };
    scene.play(&[
        Op::within(Duration::from_secs(20), by, "the majority elects one"),
        Op::within(
            Duration::from_secs(20),
            answers(rest[1], "'1.0'"),
            "its actor answers on the majority's side",
        ),
        Op::load(rest[0], "2.0"),
    ]);
    let ran = scene.load(leader, "load", "3.0");
    assert_eq!(ran.code, Some(3), "no majority, no load: {ran:?}");
    scene.phase("the lost actor does not answer on the minority's side");
    let reply = scene.ask_within(leader, "Desk", "'where'", Duration::from_secs(25));
    assert!(reply.is_err(), "{reply:?}");
    scene.play(&[Op::Heal]);
    for on in scene.nodes() {
        scene.play(&[
            Op::until(answers(on, "'2.0'"), "it heals by itself"),
            Op::until(Condition::Up { on, count: 3 }, "all are members again"),
        ]);
    }
    let replies = scene
        .nodes()
        .map(|on| scene.ask(on, "Desk", "'where'").unwrap());
    let replies: std::collections::BTreeSet<_> = replies.collect();
    assert_eq!(
        replies.len(),
        1,
        "one actor answers everywhere: {replies:?}"
    );
}

#[test]
fn a_leader_that_is_not_heard_is_replaced_though_it_hears_all() {
    let scene = Scene::convention(3);
    let leader = scene.leader();
    let rest = scene.others(leader);
    for to in &rest {
        scene.play(&[Op::Cut {
            from: leader,
            to: *to,
        }]);
    }
    let by = Condition::LedBy {
        on: rest[0],
        any: rest.clone(),
    };
    scene.play(&[
        Op::within(Duration::from_secs(30), by, "silence is death"),
        Op::load(rest[0], "1.0"),
        Op::Heal,
        Op::until(answers(leader, "'1.0'"), "it follows again"),
    ]);
}

#[test]
fn a_follower_that_hears_nobody_does_not_unseat_the_leader() {
    let scene = Scene::convention(3);
    let leader = scene.leader();
    let rest = scene.others(leader);
    let term = scene.json(leader, "cluster status")["term"].clone();
    for from in [leader, rest[1]] {
        scene.play(&[Op::Cut { from, to: rest[0] }]);
    }
    // Several election time-outs of the deaf one.
    std::thread::sleep(Duration::from_secs(5));
    let status = scene.json(leader, "cluster status");
    assert_eq!(
        status["term"], term,
        "no campaign reached the others: {status:#}"
    );
    scene.play(&[Op::Heal, Op::load(rest[0], "1.0")]);
    assert_eq!(scene.json(leader, "cluster status")["term"], term);
}

#[test]
fn packets_lost_doubled_delayed_and_reordered_change_nothing_that_is_seen() {
    let scene = Scene::convention(3);
    scene.play(&[Op::cluster_load(A, "1.0"), Op::BlowAll(Weather::STORM)]);
    let mut traffic = Traffic::begin(&scene, &[A, B, C]).after("1.0");
    traffic.flow(Duration::from_secs(1));
    let ran = traffic.load(&scene, B, "cluster load", "2.0");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    traffic.flow(Duration::from_secs(1));
    let account = traffic.end(&scene);
    account.assert_nothing_lost();
    assert!(account.answered_by("2.0") > 0, "{account}");
    assert!(scene.relay().sky().passed(A, B).lost > 0, "the storm blew");
}

#[test]
fn who_hears_of_a_switch_late_gives_no_older_answer_after_the_load() {
    let scene = Scene::convention(3);
    let leader = scene.leader();
    let [home, late] = scene.others(leader)[..] else {
        unreachable!("three nodes");
    };
    scene.play(&[
        Op::load(home, "1.0"),
        Op::until(answers(late, "'1.0'"), "it knows the role"),
        Op::Blow {
            from: leader,
            to: late,
            weather: Weather {
                delay: Duration::from_millis(300),
                ..Weather::FINE
            },
        },
    ]);
    let mut traffic = Traffic::begin(&scene, &[late]).after("1.0");
    for version in ["2.0", "3.0"] {
        let ran = traffic.load(&scene, home, "load", version);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        // Longer than what an answer of the version before would still come in.
        traffic.flow(Duration::from_millis(500));
    }
    let account = traffic.end(&scene);
    account.assert_nothing_lost();
    assert!(account.answered_by("3.0") > 0, "{account}");
}

#[test]
fn a_path_that_swallows_large_packets_is_still_a_path() {
    let scene = Scene::with(2);
    let narrow = Weather {
        bytes_max: 1_250,
        ..Weather::FINE
    };
    scene.play(&[
        Op::Start(A),
        Op::BlowAll(narrow),
        Op::Join { node: B, at: A },
    ]);
    scene.play(&[
        Op::load(B, "1.0"),
        Op::until(answers(A, "('1.0', 'b')"), "it runs"),
    ]);
}
