//! Bits that flip in a node's files while it runs: found with the file's name, or harmless.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of a test fail the test"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cluster::{A, Application, B, C, Condition, D, Node, Op, Plan, Scene, answers};

/// Flips one bit in each so many bytes of a file, as it lies there.
fn flip(path: &Path, each_bytes: usize) {
    let mut bytes = fs::read(path).unwrap();
    let first = bytes.len().min(each_bytes) / 2;
    let places = (first..bytes.len()).step_by(each_bytes);
    places.for_each(|at| bytes[at] ^= 4);
    fs::write(path, bytes).unwrap();
}

fn package(scene: &Scene, node: Node) -> PathBuf {
    let folder = scene.directory(node).join("state/packages");
    let files = fs::read_dir(folder).unwrap().flatten();
    let mut files = files.map(|entry| entry.path());
    files.find(|path| path.extension().is_none()).unwrap()
}

fn logged(by: Node, text: &'static str) -> Condition {
    Condition::Logged { by, text }
}

/// The node has ended by itself, not by a panic; its log names the file.
fn assert_refused_to_start(scene: &Scene, node: Node, from: usize, file: &str) {
    scene.until("it does not serve", Duration::from_secs(60), || {
        let runs = scene.runs(node);
        (!runs).then_some(()).ok_or_else(|| "it runs".to_owned())
    });
    assert_eq!(scene.exit_code(node), Some(5));
    let log = scene.log(node)[from..].to_owned();
    assert!(log.contains(file), "`{file}` is named: {log}");
    assert!(log.contains("hint: "), "and the next step: {log}");
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn a_damaged_package_is_never_run_and_is_replaced_by_a_member_that_has_it() {
    let scene = Scene::set(Plan {
        nodes: 4,
        application: Application::new("desk").weighing(300_000),
        ..Plan::default()
    });
    scene.write(D, "voter.cfg", "False\n");
    scene.come_together();
    scene.play(&[
        Op::cluster_load(D, "1.0"),
        Op::until(answers(A, "('1.0', 'd')"), "it runs at home"),
    ]);
    let good = fs::read(package(&scene, A)).unwrap();
    scene.phase("all who do not run it have it damaged, but the leader, who is asked last");
    let leader = scene.leader();
    let damaged: Vec<_> = [A, B, C].into_iter().filter(|it| *it != leader).collect();
    for node in &damaged {
        flip(&package(&scene, *node), 50_000);
    }
    // Where it runs now it is unpacked already; the next one has to be made from what lies there.
    let others = format!("cluster drain {leader}");
    scene.play(&[Op::run(A, others), Op::Kill(D)]);
    scene.until("it runs elsewhere", Duration::from_secs(60), || {
        let reply = scene
            .ask(leader, "Desk", "'where'")
            .map_err(|ran| ran.shown())?;
        let there = damaged.iter().any(|it| reply == format!("('1.0', '{it}')"));
        there.then_some(()).ok_or(reply)
    });
    let reply = scene.ask(leader, "Desk", "'where'").unwrap();
    let home = damaged.iter().find(|it| reply.contains(&format!("'{it}'")));
    let home = *home.unwrap();
    assert!(scene.log(home).contains("is damaged"), "it says so");
    assert_eq!(fs::read(package(&scene, home)).unwrap(), good);
    scene.phase("the other finds it when it starts, and has it replaced before it runs it");
    let other = *damaged.iter().find(|it| **it != home).unwrap();
    scene.play(&[
        Op::Kill(other),
        Op::Start(other),
        Op::until(logged(other, "is damaged"), "it is found"),
        Op::run(leader, format!("cluster drain {home}")),
        Op::until(
            Condition::Answers {
                on: leader,
                target: "Desk",
                literal: "'where'",
                reply: if other == A {
                    "('1.0', 'a')"
                } else if other == B {
                    "('1.0', 'b')"
                } else {
                    "('1.0', 'c')"
                },
            },
            "it runs there from the right bytes",
        ),
    ]);
    assert_eq!(fs::read(package(&scene, other)).unwrap(), good);
    scene.assert_told_once();
}

#[test]
fn a_lone_node_names_its_damaged_package_and_takes_it_anew() {
    let scene = Scene::with(1);
    scene.play(&[Op::Start(A), Op::load(A, "1.0"), Op::Kill(A)]);
    flip(&package(&scene, A), 500);
    scene.play(&[Op::Launch(A), Op::until(logged(A, "is damaged"), "found")]);
    let listed = || scene.json(A, "list").to_string();
    scene.until("the actor tells why", Duration::from_secs(60), || {
        let list = listed();
        list.contains("is damaged").then_some(()).ok_or(list)
    });
    scene.play(&[
        Op::load(A, "1.0"),
        Op::until(answers(A, "'1.0'"), "it runs from the right bytes"),
    ]);
}

#[test]
fn damage_in_a_voters_files_is_found_at_its_start_and_the_others_go_on() {
    let scene = Scene::convention(3);
    let leader = scene.leader();
    scene.play(&[Op::load(leader, "1.0")]);
    let [one, other] = scene.others(leader)[..] else {
        unreachable!("three nodes");
    };
    let (log, key) = ("state/raft.redb", "state/identity/node.key");
    for (node, file, each_bytes) in [(one, log, 64), (other, key, 50)] {
        scene.phase(&format!("`{file}` of {node}, while it runs"));
        let path = scene.directory(node).join(file);
        let whole = fs::read(&path).unwrap();
        flip(&path, each_bytes);
        scene.play(&[Op::load(leader, "2.0"), Op::Kill(node)]);
        if node == one {
            // What it had in memory it may have written since.
            flip(&path, each_bytes);
        }
        let from = scene.log(node).len();
        scene.play(&[Op::Launch(node)]);
        assert_refused_to_start(&scene, node, from, file.rsplit('/').next().unwrap());
        scene.play(&[
            Op::load(leader, "1.0"),
            Op::until(answers(leader, "'1.0'"), "the others go on"),
        ]);
        if node == other {
            fs::write(&path, whole).unwrap();
            scene.play(&[Op::Start(node)]);
            continue;
        }
        // Its log is lost, and cannot be put back: it comes anew.
        scene.play(&[
            Op::until(
                Condition::State {
                    on: leader,
                    member: node,
                    state: "lost",
                },
                "its lease ends",
            ),
            Op::run(leader, format!("cluster remove {node}")),
        ]);
        fs::remove_dir_all(scene.directory(node).join("state")).unwrap();
        scene.play(&[Op::Join { node, at: leader }]);
        // Until then the one that was removed counts as a voter that is down.
        scene.until("it votes again", Duration::from_secs(60), || {
            let voters = scene.json(leader, "cluster status")["voters"].clone();
            let votes = voters
                .as_array()
                .unwrap()
                .contains(&node.to_string().into());
            votes.then_some(()).ok_or_else(|| voters.to_string())
        });
    }
    for on in scene.nodes() {
        scene.play(&[
            Op::until(Condition::Voters { on, count: 3 }, "three vote again"),
            Op::until(answers(on, "'1.0'"), "all know what was loaded last"),
        ]);
    }
}

#[test]
fn a_followers_damaged_copy_is_not_used_and_the_leader_tells_all_anew() {
    let scene = Scene::with(2);
    scene.write(B, "voter.cfg", "False\n");
    scene.play(&[
        Op::Start(A),
        Op::Join { node: B, at: A },
        Op::load(A, "1.0"),
        Op::until(answers(B, "('1.0', 'a')"), "it knows the role"),
        Op::Stop(B),
    ]);
    flip(&scene.directory(B).join("state/registry.snapshot"), 100);
    scene.play(&[
        Op::Start(B),
        Op::until(logged(B, "registry.snapshot"), "the file is named"),
        Op::until(logged(B, "it is damaged"), "and what is wrong"),
        Op::until(answers(B, "('1.0', 'a')"), "the leader tells it anew"),
    ]);
    assert!(!scene.log(B).contains("panicked"));
}
