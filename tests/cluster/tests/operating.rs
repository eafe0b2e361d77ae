//! What an operator does to a whole convention: drain, leave, back up, restore, recover.

use std::time::Duration;

use cluster::{A, Application, B, C, Condition, D, Op, Plan, Scene, answers};

#[test]
fn a_drained_member_gives_its_actors_away_and_may_have_them_again() {
    let scene = Scene::convention(3);
    scene.play(&[
        Op::load(C, "1.0"),
        Op::until(
            answers(A, "('1.0', 'c')"),
            "it runs where the load came from",
        ),
        Op::run(A, "cluster drain c"),
    ]);
    scene.until("the actor moves away", Duration::from_secs(60), || {
        let reply = scene.ask(A, "Desk", "'where'");
        match reply {
            Ok(reply) if reply != "('1.0', 'c')" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let members = scene.json(B, "cluster members");
    let drained = members["members"].as_array().unwrap();
    let drained = drained.iter().find(|member| member["name"] == "c").unwrap();
    assert_eq!(drained["state"], "drained", "{members:#}");
    scene.play(&[Op::run(A, "cluster drain --off c")]);
}

#[test]
fn a_voter_that_leaves_takes_no_majority_along() {
    let scene = Scene::convention(3);
    scene.play(&[Op::load(A, "1.0"), Op::run(C, "cluster leave")]);
    scene.until("the node stops", Duration::from_secs(30), || {
        match scene.runs(C) {
            false => Ok(()),
            true => Err("it runs".to_owned()),
        }
    });
    assert!(!scene.directory(C).join("state").exists());
    scene.play(&[
        Op::load(B, "2.0"),
        Op::until(answers(A, "('2.0', 'b')"), "the rest goes on"),
    ]);
    let members = scene.json(A, "cluster members");
    assert_eq!(
        members["members"].as_array().unwrap().len(),
        2,
        "{members:#}"
    );
}

#[test]
fn what_a_convention_had_loaded_comes_back_in_a_fresh_one() {
    let scene = Scene::set(Plan {
        nodes: 4,
        application: Application::new("desk"),
        ..Plan::default()
    });
    // They do not vote, and have only a part of the registry: what they are told to do is done all
    // the same.
    for node in [C, D] {
        scene.write(node, "voter.cfg", "False\n");
    }
    scene.found(A);
    let backup = scene.path("backup");
    let (save, back) = (
        format!("cluster backup {}", backup.display()),
        format!("cluster restore {}", backup.display()),
    );
    let passphrase = scene.path("passphrase");
    std::fs::write(&passphrase, "correct horse battery\n").unwrap();
    let with_ca = format!("{save} --with-ca --passphrase {}", passphrase.display());
    scene.play(&[
        Op::load(A, "1.0"),
        Op::load(A, "2.0"),
        Op::run(A, "rollback desk"),
        Op::Join { node: C, at: A },
        Op::refused(C, with_ca, &["is no voter", "run it on a voter"]),
        Op::run(C, save),
        Op::Stop(C),
        Op::Stop(A),
    ]);
    scene.found(B);
    scene.play(&[
        Op::Join { node: D, at: B },
        Op::run(D, back.clone()),
        Op::until(
            answers(B, "('1.0', 'd')"),
            "the active version is active again",
        ),
        Op::refused(B, back.clone(), &["loaded in this convention already"]),
        Op::refused(D, back, &["loaded in this convention already"]),
    ]);
    let listed = scene.json(B, "list");
    let sources = listed["groups"][0]["sources"].as_array().unwrap();
    let states: Vec<_> = sources
        .iter()
        .map(|source| (source["version"].as_str(), source["state"].as_str()))
        .collect();
    let wanted = [
        (Some("2.0"), Some("withdrawn")),
        (Some("1.0"), Some("active")),
    ];
    assert_eq!(states, wanted, "{listed:#}");
}

#[test]
fn a_restore_that_was_broken_off_goes_on_when_it_is_given_again() {
    let scene = Scene::with(3);
    for node in [B, C] {
        scene.write(node, "voter.cfg", "False\n");
    }
    scene.found(A);
    let backup = scene.path("backup");
    let restore = format!("cluster restore {}", backup.display());
    scene.play(&[
        Op::load(A, "1.0"),
        Op::load(A, "2.0"),
        Op::load(A, "3.0"),
        Op::run(A, "rollback desk"),
        Op::run(A, format!("cluster backup {}", backup.display())),
        Op::Stop(A),
    ]);
    scene.found(B);
    scene.play(&[Op::Join { node: C, at: B }]);
    scene.close_gate("init", "2.0");
    std::thread::scope(|scope| {
        let broken_off = scope.spawn(|| scene.run(B, &restore));
        scene.until("half of it is loaded", Duration::from_secs(60), || {
            let waits = |it: &cluster::Life| it.event == "at-init" && it.node == "b";
            let waits = scene.life().iter().any(waits);
            waits.then_some(()).ok_or_else(|| "not yet".to_owned())
        });
        scene.play(&[Op::Kill(B)]);
        assert_ne!(broken_off.join().unwrap().code, Some(0));
    });
    scene.open_gate("init", "2.0");
    scene.play(&[
        Op::Start(B),
        Op::run(B, restore.clone()),
        Op::until(answers(C, "'2.0'"), "what was active is active"),
        Op::refused(B, restore, &["loaded in this convention already"]),
    ]);
    let listed = scene.json(C, "list");
    let sources = listed["groups"][0]["sources"].as_array().unwrap();
    let state = |version: &str| {
        let source = sources.iter().find(|source| source["version"] == version);
        source.map(|source| source["state"].as_str().unwrap_or_default())
    };
    let states = ["1.0", "2.0", "3.0"].map(state);
    let wanted = [Some("loaded"), Some("active"), Some("withdrawn")];
    assert_eq!(states, wanted, "{listed:#}");
    let history = scene.json(C, "history desk").to_string();
    let loads = history.matches("restored; first loaded by").count();
    assert!(loads >= 3 && history.contains("withdrawn"), "{history}");
}

#[test]
fn a_survivor_goes_on_alone_after_the_quorum_is_lost_for_good() {
    let scene = Scene::convention(3);
    scene.play(&[
        Op::load(A, "1.0"),
        Op::until(answers(B, "('1.0', 'a')"), "all know it"),
        Op::until(Condition::Voters { on: B, count: 3 }, "three vote"),
        Op::KillAll(vec![A, C]),
        Op::Stop(B),
        Op::refused(B, "cluster recover", &["--quorum-is-lost"]),
        Op::run(B, "cluster recover --quorum-is-lost"),
        Op::Start(B),
        Op::until(answers(B, "('1.0', 'b')"), "the actor is placed here"),
        Op::load(B, "2.0"),
        Op::until(answers(B, "('2.0', 'b')"), "and loads go on"),
    ]);
    let status = scene.json(B, "cluster status");
    assert_eq!(status["voters"].as_array().unwrap().len(), 1, "{status:#}");
}

#[test]
fn a_leader_that_leaves_hands_its_lead_and_its_vote_over_first() {
    let scene = Scene::convention(3);
    let leader = scene.leader();
    let rest: Vec<_> = scene.nodes().filter(|node| *node != leader).collect();
    scene.play(&[
        Op::until(
            Condition::Voters {
                on: leader,
                count: 3,
            },
            "three vote",
        ),
        Op::run(leader, "cluster leave"),
    ]);
    for on in rest.iter().copied() {
        scene.play(&[
            Op::until(
                Condition::LedBy {
                    on,
                    any: rest.clone(),
                },
                "one of the others leads",
            ),
            Op::load(on, if on == rest[0] { "1.0" } else { "2.0" }),
        ]);
    }
}

#[test]
fn a_demoted_leader_leads_no_more_and_is_no_voter() {
    let scene = Scene::convention(3);
    let leader = scene.leader();
    let rest: Vec<_> = scene.nodes().filter(|node| *node != leader).collect();
    let demote = format!("cluster demote {leader}");
    scene.play(&[
        Op::until(
            Condition::Voters {
                on: leader,
                count: 3,
            },
            "three vote",
        ),
        Op::run(leader, demote),
        Op::until(
            Condition::LedBy {
                on: leader,
                any: rest.clone(),
            },
            "another leads",
        ),
        Op::until(
            Condition::Voters {
                on: rest[0],
                count: 1,
            },
            "two willing make one voter",
        ),
        Op::load(leader, "1.0"),
    ]);
}

#[test]
fn members_that_fit_are_explained_as_such_though_they_hold_no_package_yet() {
    let scene = Scene::convention(4);
    scene.play(&[Op::load(A, "1.0")]);
    let explained = scene.json(B, "cluster explain Desk");
    let members = explained["found"][0]["members"].as_array().unwrap();
    assert_eq!(members.len(), 4, "{explained:#}");
    for member in members {
        assert_eq!(member["eligible"], true, "{explained:#}");
    }
}

#[test]
fn events_are_followed_and_members_that_come_and_go_are_told_to_who_asked() {
    let scene = Scene::with(3);
    scene.write(B, "othercaps.cfg", "{'color': 'blue'}\n");
    scene.write(C, "othercaps.cfg", "{'color': 'red'}\n");
    scene.play(&[Op::Start(A), Op::load(A, "1.0")]);
    assert_eq!(scene.ask(A, "Desk", "('watch', None)").unwrap(), "'watch'");
    let members = |reply| Condition::Answers {
        on: A,
        target: "Desk",
        literal: "'members'",
        reply,
    };
    let followed = std::thread::scope(|scope| {
        let line = "cluster events --follow";
        let following = scope.spawn(|| scene.watch(A, line, Duration::from_secs(8)));
        scene.play(&[
            Op::Join { node: B, at: A },
            Op::Join { node: C, at: A },
            Op::until(members("[('blue', True), ('red', True)]"), "they have come"),
            Op::Kill(C),
        ]);
        following.join().unwrap()
    });
    // What was before, and what came while it was followed.
    for text in [
        "switched",
        "token issued",
        "member joined",
        "member started",
    ] {
        assert!(followed.stdout.contains(text), "no {text}: {followed:?}");
    }
    scene.play(&[
        Op::until(
            members("[('blue', True), ('red', True), ('red', False)]"),
            "one is lost",
        ),
        Op::run(B, "cluster leave"),
        Op::until(members("('red', False), ('blue', False)]"), "one has left"),
    ]);
}

#[test]
fn what_is_shown_is_confirmed_by_the_leader_or_said_to_be_stale() {
    let scene = Scene::convention(3);
    scene.play(&[
        Op::load(A, "1.0"),
        Op::until(answers(C, "('1.0', 'a')"), "all know it"),
    ]);
    let lines = ["list", "history desk", "role Desk"];
    scene.phase("a load that was acknowledged is in what is read next, anywhere");
    for version in ["2.0", "3.0"] {
        scene.play(&[Op::load(A, version)]);
        for on in [B, C] {
            let list = scene.json(on, "list");
            let newest = &list["groups"][0]["sources"][0];
            assert_eq!(newest["version"], version, "{list:#}");
            assert_eq!(newest["state"], "active", "{list:#}");
            let history = scene.json(on, "history desk");
            let entries = history["entries"].as_array().unwrap();
            let told = entries.iter().any(|entry| entry["version"] == version);
            assert!(told, "{history:#}");
        }
    }
    scene.phase("without a majority nothing is confirmed");
    scene.play(&[Op::KillAll(vec![A, B])]);
    for line in lines {
        let refused = scene.run(C, line);
        assert_eq!(refused.code, Some(3), "{refused:?}");
        for text in ["cannot be confirmed", "--stale"] {
            assert!(refused.stderr.contains(text), "{refused:?}");
        }
        assert!(refused.stdout.is_empty(), "{refused:?}");
        let known = scene.run(C, &format!("{line} --stale"));
        assert_eq!(known.code, Some(0), "{known:?}");
        assert!(known.stderr.contains("as of index"), "{known:?}");
        assert!(!known.stdout.is_empty(), "{known:?}");
        let known = scene.json(C, &format!("{line} --stale"));
        assert!(known["index"].as_u64().unwrap() > 0, "{known:#}");
        assert!(known["age_ms"].as_u64().unwrap() > 0, "{known:#}");
    }
}
