//! Random commands against the registry: what holds of every state that any log leads to.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail the test"
)]

use std::collections::BTreeSet;

use convention::{Registry, difference, is_each, next_moment, placed, role_standings, work};
use proptest::prelude::*;
use protocol::registry::{
    AUDIT_KEPT, AUTHORITIES_KEPT, Command, HISTORY_KEPT, KeyDigest, MemberCommand, Outcome,
    REGISTRY_VERSION, RolloutStep, RotationStep, SlotState, SourceState, State,
};
use protocol::{NodeId, RolloutId, SlotId, Stamp};

mod author;

use author::{Author, Draft, founded, pick};

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
    authorities_are_sound(state);
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

fn authorities_are_sound(state: &State) {
    let authorities = &state.roll.authorities;
    let step = authorities.rotation.as_ref().map(|it| &it.step);
    let both = step == Some(&RotationStep::Issues);
    assert!(authorities.roots.len() <= if both { 2 } else { 1 });
    assert!(!both || authorities.roots.len() == 2);
    assert!(authorities.links.len() <= AUTHORITIES_KEPT);
    assert!(authorities.retired.len() <= AUTHORITIES_KEPT);
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
