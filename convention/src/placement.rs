//! Where Director actors may go: open members, the least loaded first, and why nowhere.
//!
//! What the registry knows decides here; whether a member trusts a package and passes a class's
//! check is asked of the fleet (`leader::reconcile::Fleet::candidates`), which gives candidates.

use std::collections::{BTreeMap, BTreeSet};

use protocol::definition;
use protocol::registry::{MemberState, Slot, SlotState, State};
use protocol::{NodeId, SourceHash};

/// Whether a member takes Director actors: it is up and not drained.
#[must_use]
pub fn is_open(state: &State, node: NodeId) -> bool {
    let member = state.members.get(&node);
    member.is_some_and(|member| member.state == MemberState::Up && !member.admission.drained)
}

/// Whether a member is up although an operator wants no actors on it.
#[must_use]
pub fn is_drained(state: &State, node: NodeId) -> bool {
    let member = state.members.get(&node);
    member.is_some_and(|member| member.state == MemberState::Up && member.admission.drained)
}

/// The members that take Director actors.
pub fn open_members(state: &State) -> impl Iterator<Item = NodeId> + '_ {
    let nodes = state.members.keys().copied();
    nodes.filter(|node| is_open(state, *node))
}

/// Whether a slot's actor is one of several, one on each member.
#[must_use]
pub fn is_each(state: &State, slot: &Slot) -> bool {
    let actor = state.sources.get(&slot.source).and_then(|s| s.actor(slot));
    actor.is_some_and(|actor| actor.placement == definition::Placement::Each)
}

/// The members on which the actor at a position of a source has a slot.
#[must_use]
pub fn places(state: &State, source: SourceHash, position: u32) -> BTreeSet<NodeId> {
    let slots = state.slots.values();
    let its = slots.filter(|slot| slot.source == source && slot.position == position);
    its.map(|slot| slot.node).collect()
}

/// How many Director actors each member has, and will have by the choices made so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loads(BTreeMap<NodeId, usize>);

impl Loads {
    /// What the registry says.
    #[must_use]
    pub fn of(state: &State) -> Self {
        let mut loads = BTreeMap::new();
        for slot in state.slots.values() {
            let there = matches!(
                slot.state,
                SlotState::Starting | SlotState::Standing | SlotState::Running
            );
            if there {
                *loads.entry(slot.node).or_insert(0) += 1;
            }
        }
        Self(loads)
    }

    /// Chooses `preferred` if it is a candidate, else the candidate with the fewest Director
    /// actors, of equals the first; counts the choice.
    pub fn choose(&mut self, candidates: &[NodeId], preferred: NodeId) -> Option<NodeId> {
        let node = if candidates.contains(&preferred) {
            preferred
        } else {
            let load = |node: &&NodeId| self.0.get(*node).copied().unwrap_or_default();
            *candidates.iter().min_by_key(load)?
        };
        *self.0.entry(node).or_insert(0) += 1;
        Some(node)
    }
}

/// Why a slot's actor is placed nowhere now, when no candidate was found.
#[must_use]
pub fn why_nowhere(state: &State, slot: &Slot) -> String {
    let name = |node: NodeId| {
        let member = state.members.get(&node);
        member.map_or_else(|| node.to_string(), |member| member.name.clone())
    };
    if is_each(state, slot) {
        return format!("member `{}` cannot run it now", name(slot.node));
    }
    if open_members(state).next().is_some() {
        return format!("no member that is up can run `{}`", slot.class);
    }
    let up = |member: &protocol::registry::Member| member.state == MemberState::Up;
    if state.members.values().any(up) {
        return "all members that are up are drained".to_owned();
    }
    "no member is up".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_then_the_least_loaded_candidate_is_chosen() {
        let mut loads = Loads(BTreeMap::from([(NodeId(1), 2), (NodeId(2), 1)]));
        let all = [NodeId(1), NodeId(2), NodeId(3)];
        assert_eq!(loads.choose(&all, NodeId(1)), Some(NodeId(1)));
        assert_eq!(loads.choose(&all, NodeId(9)), Some(NodeId(3)));
        assert_eq!(loads.choose(&all, NodeId(9)), Some(NodeId(2)));
        assert_eq!(loads.choose(&[], NodeId(1)), None);
    }
}
