//! Who may answer as a Director actor: leases that end, nodes that boot alone, minorities.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of a test fail the test"
)]

use std::fs;
use std::time::{Duration, SystemTime};

use cluster::{A, Application, B, C, Condition, D, Life, Node, Op, Plan, Scene, Traffic, answers};

/// A convention of three with a ticking desk on a node that does not lead; that node.
fn desk_at_home(entries: &str) -> (Scene, Node) {
    let scene = Scene::set(Plan {
        nodes: 3,
        application: Application::new("desk").with(entries),
        ..Plan::default()
    });
    scene.let_tick();
    scene.come_together();
    let home = scene.others(scene.leader())[0];
    scene.play(&[Op::load(home, "1.0")]);
    (scene, home)
}

/// The first sign of a desk elsewhere.
fn elsewhere(scene: &Scene, home: Node) -> Option<Life> {
    let home = home.to_string();
    scene.life().into_iter().find(|it| it.node != home)
}

fn last_of(scene: &Scene, node: Node) -> Option<Life> {
    let node = node.to_string();
    scene.life().into_iter().rfind(|it| it.node == node)
}

fn until_elsewhere(scene: &Scene, home: Node) -> Life {
    let mut found = None;
    let limit = Duration::from_secs(30);
    scene.until("another takes its place", limit, || {
        found = elsewhere(scene, home);
        found.as_ref().map(|_| ()).ok_or_else(|| "none".to_owned())
    });
    found.unwrap()
}

#[test]
fn an_actor_bound_to_its_lease_has_ended_before_another_takes_its_place() {
    let (scene, home) = desk_at_home("'OnLostLease': 'stop'");
    scene.play(&[Op::Isolate(home)]);
    let next = until_elsewhere(&scene, home);
    // What the old one wrote after this moment would be in the file by now.
    scene.play(&[Op::until(
        answers(scene.others(home)[0], "'1.0'"),
        "it answers",
    )]);
    let last = last_of(&scene, home).unwrap();
    assert!(
        last.at < next.at,
        "{last:?} came after another was there: {next:?}"
    );
    scene.play(&[Op::Heal]);
    scene.play(&[Op::until(answers(home, "'1.0'"), "it heals")]);
    assert_eq!(
        last_of(&scene, home).unwrap(),
        last,
        "nor does it come back"
    );
}

#[test]
fn a_partition_heals_by_itself_without_a_second_answer_from_a_lost_actor() {
    let (scene, home) = desk_at_home("'OnLostLease': 'keep'");
    let rest = scene.others(home);
    let traffic = Traffic::begin(&scene, &[A, B, C]).after("1.0");
    traffic.flow(Duration::from_millis(300));
    scene.play(&[Op::Isolate(home)]);
    let next = until_elsewhere(&scene, home);
    scene.play(&[Op::until(answers(rest[0], "'1.0'"), "the majority goes on")]);
    scene.until("its process lives", Duration::from_secs(10), || {
        let last = last_of(&scene, home).unwrap();
        (last.at > next.at)
            .then_some(())
            .ok_or_else(|| format!("{last:?}"))
    });
    scene.play(&[Op::Heal]);
    scene.until("it ends when it is back", Duration::from_secs(30), || {
        let last = last_of(&scene, home).unwrap();
        (last.event == "exit")
            .then_some(())
            .ok_or_else(|| format!("{last:?}"))
    });
    scene.play(&[Op::until(
        answers(home, "'1.0'"),
        "one answers here as well",
    )]);
    traffic.flow(Duration::from_millis(300));
    let account = traffic.end(&scene);
    account.assert_sound();
    let by_the_lost_one = account
        .answered
        .keys()
        .filter(|(_, on)| *on == home.to_string());
    assert!(by_the_lost_one.count() > 0, "{account}");
    let after = format!("('1.0', '{home}')");
    for on in scene.nodes() {
        assert_ne!(scene.ask(on, "Desk", "'where'").unwrap(), after);
    }
    scene.assert_told_once();
}

#[test]
fn a_minority_refuses_loads_and_reads_and_shows_its_age() {
    let scene = Scene::convention(3);
    let leader = scene.leader();
    let rest = scene.others(leader);
    scene.play(&[Op::load(leader, "1.0"), Op::KillAll(rest.clone())]);
    let alone = leader;
    // Each looks for a leader as long as it may: all at once.
    std::thread::scope(|scope| {
        let scene = &scene;
        let loading = scope.spawn(move || scene.load(alone, "load", "2.0"));
        let lines = [
            "list",
            "cluster status",
            "cluster members",
            "cluster invite",
        ];
        let running = lines.map(|line| scope.spawn(move || scene.run(alone, line)));
        let refused = running.into_iter().chain([loading]);
        for ran in refused.map(|it| it.join().unwrap()) {
            assert_eq!(ran.code, Some(3), "{ran:?}");
            assert!(ran.stderr.contains("lead"), "{ran:?}");
        }
    });
    scene.phase("its lease is over: the role is not served");
    let asked = scene.ask_within(alone, "Desk", "'where'", Duration::from_secs(5));
    assert!(asked.is_err(), "{asked:?}");
    let stale = scene.json(alone, "cluster members --stale");
    assert!(stale["index"].as_u64().unwrap() > 0, "{stale:#}");
    assert!(stale["age_ms"].as_u64().unwrap() > 0, "{stale:#}");
    let older = scene.json(alone, "cluster status --stale");
    assert!(
        older["age_ms"].as_u64() > stale["age_ms"].as_u64(),
        "{older:#}"
    );
    assert!(
        older["warnings"].to_string().contains("no leader"),
        "{older:#}"
    );
    for line in ["cluster members --stale", "list --stale"] {
        let ran = scene.run(alone, line);
        assert!(ran.stderr.contains("as of index"), "{ran:?}");
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    scene.play(&[
        Op::Launch(rest[0]),
        Op::until(answers(alone, "'1.0'"), "it heals by itself"),
        Op::load(alone, "2.0"),
    ]);
}

/// Four of which the last, no voter, has the desk; all are killed.
fn fallen(offline: Option<&str>) -> Scene {
    let scene = Scene::set(Plan {
        nodes: 4,
        application: Application::new("desk").requiring("{'color': 'blue'}"),
        ..Plan::default()
    });
    scene.write(D, "othercaps.cfg", "{'color': 'blue'}\n");
    scene.write(D, "voter.cfg", "False\n");
    if let Some(value) = offline {
        scene.write(D, "offline.cfg", value);
    }
    scene.let_tick();
    scene.come_together();
    scene.play(&[
        Op::load(A, "1.0"),
        Op::until(answers(D, "('1.0', 'd')"), "only one fits"),
    ]);
    kept(&scene, D);
    scene.play(&[Op::KillAll(vec![A, B, C, D]), Op::Launch(D)]);
    scene
}

/// Waits until a follower has all that was done until now in its last good copy.
fn kept(scene: &Scene, node: Node) {
    let path = scene.directory(node).join("state/registry.snapshot");
    let now = SystemTime::now();
    // One more change, so that there is a newer copy to wait for.
    scene.play(&[Op::run(A, "cluster invite")]);
    scene.until("its copy is kept", Duration::from_secs(30), || {
        let written = fs::metadata(&path).and_then(|about| about.modified());
        let is_newer = written.as_ref().is_ok_and(|at| *at > now);
        is_newer.then_some(()).ok_or_else(|| format!("{written:?}"))
    });
}

fn comes_up(scene: &Scene, node: Node) -> Life {
    let before = scene.life().len();
    let mut found = None;
    let limit = Duration::from_secs(60);
    scene.until("its actor starts without the convention", limit, || {
        let life = scene.life().into_iter().skip(before);
        let mut ticks = life.filter(|it| it.event == "tick" && it.node == node.to_string());
        found = ticks.next();
        found.as_ref().map(|_| ()).ok_or_else(|| "none".to_owned())
    });
    found.unwrap()
}

#[test]
fn a_member_that_boots_alone_runs_its_actors_and_serves_no_role_unless_told_to() {
    let scene = fallen(None);
    comes_up(&scene, D);
    scene.play(&[Op::until(
        Condition::Logged {
            by: D,
            text: "others may run elsewhere",
        },
        "it says so",
    )]);
    let ran = scene.ask_within(D, "Desk", "'where'", Duration::from_secs(25));
    assert!(ran.is_err(), "{ran:?}");
    scene.phase("its convention comes back");
    for node in [A, B, C] {
        scene.play(&[Op::Launch(node)]);
    }
    for on in scene.nodes() {
        scene.play(&[Op::until(
            answers(on, "('1.0', 'd')"),
            "one answers everywhere",
        )]);
    }
    ticks_in_one_process(&scene);
    scene.play(&[
        Op::load(B, "2.0"),
        Op::until(answers(A, "'2.0'"), "it goes on"),
    ]);
    scene.assert_told_once();
}

#[test]
fn with_offline_cfg_a_member_that_boots_alone_serves_its_clients() {
    let scene = fallen(Some("True\n"));
    comes_up(&scene, D);
    scene.play(&[
        Op::until(answers(D, "('1.0', 'd')"), "local clients are served"),
        Op::until(
            Condition::Logged {
                by: D,
                text: "two of an actor may exist",
            },
            "with a warning",
        ),
    ]);
    for node in [A, B, C] {
        scene.play(&[Op::Launch(node)]);
    }
    for on in scene.nodes() {
        scene.play(&[Op::until(
            answers(on, "('1.0', 'd')"),
            "one answers everywhere",
        )]);
    }
    ticks_in_one_process(&scene);
}

/// All that still ticks is one process.
fn ticks_in_one_process(scene: &Scene) {
    let limit = Duration::from_secs(30);
    scene.until("what was started twice has ended", limit, || {
        let before = scene.life().len();
        std::thread::sleep(Duration::from_millis(300));
        let life = scene.life().into_iter().skip(before);
        let pids: std::collections::BTreeSet<_> = life.map(|it| it.pid).collect();
        (pids.len() == 1)
            .then_some(())
            .ok_or_else(|| format!("{pids:?}"))
    });
}

#[test]
fn a_voter_that_boots_alone_runs_its_actors_and_steps_back_for_the_convention() {
    let (scene, home) = desk_at_home("");
    let rest = scene.others(home);
    scene.play(&[
        Op::until(answers(home, "'1.0'"), "it runs"),
        Op::KillAll(vec![A, B, C]),
        Op::Launch(home),
    ]);
    comes_up(&scene, home);
    let ran = scene.load(home, "load", "2.0");
    assert_eq!(ran.code, Some(3), "alone it takes no load: {ran:?}");
    scene.play(&[Op::Launch(rest[0]), Op::Launch(rest[1])]);
    for on in scene.nodes() {
        scene.play(&[Op::until(answers(on, "'1.0'"), "one answers everywhere")]);
    }
    ticks_in_one_process(&scene);
    scene.play(&[
        Op::load(home, "2.0"),
        Op::until(answers(home, "'2.0'"), "it goes on"),
    ]);
    scene.assert_told_once();
}
