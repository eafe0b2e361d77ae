//! Who votes in a convention of real processes: five voters, one that was away, and the key that
//! voters hold.

use cluster::{A, Condition, Node, Op, Scene, Traffic, answers};

#[test]
fn five_voters_bear_the_loss_of_two_at_once() {
    let scene = Scene::with(5);
    scene.write(A, "convvoters.cfg", "5");
    scene.play(&[Op::Start(A)]);
    for node in scene.nodes().skip(1) {
        scene.play(&[Op::Join { node, at: A }]);
    }
    let five = |on| Condition::Voters { on, count: 5 };
    scene.play(&[
        Op::until(five(A), "the founder's file wants five"),
        Op::load(A, "1.0"),
        Op::refused(A, "cluster voters 4", &["not 4"]),
    ]);
    let leader = scene.leader();
    let rest: Vec<_> = scene.nodes().filter(|node| *node != leader).collect();
    scene.play(&[
        Op::KillAll(vec![leader, rest[0]]),
        Op::load(rest[1], "2.0"),
        Op::until(answers(rest[2], "'2.0'"), "three of five go on"),
        Op::Start(leader),
        Op::Start(rest[0]),
        Op::until(answers(leader, "'2.0'"), "who comes back knows"),
        Op::until(five(rest[1]), "and votes again"),
        Op::run(rest[1], "cluster voters 3"),
        Op::until(
            Condition::Voters {
                on: rest[1],
                count: 3,
            },
            "an operator wants fewer",
        ),
        Op::load(rest[2], "3.0"),
    ]);
    for on in scene.nodes() {
        scene.play(&[Op::until(answers(on, "'3.0'"), "former voters follow")]);
    }
}

#[test]
fn a_voter_replaced_while_it_was_away_follows_and_blocks_no_load() {
    let scene = Scene::convention(4);
    scene.play(&[Op::load(A, "1.0")]);
    let leader = scene.leader();
    let status = scene.json(leader, "cluster status");
    let voters = status["voters"].as_array().unwrap().clone();
    let votes = |node: &Node| voters.iter().any(|name| *name == node.to_string());
    let away = scene.nodes().filter(votes).find(|node| *node != leader);
    let away = away.unwrap();
    scene.play(&[Op::Kill(away)]);
    let replaced = std::time::Duration::from_secs(150);
    scene.until("the fourth votes in its place", replaced, || {
        let status = scene.json(leader, "cluster status");
        let voters = status["voters"].as_array().unwrap();
        let there = voters.iter().any(|name| *name == away.to_string());
        let gone = voters.len() == 3 && !there;
        gone.then_some(()).ok_or_else(|| format!("{voters:?}"))
    });
    scene.play(&[
        Op::Start(away),
        Op::load(leader, "2.0"),
        Op::until(answers(away, "'2.0'"), "it follows"),
    ]);
    let log = scene.directory(away).join("state/raft.redb");
    assert!(!log.exists(), "it keeps no log that nobody writes");
}

#[test]
fn the_authoritys_key_is_replaced_under_traffic_over_a_killed_leader_and_a_member_away() {
    let scene = Scene::convention(4);
    let leader = scene.leader();
    let three = Condition::Voters {
        on: leader,
        count: 3,
    };
    scene.play(&[Op::until(three, "three vote"), Op::load(leader, "1.0")]);
    let parts = scene.json(leader, "cluster members");
    let votes = |node: &Node| {
        let mut members = parts["members"].as_array().unwrap().iter();
        let own = members.find(|it| it["name"] == node.to_string()).unwrap();
        own["part"] != "member"
    };
    let away = scene.nodes().find(|node| !votes(node)).unwrap();
    let rest: Vec<_> = scene.others(leader);
    let rest: Vec<_> = rest.into_iter().filter(|node| *node != away).collect();
    let before = scene.json(leader, "cluster authority")["issues"].clone();
    scene.play(&[Op::Kill(away)]);
    for on in &rest {
        scene.play(&[Op::until(answers(*on, "'1.0'"), "it runs")]);
    }
    let traffic = Traffic::begin(&scene, &rest).after("1.0");
    scene.play(&[
        Op::run(rest[0], "cluster authority rotate"),
        Op::Kill(leader),
    ]);
    let through = |on: Node, up: usize| {
        let ran = scene.run(on, "--json cluster authority");
        if ran.code != Some(0) {
            return Err(ran.shown());
        }
        let status = ran.json();
        let members = status["members"].as_array().unwrap();
        let renewed = members.iter().filter(|it| it["renewed"] == true).count();
        let holding = members.iter().filter(|it| it["holds_key"] == true).count();
        let retired = status["retired"].as_array().unwrap().contains(&before);
        let done = status["step"].is_null() && retired && status["issues"] != before;
        (done && renewed >= up && holding >= 2)
            .then_some(())
            .ok_or_else(|| format!("{status:#}"))
    };
    let limit = std::time::Duration::from_secs(60);
    scene.until("the next leader has it go on", limit, || {
        through(rest[1], 2)
    });
    // What was asked of an actor that the leader may have run is known or not; nothing is older.
    traffic.end(&scene).assert_sound();
    scene.play(&[Op::Start(leader), Op::Start(away)]);
    scene.until("both come back and renew", limit, || through(rest[0], 4));
    for on in scene.nodes() {
        scene.play(&[
            Op::until(Condition::Up { on, count: 4 }, "all are members"),
            Op::until(answers(on, "'1.0'"), "and reach the actor"),
        ]);
    }
}
