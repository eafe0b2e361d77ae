//! Which Director actors a node should run, and how that differs from what it runs.
//!
//! For a node that returns after its lease had ended: what was reported dead or placed elsewhere
//! meanwhile must end there before anything else. Both sides are to be of one moment: take the
//! list of living actors first, then look at a registry that is at least as new as the leader's.

use std::collections::{BTreeMap, BTreeSet};

use protocol::registry::{SlotState, State};
use protocol::{ActorId, NodeId, SlotId};

/// What a node has to do so that it runs what the registry says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Director actors that live here and must end.
    pub surplus: BTreeSet<ActorId>,
    /// Slots whose actor should live here and does not: their end is to be reported.
    pub missing: BTreeMap<SlotId, ActorId>,
}

/// The Director actors that a node should run.
#[must_use]
pub fn placed(state: &State, node: NodeId) -> BTreeMap<SlotId, ActorId> {
    slots(state, node, |state| {
        matches!(
            state,
            SlotState::Starting | SlotState::Standing | SlotState::Running
        )
    })
}

/// How the Director actors alive on a node differ from those that should be there.
#[must_use]
pub fn difference(state: &State, node: NodeId, alive: &BTreeSet<ActorId>) -> Difference {
    let wanted: BTreeSet<_> = placed(state, node).into_values().collect();
    // One that is to start may not have been ordered yet.
    let mut missing = slots(state, node, |state| {
        matches!(state, SlotState::Standing | SlotState::Running)
    });
    missing.retain(|_, actor| !alive.contains(actor));
    Difference {
        surplus: alive.difference(&wanted).copied().collect(),
        missing,
    }
}

fn slots(
    state: &State,
    node: NodeId,
    wanted: impl Fn(&SlotState) -> bool,
) -> BTreeMap<SlotId, ActorId> {
    let here = state.slots.iter().filter(|(_, slot)| slot.node == node);
    let wanted = here.filter(|(_, slot)| wanted(&slot.state));
    wanted.map(|(id, slot)| (*id, slot.actor)).collect()
}

#[cfg(test)]
mod tests {
    use protocol::registry::Slot;
    use protocol::{Incarnation, SourceHash, Stamp};

    use super::*;

    fn slot(number: u64, node: u64, state: SlotState) -> (SlotId, Slot) {
        let slot = Slot {
            source: SourceHash::default(),
            group: "foo".to_owned(),
            position: 0,
            class: "a".to_owned(),
            node: NodeId(node),
            actor: actor(number),
            state,
            started: None,
            restarts: 0,
            recent: Vec::new(),
        };
        (SlotId(number), slot)
    }

    fn actor(number: u64) -> ActorId {
        ActorId::allot(Incarnation(1), number)
    }

    #[test]
    fn what_was_placed_elsewhere_ends_and_what_is_missing_is_reported() {
        let waiting = SlotState::Waiting {
            not_before: Stamp(0),
            reason: "its member was lost".to_owned(),
        };
        let state = State {
            slots: BTreeMap::from([
                slot(1, 1, SlotState::Running),
                slot(2, 1, SlotState::Running),
                slot(3, 1, SlotState::Starting),
                slot(4, 2, SlotState::Running),
                slot(5, 1, waiting),
            ]),
            ..State::default()
        };
        let alive = BTreeSet::from([1, 4, 5, 6].map(actor));
        let found = difference(&state, NodeId(1), &alive);
        assert_eq!(found.surplus, BTreeSet::from([4, 5, 6].map(actor)));
        assert_eq!(found.missing, BTreeMap::from([(SlotId(2), actor(2))]));
    }
}
