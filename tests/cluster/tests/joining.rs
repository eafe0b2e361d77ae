//! Joining a convention: by token, by approval, after removal, from behind a NAT; and refusals.

use std::fs;
use std::time::Duration;

use cluster::{A, B, C, Condition, D, Node, Op, Scene};

fn up(on: Node, count: usize) -> Condition {
    Condition::Up { on, count }
}

fn state(on: Node, member: Node, state: &'static str) -> Condition {
    Condition::State { on, member, state }
}

fn logged(by: Node, text: &'static str) -> Condition {
    Condition::Logged { by, text }
}

fn told(texts: &[&'static str]) -> Condition {
    let texts = texts.to_vec();
    Condition::Told { on: A, texts }
}

#[test]
fn three_nodes_join_by_token_and_all_see_the_same() {
    let scene = Scene::convention(3);
    for on in scene.nodes() {
        scene.play(&[
            Op::until(up(on, 3), "every member knows all members"),
            Op::until(Condition::Voters { on, count: 3 }, "and who votes"),
        ]);
    }
    scene.play(&[Op::until(
        told(&["joined", "c"]),
        "who joined is in the events",
    )]);
    let members = scene.json(C, "cluster members");
    let leaders = members["members"].as_array().unwrap().iter();
    let leaders = leaders.filter(|member| member["part"] == "leader");
    assert_eq!(leaders.count(), 1, "{members:#}");
}

#[test]
fn a_node_without_a_token_waits_until_it_is_approved() {
    let scene = Scene::with(2);
    scene.play(&[Op::Start(A)]);
    scene.point(B, &[A]);
    scene.play(&[
        Op::Launch(B),
        Op::until(
            Condition::Waits { on: A, joiner: B },
            "who has no token waits",
        ),
        Op::until(logged(B, "waiting for approval"), "and says so"),
        Op::refused(A, "cluster approve nobody", &["`nobody`"]),
    ]);
    let waiting = scene.json(A, "cluster approve")["waiting"][0].clone();
    let key = waiting["key"].as_str().unwrap();
    assert!(
        scene.log(B).contains(key),
        "both sides show the same fingerprint"
    );
    scene.play(&[
        Op::run(A, "cluster approve b"),
        Op::until(state(A, B, "up"), "who is approved joins"),
        Op::until(told(&["approv", "b"]), "and the events say who let it in"),
    ]);
}

#[test]
fn a_token_that_is_used_expired_revoked_or_foreign_is_refused_with_its_own_message() {
    let scene = Scene::with(4);
    scene.play(&[Op::Start(A)]);
    let once = scene.invite(B, A, "--uses 1");
    scene.play(&[
        Op::Start(B),
        Op::until(state(A, B, "up"), "a good token lets in"),
    ]);

    scene.phase("a used token");
    scene.invite(C, A, "");
    scene.write(C, "convtoken.cfg", &once);
    scene.play(&[
        Op::Launch(C),
        Op::until(logged(C, "used"), "a token is good once"),
        Op::until(told(&["join refused", "used"]), "a refusal is an event"),
        Op::Kill(C),
    ]);

    scene.phase("an expired token");
    scene.invite(C, A, "--ttl 1s");
    std::thread::sleep(Duration::from_millis(1_500));
    scene.play(&[
        Op::Launch(C),
        Op::until(logged(C, "expired"), "a token is good for its time"),
        Op::Kill(C),
    ]);

    scene.phase("a revoked token");
    let token = scene.invite(C, A, "");
    let tokens = scene.json(A, "cluster tokens");
    let tokens = tokens["tokens"].as_array().unwrap();
    let id = tokens.iter().find_map(|it| {
        let id = it["id"].as_str().unwrap();
        token.contains(id).then(|| id.to_owned())
    });
    scene.play(&[
        Op::run(A, format!("cluster tokens revoke {}", id.unwrap())),
        Op::Launch(C),
        Op::until(
            logged(C, "make another with `cluster invite`"),
            "a revoked token is unknown",
        ),
        Op::Kill(C),
    ]);

    scene.phase("a token of another convention");
    scene.play(&[Op::Start(D)]);
    scene.invite(C, D, "");
    scene.point(C, &[A]);
    scene.play(&[
        Op::Launch(C),
        Op::until(
            logged(C, "is not the convention that the token is for"),
            "a token pins its convention's authority",
        ),
        Op::Kill(C),
    ]);

    scene.phase("a good one at last");
    scene.play(&[Op::Join { node: C, at: A }]);
    assert_eq!(scene.json(A, "cluster status")["members"], 3);
}

#[test]
fn a_removed_member_is_refused_for_good_and_may_join_anew() {
    let scene = Scene::convention(2);
    scene.play(&[
        Op::run(A, "cluster remove b"),
        Op::within(
            Duration::from_secs(10),
            state(A, B, "gone"),
            "who is removed is no member",
        ),
        Op::until(told(&["removed", "b"]), "and an event says so"),
        Op::until(logged(B, "removed"), "the removed one is told"),
    ]);
    scene.phase("it comes back with the id that it had");
    scene.play(&[Op::Kill(B), Op::Launch(B)]);
    scene.play(&[Op::until(
        told(&["refused", "removed"]),
        "an id is never used again",
    )]);
    assert_eq!(scene.json(A, "cluster status")["members"], 1);
    scene.phase("it joins as somebody else");
    scene.play(&[Op::Kill(B)]);
    fs::remove_dir_all(scene.directory(B).join("state")).unwrap();
    scene.play(&[Op::Join { node: B, at: A }]);
}

#[test]
fn who_leaves_is_gone_and_may_join_again() {
    let scene = Scene::convention(3);
    scene.play(&[
        Op::run(C, "cluster leave"),
        Op::until(state(A, C, "gone"), "who leaves is no member"),
        Op::until(told(&["left", "c"]), "and an event says so"),
    ]);
}

#[test]
fn a_member_of_another_convention_is_refused() {
    let scene = Scene::with(2);
    scene.play(&[Op::Start(A), Op::Start(B), Op::Stop(B)]);
    // It keeps the certificate of the convention that it founded.
    scene.invite(B, A, "");
    scene.play(&[Op::Launch(B)]);
    let seen = || match scene.json(A, "cluster status")["members"].as_u64() {
        Some(1) => Ok(()),
        other => Err(format!("{other:?} members")),
    };
    scene.until(
        "a founder does not become a member unasked",
        Duration::from_secs(1),
        seen,
    );
}

#[test]
fn one_list_of_leaders_for_all_hosts_makes_one_convention() {
    let scene = Scene::with(3);
    for node in scene.nodes() {
        scene.point(node, &[A, B, C]);
    }
    scene.play(&[Op::Launch(B), Op::Launch(C)]);
    scene.phase("the operator founds on one of them");
    scene.found(A);
    let token = scene.run(A, "cluster invite --uses 2");
    for node in [B, C] {
        scene.write(node, "convtoken.cfg", token.last_line());
    }
    for on in scene.nodes() {
        scene.play(&[Op::until(up(on, 3), "all of them make one convention")]);
    }
    scene.phase("started again, each finds the others");
    scene.play(&[
        Op::KillAll(vec![A, B, C]),
        Op::Launch(C),
        Op::Launch(B),
        Op::Launch(A),
    ]);
    for on in scene.nodes() {
        scene.play(&[Op::until(up(on, 3), "nobody founds a second one")]);
    }
}

/// Much less than a dial that is not answered takes, and what a loaded machine needs.
const SOON: Duration = Duration::from_secs(7);

#[test]
fn a_member_that_only_dials_out_takes_part() {
    let scene = Scene::with(3);
    scene.play(&[
        Op::Shelter(C),
        Op::Start(A),
        Op::Join { node: B, at: A },
        Op::Join { node: C, at: A },
        Op::load(A, "1.0"),
    ]);
    for from in [B, C] {
        let answers = Condition::Answers {
            on: from,
            target: "Desk",
            literal: "'where'",
            reply: "('1.0', 'a')",
        };
        scene.play(&[Op::until(answers, "an actor elsewhere answers")]);
    }
    scene.phase("what nobody can dial gives a load, and is told things first");
    let loaded = scene.load(C, "load", "2.0");
    assert_eq!(loaded.code, Some(0), "{loaded:?}");
    assert!(loaded.took < SOON, "{loaded:?}");
    scene.play(&[Op::until(
        Condition::Answers {
            on: C,
            target: "Desk",
            literal: "'where'",
            reply: "('2.0', 'c')",
        },
        "it runs where the load came from",
    )]);
    for from in [A, B] {
        let asked = scene.run(from, "ask Desk 'where' --timeout 20");
        assert_eq!(asked.stdout.trim(), "('2.0', 'c')", "{asked:?}");
        assert!(asked.took < SOON, "{asked:?}");
    }
    scene.phase("its NAT forgets");
    scene.play(&[Op::Rebind { from: C, to: A }]);
    scene.play(&[Op::until(
        state(A, C, "up"),
        "a rebound member stays a member",
    )]);
    assert_eq!(scene.ask(C, "Desk", "'where'").unwrap(), "('2.0', 'c')");
}
