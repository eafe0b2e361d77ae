//! Views: what a follower is told, change by change, comes to the part of the registry that it
//! wished to know, whatever happens and whatever it wishes meanwhile.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail the test"
)]

use std::collections::BTreeSet;

use convention::{Ledger, Next, Registry, Told, Viewer, project};
use proptest::prelude::*;
use protocol::registry::{Command, MemberCommand, State};
use protocol::view::{Change, Streamed, Wish};
use protocol::{NodeId, RoleId, SourceHash, Stamp};

mod author;
mod stage;

use author::{Author, Draft, NODES, founded};
use stage::Stage;

/// A follower and all that it was told.
struct Follower {
    me: NodeId,
    told: Told,
    wishes: BTreeSet<Wish>,
    number: u64,
    view: Registry,
    index: u64,
}

impl Follower {
    fn new(me: NodeId) -> Self {
        Self {
            me,
            told: Told::new(me, [], 0),
            wishes: BTreeSet::new(),
            number: 0,
            view: Registry::new(),
            index: 0,
        }
    }

    fn wish(&mut self, wish: Wish) {
        self.number += 1;
        self.wishes.insert(wish.clone());
        self.told.wish([wish], self.number);
    }

    /// Takes in what it is told next; what that was.
    fn hear(&mut self, ledger: &Ledger, voters: &BTreeSet<NodeId>) -> Option<Streamed> {
        let streamed = match self.told.next(ledger, voters) {
            Next::News(streamed) | Next::Index(streamed) => streamed,
            Next::Nothing => return None,
        };
        if streamed.whole {
            self.view = Registry::new();
        }
        self.view.take_in(streamed.changes.clone());
        // What it has run stays of interest.
        let own = self.view.state().slots.values();
        let own = own.filter(|slot| slot.node == self.me);
        let own = own.map(|slot| Wish::Group(slot.group.clone()));
        self.wishes.extend(own);
        assert_eq!(streamed.covers, self.number);
        self.index = streamed.index;
        Some(streamed)
    }

    fn projected(&self, state: &State, voters: &BTreeSet<NodeId>) -> State {
        let (me, wishes) = (self.me, &self.wishes);
        project(state, &Viewer { me, voters, wishes })
    }
}

fn wish(which: u8) -> Wish {
    let group = ["foo", "bar", "baz"][usize::from(which / 8) % 3];
    match which % 8 {
        0 => Wish::Group(group.to_owned()),
        1 => Wish::Role(RoleId::of(group, "role-1")),
        2 => Wish::Source(SourceHash::of(&[which % 2, which % 4])),
        3 => Wish::Called("Name-1".to_owned()),
        4 | 5 => Wish::Node(NodeId(1 + u64::from(which) % NODES)),
        6 => Wish::Groups,
        _ => Wish::Members,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_a_follower_is_told_comes_to_its_view(
        drafts in prop::collection::vec(any::<Draft>(), 1..120),
        // When it hears, wishes, or another votes.
        events in prop::collection::vec((any::<u8>(), any::<u8>()), 120),
        me in 1..=NODES + 1,
    ) {
        let mut author = Author::default();
        let mut registry = Registry::new();
        let mut index = 0;
        for command in founded(&mut author) {
            registry.apply(&command);
            index += 1;
        }
        let mut ledger = Ledger::new(index, registry.state());
        let mut follower = Follower::new(NodeId(me));
        let mut voters = BTreeSet::from([NodeId(1)]);
        for (draft, (what, which)) in drafts.into_iter().zip(events) {
            registry.apply(&author.write(registry.state(), draft));
            index += 1;
            match what % 16 {
                0 => follower.wish(wish(which)),
                1 => voters = BTreeSet::from([NodeId(1), NodeId(1 + u64::from(which) % NODES)]),
                _ => {}
            }
            // What several commands did may be heard at once.
            if what % 3 == 0 {
                ledger.advance(index, registry.state());
                follower.hear(&ledger, &voters);
                prop_assert_eq!(follower.index, index);
                let projected = follower.projected(registry.state(), &voters);
                prop_assert_eq!(follower.view.state(), &projected);
            }
        }
        ledger.advance(index, registry.state());
        follower.hear(&ledger, &voters);
        let projected = follower.projected(registry.state(), &voters);
        prop_assert_eq!(follower.view.state(), &projected);
    }
}

/// A stage on which nodes 1 and 2 run a group each, and what a leader keeps of it.
fn two_groups() -> (Stage, Ledger) {
    let mut stage = Stage::default();
    stage.play("boot");
    for member in 2..=4 {
        for verb in ["approve", "join", "up"] {
            stage.play(&format!("{verb} {member}"));
        }
    }
    stage.play("load foo 1.0 a:Main@1");
    stage.play("load bar 1.0 b:Main@2");
    let ledger = Ledger::new(1, stage.registry.state());
    (stage, ledger)
}

#[test]
fn a_follower_hears_of_what_it_runs_and_of_nothing_else() {
    let (mut stage, mut ledger) = two_groups();
    let voters = BTreeSet::from([NodeId(1)]);
    let mut follower = Follower::new(NodeId(2));
    let first = follower.hear(&ledger, &voters).expect("its view");
    assert!(first.whole);
    let view = follower.view.state();
    assert_eq!(view.groups.keys().collect::<Vec<_>>(), ["bar"]);
    assert_eq!(view.sources.len(), 1);
    assert!(
        !view.members.contains_key(&NodeId(3)),
        "it has nothing to do with it"
    );
    // Another member comes, a foreign group changes.
    for (index, line) in [
        "up 4",
        "drained 3",
        "undrained 3",
        "issue t1 2 1000",
        "load baz 1.0 c@3",
    ]
    .iter()
    .enumerate()
    {
        stage.play(line);
        ledger.advance(2 + index as u64, stage.registry.state());
        let news = follower.told.next(&ledger, &voters);
        assert!(matches!(news, Next::Index(_)), "{line}: {news:?}");
    }
    assert!(matches!(
        follower.told.next(&ledger, &voters),
        Next::Nothing
    ));
    // It wishes to know the foreign group after all: with who hosts it.
    follower.wish(Wish::Group("baz".to_owned()));
    follower.hear(&ledger, &voters).expect("the group");
    let view = follower.view.state();
    assert!(view.groups.contains_key("baz") && view.members.contains_key(&NodeId(3)));
    assert_eq!(view.rollouts.len(), 2, "and what is under way in it");
}

#[test]
fn who_is_far_behind_is_told_all_anew() {
    let (mut stage, mut ledger) = two_groups();
    let voters = BTreeSet::from([NodeId(1)]);
    let mut follower = Follower::new(NodeId(2));
    follower.hear(&ledger, &voters);
    for index in 2..2_000 {
        let drained = Command::Member(MemberCommand::Drain {
            node: NodeId(4),
            on: index % 2 == 0,
            by: "ann".to_owned(),
            stamp: Stamp(index),
        });
        stage.registry.apply(&drained);
        ledger.advance(index, stage.registry.state());
    }
    let news = follower.hear(&ledger, &voters).expect("all");
    assert!(news.whole, "{news:?}");
    let projected = follower.projected(stage.registry.state(), &voters);
    assert_eq!(follower.view.state(), &projected);
}

#[test]
fn secrets_and_what_is_the_leaders_alone_are_in_no_view() {
    let (mut stage, _) = two_groups();
    stage.play("issue t1 2 1000");
    stage.play("approve 9");
    let registry = &stage.registry;
    let roll = &registry.state().roll;
    assert!(!roll.tokens.is_empty() && !roll.audit.is_empty() && !roll.approvals.is_empty());
    let ledger = Ledger::new(1, registry.state());
    let mut follower = Follower::new(NodeId(2));
    follower.wish(Wish::Groups);
    follower.wish(Wish::Members);
    let told = follower.hear(&ledger, &BTreeSet::from([NodeId(1)]));
    let told = told.expect("its view");
    let members = told.changes.iter();
    let members = members
        .filter(|change| matches!(change, Change::Member(..)))
        .count();
    assert_eq!(members, registry.state().members.len());
    let view = follower.view.state();
    assert!(view.roll.tokens.is_empty() && view.roll.approvals.is_empty());
    assert!(view.roll.audit.is_empty() && view.requests.is_empty());
}

fn bytes<T: serde::Serialize>(document: &T) -> usize {
    protocol::encode("streamed", 1, document).map_or(0, |bytes| bytes.len())
}

#[test]
fn a_foreign_change_costs_a_follower_an_index_and_no_more() {
    let (mut stage, mut ledger) = two_groups();
    let voters = BTreeSet::from([NodeId(1)]);
    let mut follower = Follower::new(NodeId(2));
    let first = follower.hear(&ledger, &voters).expect("its view");
    println!(
        "view at the start: {} bytes of {}",
        bytes(&first),
        bytes(stage.registry.state())
    );
    let lines = [
        "up 4",
        "drained 3",
        "undrained 3",
        "load baz 1.0 c:Main@3",
        "hold",
        "switch",
    ];
    for (index, line) in (2..).zip(lines) {
        let before = stage.log.len();
        stage.play(line);
        let whole = bytes(&vec![(index, stage.log[before..].to_vec())]);
        ledger.advance(index, stage.registry.state());
        let Next::Index(told) = follower.told.next(&ledger, &voters) else {
            panic!("`{line}` is nothing to the follower");
        };
        println!("{line}: {} bytes, the commands {whole}", bytes(&told));
        assert!(
            told.changes.is_empty() && bytes(&told) <= 32,
            "{}",
            bytes(&told)
        );
    }
}
