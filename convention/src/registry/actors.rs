//! Director actors: they start, stand, run, end, and start again under a new address.
//!
//! Every command names the incarnation it is about; one about an older incarnation is stale and
//! changes nothing, so that a late report never ends a newer actor.

use protocol::registry::{Outcome, Replacement, SlotState};
use protocol::{ActorId, SlotId, Stamp};

use super::Registry;
use crate::placement::{is_each, is_open};
use crate::restart::{Restart, after_end};

/// Why a slot waits that an operator lets start again.
pub const RESUMED: &str = "resumed";

impl Registry {
    pub(super) fn start(&mut self, replacement: &Replacement, stamp: Stamp) -> Outcome {
        let node = replacement.node;
        let Some(slot) = self.state.slots.get(&replacement.slot) else {
            return Outcome::Stale;
        };
        let waits =
            matches!(slot.state, SlotState::Waiting { .. }) && self.wanted(replacement.slot);
        let away = is_each(&self.state, slot) && slot.node != node;
        if !waits || away || !is_open(&self.state, node) {
            return Outcome::Stale;
        }
        let Some(slot) = self.state.slots.get_mut(&replacement.slot) else {
            return Outcome::Stale;
        };
        let moved = slot.node != node;
        slot.actor = replacement.actor;
        slot.node = node;
        slot.state = SlotState::Starting;
        // Counted here, so that one whose constructor fails is slowed down as well.
        slot.recent.push(stamp);
        if moved {
            let name = self.member_name(node);
            self.audit_actor(replacement.slot, stamp, "actor placed", &name);
        }
        Outcome::Done
    }

    pub(super) fn started(&mut self, id: SlotId, actor: ActorId, stamp: Stamp) -> Outcome {
        let Some(slot) = self
            .state
            .slots
            .get_mut(&id)
            .filter(|slot| slot.actor == actor)
        else {
            return Outcome::Stale;
        };
        if slot.state != SlotState::Starting {
            return Outcome::Stale;
        }
        slot.state = SlotState::Running;
        slot.started = Some(stamp);
        slot.restarts += 1;
        Outcome::Done
    }

    pub(super) fn ended(
        &mut self,
        id: SlotId,
        actor: ActorId,
        reason: &str,
        stamp: Stamp,
    ) -> Outcome {
        let wanted = self.wanted(id) && !self.under_construction(id);
        let Some(slot) = self
            .state
            .slots
            .get_mut(&id)
            .filter(|slot| slot.actor == actor)
        else {
            return Outcome::Stale;
        };
        let lives = matches!(
            slot.state,
            SlotState::Starting | SlotState::Standing | SlotState::Running
        );
        if !lives {
            return Outcome::Stale;
        }
        slot.started = None;
        slot.state = if wanted {
            match after_end(&mut slot.recent, stamp) {
                Restart::NotBefore(not_before) => SlotState::Waiting {
                    not_before,
                    reason: reason.to_owned(),
                },
                Restart::Never { starts } => SlotState::Failed {
                    reason: format!("{starts} starts within a minute; the last end: {reason}"),
                },
            }
        } else {
            SlotState::Gone
        };
        if matches!(slot.state, SlotState::Failed { .. }) {
            self.audit_actor(id, stamp, "actor failed", reason);
        }
        Outcome::Done
    }

    pub(super) fn operate(&mut self, id: SlotId, stop: bool, stamp: Stamp) -> Outcome {
        let wanted = self.wanted(id);
        let Some(slot) = self.state.slots.get_mut(&id) else {
            return Outcome::Stale;
        };
        let at_rest = matches!(
            slot.state,
            SlotState::Stopped | SlotState::Failed { .. } | SlotState::Waiting { .. }
        );
        if stop {
            slot.state = SlotState::Stopped;
            slot.started = None;
            Outcome::Done
        } else if at_rest {
            let reason = RESUMED.to_owned();
            // In a version that is not active it starts when that is active again.
            slot.state = if wanted {
                SlotState::Waiting {
                    not_before: stamp,
                    reason,
                }
            } else {
                SlotState::Gone
            };
            slot.recent.clear();
            Outcome::Done
        } else {
            Outcome::Stale
        }
    }
}
