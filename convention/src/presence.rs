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
