//! The steps of a rollout: construct, hold, switch, finish; or abort and revert.
//!
//! A group has at most one. Until `Switch` nothing that a user can see has changed; at `Switch`
//! the new source is active for the whole convention, at one log index.
//! Not here: what nodes do in each step (`leader::rollout`).

use std::collections::BTreeSet;

use protocol::registry::{
    Outcome, Refusal, Replacement, Rollout, RolloutKind, RolloutStep, SlotState, SourceState,
};
use protocol::{RolloutId, SlotId, SourceHash, Stamp};

use super::Registry;
use super::sources::{drained_after_switch, next_active};
use crate::placement::{is_each, is_open};

/// Who began a rollout, when and how.
pub(super) struct Origin<'a> {
    pub(super) by: &'a str,
    pub(super) stamp: Stamp,
    pub(super) now: bool,
}

impl Registry {
    pub(super) fn leave(
        &mut self,
        group: &str,
        from: SourceHash,
        kind: RolloutKind,
        replacements: &[Replacement],
        origin: &Origin<'_>,
    ) -> Outcome {
        if let Err(refusal) = self.free(group) {
            return Outcome::Refused(refusal);
        }
        if self.active(group) != Some(from) {
            return Outcome::Refused(Refusal::UnknownSource { hash: from });
        }
        let to = next_active(&self.state, group, from);
        if to.is_none() && kind == RolloutKind::Rollback {
            return Outcome::Refused(Refusal::NoOtherVersion {
                group: group.to_owned(),
            });
        }
        let constructed = self.replace(replacements, to);
        let living = self.living_slots(to);
        let rollout = Rollout {
            group: group.to_owned(),
            kind,
            from: Some(from),
            to,
            step: RolloutStep::Construct,
            reactivated: living.difference(&constructed).copied().collect(),
            constructed,
            deactivated: self.living_slots(Some(from)),
            by: origin.by.to_owned(),
            now: origin.now,
            since: origin.stamp,
        };
        let id = self.next_rollout();
        self.state.rollouts.insert(id, rollout);
        Outcome::Began { rollout: id }
    }

    /// Gives new addresses to slots of `source` whose actors are gone.
    fn replace(
        &mut self,
        replacements: &[Replacement],
        source: Option<SourceHash>,
    ) -> BTreeSet<SlotId> {
        let mut replaced = BTreeSet::new();
        for replacement in replacements {
            let open = is_open(&self.state, replacement.node);
            let known = self.state.slots.get(&replacement.slot);
            let each = known.is_some_and(|slot| is_each(&self.state, slot));
            let Some(slot) = self.state.slots.get_mut(&replacement.slot) else {
                continue;
            };
            let lives = matches!(slot.state, SlotState::Running | SlotState::Standing);
            let stays = !open || (each && slot.node != replacement.node);
            if Some(slot.source) == source && !lives && !stays && slot.state != SlotState::Stopped {
                slot.actor = replacement.actor;
                slot.node = replacement.node;
                slot.state = SlotState::Starting;
                slot.started = None;
                replaced.insert(replacement.slot);
            }
        }
        replaced
    }

    pub(super) fn hold(&mut self, id: RolloutId, stamp: Stamp) -> Outcome {
        let rollouts = &self.state.rollouts;
        let Some(from) = rollouts.get(&id).map(|rollout| rollout.from) else {
            return Outcome::Refused(Refusal::WrongStep { rollout: id });
        };
        let living = self.living_slots(from);
        let Some(rollout) = self.at_step(id, RolloutStep::Construct) else {
            return Outcome::Refused(Refusal::WrongStep { rollout: id });
        };
        rollout.step = RolloutStep::Hold;
        // Those that have started since the rollout began are told as well.
        rollout.deactivated = living;
        let constructed = rollout.constructed.clone();
        self.put_off(from, stamp);
        for slot in constructed {
            // One that has ended meanwhile stays so; the hold reverts for it.
            if let Some(slot) = self.state.slots.get_mut(&slot)
                && slot.state == SlotState::Starting
            {
                slot.state = SlotState::Standing;
            }
        }
        Outcome::Done
    }

    /// What is being constructed in the version that is left waits for the end of the hold.
    fn put_off(&mut self, from: Option<SourceHash>, stamp: Stamp) {
        for slot in self.state.slots.values_mut() {
            if Some(slot.source) == from && slot.state == SlotState::Starting {
                let reason = "its version is about to be left".to_owned();
                slot.state = SlotState::Waiting {
                    not_before: stamp,
                    reason,
                };
            }
        }
    }

    pub(super) fn switch(&mut self, id: RolloutId, stamp: Stamp) -> Outcome {
        let Some(rollout) = self.at_step(id, RolloutStep::Hold) else {
            return Outcome::Refused(Refusal::WrongStep { rollout: id });
        };
        rollout.step = RolloutStep::Switched;
        let rollout = rollout.clone();
        for slot in &rollout.constructed {
            if let Some(slot) = self.state.slots.get_mut(slot) {
                slot.restarts = 0;
                if slot.state == SlotState::Standing {
                    slot.state = SlotState::Running;
                    slot.started = Some(stamp);
                    slot.recent = vec![stamp];
                } else {
                    let reason = "it ended before its version was active".to_owned();
                    slot.state = SlotState::Waiting {
                        not_before: stamp,
                        reason,
                    };
                }
            }
        }
        self.settle_others(&rollout, stamp);
        if let Some(source) = rollout.to.and_then(|to| self.state.sources.get_mut(&to)) {
            source.state = SourceState::Loaded;
        }
        let group = self.group_mut(&rollout.group);
        group.active = rollout.to;
        if let Some(to) = rollout.to {
            group.reverted.remove(&to);
        }
        if rollout.kind == RolloutKind::Rollback {
            group.withdrawn.extend(rollout.from);
        }
        if let Some(from) = rollout
            .from
            .filter(|_| rollout.kind == RolloutKind::Rollback)
        {
            self.record(from, stamp, "withdrawn", &rollout.by, "");
        }
        if let Some(to) = rollout.to {
            self.record(to, stamp, "active", &rollout.by, "");
        }
        Outcome::Done
    }

    /// An actor that ended between the rollout's beginning and its switch starts again in the
    /// version that becomes active, and no more in the one that is left.
    fn settle_others(&mut self, rollout: &Rollout, stamp: Stamp) {
        for slot in self.state.slots.values_mut() {
            let state = &slot.state;
            if Some(slot.source) == rollout.to && *state == SlotState::Gone {
                let reason = "it ended before its version was active again".to_owned();
                slot.state = SlotState::Waiting {
                    not_before: stamp,
                    reason,
                };
            } else if Some(slot.source) == rollout.from
                && matches!(state, SlotState::Waiting { .. } | SlotState::Starting)
            {
                slot.state = SlotState::Gone;
            }
        }
    }

    pub(super) fn finish(&mut self, id: RolloutId, stamp: Stamp) -> Outcome {
        let Some(rollout) = self.state.rollouts.get(&id) else {
            return Outcome::Stale;
        };
        if !matches!(rollout.step, RolloutStep::Switched | RolloutStep::Reverting) {
            return Outcome::Refused(Refusal::WrongStep { rollout: id });
        }
        let Some(rollout) = self.state.rollouts.remove(&id) else {
            return Outcome::Stale;
        };
        if rollout.step == RolloutStep::Switched {
            self.record_end(id, &rollout, None);
            let mut leaving = match (rollout.kind, rollout.to) {
                (RolloutKind::Load, Some(to)) => drained_after_switch(&self.state, to),
                _ => Vec::new(),
            };
            leaving.extend(rollout.from.filter(|_| rollout.kind == RolloutKind::Unload));
            for hash in leaving {
                self.begin_draining(hash, rollout.now, stamp, &rollout.by);
            }
        }
        Outcome::Done
    }

    pub(super) fn abort(&mut self, id: RolloutId, reason: &str, stamp: Stamp) -> Outcome {
        let Some(rollout) = self.state.rollouts.get(&id).cloned() else {
            return Outcome::Stale;
        };
        let what = match rollout.step {
            RolloutStep::Construct => "refused",
            RolloutStep::Hold => "reverted",
            RolloutStep::Switched | RolloutStep::Reverting => {
                return Outcome::Refused(Refusal::WrongStep { rollout: id });
            }
        };
        if let Some(hash) = rollout.to.or(rollout.from) {
            self.record(hash, stamp, what, &rollout.by, reason);
        }
        self.record_end(id, &rollout, Some(reason));
        for (slot_id, slot) in &mut self.state.slots {
            let unplaced =
                Some(slot.source) == rollout.to && matches!(slot.state, SlotState::Waiting { .. });
            if unplaced || rollout.constructed.contains(slot_id) {
                slot.state = SlotState::Gone;
            }
        }
        if rollout.step == RolloutStep::Construct {
            self.state.rollouts.remove(&id);
            self.discard_if_new(rollout.to);
            return Outcome::Done;
        }
        if let Some(source) = rollout.to.and_then(|to| self.state.sources.get_mut(&to)) {
            source.state = SourceState::Loaded;
        }
        if let Some(kept) = self.state.rollouts.get_mut(&id) {
            kept.step = RolloutStep::Reverting;
        }
        if rollout.kind == RolloutKind::Load {
            let group = self.group_mut(&rollout.group);
            group.reverted.extend(rollout.to);
        }
        Outcome::Done
    }

    /// A source that never became active is forgotten when its construction fails.
    fn discard_if_new(&mut self, hash: Option<SourceHash>) {
        let Some(hash) = hash else { return };
        let loading = self
            .state
            .sources
            .get(&hash)
            .is_some_and(|s| s.state == SourceState::Loading);
        if loading {
            self.remove_source(hash);
        }
    }

    fn at_step(&mut self, id: RolloutId, step: RolloutStep) -> Option<&mut Rollout> {
        self.state
            .rollouts
            .get_mut(&id)
            .filter(|rollout| rollout.step == step)
    }
}
