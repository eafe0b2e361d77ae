//! Orders that are under way when the leader goes: each ends as done, and was done once.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of a test fail the test"
)]

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use cluster::{A, B, C, Condition, D, Node, Op, Ran, Scene, answers};

/// The voters, of whom one leads.
const VOTERS: [Node; 3] = [A, B, C];

/// Who gives the orders; it never votes, and what happens to it itself harms nobody.
const HOME: Node = D;

/// Who leaves.
const LEAVER: Node = Node(5);

/// Who joins with a token that was given out meanwhile.
const JOINER: Node = Node(6);

/// Long enough for a busy machine.
const LONG: Duration = Duration::from_secs(90);

/// An order, where it is given, and the texts of the one event that it makes.
struct Order {
    on: Node,
    line: String,
    event: Vec<&'static str>,
}

impl Order {
    fn new(on: Node, line: impl Into<String>, event: &[&'static str]) -> Self {
        let (line, event) = (line.into(), event.to_vec());
        Self { on, line, event }
    }
}

/// A convention of so many, with the desk on a voter that does not lead: leader, desk's node.
fn convention(nodes: usize) -> (Scene, Node, Node) {
    let scene = Scene::with(nodes);
    for node in scene.nodes().filter(|node| !VOTERS.contains(node)) {
        scene.write(node, "voter.cfg", "False\n");
    }
    scene.play(&[Op::Start(A)]);
    for node in scene.nodes().filter(|node| ![A, JOINER].contains(node)) {
        scene.play(&[Op::Join { node, at: A }]);
    }
    for on in VOTERS {
        scene.play(&[Op::until(Condition::Voters { on, count: 3 }, "three vote")]);
    }
    let leader = scene.leader();
    let desk = VOTERS.into_iter().find(|node| *node != leader).unwrap();
    scene.play(&[
        Op::load(desk, "1.0"),
        Op::until(answers(HOME, "'1.0'"), "all know the role"),
    ]);
    (scene, leader, desk)
}

/// One order of each kind that needs the leader; `token` is one to be revoked.
fn orders(token: &str) -> Vec<Order> {
    vec![
        Order::new(HOME, "--json cluster invite --uses 3", &["uses: 3"]),
        Order::new(
            HOME,
            format!("cluster tokens revoke {token}"),
            &["token revoked"],
        ),
        Order::new(HOME, "cluster voters 5", &["voters wanted", "\"5\""]),
        Order::new(HOME, "cluster drain d", &["member drained", "\"d\""]),
        Order::new(HOME, "cluster demote d", &["member demoted", "\"d\""]),
        Order::new(HOME, "cluster remove e", &["member removed", "\"e\""]),
        Order::new(HOME, "restart Desk", &[]),
        Order::new(LEAVER, "cluster leave", &["member left", "\"f\""]),
    ]
}

/// How many events have all these texts.
fn count(scene: &Scene, on: Node, texts: &[&str]) -> usize {
    let events = scene.json(on, "cluster events");
    let events = events["events"].as_array().unwrap();
    let has_all = |event: &String| texts.iter().all(|text| event.contains(text));
    events
        .iter()
        .map(ToString::to_string)
        .filter(has_all)
        .count()
}

/// How often the desk began and was asked to go.
fn lives(scene: &Scene) -> (usize, usize) {
    let life = scene.life();
    let of = |event: &str| life.iter().filter(|it| it.event == event).count();
    (of("init"), of("exit"))
}

/// Every order has had its effect once, as each of these nodes sees it once it has applied all.
fn assert_done_once(scene: &Scene, on: &[Node], orders: &[Order]) {
    // The newest event: who knows it knows all before it.
    let newest = token(scene, on[0]);
    for on in on.iter().copied() {
        scene.until("it has applied all that was before", LONG, || {
            let known = count(scene, on, &[&newest]) == 1;
            known.then_some(()).ok_or_else(|| "not yet".to_owned())
        });
        for order in orders.iter().filter(|order| !order.event.is_empty()) {
            let times = count(scene, on, &order.event);
            assert_eq!(times, 1, "`{}` was done {times} times", order.line);
        }
    }
    assert_eq!(lives(scene), (2, 1), "the desk was restarted once");
}

/// Gives all orders at once, has `meanwhile` happen to the leader, and gives how they ended.
fn give(scene: &Scene, orders: &[Order], meanwhile: impl FnOnce()) -> BTreeMap<String, Ran> {
    thread::scope(|scope| {
        let given: Vec<_> = orders
            .iter()
            .map(|order| scope.spawn(|| (order.line.clone(), scene.run(order.on, &order.line))))
            .collect();
        meanwhile();
        given.into_iter().map(|it| it.join().unwrap()).collect()
    })
}

/// All have ended as done; the token that was given out lets a node in.
fn assert_told(scene: &Scene, rest: &[Node], ran: &BTreeMap<String, Ran>) {
    for (line, ran) in ran {
        assert_eq!(ran.code, Some(0), "`{line}` outlives the leader: {ran:?}");
    }
    let invited = ran.iter().find(|(line, _)| line.contains("invite"));
    let token = invited.unwrap().1.json();
    let listed = scene.json(rest[0], "cluster tokens list");
    let listed = listed["tokens"].as_array().unwrap();
    let known = listed.iter().find(|it| it["id"] == token["id"]);
    let known = known.unwrap_or_else(|| panic!("{token} is not in {listed:?}"));
    assert_eq!(known["expires"], token["expires"]);
    scene.point(JOINER, &rest[..1]);
    let token = token["token"].as_str().unwrap();
    scene.write(JOINER, "convtoken.cfg", &format!("{token}\n"));
    let up = Condition::State {
        on: rest[0],
        member: JOINER,
        state: "up",
    };
    scene.play(&[
        Op::Start(JOINER),
        Op::until(up, "its secret is the right one"),
    ]);
}

fn token(scene: &Scene, on: Node) -> String {
    let invited = scene.json(on, "cluster invite --uses 2");
    invited["id"].as_str().unwrap().to_owned()
}

#[test]
fn orders_that_a_killed_leader_has_done_and_not_answered_are_answered_by_the_next() {
    let (scene, leader, desk) = convention(7);
    let rest: Vec<_> = VOTERS.into_iter().filter(|it| *it != leader).collect();
    let orders = orders(&token(&scene, leader));
    // They reach the leader, and none of its answers comes back.
    for to in [HOME, LEAVER] {
        scene.play(&[Op::Cut { from: leader, to }]);
    }
    let ran = give(&scene, &orders, || {
        for order in orders.iter().filter(|order| !order.event.is_empty()) {
            scene.until("the leader has done it", LONG, || {
                let times = count(&scene, desk, &order.event);
                let not_yet = || format!("`{}` was done {times} times", order.line);
                (times == 1).then_some(()).ok_or_else(not_yet)
            });
        }
        scene.until("the desk is restarted", LONG, || match lives(&scene) {
            (2, 1) => Ok(()),
            lives => Err(format!("{lives:?}")),
        });
        scene.play(&[Op::Kill(leader), Op::Heal]);
    });
    assert_told(&scene, &rest, &ran);
    assert_done_once(&scene, &rest, &orders);
}

#[test]
fn orders_that_a_frozen_leader_never_read_are_done_by_the_next_and_not_by_it_as_well() {
    let (scene, leader, desk) = convention(7);
    let rest: Vec<_> = VOTERS.into_iter().filter(|it| *it != leader).collect();
    let orders = orders(&token(&scene, leader));
    scene.play(&[Op::Pause(leader)]);
    let ran = give(&scene, &orders, || {});
    assert_told(&scene, &rest, &ran);
    // It wakes with all of them in its hands.
    let follows = Condition::LedBy {
        on: leader,
        any: rest,
    };
    scene.play(&[
        Op::Continue(leader),
        Op::until(follows, "it follows another"),
    ]);
    assert_done_once(&scene, &[desk, leader], &orders);
}

#[test]
fn the_next_leader_ends_a_restart_whose_actor_takes_its_time_to_go() {
    let (scene, leader, desk) = convention(4);
    let rest: Vec<_> = VOTERS.into_iter().filter(|it| *it != leader).collect();
    scene.close_gate("exit", "1.0");
    let orders = [Order::new(HOME, "restart Desk", &[])];
    let ran = give(&scene, &orders, || {
        scene.until("the actor is asked to go", LONG, || {
            let asked = scene.life().iter().any(|it| it.event == "at-exit");
            asked.then_some(()).ok_or_else(|| "not yet".to_owned())
        });
        let led = Condition::LedBy {
            on: HOME,
            any: rest.clone(),
        };
        scene.play(&[Op::Kill(leader), Op::until(led, "the others elect one")]);
        scene.open_gate("exit", "1.0");
    });
    for ran in ran.values() {
        assert_eq!(ran.code, Some(0), "the next leader ends it: {ran:?}");
    }
    assert_eq!(lives(&scene), (2, 1), "one restart is one restart");
    scene.play(&[Op::until(answers(desk, "'1.0'"), "the new one answers")]);
}
