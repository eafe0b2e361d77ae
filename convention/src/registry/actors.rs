//! Director actors: they start, stand, run, end, and start again under a new address.
//!
//! Every command names the incarnation it is about; one about an older incarnation is stale and
//! changes nothing, so that a late report never ends a newer actor.

use protocol::registry::{Outcome, Replacement, RolloutStep, SlotState};
use protocol::{ActorId, NodeId, SlotId, Stamp};

use super::Registry;
use crate::restart::{Restart, after_end};

impl Registry {
    /// The actors of the node's run before are gone: those of active sources start again at once.
    pub(super) fn node_started(&mut self, node: NodeId, stamp: Stamp) -> Outcome {
        for id in self.slots_on(node) {
            let wanted = self.wanted(id);
            let Some(slot) = self.state.slots.get_mut(&id) else {
                continue;
            };
            let ended = matches!(
                slot.state,
                SlotState::Starting
                    | SlotState::Standing
                    | SlotState::Running
                    | SlotState::Waiting { .. }
            );
            if ended {
                let reason = "the node has started again".to_owned();
                slot.state = if wanted {
                    SlotState::Waiting {
                        not_before: stamp,
                        reason,
                    }
                } else {
                    SlotState::Gone
                };
                slot.started = None;
                slot.recent.clear();
            }
        }
        Outcome::Done
    }

    pub(super) fn start(&mut self, replacement: &Replacement, stamp: Stamp) -> Outcome {
        let Some(slot) = self.state.slots.get_mut(&replacement.slot) else {
            return Outcome::Stale;
        };
        if !matches!(slot.state, SlotState::Waiting { .. }) {
            return Outcome::Stale;
        }
        slot.actor = replacement.actor;
        slot.node = replacement.node;
        slot.state = SlotState::Starting;
        // Counted here, so that one whose constructor fails is slowed down as well.
        slot.recent.push(stamp);
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
        Outcome::Done
    }

    pub(super) fn operate(&mut self, id: SlotId, stop: bool, stamp: Stamp) -> Outcome {
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
            let reason = "resumed".to_owned();
            slot.state = SlotState::Waiting {
                not_before: stamp,
                reason,
            };
            slot.recent.clear();
            Outcome::Done
        } else {
            Outcome::Stale
        }
    }

    /// Whether an actor of this slot is to run: its source is active, or a rollout constructs it.
    fn wanted(&self, id: SlotId) -> bool {
        let Some(slot) = self.state.slots.get(&id) else {
            return false;
        };
        self.active(&slot.group) == Some(slot.source) || self.under_construction(id)
    }

    fn under_construction(&self, id: SlotId) -> bool {
        self.state.rollouts.values().any(|rollout| {
            rollout.step == RolloutStep::Construct && rollout.constructed.contains(&id)
        })
    }

    fn slots_on(&self, node: NodeId) -> Vec<SlotId> {
        let here = self
            .state
            .slots
            .iter()
            .filter(|(_, slot)| slot.node == node);
        here.map(|(id, _)| *id).collect()
    }
}
