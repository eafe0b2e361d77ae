//! What becomes of the Director actors of a member that started anew, stopped, was lost, left.
//!
//! One of its kind waits to be placed elsewhere; one that is on each member waits for its own to
//! return, and no rollout waits for it meanwhile.

use protocol::definition;
use protocol::registry::{Outcome, RolloutStep, SlotState};
use protocol::{ActorId, NodeId, SlotId, Stamp};

use super::Registry;
use super::audit::Event;
use crate::placement::{is_drained, is_each, is_open};

impl Registry {
    /// The actors of the member's run before are gone: those that are wanted start again at once.
    pub(super) fn restarted(&mut self, node: NodeId, stamp: Stamp) {
        for id in self.slots_on(node) {
            self.clear(id, "the node has started again", stamp);
        }
    }

    /// The member's actors are gone, and it takes no others for now.
    pub(super) fn vacate(&mut self, node: NodeId, reason: &str, stamp: Stamp) {
        for id in self.slots_on(node) {
            let each = |slot| is_each(&self.state, slot);
            if self.state.slots.get(&id).is_some_and(each) {
                self.leave_rollouts(id);
            }
            self.clear(id, reason, stamp);
        }
    }

    /// A member is gone for good: no slot names it any more.
    pub(super) fn forget_places(&mut self, node: NodeId) {
        for id in self.slots_on(node) {
            let Some(slot) = self.state.slots.get_mut(&id) else {
                continue;
            };
            slot.node = NodeId::NONE;
            slot.actor = ActorId::NONE;
            let each = |slot| is_each(&self.state, slot);
            if self.state.slots.get(&id).is_some_and(each) {
                self.state.slots.remove(&id);
            }
        }
    }

    fn clear(&mut self, id: SlotId, reason: &str, stamp: Stamp) {
        let wanted = self.wanted(id);
        let Some(slot) = self.state.slots.get_mut(&id) else {
            return;
        };
        let ends = matches!(
            slot.state,
            SlotState::Starting
                | SlotState::Standing
                | SlotState::Running
                | SlotState::Waiting { .. }
        );
        if ends {
            slot.state = if wanted {
                SlotState::Waiting {
                    not_before: stamp,
                    reason: reason.to_owned(),
                }
            } else {
                SlotState::Gone
            };
            slot.started = None;
            slot.recent.clear();
        }
    }

    /// Rollouts go on without this slot.
    fn leave_rollouts(&mut self, id: SlotId) {
        for rollout in self.state.rollouts.values_mut() {
            rollout.constructed.remove(&id);
            rollout.reactivated.remove(&id);
            rollout.deactivated.remove(&id);
        }
    }

    /// Whether an actor of this slot is to run: its source is active, or a rollout constructs it.
    pub(super) fn wanted(&self, id: SlotId) -> bool {
        let Some(slot) = self.state.slots.get(&id) else {
            return false;
        };
        self.active(&slot.group) == Some(slot.source) || self.under_construction(id)
    }

    pub(super) fn under_construction(&self, id: SlotId) -> bool {
        self.state.rollouts.values().any(|rollout| {
            rollout.step == RolloutStep::Construct && rollout.constructed.contains(&id)
        })
    }

    fn slots_on(&self, node: NodeId) -> Vec<SlotId> {
        let slots = self.state.slots.iter();
        let here = slots.filter(|(_, slot)| slot.node == node);
        here.map(|(id, _)| *id).collect()
    }

    /// An actor has to leave its drained member, or no member was found for it.
    pub(super) fn displace(
        &mut self,
        id: SlotId,
        actor: ActorId,
        reason: &str,
        stamp: Stamp,
    ) -> Outcome {
        let slot = self.state.slots.get(&id).filter(|slot| slot.actor == actor);
        let Some(slot) = slot.cloned() else {
            return Outcome::Stale;
        };
        let each = is_each(&self.state, &slot);
        let drained = is_drained(&self.state, slot.node);
        match slot.state {
            // Not in a rollout: that waits for its actors, and the move for its end.
            SlotState::Running if drained && self.wanted(id) && self.free(&slot.group).is_ok() => {
                self.clear(id, reason, stamp);
            }
            SlotState::Waiting { .. } if each && drained => {
                self.leave_rollouts(id);
                self.state.slots.remove(&id);
            }
            SlotState::Waiting {
                not_before,
                reason: known,
            } => {
                let leaves = !each && slot.node != NodeId::NONE && !is_open(&self.state, slot.node);
                if known == reason && !leaves {
                    return Outcome::Stale;
                }
                if let Some(slot) = self.state.slots.get_mut(&id) {
                    let reason = reason.to_owned();
                    slot.state = SlotState::Waiting { not_before, reason };
                    if leaves {
                        (slot.node, slot.actor) = (NodeId::NONE, ActorId::NONE);
                    }
                }
                self.audit_actor(id, stamp, "actor not placed", reason);
            }
            _ => return Outcome::Stale,
        }
        Outcome::Done
    }

    /// An actor that belongs on each member gets a slot on one more.
    pub(super) fn extend(
        &mut self,
        hash: protocol::SourceHash,
        placement: &protocol::registry::Placement,
    ) -> Outcome {
        let Some(source) = self.state.sources.get(&hash) else {
            return Outcome::Stale;
        };
        let group = source.group.clone();
        let actor = source.definition.actors.get(placement.position as usize);
        let each = actor.is_some_and(|actor| actor.placement == definition::Placement::Each);
        let known = self.state.slots.values().any(|slot| {
            slot.source == hash
                && slot.position == placement.position
                && slot.node == placement.node
        });
        let fits = each && !known && is_open(&self.state, placement.node);
        if !fits || self.active(&group) != Some(hash) || self.free(&group).is_err() {
            return Outcome::Stale;
        }
        let id = self.next_slot();
        let slot = super::load::starting(hash, &group, placement);
        self.state.slots.insert(id, slot);
        Outcome::Done
    }

    /// An event about a Director actor: its group, class and member.
    pub(super) fn audit_actor(&mut self, id: SlotId, stamp: Stamp, what: &str, why: &str) {
        let Some(slot) = self.state.slots.get(&id) else {
            return;
        };
        let subject = slot.group.clone();
        let detail = format!("`{}`: {why}", slot.class);
        let event = Event {
            what,
            subject: &subject,
            by: "",
            detail: &detail,
        };
        self.audit(stamp, &event);
    }
}
