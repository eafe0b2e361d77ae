//! Hosts that get another release of the program while the convention works.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster::{A, Account, B, C, Condition, D, Moment, Node, Op, Release, Scene, Traffic, answers};

/// The next release is installed under the running node, then the node is started anew.
fn upgrade(scene: &Scene, node: Node) {
    let release = Release::Now;
    scene.play(&[Op::Install { node, release }, Op::Terminate(node)]);
}

/// All are members and voters as before.
fn all_are_back(scene: &Scene, version: &'static str) {
    for on in scene.nodes() {
        scene.play(&[
            Op::until(Condition::Voters { on, count: 3 }, "three voters again"),
            Op::until(Condition::Up { on, count: 4 }, "four members again"),
            Op::until(Condition::Active { on, version }, "one version is active"),
            Op::until(answers(on, version), "one version answers"),
        ]);
    }
}

/// An orderly stop loses nothing that was not under way: `most` asks may end as unknown or not
/// handed over, of which a client of the stopped node, or of an actor that had to move, waited for
/// the answer.
fn assert_orderly(account: &Account, most: usize) {
    account.assert_sound();
    let (unknown, lost) = (&account.unknown, &account.dead_lettered);
    let count = unknown.len() + lost.len();
    assert!(count <= most, "{unknown:?}\n{lost:?}\n{account}");
}

#[test]
fn a_leader_upgraded_during_a_rollout_hands_it_over_and_the_load_ends_well() {
    let scene = Scene::with(4);
    scene.write(D, "voter.cfg", "False\n");
    scene.install_everywhere(Release::Before);
    scene.come_together();
    scene.play(&[Op::load(D, "1.0")]);
    let nodes: Vec<_> = scene.nodes().collect();
    let mut traffic = Traffic::begin(&scene, &nodes).after("1.0");
    let rounds = [
        ("2.0", Moment::Gate("init", "2.0")),
        ("3.0", Moment::Gate("left", "2.0")),
        ("4.0", Moment::Logged("step=Hold", Duration::ZERO)),
        ("5.0", Moment::Logged("step=Switched", Duration::ZERO)),
        ("6.0", Moment::Gate("loaded", "6.0")),
    ];
    for (version, moment) in rounds {
        scene.phase(&format!("to {version}"));
        scene.prepare(moment);
        let logged = scene.logged();
        let (leader, ran) = std::thread::scope(|scope| {
            let loading = scope.spawn(|| traffic.load(&scene, D, "load", version));
            let leader = scene.await_moment(&logged, moment);
            upgrade(&scene, leader);
            let any = scene.others(leader);
            scene.wait(&Condition::LedBy { on: D, any }, "another leads");
            scene.release(moment);
            (leader, loading.join().unwrap())
        });
        assert_eq!(ran.code, Some(0), "the order outlives its leader: {ran:?}");
        scene.play(&[Op::Start(leader)]);
        all_are_back(&scene, version);
        scene.assert_told_once();
    }
    let account = traffic.end(&scene);
    // The desk's node stays: a client of each node that was stopped, which may ask once more while
    // that closes its links.
    assert_orderly(&account, 2 * rounds.len());
    assert!(account.answered_by("6.0") > 0, "{account}");
    let life = scene.life();
    let of = |event: &str| -> BTreeSet<_> {
        let some = life.iter().filter(|it| it.event == event);
        some.map(|it| it.version.clone()).collect()
    };
    let all: BTreeSet<_> = (1..=6).map(|it| format!("{it}.0")).collect();
    let mut old = all.clone();
    assert_eq!(of("loaded"), all, "OnLoad reached every version");
    old.remove("6.0");
    assert_eq!(of("left"), old, "OnDeactivate reached every old version");
}

#[test]
fn all_hosts_are_upgraded_one_after_the_other_under_traffic_and_an_update() {
    let scene = Scene::with(4);
    scene.write(D, "voter.cfg", "False\n");
    scene.install_everywhere(Release::Before);
    scene.come_together();
    scene.play(&[Op::cluster_load(A, "1.0")]);
    let nodes: Vec<_> = scene.nodes().collect();
    let mut traffic = Traffic::begin(&scene, &nodes).after("1.0");
    let mut version = "1.0";
    for (node, next) in [(D, "2.0"), (C, "3.0"), (B, "4.0"), (A, "5.0")] {
        scene.phase(&format!("{node} is upgraded, {next} comes"));
        let from = scene.others(node)[0];
        let (scene, traffic) = (&scene, &mut traffic);
        scene.play(&[Op::run(from, format!("cluster drain {node}"))]);
        scene.until("its actors have moved", Duration::from_secs(60), || {
            let reply = scene
                .ask(from, "Desk", "'where'")
                .map_err(|ran| ran.shown())?;
            let here = reply.contains(&format!("'{node}'"));
            (!here).then_some(()).ok_or(reply)
        });
        let ran = std::thread::scope(|scope| {
            let loading = scope.spawn(move || traffic.load(scene, from, "load", next));
            upgrade(scene, node);
            scene.play(&[
                Op::Start(node),
                Op::run(from, format!("cluster drain --off {node}")),
            ]);
            loading.join().unwrap()
        });
        assert_eq!(ran.code, Some(0), "{ran:?}");
        version = next;
        all_are_back(scene, version);
    }
    let account = traffic.end(&scene);
    // Besides, one of each node whenever the desk moves.
    assert_orderly(&account, nodes.len() * (1 + nodes.len()));
    assert!(account.answered_by(version) > 0, "{account}");
    scene.assert_told_once();
}
