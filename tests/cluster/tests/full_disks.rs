//! Disks that are full: who cannot write says so and stops where it must, and the others go on.

use std::time::Duration;

use cluster::{A, Application, B, C, Condition, D, Op, Plan, Scene, answers};

/// Room for a node and some packages.
const DISK_BYTES: usize = 48 << 20;

/// More than what a log that has been written to has room for within itself.
const PACKAGE_BYTES: usize = 6 << 20;

/// Three voters and a follower that alone runs the desk, each on a disk of its own.
fn convention() -> Option<Scene> {
    let plan = Plan {
        nodes: 4,
        application: Application::new("desk")
            .weighing(PACKAGE_BYTES)
            .requiring("{'color': 'blue'}"),
        ..Plan::default()
    };
    let scene = Scene::on_small_disks(plan, DISK_BYTES)?;
    scene.write(D, "othercaps.cfg", "{'color': 'blue'}\n");
    scene.write(D, "voter.cfg", "False\n");
    scene.come_together();
    scene.play(&[
        Op::load(A, "1.0"),
        Op::until(answers(A, "('1.0', 'd')"), "only one fits"),
    ]);
    Some(scene)
}

#[test]
fn a_follower_with_a_full_disk_refuses_a_load_serves_on_and_takes_it_when_there_is_room() {
    let Some(scene) = convention() else {
        return;
    };
    scene.build("2.0");
    scene.fill(D);
    let ran = scene.load(A, "load", "2.0");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("No space left on device"), "{ran:?}");
    assert!(ran.stderr.contains("`d`: package"), "{ran:?}");
    for on in scene.nodes() {
        scene.play(&[Op::until(answers(on, "('1.0', 'd')"), "nothing changed")]);
    }
    let doctor = scene.run(D, "doctor");
    assert!(doctor.stdout.contains("0 MiB free"), "{doctor:?}");
    scene.make_room(D);
    scene.play(&[
        Op::load(A, "2.0"),
        Op::until(answers(B, "('2.0', 'd')"), "without a restart"),
    ]);
    scene.assert_told_once();
}

#[test]
fn a_leader_with_a_full_disk_refuses_or_stops_and_nothing_acknowledged_is_lost() {
    let Some(scene) = convention() else {
        return;
    };
    let leader = scene.leader();
    let rest = scene.others(leader);
    scene.build("2.0");
    scene.fill(leader);
    scene.phase("orders that only the log has to hold");
    let mut known = Vec::new();
    let limit = Duration::from_secs(60);
    scene.until("its log has no room left", limit, || {
        let ran = scene.run(D, "--json cluster invite --uses 2");
        if ran.code == Some(0) {
            known.push(ran.json()["id"].as_str().unwrap().to_owned());
        }
        let stopped = !scene.runs(leader);
        stopped.then_some(()).ok_or_else(|| ran.shown())
    });
    assert_eq!(
        scene.exit_code(leader),
        Some(5),
        "who supervises it sees it"
    );
    let log = scene.log(leader);
    assert!(log.contains("raft.redb"), "the file is named");
    assert!(log.contains("No space left on device"), "and the cause");
    assert!(!log.contains("panicked"), "it stops in order");
    scene.play(&[Op::until(
        Condition::LedBy {
            on: D,
            any: rest.clone(),
        },
        "the others elect one",
    )]);
    let listed = scene.json(D, "cluster tokens list").to_string();
    let lost: Vec<_> = known.iter().filter(|id| !listed.contains(*id)).collect();
    assert!(lost.is_empty(), "acknowledged and gone: {lost:?}");
    scene.phase("started again, it serves with what its end has freed, or says why not");
    let from = scene.log(leader).len();
    scene.play(&[Op::Launch(leader)]);
    scene.until("it has started or ended", limit, || {
        match scene.runs(leader) {
            true => Condition::Serves(leader).look(&scene),
            false => Ok(()),
        }
    });
    if !scene.runs(leader) {
        assert_eq!(scene.exit_code(leader), Some(5), "it did not serve");
        let log = scene.log(leader)[from..].to_owned();
        assert!(log.contains("No space left on device"), "{log}");
    }
    scene.play(&[Op::load(rest[0], "2.0")]);
    scene.make_room(leader);
    if scene.runs(leader) {
        scene.play(&[Op::Kill(leader)]);
    }
    scene.play(&[Op::Start(leader)]);
    for on in scene.nodes() {
        scene.play(&[
            Op::until(Condition::Voters { on, count: 3 }, "three vote again"),
            Op::until(answers(on, "('2.0', 'd')"), "all know what was loaded last"),
        ]);
    }
    let follower = rest.into_iter().find(|node| [A, B, C].contains(node));
    scene.play(&[Op::Kill(follower.unwrap()), Op::load(D, "1.0")]);
    scene.assert_told_once();
}
