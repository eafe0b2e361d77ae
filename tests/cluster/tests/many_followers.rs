//! Many members that do not vote follow a load to its end, at one leader.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of a test fail the test"
)]

use std::time::Duration;

use cluster::{A, Application, Followers, Op, Plan, Scene};
use protocol::NodeId;
use protocol::registry::SlotState;
use protocol::view::Wish;

const LONG: Duration = Duration::from_secs(60);
const COUNT: usize = 50;

/// Each fifth is interested in the desk.
fn is_interested(number: usize) -> bool {
    number.is_multiple_of(5)
}

/// A leader on which the desk runs, and the members that follow it.
fn followed() -> (Scene, Followers) {
    let scene = Scene::set(Plan {
        nodes: 1,
        application: Application::default().requiring("{'desk': True}"),
        ..Plan::default()
    });
    scene.keep_port(A);
    scene.write(A, "othercaps.cfg", "{'desk': True}\n");
    scene.play(&[Op::Start(A), Op::load(A, "1.0")]);
    // Of the leader's kind of Python, which looks at the packages for all of them.
    let listed = scene.json(A, "cluster members");
    let capabilities = listed["members"][0]["capabilities"].as_str().unwrap();
    let capabilities = capabilities.replace("'desk'", "'none'");
    let invited = scene.run(A, &format!("cluster invite --uses {COUNT}"));
    let wishes = |number| match is_interested(number) {
        true => vec![Wish::Called("Desk".to_owned())],
        false => vec![Wish::Called("Nothing".to_owned())],
    };
    let leader = (scene.listens_at(A), invited.last_line());
    let followers = Followers::join(COUNT, leader, &capabilities, wishes);
    assert!(followers.are_served(COUNT, LONG), "{:?}", followers.ended());
    (scene, followers)
}

/// Waits until each sees the version that was loaded, if it is interested, and nothing else.
fn see(scene: &Scene, followers: &Followers, version: &str) {
    let group = scene.group();
    let seen = followers.until_each(LONG, |number, _, view| {
        let Some(group) = view.groups.get(group) else {
            return !is_interested(number) && view.sources.is_empty();
        };
        let active = group.active.and_then(|active| view.sources.get(&active));
        let mut slots = view.slots.values();
        let runs = |state: &SlotState| *state == SlotState::Running;
        is_interested(number)
            && view.rollouts.is_empty()
            && active.is_some_and(|source| source.version.as_deref() == Some(version))
            && slots.any(|slot| Some(slot.source) == group.active && runs(&slot.state))
    });
    assert_eq!(seen, Ok(()), "{version}: {:?}", followers.ended());
}

#[test]
fn fifty_followers_follow_a_load_to_its_end() {
    let (scene, followers) = followed();
    see(&scene, &followers, "1.0");
    let before = followers.applied();
    scene.play(&[Op::load(A, "2.0")]);
    see(&scene, &followers, "2.0");
    // Everybody has confirmed what everybody had to: the hold, and the switch.
    let mut steps = followers.applied();
    steps.retain(|index, _| !before.contains_key(index));
    let answers: usize = steps.values().map(|asked| asked.answers).sum();
    assert!(answers >= 2 * COUNT, "{steps:?}");
    for (index, asked) in &steps {
        assert_eq!(asked.answers % COUNT, 0, "index {index}: {steps:?}");
    }
    // Nobody was lost over it, nor told all anew.
    let counted = followers.counted();
    assert_eq!((counted.sessions, counted.lost), (COUNT as u64, 0));
    assert_eq!(counted.whole_views, COUNT as u64);
    assert_eq!(followers.served(), COUNT);

    // One that becomes interested is told, the others are not.
    let late = 1;
    let nodes: Vec<NodeId> = followers.nodes();
    followers.wish(late, Wish::Node(nodes[2]));
    let told = followers.until_each(LONG, |number, _, view| {
        number != late || view.members.contains_key(&nodes[2])
    });
    assert_eq!(told, Ok(()));

    // All come back to a leader that has started again.
    scene.play(&[Op::Kill(A)]);
    assert!(followers.are_served(0, LONG), "{:?}", followers.ended());
    scene.play(&[Op::Start(A)]);
    assert!(followers.are_served(COUNT, LONG), "{:?}", followers.ended());
    scene.play(&[Op::load(A, "3.0")]);
    see(&scene, &followers, "3.0");
    assert_eq!(followers.counted().lost, 0, "{:?}", followers.ended());
}
