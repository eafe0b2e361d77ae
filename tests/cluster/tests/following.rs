//! Members that do not vote know of the registry what they use, and ask for the rest.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of a test fail the test"
)]

use std::time::Duration;

use cluster::{A, B, C, Condition, D, E, Node, Op, Scene, answers};

const LONG: Duration = Duration::from_secs(30);

/// Three voters and two followers, on one of which the desk runs.
fn two_followers() -> Scene {
    let scene = Scene::with(5);
    for follower in [D, E] {
        scene.write(follower, "voter.cfg", "False\n");
    }
    scene.come_together();
    scene.play(&[
        Op::until(Condition::Voters { on: A, count: 3 }, "three vote"),
        Op::load(D, "1.0"),
        Op::until(answers(D, "'1.0'"), "it runs"),
    ]);
    scene
}

/// What a node knows of the desk's group without asking anybody.
fn known(scene: &Scene, on: Node) -> usize {
    let list = scene.json(on, "list --stale");
    list["groups"].as_array().unwrap().len()
}

/// A follower that has used nothing since it started, and holds no package.
fn fresh(scene: &Scene) {
    scene.play(&[Op::Stop(E)]);
    // It may have been asked to look at the desk's, which makes that its concern.
    let _none = std::fs::remove_dir_all(scene.directory(E).join("state/packages"));
    scene.play(&[
        Op::Start(E),
        Op::until(Condition::Up { on: E, count: 5 }, "it is back"),
    ]);
    // Until the leader has told it, it knows what it knew when it stopped.
    scene.until("it has used nothing yet", LONG, || {
        let known = known(scene, E);
        (known == 0)
            .then_some(())
            .ok_or_else(|| format!("{known} groups"))
    });
}

#[test]
fn a_follower_asks_for_what_it_has_never_used() {
    let scene = two_followers();
    assert_eq!(known(&scene, E), 0, "it has used nothing yet");
    scene.phase("what is shown is whole all the same");
    let list = scene.json(E, "list");
    assert_eq!(list["groups"][0]["group"], scene.group(), "{list:#}");
    let actor = &list["groups"][0]["sources"][0]["actors"][0];
    assert_eq!(actor["node"], D.to_string(), "{list:#}");
    scene.play(&[
        Op::until(Condition::Up { on: E, count: 5 }, "all members are shown"),
        Op::until(
            Condition::Told {
                on: E,
                texts: vec!["joined"],
            },
            "the events are shown",
        ),
        Op::run(E, format!("history {}", scene.group())),
        Op::refused(E, "history nothing", &["nothing was ever loaded"]),
    ]);
    assert_eq!(known(&scene, E), 0, "to look is not to use");
    scene.phase("the first ask");
    scene.play(&[Op::until(answers(E, "'1.0'"), "it is told of the role")]);
    assert_eq!(known(&scene, E), 1);
    scene.play(&[Op::run(E, "cluster explain Desk"), Op::load(A, "2.0")]);
    let reply = scene.ask(E, "Desk", "'where'").unwrap();
    assert!(reply.contains("'2.0'"), "after the load: {reply}");
    let nobody = scene.ask(E, "Nobody", "1").unwrap_err();
    assert!(nobody.shown().contains("Nobody"), "{}", nobody.shown());
}

#[test]
fn a_follower_that_first_asks_during_an_update_waits_for_its_end() {
    let scene = two_followers();
    scene.build("2.0");
    scene.close_gate("left", "1.0");
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| scene.load(A, "load", "2.0"));
        scene.until("the group is held", Duration::from_secs(60), || {
            let there = scene.life().iter().any(|it| it.event == "at-left");
            there.then_some(()).ok_or_else(|| "not yet".to_owned())
        });
        assert_eq!(known(&scene, E), 0, "it has used nothing yet");
        let asking = scope.spawn(|| scene.ask_within(E, "Desk", "'where'", LONG));
        // Once it knows of the group, its message waits.
        scene.until("it is told", Duration::from_secs(30), || {
            let knows = known(&scene, E) == 1;
            knows.then_some(()).ok_or_else(|| "not yet".to_owned())
        });
        scene.open_gate("left", "1.0");
        assert_eq!(loading.join().unwrap().code, Some(0));
        let reply = asking.join().unwrap().unwrap();
        assert!(reply.contains("'2.0'"), "{reply}");
    });
    scene.assert_told_once();
}

#[test]
fn a_follower_that_first_asks_when_the_leader_was_killed_is_told_by_the_next() {
    let scene = two_followers();
    for round in 0..2 {
        scene.phase(&format!("round {round}"));
        let leader = scene.leader();
        assert!([A, B, C].contains(&leader));
        scene.play(&[Op::Kill(leader)]);
        let reply = scene.ask_within(E, "Desk", "'where'", LONG).unwrap();
        assert!(reply.contains("'1.0'"), "{reply}");
        scene.play(&[
            Op::Start(leader),
            Op::until(Condition::Up { on: E, count: 5 }, "all are back"),
            Op::until(Condition::Voters { on: E, count: 3 }, "three vote again"),
        ]);
        fresh(&scene);
    }
}

#[test]
fn a_follower_that_asks_for_members_is_told_who_comes_and_who_goes() {
    let scene = Scene::with(4);
    for follower in [B, C, D] {
        scene.write(follower, "voter.cfg", "False\n");
    }
    scene.write(C, "othercaps.cfg", "{'color': 'red'}\n");
    scene.write(D, "othercaps.cfg", "{'color': 'blue'}\n");
    scene.play(&[
        Op::Start(A),
        Op::Join { node: B, at: A },
        Op::load(B, "1.0"),
        Op::until(answers(B, "('1.0', 'b')"), "it runs on the follower"),
        Op::Join { node: C, at: A },
    ]);
    let all = |line: &str| scene.json(B, line)["members"].as_array().unwrap().len();
    assert_eq!(all("cluster members"), 3);
    assert_eq!(
        all("cluster members --stale"),
        2,
        "it has no use for the third"
    );
    assert_eq!(scene.ask(B, "Desk", "('watch', None)").unwrap(), "'watch'");
    let members = |reply| Condition::Answers {
        on: B,
        target: "Desk",
        literal: "'members'",
        reply,
    };
    scene.play(&[
        Op::until(members("('red', True)"), "who is there already"),
        Op::Join { node: D, at: A },
        Op::until(members("('red', True), ('blue', True)"), "who comes"),
        Op::Kill(C),
        Op::until(members("('red', False)"), "who is lost"),
        Op::run(D, "cluster leave"),
        Op::until(members("('red', False), ('blue', False)"), "who leaves"),
    ]);
}
