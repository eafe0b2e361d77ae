//! What a leader has to do next, read off the registry.
//!
//! The reconciler asks after each applied command and at each moment that [`next_moment`] names;
//! a new leader asks the same question and goes on where the old one stopped.

use protocol::registry::{RolloutStep, SlotState, SourceState, State};
use protocol::{RolloutId, SlotId, SourceHash, Stamp};

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Carry a rollout on from its step.
    Rollout(RolloutId),
    /// Give a Director actor that waits a new address, so that it starts.
    Restart(SlotId),
    /// Construct a Director actor outside of a rollout, and send its OnLoad.
    Construct(SlotId),
    /// End the actors of a source that drains, then forget it.
    Drain(SourceHash),
}

/// Everything there is to do at `now`.
#[must_use]
pub fn work(state: &State, now: Stamp) -> Vec<Work> {
    let rollouts = state.rollouts.keys().map(|id| Work::Rollout(*id));
    let slots = state
        .slots
        .iter()
        .filter_map(|(id, slot)| match slot.state {
            SlotState::Waiting { not_before, .. } if not_before <= now => Some(Work::Restart(*id)),
            SlotState::Starting if !in_rollout(state, *id) => Some(Work::Construct(*id)),
            _ => None,
        });
    let drains = state.sources.iter().filter_map(|(hash, source)| {
        matches!(source.state, SourceState::Draining { .. }).then_some(Work::Drain(*hash))
    });
    rollouts.chain(slots).chain(drains).collect()
}

/// When there will be more to do although nothing is applied: the next restart that is due.
#[must_use]
pub fn next_moment(state: &State, now: Stamp) -> Option<Stamp> {
    let due = state.slots.values().filter_map(|slot| match slot.state {
        SlotState::Waiting { not_before, .. } if not_before > now => Some(not_before),
        _ => None,
    });
    due.min()
}

fn in_rollout(state: &State, slot: SlotId) -> bool {
    state.rollouts.values().any(|rollout| {
        rollout.step == RolloutStep::Construct && rollout.constructed.contains(&slot)
    })
}
