//! Warnings of every node's actors in the leader's log, whoever leads.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster::{A, Application, B, C, Condition, Node, Op, Plan, Scene};

const LOG: &str = "
{'version': 1,
 'formatters': {'plain': {'format': '%(nodeName)s %(name)s %(levelname)s %(message)s'}},
 'handlers': {'file': {'class': 'logging.FileHandler', 'filename': 'desk.log',
                       'formatter': 'plain'}},
 'root': {'level': 'INFO', 'handlers': ['file']}}
";

const PATIENCE: Duration = Duration::from_secs(60);

/// Three nodes with an actor each; the first two have a log process, the third has none.
fn three() -> Scene {
    let scene = Scene::set(Plan {
        nodes: 3,
        application: Application::new("desk").with("'Placement': 'each'"),
        ..Plan::default()
    });
    for node in [A, B] {
        scene.write(node, "thesplog.cfg", LOG);
        let folder = scene.directory(node).display().to_string();
        scene.write(node, "thesplogd.cfg", &folder);
    }
    scene.come_together();
    scene.play(&[Op::load(A, "1.0")]);
    for (node, reply) in [(A, "'a'"), (B, "'b'"), (C, "'c'")] {
        let answers = Condition::Answers {
            on: node,
            target: "Desk",
            literal: "'where'",
            reply,
        };
        scene.play(&[Op::until(answers, "each node has its own actor")]);
    }
    scene
}

fn logs(scene: &Scene, on: Node, records: &str) {
    let asked = scene.ask(on, "Desk", &format!("('log', [{records}])"));
    assert!(matches!(asked.as_deref(), Ok("'logged'")), "{asked:?}");
}

/// What a node's actors' log holds; without a log process that is the node's own.
fn log(scene: &Scene, node: Node) -> String {
    if node == C {
        return scene.log(node);
    }
    std::fs::read_to_string(scene.directory(node).join("desk.log")).unwrap_or_default()
}

fn until_logged(scene: &Scene, by: Node, from: Node, text: &str) {
    let told = |line: &str| {
        let noted = line.contains(&format!("node=\"{from}\""));
        let from_there = by == from || noted || line.starts_with(&format!("{from} "));
        from_there && line.contains(text)
    };
    scene.until("the leader's log has it", PATIENCE, || {
        let log = log(scene, by);
        let found = log.lines().any(told);
        found
            .then_some(())
            .ok_or_else(|| log.chars().rev().take(500).collect())
    });
}

#[test]
fn the_leaders_log_has_the_warnings_of_all_and_nothing_else_of_others() {
    let scene = three();
    assert_eq!(scene.leader(), A);
    for (node, text) in [(C, "of c"), (B, "of b"), (A, "of a")] {
        logs(
            &scene,
            node,
            &format!("(20, 'usual {text}', 1), (30, 'worth {text}', 2)"),
        );
        let (first, last) = (format!("worth {text} 0"), format!("worth {text} 1"));
        until_logged(&scene, A, node, &first);
        until_logged(&scene, A, node, &last);
    }
    let in_own = log(&scene, B);
    assert!(in_own.contains("b desk INFO usual of b 0"), "{in_own}");
    assert!(in_own.contains("b desk WARNING worth of b 1"), "{in_own}");
    let told: Vec<_> = log(&scene, A).lines().map(str::to_owned).collect();
    let wanted = [
        "c desk WARNING worth of c 0",
        "c desk WARNING worth of c 1",
        "b desk WARNING worth of b 0",
        "b desk WARNING worth of b 1",
        "a desk INFO usual of a 0",
        "a desk WARNING worth of a 0",
        "a desk WARNING worth of a 1",
    ];
    assert_eq!(told, wanted);

    scene.phase("what a node itself has to say is in the leader's own log");
    let told = scene.ask(B, "Desk", "('print', 3000)");
    assert!(matches!(told.as_deref(), Ok("'printed'")), "{told:?}");
    scene.until("lines were dropped, and the leader knows", PATIENCE, || {
        // How many is told with the next line after a second.
        let _more = scene.ask(B, "Desk", "('print', 1)");
        let log = scene.log(A);
        let told = |line: &str| line.contains("lines were dropped") && line.contains("node=\"b\"");
        let found = log.lines().any(told);
        let end = || log.lines().rev().take(5).collect::<Vec<_>>().join("\n");
        found.then_some(()).ok_or_else(end)
    });

    scene.phase("another leads; what happened while nobody did arrives as well");
    scene.play(&[Op::Kill(A)]);
    for (node, records) in [
        (B, "(40, 'during the election b', 1)"),
        (C, "(40, 'during the election c', 1)"),
    ] {
        // Its lease may be over for a moment.
        scene.until("its actor is served", PATIENCE, || {
            let asked = scene.ask(node, "Desk", &format!("('log', [{records}])"));
            asked.map(|_| ()).map_err(|ran| ran.shown())
        });
    }
    let leader = scene.leader();
    let other = if leader == B { C } else { B };
    until_logged(
        &scene,
        leader,
        other,
        &format!("during the election {other} 0"),
    );
    until_logged(
        &scene,
        leader,
        leader,
        &format!("during the election {leader} 0"),
    );
}

#[test]
fn a_flood_of_warnings_stops_nobody_and_is_accounted_for_at_the_leader() {
    const FLOOD: u64 = 20_000;
    let scene = three();
    for node in [B, C] {
        logs(&scene, node, &format!("(30, 'flood', {FLOOD})"));
        let mut sent = FLOOD;
        scene.until("written or told to be dropped", PATIENCE, || {
            // What waits is told with what comes next.
            logs(&scene, node, "(30, 'and more', 1)");
            sent += 1;
            let log = log(&scene, A);
            let own = log
                .lines()
                .filter(|line| line.starts_with(&format!("{node} ")));
            // What may not have arrived is sent again: each counts once.
            let (mut written, mut dropped) = (BTreeSet::new(), 0);
            for line in own {
                if line.contains(" were dropped") {
                    let mut words = line.split(' ').skip(3);
                    dropped += words.next().unwrap().parse::<u64>().unwrap();
                } else if line.contains("flood ") {
                    written.insert(line);
                }
            }
            let seen = format!("{} written, {dropped} dropped of {sent}", written.len());
            match written.len() as u64 + dropped >= FLOOD {
                true => Ok(()),
                false => Err(seen),
            }
        });
    }
}
