//! What a leader has to do next, read off the registry.
//!
//! The reconciler asks after each applied command and at each moment that [`next_moment`] names;
//! a new leader asks the same question and goes on where the old one stopped.
//! Nothing is named here that cannot help: an actor waits until a member is there that may take it.

use protocol::definition;
use protocol::registry::{RolloutStep, Slot, SlotState, Source, SourceState, State};
use protocol::{ActorId, RolloutId, SlotId, SourceHash, Stamp};

use crate::restart::BACK_OFF_MAX_MS;

use crate::placement::{is_drained, is_each, is_open, open_members, places};

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Carry a rollout on from its step.
    Rollout(RolloutId),
    /// Give a Director actor that waits a new address, and a member that can run it.
    Restart(SlotId),
    /// Construct a Director actor outside of a rollout, and send its OnLoad.
    Construct(SlotId),
    /// Move a Director actor away from a member that is drained.
    Evict(SlotId),
    /// Give the actor at this position of an active source a slot on each candidate without one.
    Extend(SourceHash, u32),
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
        .filter_map(|(id, slot)| of_slot(state, *id, slot, now));
    let extensions = state
        .groups
        .values()
        .filter_map(|group| group.active)
        .filter_map(|hash| Some((hash, state.sources.get(&hash)?)))
        .flat_map(|(hash, source)| extensions(state, hash, source));
    let drains = state.sources.iter().filter_map(|(hash, source)| {
        matches!(source.state, SourceState::Draining { .. }).then_some(Work::Drain(*hash))
    });
    rollouts
        .chain(slots)
        .chain(extensions)
        .chain(drains)
        .collect()
}

/// When there will be more to do although nothing is applied: the next restart that is due.
#[must_use]
pub fn next_moment(state: &State, now: Stamp) -> Option<Stamp> {
    let due = state.slots.values().filter_map(|slot| match slot.state {
        SlotState::Waiting { not_before, .. } if not_before > now && may_start(state, slot) => {
            is_ahead(not_before, now).then_some(not_before)
        }
        _ => None,
    });
    due.min()
}

fn of_slot(state: &State, id: SlotId, slot: &Slot, now: Stamp) -> Option<Work> {
    match slot.state {
        SlotState::Waiting { not_before, .. } => {
            let is_due = !is_ahead(not_before, now);
            (is_due && may_start(state, slot)).then_some(Work::Restart(id))
        }
        SlotState::Starting => starts_alone(state, slot).then_some(Work::Construct(id)),
        SlotState::Running => {
            let moves = is_drained(state, slot.node) && step_of(state, slot).is_none();
            moves.then_some(Work::Evict(id))
        }
        _ => None,
    }
}

/// Whether a stamp is still to come. One that lies further ahead than any delay was made by a
/// leader whose clock was ahead: nothing waits for that.
fn is_ahead(not_before: Stamp, now: Stamp) -> bool {
    not_before > now && not_before.0 - now.0 <= BACK_OFF_MAX_MS
}

/// Whether an actor that waits can be given a member, or has to leave the one it is on.
fn may_start(state: &State, slot: &Slot) -> bool {
    if !starts_alone(state, slot) {
        return false;
    }
    let must_leave = is_drained(state, slot.node) && slot.actor != ActorId::NONE;
    let has_place = if is_each(state, slot) {
        is_open(state, slot.node)
    } else {
        open_members(state).next().is_some()
    };
    has_place || must_leave
}

/// Whether a slot's actor starts outside of a rollout: its source is active, and no hold waits
/// for the actors of that source to be done.
fn starts_alone(state: &State, slot: &Slot) -> bool {
    let active = state.groups.get(&slot.group).and_then(|group| group.active);
    active == Some(slot.source) && step_of(state, slot) != Some(RolloutStep::Hold)
}

fn step_of(state: &State, slot: &Slot) -> Option<RolloutStep> {
    let mut rollouts = state.rollouts.values();
    rollouts
        .find(|rollout| rollout.group == slot.group)
        .map(|rollout| rollout.step)
}

/// Positions of an active source that belong on each member, while one has none.
fn extensions<'a>(
    state: &'a State,
    hash: SourceHash,
    source: &'a Source,
) -> impl Iterator<Item = Work> + 'a {
    let mut rollouts = state.rollouts.values();
    let busy = rollouts.any(|rollout| rollout.group == source.group);
    let actors = source.definition.actors.iter().zip(0..);
    let each =
        actors.filter(move |(actor, _)| !busy && actor.placement == definition::Placement::Each);
    let lacking = each.filter(move |(_, position)| {
        let there = places(state, hash, *position);
        open_members(state).any(|node| !there.contains(&node))
    });
    lacking.map(move |(_, position)| Work::Extend(hash, position))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_waits_for_a_clock_that_was_an_hour_ahead() {
        let now = Stamp(1_000_000);
        assert!(!is_ahead(now, now));
        assert!(is_ahead(Stamp(now.0 + BACK_OFF_MAX_MS), now));
        assert!(!is_ahead(Stamp(now.0 + 3_600_000), now));
    }
}
