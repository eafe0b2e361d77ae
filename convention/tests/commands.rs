//! Random commands against the registry: what holds of every state that any log leads to.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail the test"
)]

use std::collections::{BTreeMap, BTreeSet};

use convention::{Registry, difference, is_each, next_moment, placed, role_standings, work};
use proptest::prelude::*;
use protocol::definition::{self, ActorDefinition, AutoUnload};
use protocol::registry::{
    AUDIT_KEPT, Change, Command, HISTORY_KEPT, KeyDigest, MemberCommand, Outcome, Placement,
    REGISTRY_VERSION, Replacement, RolloutKind, RolloutStep, SlotState, SourceState, State,
};
use protocol::{
    ActorId, GroupDefinition, Incarnation, NodeId, RequestId, RolloutId, SlotId, SourceHash, Stamp,
};

const NODES: u64 = 4;
const VERSIONS: u8 = 4;

/// A command before the numbers of the moment are filled in: what, and which.
type Draft = (u8, u8, u8, u8);

/// Fills numbers in by what the registry has, so that most commands mean something.
#[derive(Default)]
struct Author {
    now: u64,
    fresh: u64,
    incarnations: BTreeMap<NodeId, u64>,
}

impl Author {
    fn actor(&mut self) -> ActorId {
        self.fresh += 1;
        ActorId::allot(Incarnation(9), self.fresh)
    }

    fn request(&mut self, which: u8) -> RequestId {
        // One in eight repeats an earlier one.
        let number = if which.is_multiple_of(8) { 1 } else { self.now };
        RequestId(u128::from(number).to_be_bytes())
    }

    fn write(&mut self, state: &State, draft: Draft) -> Command {
        let (what, first, second, third) = draft;
        self.now += u64::from(third);
        let stamp = Stamp(self.now);
        let node = NodeId(1 + u64::from(first) % NODES);
        let slot = pick(state.slots.keys().copied(), second);
        let actor = state.slots.get(&slot).map_or(ActorId::NONE, |s| s.actor);
        let rollout = pick(state.rollouts.keys().copied(), first);
        let reason = "a reason".to_owned();
        match what % 20 {
            0 => self.load(first, second, third, stamp),
            1 => self.leave(state, first, third, stamp),
            2 => Command::Hold { rollout, stamp },
            3 => Command::Switch { rollout, stamp },
            4 => Command::Finish { rollout, stamp },
            5 => Command::Abort {
                rollout,
                reason,
                stamp,
            },
            6 => Command::Drain {
                request: self.request(third),
                hash: pick(state.sources.keys().copied(), first),
                now: false,
                by: "ann".to_owned(),
                stamp,
            },
            7 => Command::Forget {
                hash: pick(state.sources.keys().copied(), first),
                stamp,
            },
            8 => Command::Start {
                replacement: Replacement {
                    slot,
                    node,
                    actor: self.actor(),
                },
                stamp,
            },
            9 => Command::Started { slot, actor, stamp },
            10 => Command::Ended {
                slot,
                actor,
                reason,
                stamp,
            },
            11 => Command::Extend {
                hash: pick(state.sources.keys().copied(), second),
                placement: Placement {
                    position: u32::from(third % 3),
                    class: "c".to_owned(),
                    node,
                    actor: self.actor(),
                },
                stamp,
            },
            12 => {
                let stop = third.is_multiple_of(2);
                self.ordered(first, Change::Operate { slot, stop }, stamp)
            }
            16 => {
                let until = Stamp(stamp.0 + 60_000);
                self.ordered(first, Change::Rest { slot, actor, until }, stamp)
            }
            17 => {
                let member = match self.member(state, draft, node, stamp) {
                    Command::Member(command) => command,
                    other => return other,
                };
                self.ordered(first, Change::Member(member), stamp)
            }
            13 => Command::Displace {
                slot,
                actor,
                reason,
                stamp,
            },
            14 => self.started(node, second, stamp),
            15 => Command::MemberStopped { node, stamp },
            _ => self.member(state, draft, node, stamp),
        }
    }

    fn ordered(&mut self, which: u8, change: Change, stamp: Stamp) -> Command {
        Command::Ordered {
            request: self.request(which),
            told: vec!["it is done".to_owned()],
            change,
            stamp,
        }
    }

    fn started(&mut self, node: NodeId, second: u8, stamp: Stamp) -> Command {
        let run = self.incarnations.entry(node).or_default();
        *run += u64::from(second % 2);
        Command::MemberStarted {
            node,
            name: format!("member-{node}"),
            address: String::new(),
            incarnation: Incarnation(*run),
            capabilities: "{}".to_owned(),
            stamp,
        }
    }

    fn member(&mut self, state: &State, draft: Draft, node: NodeId, stamp: Stamp) -> Command {
        let (_, first, second, third) = draft;
        let by = "ann".to_owned();
        let key = KeyDigest([1 + first % 5; 32]);
        let id = format!("t{}", second % 3);
        let command = match third % 13 {
            0 | 1 => MemberCommand::Admit {
                node,
                key: KeyDigest([node.0 as u8; 32]),
                name: format!("member-{node}"),
                address: String::new(),
                token: Some(id),
                may_vote: true,
                stamp,
            },
            2 => MemberCommand::Admit {
                node,
                key,
                name: "other".to_owned(),
                address: String::new(),
                token: None,
                may_vote: false,
                stamp,
            },
            3 => MemberCommand::Remove {
                node,
                left: second.is_multiple_of(2),
                by,
                stamp,
            },
            4 | 5 => MemberCommand::Lost {
                node,
                incarnation: state
                    .members
                    .get(&node)
                    .map_or(Incarnation(0), |member| member.incarnation),
                stamp,
            },
            6 => MemberCommand::Drain {
                node,
                on: second.is_multiple_of(2),
                by,
                stamp,
            },
            7 => MemberCommand::Issue {
                id,
                secret: KeyDigest::default(),
                uses: u32::from(second % 3),
                expires: Stamp(stamp.0 + 200),
                by,
                stamp,
            },
            8 => MemberCommand::Approve {
                key,
                name: "other".to_owned(),
                by,
                stamp,
            },
            9 => MemberCommand::TakeRaftId { node, stamp },
            10 => MemberCommand::Vote {
                node,
                on: second.is_multiple_of(2),
                by,
                stamp,
            },
            11 => MemberCommand::TakeBack { node, by, stamp },
            _ => MemberCommand::Recovered { node, stamp },
        };
        Command::Member(command)
    }

    fn load(&mut self, first: u8, second: u8, third: u8, stamp: Stamp) -> Command {
        let group = if first.is_multiple_of(2) {
            "foo"
        } else {
            "bar"
        };
        let version = second % VERSIONS;
        let each = |position: u8| {
            if (version + position).is_multiple_of(2) {
                definition::Placement::Each
            } else {
                definition::Placement::One
            }
        };
        let actors = (0..2).map(|position| ActorDefinition {
            class: format!("c{position}"),
            role: Some(format!("role-{position}")),
            global_name: (position == 0).then(|| format!("Name-{}", version % 2)),
            placement: each(position),
            ..ActorDefinition::default()
        });
        let definition = GroupDefinition {
            actors: actors.collect(),
            auto_unload: AutoUnload::Keep(2),
            keep_limit: None,
        };
        let mut placements = Vec::new();
        for position in 0..2 {
            let nodes = match each(position) {
                definition::Placement::Each => (1..=NODES).collect(),
                definition::Placement::One => vec![u64::from(third) % (NODES + 1)],
            };
            for node in nodes {
                placements.push(Placement {
                    position: u32::from(position),
                    class: format!("c{position}"),
                    node: NodeId(node),
                    actor: self.actor(),
                });
            }
        }
        Command::Load {
            request: self.request(third),
            hash: SourceHash::of(&[first % 2, version]),
            group: group.to_owned(),
            version: Some(format!("{version}.0")),
            bytes: 1,
            definition,
            placements,
            by: "ann".to_owned(),
            stamp,
        }
    }

    fn leave(&mut self, state: &State, first: u8, third: u8, stamp: Stamp) -> Command {
        let group = if first.is_multiple_of(2) {
            "foo"
        } else {
            "bar"
        };
        let active = state.groups.get(group).and_then(|group| group.active);
        let slots: Vec<_> = state.slots.keys().copied().collect();
        let replacements = slots.into_iter().map(|slot| Replacement {
            slot,
            node: NodeId(1 + u64::from(third) % NODES),
            actor: self.actor(),
        });
        Command::Leave {
            replacements: replacements.collect(),
            request: self.request(third),
            group: group.to_owned(),
            from: active.unwrap_or_default(),
            kind: match third % 2 {
                0 => RolloutKind::Rollback,
                _ => RolloutKind::Unload,
            },
            now: false,
            by: "ann".to_owned(),
            stamp,
        }
    }
}

fn pick<T: Default>(mut all: impl ExactSizeIterator<Item = T>, which: u8) -> T {
    let count = all.len().max(1);
    all.nth(usize::from(which) % count).unwrap_or_default()
}

fn bytes(registry: &Registry) -> Vec<u8> {
    protocol::encode("state", REGISTRY_VERSION, registry.state()).unwrap()
}

/// What holds of every state.
fn check(state: &State) {
    active_sources_are_loaded(state);
    slots_are_where_they_may_be(state);
    one_of_its_kind_is_one(state);
    names_have_one_owner(state);
    rollouts_are_sound(state);
    assert!(state.roll.audit.len() <= AUDIT_KEPT);
    let bounded = |group: &protocol::registry::Group| group.history.len() <= HISTORY_KEPT;
    assert!(state.groups.values().all(bounded));
    let removed = |node: &NodeId| state.roll.removed.contains_key(node);
    assert!(
        !state.members.keys().any(removed),
        "a member is not removed as well"
    );
    let keys: Vec<_> = state.members.values().map(|m| m.admission.key).collect();
    let keys: Vec<_> = keys
        .iter()
        .filter(|key| **key != KeyDigest::default())
        .collect();
    let distinct: BTreeSet<_> = keys.iter().collect();
    assert_eq!(keys.len(), distinct.len(), "a key is one member's");
}

fn active_sources_are_loaded(state: &State) {
    for (name, group) in &state.groups {
        if let Some(active) = group.active {
            let source = &state.sources[&active];
            assert_eq!(source.group, *name);
            assert_eq!(source.state, SourceState::Loaded);
        }
    }
}

fn slots_are_where_they_may_be(state: &State) {
    let mut actors = BTreeSet::new();
    for slot in state.slots.values() {
        let source = &state.sources[&slot.source];
        assert!(source.actor(slot).is_some());
        assert!(slot.node == NodeId::NONE || state.members.contains_key(&slot.node));
        let lives = matches!(
            slot.state,
            SlotState::Starting | SlotState::Standing | SlotState::Running
        );
        if lives {
            assert_ne!(slot.node, NodeId::NONE);
            assert!(actors.insert(slot.actor), "an address is one actor's");
            let member = &state.members[&slot.node];
            assert_eq!(
                member.state,
                protocol::registry::MemberState::Up,
                "{slot:?}"
            );
        }
        let active = state.groups[&slot.group].active == Some(slot.source);
        if matches!(slot.state, SlotState::Waiting { .. } | SlotState::Starting) {
            let coming = |r: &protocol::registry::Rollout| r.to == Some(slot.source);
            assert!(active || state.rollouts.values().any(coming), "{slot:?}");
        }
    }
}

fn one_of_its_kind_is_one(state: &State) {
    let mut places = BTreeSet::new();
    for slot in state.slots.values() {
        let node = is_each(state, slot).then_some(slot.node);
        assert!(
            places.insert((slot.source, slot.position, node)),
            "{slot:?}"
        );
    }
}

fn names_have_one_owner(state: &State) {
    for source in state.sources.values() {
        for actor in &source.definition.actors {
            if let Some(name) = &actor.global_name {
                assert_eq!(state.names[name], source.group);
            }
        }
    }
}

fn rollouts_are_sound(state: &State) {
    let mut groups = BTreeSet::new();
    for rollout in state.rollouts.values() {
        assert!(groups.insert(&rollout.group), "one rollout a group");
        for id in rollout.constructed.iter().chain(&rollout.reactivated) {
            assert_eq!(Some(state.slots[id].source), rollout.to);
        }
        for id in &rollout.deactivated {
            assert_eq!(Some(state.slots[id].source), rollout.from);
        }
        let active = state.groups[&rollout.group].active;
        match rollout.step {
            RolloutStep::Switched => assert_eq!(active, rollout.to),
            _ => assert_eq!(active, rollout.from),
        }
    }
}

/// What one command may not do, seen from both sides of it.
fn check_step(before: &State, after: &State, command: &Command, outcome: &Outcome) {
    assert!(after.roll.last_audit >= before.roll.last_audit);
    assert!(after.roll.last_raft_id >= before.roll.last_raft_id);
    if matches!(outcome, Outcome::Refused(_) | Outcome::Stale) {
        let mut kept = after.clone();
        // A refused joiner is in the audit; old requests go with time.
        kept.roll.audit.clone_from(&before.roll.audit);
        kept.roll.last_audit = before.roll.last_audit;
        kept.requests.clone_from(&before.requests);
        assert_eq!(kept, *before, "{command:?}");
    }
    if let Command::Ordered { request, .. } = command
        && before.requests.contains_key(request)
        && after.requests.contains_key(request)
    {
        // Done before: it is answered as then, and nothing is done again.
        let known = &before.requests[request];
        let again = known.outcome == *outcome && after.requests[request] == *known;
        let mut kept = after.clone();
        kept.requests.clone_from(&before.requests);
        assert!(again && kept == *before, "{command:?}");
    }
    for (id, slot) in &after.slots {
        // A running actor was constructed under the address it has.
        let known = before.slots.get(id);
        let renamed = known.is_some_and(|known| known.actor != slot.actor);
        assert!(
            slot.state != SlotState::Running || !renamed,
            "{command:?}: {slot:?}"
        );
    }
    let uses = |state: &State| -> u32 { state.roll.tokens.values().map(|t| t.uses_left).sum() };
    if matches!(command, Command::Member(MemberCommand::Admit { .. })) {
        assert!(uses(before) - uses(after) <= 1);
    }
}

/// What is derived from a state never contradicts it.
fn check_derived(state: &State, now: Stamp) {
    for own in [None, Some(NodeId(1))] {
        for standing in role_standings(state, own).into_values() {
            if let convention::Standing::Bound(actor) = standing.standing {
                let mut slots = state.slots.values();
                let slot = slots.find(|slot| slot.actor == actor).unwrap();
                assert_eq!(slot.state, SlotState::Running);
                assert_eq!(state.groups[&slot.group].active, Some(slot.source));
            }
        }
    }
    for item in work(state, now) {
        if let convention::Work::Restart(id) = item {
            assert!(matches!(state.slots[&id].state, SlotState::Waiting { .. }));
        }
    }
    assert!(next_moment(state, now).is_none_or(|at| at > now));
    for node in state.members.keys() {
        let alive: BTreeSet<_> = placed(state, *node).into_values().collect();
        let same = difference(state, *node, &alive);
        assert!(same.surplus.is_empty() && same.missing.is_empty());
    }
}

/// Three members, so that few commands are spent on getting there.
fn founded(author: &mut Author) -> Vec<Command> {
    let mut commands = Vec::new();
    for node in (1..=3).map(NodeId) {
        commands.push(Command::Member(MemberCommand::Approve {
            key: KeyDigest([node.0 as u8; 32]),
            name: "m".to_owned(),
            by: "ann".to_owned(),
            stamp: Stamp(0),
        }));
        commands.push(Command::Member(MemberCommand::Admit {
            node,
            key: KeyDigest([node.0 as u8; 32]),
            name: format!("member-{node}"),
            address: String::new(),
            token: None,
            may_vote: true,
            stamp: Stamp(0),
        }));
        commands.push(author.started(node, 1, Stamp(0)));
    }
    commands
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default() })]

    #[test]
    fn every_log_leads_to_a_sound_state(
        drafts in prop::collection::vec(any::<Draft>(), 1..120),
        cut in any::<u8>(),
    ) {
        let mut author = Author::default();
        let mut registry = Registry::new();
        let mut log = founded(&mut author);
        for command in &log {
            registry.apply(command);
        }
        for draft in drafts {
            let before = registry.state().clone();
            let command = author.write(&before, draft);
            let outcome = registry.apply(&command);
            check(registry.state());
            check_step(&before, registry.state(), &command, &outcome);
            check_derived(registry.state(), Stamp(author.now));
            log.push(command);
        }
        let mut again = Registry::new();
        let half = usize::from(cut) % log.len();
        for command in &log[..half] {
            again.apply(command);
        }
        // A snapshot and the rest of the log are as good as the log.
        let snapshot: State =
            protocol::decode("state", REGISTRY_VERSION, &bytes(&again)).unwrap();
        let mut restored = Registry::from_state(snapshot);
        for command in &log[half..] {
            let outcome = again.apply(command);
            prop_assert_eq!(restored.apply(command), outcome);
        }
        prop_assert_eq!(bytes(&again), bytes(&registry));
        prop_assert_eq!(bytes(&restored), bytes(&registry));
    }
}

#[test]
fn ids_that_nobody_has_are_no_slots() {
    assert_eq!(pick(std::iter::empty::<SlotId>(), 3), SlotId::default());
    assert_eq!(pick([RolloutId(5)].into_iter(), 7), RolloutId(5));
}
