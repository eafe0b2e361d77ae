//! Loads on a convention of several members: pulled, verified, placed and switched as one.

use std::time::Duration;

use cluster::{A, Application, B, C, Condition, D, Op, Plan, Scene, Traffic, answers};

#[test]
fn a_cluster_load_has_every_member_ready_and_any_node_finds_the_actor() {
    let scene = Scene::convention(3);
    let ran = scene.load(B, "--json cluster load", "1.0");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let loaded = ran.json();
    let members = loaded["members"].as_array().unwrap();
    let states: Vec<_> = members
        .iter()
        .map(|it| it["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["verified"; 3], "{loaded:#}");
    for on in scene.nodes() {
        scene.play(&[
            Op::until(
                Condition::Active { on, version: "1.0" },
                "all switch at one index",
            ),
            Op::until(
                answers(on, "('1.0', 'b')"),
                "the actor runs where the load came from",
            ),
        ]);
    }
}

#[test]
fn an_actor_runs_where_its_requirements_are_met() {
    let application = Application::new("desk").requiring("{'color': 'blue'}");
    let scene = Scene::set(Plan {
        nodes: 3,
        application,
        ..Plan::default()
    });
    scene.write(C, "othercaps.cfg", "{'color': 'blue'}\n");
    scene.come_together();
    scene.play(&[
        Op::load(A, "1.0"),
        Op::until(answers(A, "('1.0', 'c')"), "only one member fits"),
        Op::until(answers(B, "('1.0', 'c')"), "and all reach it"),
    ]);
    let explained = scene.json(B, "cluster explain Desk");
    let members = explained["found"][0]["members"].as_array().unwrap();
    for member in members {
        assert_eq!(member["eligible"], member["name"] == "c", "{explained:#}");
        assert_ne!(member["reason"], "", "{explained:#}");
    }
}

#[test]
fn a_hot_update_under_load_from_all_nodes_loses_nothing() {
    let scene = Scene::convention(3);
    scene.play(&[Op::cluster_load(A, "1.0")]);
    let mut traffic = Traffic::begin(&scene, &[A, B, C]).after("1.0");
    traffic.flow(Duration::from_millis(500));
    for (on, verb, version) in [(B, "cluster load", "2.0"), (C, "load", "3.0")] {
        let ran = traffic.load(&scene, on, verb, version);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        traffic.flow(Duration::from_millis(500));
    }
    let account = traffic.end(&scene);
    account.assert_nothing_lost();
    for version in ["1.0", "2.0", "3.0"] {
        assert!(account.answered_by(version) > 0, "{account}");
    }
}

#[test]
fn a_member_without_the_key_says_so_and_never_runs_it() {
    let scene = Scene::convention(3);
    std::fs::remove_file(scene.directory(C).join("test_tls.key")).unwrap();
    let ran = scene.load(A, "--json cluster load", "1.0");
    assert_eq!(
        ran.code,
        Some(0),
        "one that does not trust blocks nobody: {ran:?}"
    );
    let loaded = ran.json();
    let members = loaded["members"].as_array().unwrap();
    let c = members.iter().find(|it| it["name"] == "c").unwrap();
    assert_eq!(c["state"], "not trusted here", "{loaded:#}");
    scene.until("its heartbeat says so", Duration::from_secs(20), || {
        let members = scene.json(A, "cluster members");
        let members = members["members"].as_array().unwrap();
        let c = members.iter().find(|it| it["name"] == "c").unwrap();
        let distrusts = c["distrusts"].as_array().unwrap();
        (!distrusts.is_empty())
            .then_some(())
            .ok_or_else(|| c.to_string())
    });
    let explained = scene.json(A, "cluster explain Desk");
    let candidates = explained["found"][0]["members"].as_array().unwrap();
    let c = candidates.iter().find(|it| it["name"] == "c").unwrap();
    assert_eq!(c["eligible"], false, "{explained:#}");
    scene.phase("it is the only one left that could");
    scene.play(&[Op::run(A, "cluster drain a"), Op::run(A, "cluster drain b")]);
    assert!(
        scene
            .ask(C, "Desk", "'where'")
            .map_or(true, |it| !it.contains("'c'"))
    );
    scene.phase("but it talks to what others run");
    scene.play(&[
        Op::run(A, "cluster drain a --off"),
        Op::until(answers(C, "('1.0', 'a')"), "no key is needed to ask"),
    ]);
}

#[test]
fn a_package_that_no_member_trusts_changes_nothing() {
    let scene = Scene::convention(2);
    scene.play(&[Op::load(A, "1.0")]);
    let foreign = cluster::foreign_key();
    scene.build_signed("2.0", &foreign);
    for (on, verb) in [(A, "load"), (B, "cluster load")] {
        let ran = scene.load(on, verb, "2.0");
        assert_eq!(ran.code, Some(1), "{ran:?}");
    }
    scene.play(&[Op::until(
        answers(B, "('1.0', 'a')"),
        "the old version goes on",
    )]);
}

#[test]
fn a_child_created_elsewhere_answers_and_its_end_is_told() {
    let scene = Scene::with(2);
    scene.write(B, "othercaps.cfg", "{'color': 'blue'}\n");
    scene.come_together();
    scene.play(&[
        Op::load(A, "1.0"),
        Op::until(answers(A, "('1.0', 'a')"), "it runs"),
    ]);
    let reply = scene
        .ask(A, "Desk", "('clerk', {'color': 'blue'})")
        .unwrap();
    assert_eq!(reply, "('clerk', '1.0', 'b')");
    scene.play(&[Op::Kill(B)]);
    let exited = Condition::Answers {
        on: A,
        target: "Desk",
        literal: "'exited'",
        reply: "1",
    };
    scene.play(&[Op::until(
        exited,
        "a parent elsewhere learns of its child's end once",
    )]);
}

#[test]
fn a_drained_member_gives_its_actors_away_and_takes_them_again() {
    let scene = Scene::convention(2);
    scene.play(&[
        Op::load(B, "1.0"),
        Op::until(
            answers(A, "('1.0', 'b')"),
            "it runs where the load came from",
        ),
        Op::run(A, "cluster drain b"),
        Op::until(answers(A, "('1.0', 'a')"), "a drained member runs none"),
        Op::run(A, "cluster drain b --off"),
        Op::run(A, "cluster drain a"),
        Op::until(answers(A, "('1.0', 'b')"), "and back"),
    ]);
}

#[test]
fn a_role_for_each_member_is_played_at_home_also_by_those_who_join_later() {
    let application = Application::new("desk").with("'Placement': 'each'");
    let scene = Scene::set(Plan {
        nodes: 3,
        application,
        ..Plan::default()
    });
    scene.play(&[
        Op::Start(A),
        Op::Join { node: B, at: A },
        Op::load(A, "1.0"),
    ]);
    scene.play(&[
        Op::until(answers(A, "'a'"), "its own first"),
        Op::until(answers(B, "'b'"), "its own first"),
        Op::Join { node: C, at: A },
        Op::until(answers(C, "'c'"), "also on who joins later"),
    ]);
}

#[test]
fn twenty_members_pull_a_package_from_each_other() {
    const MEMBERS: usize = 20;
    let weight_bytes = 2_000_000;
    let scene = Scene::set(Plan {
        nodes: MEMBERS + 1,
        application: Application::new("desk").weighing(weight_bytes),
        ..Plan::default()
    });
    scene.play(&[Op::Start(A)]);
    let token = scene.run(A, &format!("cluster invite --uses {MEMBERS}"));
    for node in scene.nodes().skip(1) {
        scene.point(node, &[A]);
        scene.write(node, "convtoken.cfg", token.last_line());
        scene.play(&[Op::Launch(node)]);
    }
    let up = Condition::Up {
        on: A,
        count: MEMBERS + 1,
    };
    scene.play(&[Op::within(Duration::from_secs(180), up, "all join")]);
    let before = scene.relay().sky().sent_bytes(scene.leader());
    scene.play(&[Op::cluster_load(A, "1.0")]);
    let sent = scene.relay().sky().sent_bytes(scene.leader()) - before;
    scene.phase(&format!("the leader sent {sent} bytes for {weight_bytes}"));
    assert!(sent < 5 * weight_bytes as u64, "{sent} bytes by the leader");
    scene.play(&[Op::until(answers(D, "'1.0'"), "it runs")]);
}
