//! A rollout goes on under the next leader, at whatever step the last one was killed.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail the test")]

use std::collections::BTreeSet;
use std::time::Duration;

use cluster::{Application, Condition, D, Moment, Op, Plan, Scene, Traffic, answers};

/// Kills the leader at a moment of the load of `version`, and has the next one end it.
fn update(scene: &Scene, traffic: &mut Traffic, version: &'static str, moment: Moment) {
    scene.phase(&format!("to {version}"));
    scene.prepare(moment);
    let logged = scene.logged();
    let (leader, ran) = std::thread::scope(|scope| {
        let loading = scope.spawn(|| traffic.load(scene, D, "load", version));
        let leader = scene.await_moment(&logged, moment);
        assert_ne!(leader, D, "the home of the desk never leads");
        scene.play(&[Op::Kill(leader)]);
        let any = scene.others(leader);
        scene.wait(&Condition::LedBy { on: D, any }, "the others elect one");
        scene.release(moment);
        (leader, loading.join().unwrap())
    });
    let rest = scene.others(leader);
    assert_eq!(ran.code, Some(0), "the order outlives its leader: {ran:?}");
    for on in &rest {
        scene.play(&[Op::until(answers(*on, version), "one version answers")]);
    }
    scene.play(&[Op::Start(leader)]);
    for on in scene.nodes() {
        scene.play(&[
            Op::until(Condition::Voters { on, count: 3 }, "three voters again"),
            Op::until(Condition::Up { on, count: 4 }, "four members again"),
            Op::until(Condition::Active { on, version }, "one version is active"),
            Op::until(answers(on, version), "one version answers"),
        ]);
    }
    scene.assert_told_once();
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_leader_killed_at_each_step_leaves_one_version_and_tells_no_actor_twice() {
    let scene = Scene::with(4);
    scene.write(D, "voter.cfg", "False\n");
    scene.come_together();
    scene.play(&[Op::load(D, "1.0")]);
    let nodes: Vec<_> = scene.nodes().collect();
    let mut traffic = Traffic::begin(&scene, &nodes).after("1.0");
    let rounds = [
        ("2.0", Moment::Gate("init", "2.0")),
        ("3.0", Moment::Gate("left", "2.0")),
        ("4.0", Moment::Logged("step=Hold", ms(0))),
        ("5.0", Moment::Logged("step=Switched", ms(0))),
        ("6.0", Moment::Logged("step=Switched", ms(4))),
        ("7.0", Moment::Gate("loaded", "7.0")),
    ];
    for (version, moment) in rounds {
        update(&scene, &mut traffic, version, moment);
    }
    traffic.flow(ms(300));
    let account = traffic.end(&scene);
    account.assert_sound();
    assert!(account.answered_by("7.0") > 0, "{account}");
    // Each version's first actor, and those that took the place of killed ones, were told once;
    // nobody was left untold.
    let life = scene.life();
    let of = |event: &str| -> BTreeSet<u32> {
        let some = life.iter().filter(|it| it.event == event);
        some.map(|it| it.pid).collect()
    };
    let loaded: BTreeSet<_> = (2..=7).map(|it| format!("{it}.0")).collect();
    let seen = life.iter().filter(|it| it.event == "loaded");
    let seen: BTreeSet<_> = seen.map(|it| it.version.clone()).collect();
    assert!(loaded.is_subset(&seen), "OnLoad reached {seen:?}");
    assert!(
        of("left").is_subset(&of("loaded")),
        "told to leave, never loaded"
    );
}

#[test]
fn the_next_leader_ends_an_unload_that_waits_for_a_busy_actor() {
    let scene = Scene::set(Plan {
        nodes: 3,
        application: Application::new("desk").with_group("'AutoUnload': True"),
        ..Plan::default()
    });
    scene.come_together();
    let leader = scene.leader();
    let home = scene.others(leader)[0];
    scene.play(&[Op::load(home, "1.0")]);
    scene.play(&[Op::until(answers(home, "'1.0'"), "it runs")]);
    scene.close_gate("exit", "1.0");
    scene.play(&[Op::load(home, "2.0")]);
    scene.until("the old actor is asked to go", ms(60_000), || {
        let there = scene.life().iter().any(|it| it.event == "at-exit");
        there.then_some(()).ok_or_else(|| "not yet".to_owned())
    });
    scene.play(&[Op::Kill(leader)]);
    let rest = scene.others(leader);
    scene.play(&[Op::until(
        Condition::LedBy {
            on: home,
            any: rest.clone(),
        },
        "the others elect one",
    )]);
    scene.open_gate("exit", "1.0");
    for on in rest {
        scene.until("the old version is forgotten", ms(60_000), || {
            let list = scene.json(on, "list");
            let sources = list["groups"][0]["sources"].clone();
            (sources.as_array().unwrap().len() == 1)
                .then_some(())
                .ok_or_else(|| sources.to_string())
        });
        scene.play(&[Op::until(answers(on, "'2.0'"), "the new one answers")]);
    }
    scene.assert_told_once();
}
