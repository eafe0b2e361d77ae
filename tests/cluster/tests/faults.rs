//! Faults of one host: killed in the middle of something, old data, no room, a key that goes.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail the test")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use cluster::{A, Application, B, C, Condition, D, Node, Op, Plan, Scene, answers};

fn state(on: Node, member: Node, state: &'static str) -> Condition {
    Condition::State { on, member, state }
}

/// Waits, without a pause that could miss it, for a text in a node's log behind `from`.
fn await_log(scene: &Scene, node: Node, from: usize, text: &str) {
    let until = Instant::now() + Duration::from_secs(60);
    while !scene.log(node)[from..].contains(text) {
        assert!(Instant::now() < until, "{node} never logged {text:?}");
        std::thread::sleep(Duration::from_micros(300));
    }
}

#[test]
fn a_node_killed_while_it_joins_or_becomes_a_voter_ends_as_one() {
    let scene = Scene::with(3);
    scene.play(&[Op::Start(A), Op::Join { node: B, at: A }]);
    scene.invite(C, A, "--uses 1");
    // A token that was used up by a run that died is good for the same node again.
    let moments = [
        "joined convention",
        "session with the leader",
        "to become a voter",
    ];
    for (text, after_ms) in moments.iter().flat_map(|text| [(text, 0), (text, 5)]) {
        scene.phase(&format!("killed {after_ms} ms after {text:?}"));
        // It joins once, and becomes a voter once.
        let has_joined = scene.log(C).contains("joined convention");
        let votes = scene.directory(C).join("state/raft.redb").exists();
        let is_over = (has_joined && *text == moments[0]) || (votes && *text == moments[2]);
        let text = if is_over { moments[1] } else { *text };
        let from = scene.log(C).len();
        scene.play(&[Op::Launch(C)]);
        await_log(&scene, C, from, text);
        std::thread::sleep(Duration::from_millis(after_ms));
        scene.play(&[Op::Kill(C)]);
    }
    scene.play(&[Op::Start(C)]);
    for on in scene.nodes() {
        scene.play(&[
            Op::until(Condition::Up { on, count: 3 }, "it is one member"),
            Op::until(Condition::Voters { on, count: 3 }, "and one voter"),
        ]);
    }
    let leader = scene.leader();
    let other = scene.nodes().find(|node| *node != leader && *node != C);
    scene.play(&[
        Op::Kill(other.unwrap()),
        Op::load(C, "1.0"),
        Op::until(answers(leader, "('1.0', 'c')"), "its vote counts"),
    ]);
}

#[test]
fn a_node_killed_while_it_pulls_a_package_has_it_whole_afterwards() {
    let scene = Scene::set(Plan {
        nodes: 2,
        application: Application::new("desk")
            .weighing(PACKAGE_BYTES)
            .requiring("{'color': 'blue'}"),
        ..Plan::default()
    });
    scene.write(B, "othercaps.cfg", "{'color': 'blue'}\n");
    scene.come_together();
    scene.build("1.0");
    let packages = scene.directory(B).join("state/packages");
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| scene.load(A, "load", "1.0"));
        let until = Instant::now() + Duration::from_secs(60);
        while bytes_in(&packages) < PACKAGE_BYTES as u64 / 2 {
            assert!(Instant::now() < until, "nothing is pulled");
            std::thread::sleep(Duration::from_micros(200));
        }
        scene.play(&[Op::Kill(B)]);
        scene.phase(&format!("{} bytes were there", bytes_in(&packages)));
        let before = scene.relay().sky().passed(A, B).bytes;
        scene.play(&[Op::Start(B)]);
        let ran = loading.join().unwrap();
        // Nobody else fits: either it waited for the member's return, or it says so.
        assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
        if ran.code == Some(1) {
            scene.play(&[
                Op::until(state(A, B, "up"), "it is back"),
                Op::load(A, "1.0"),
            ]);
        }
        scene.play(&[Op::until(answers(A, "('1.0', 'b')"), "it runs there")]);
        let came = scene.relay().sky().passed(A, B).bytes - before;
        scene.phase(&format!("{came} bytes came after the restart"));
        assert!(came < PACKAGE_BYTES as u64 * 3 / 4, "{came} bytes came");
    });
    let goes_on = scene.log(B).contains("the pull of a package goes on");
    assert!(goes_on, "what was there was taken up");
    let left = fs::read_dir(&packages).unwrap().count();
    assert_eq!(left, 1, "nothing half is left behind");
}

/// Long enough to be killed in the middle of it.
const PACKAGE_BYTES: usize = 40_000_000;

fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|about| about.len())
        .sum()
}

#[test]
fn a_voter_with_restored_old_data_is_refused_and_the_others_go_on() {
    let scene = Scene::convention(3);
    let leader = scene.leader();
    let voter = scene.nodes().find(|node| *node != leader).unwrap();
    let third = scene
        .nodes()
        .find(|node| *node != leader && *node != voter)
        .unwrap();
    let data = scene.directory(voter).join("state");
    let old = scene.path("old");
    scene.play(&[Op::load(leader, "1.0"), Op::Kill(voter)]);
    copy(&data, &old);
    scene.play(&[
        Op::Start(voter),
        Op::until(state(leader, voter, "up"), "it is back"),
        Op::load(leader, "2.0"),
        Op::until(answers(voter, "'2.0'"), "it has acknowledged more"),
        Op::Kill(voter),
    ]);
    fs::remove_dir_all(&data).unwrap();
    copy(&old, &data);
    scene.play(&[
        Op::Launch(voter),
        Op::until(
            Condition::Logged {
                by: leader,
                text: "was an old copy of its file restored?",
            },
            "the leader knows that it has confirmed more",
        ),
        Op::load(third, "3.0"),
        Op::until(answers(third, "'3.0'"), "the others go on"),
    ]);
    scene.phase("the operator removes it, and it joins as somebody else");
    scene.play(&[Op::Kill(voter)]);
    scene.play(&[Op::until(state(leader, voter, "lost"), "its lease ends")]);
    scene.play(&[Op::run(leader, format!("cluster remove {voter}"))]);
    fs::remove_dir_all(&data).unwrap();
    scene.play(&[
        Op::Join {
            node: voter,
            at: leader,
        },
        Op::until(
            Condition::Voters {
                on: leader,
                count: 3,
            },
            "three vote again",
        ),
        Op::load(voter, "4.0"),
    ]);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let about = fs::metadata(from).unwrap();
    fs::set_permissions(to, about.permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy(&path, &target);
        } else if kind.is_file() {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn a_package_for_which_a_majority_has_no_room_is_refused_and_nothing_changes() {
    let scene = Scene::set(Plan {
        nodes: 3,
        application: Application::new("desk").weighing(600_000),
        ..Plan::default()
    });
    for node in [B, C] {
        scene.write(node, "storelimit.cfg", "1000000\n");
    }
    scene.come_together();
    scene.play(&[Op::load(A, "1.0")]);
    for on in [A, B] {
        let ran = scene.load(on, "load", "2.0");
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("storelimit.cfg"), "{ran:?}");
    }
    for on in scene.nodes() {
        scene.play(&[Op::until(
            answers(on, "('1.0', 'a')"),
            "nothing has changed",
        )]);
    }
    scene.phase("room is made");
    let hash = scene.json(A, "list")["groups"][0]["sources"][0]["hash"].clone();
    scene.play(&[Op::run(A, format!("unload {}", hash.as_str().unwrap()))]);
    scene.until(
        "the old package is cleared away",
        Duration::from_secs(60),
        || {
            let ran = scene.load(A, "load", "2.0");
            (ran.code == Some(0))
                .then_some(())
                .ok_or_else(|| ran.shown())
        },
    );
}

#[test]
fn a_key_removed_in_the_middle_of_a_cluster_load_is_trust_removed() {
    let scene = Scene::convention(3);
    scene.play(&[Op::cluster_load(A, "1.0")]);
    scene.close_gate("init", "2.0");
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| scene.load(B, "cluster load", "2.0"));
        scene.until("all hold and trust it", Duration::from_secs(60), || {
            let there = scene.life().iter().any(|it| it.event == "at-init");
            there.then_some(()).ok_or_else(|| "not yet".to_owned())
        });
        fs::remove_file(scene.directory(B).join("test_tls.key")).unwrap();
        scene.open_gate("init", "2.0");
        let ran = loading.join().unwrap();
        assert_eq!(
            ran.code,
            Some(0),
            "what was verified is carried on: {ran:?}"
        );
    });
    scene.phase("its next actor is none that B may run");
    scene.play(&[Op::run(C, "restart Desk")]);
    scene.until("it runs where the key is", Duration::from_secs(60), || {
        let reply = scene.ask(C, "Desk", "'where'").map_err(|ran| ran.shown())?;
        let elsewhere = reply.contains("'2.0'") && !reply.contains("'b'");
        elsewhere.then_some(()).ok_or(reply)
    });
    let members = scene.json(A, "cluster explain Desk");
    let members = members["found"][0]["members"].as_array().unwrap().clone();
    let b = members.iter().find(|it| it["name"] == "b").unwrap();
    assert_eq!(b["eligible"], false, "{b:#}");
}

#[test]
fn a_voter_stopped_for_seconds_costs_an_election_and_nothing_acknowledged() {
    let scene = Scene::convention(4);
    scene.play(&[Op::load(D, "1.0")]);
    for (seconds, versions) in [(1, ["2.0", "3.0"]), (9, ["4.0", "5.0"])] {
        let leader = scene.leader();
        let others: Vec<_> = scene.nodes().filter(|node| *node != leader).collect();
        scene.play(&[Op::Pause(leader), Op::load(others[0], versions[0])]);
        std::thread::sleep(Duration::from_secs(seconds));
        scene.play(&[Op::Continue(leader), Op::load(leader, versions[1])]);
        for on in scene.nodes() {
            scene.play(&[
                Op::until(answers(on, versions[1]), "all know what was loaded last"),
                Op::until(Condition::Up { on, count: 4 }, "all are members"),
            ]);
        }
    }
    scene.assert_told_once();
}
