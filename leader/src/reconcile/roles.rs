//! What an operator does to the actor of a role: stop, restart, resume.
//!
//! Messages to a stopped role become dead letters that say so; to one that restarts they wait.

use convention::registry::RESUMED;
use protocol::control::RoleAction;
use protocol::registry::{Command, Slot, SlotState};
use protocol::{NodeId, SlotId, Stamp};

use super::director::{Director, OrderError};
use super::fleet::Fleet;
use super::replica::Replica;

/// Something to be done to the actors of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleOrder {
    /// The slot that plays it.
    pub slot: SlotId,
    /// What.
    pub action: RoleAction,
}

/// Milliseconds after which an actor that is being restarted starts in any case.
const REST_LIMIT_MS: u64 = 60_000;

impl<R: Replica, F: Fleet> Director<R, F> {
    /// Stops, restarts or resumes a slot's actor.
    ///
    /// # Errors
    /// [`OrderError`]; `Failed` when it does not stand again.
    pub async fn operate(&self, order: RoleOrder) -> Result<(), OrderError> {
        self.leading()?;
        let id = order.slot;
        match order.action {
            RoleAction::Stop => self.stop(id).await,
            RoleAction::Restart => {
                self.put_to_rest(id).await?;
                self.resume(id).await
            }
            RoleAction::Resume => self.resume(id).await,
            RoleAction::Dump => Ok(()),
        }
    }

    async fn stop(&self, slot: SlotId) -> Result<(), OrderError> {
        let (stop, stamp) = (true, self.fleet.stamp());
        let operate = Command::Operate { slot, stop, stamp };
        self.replica.propose(operate).await?;
        self.end(slot).await;
        Ok(())
    }

    /// Ends a slot's actor while messages to its role wait.
    async fn put_to_rest(&self, slot: SlotId) -> Result<(), OrderError> {
        let lives = |slot: &Slot| matches!(slot.state, SlotState::Running | SlotState::Starting);
        let actor = self.replica.read(|s| {
            s.slots
                .get(&slot)
                .filter(|slot| lives(slot))
                .map(|s| s.actor)
        });
        let Some(actor) = actor else {
            return Ok(());
        };
        // Reported as ended now, and not to start by itself before the old one can have gone:
        // should this leader be lost, it starts then.
        let stamp = Stamp(self.fleet.stamp().0 + REST_LIMIT_MS);
        let reason = "a restart was asked for".to_owned();
        let ended = Command::Ended {
            slot,
            actor,
            reason,
            stamp,
        };
        self.replica.propose(ended).await?;
        self.end(slot).await;
        Ok(())
    }

    async fn end(&self, slot: SlotId) {
        let place = self
            .replica
            .read(|s| s.slots.get(&slot).map(|slot| (slot.node, slot.actor)));
        if let Some((node, actor)) = place {
            self.fleet.end(node, actor).await;
        }
    }

    async fn resume(&self, slot: SlotId) -> Result<(), OrderError> {
        let (stop, stamp) = (false, self.fleet.stamp());
        let operate = Command::Operate { slot, stop, stamp };
        self.replica.propose(operate).await?;
        let at_rest = |slot: &Slot| {
            use SlotState::{Failed, Gone, Running, Stopped};
            matches!(slot.state, Running | Failed { .. } | Gone | Stopped) || is_nowhere(slot)
        };
        self.wait_until(|state| state.slots.get(&slot).is_none_or(at_rest))
            .await?;
        let state = self
            .replica
            .read(|s| s.slots.get(&slot).map(|slot| slot.state.clone()));
        match state {
            Some(SlotState::Failed { reason } | SlotState::Waiting { reason, .. }) => {
                Err(OrderError::Failed { reason })
            }
            Some(SlotState::Stopped) => Err(OrderError::Failed {
                reason: "it was stopped meanwhile".to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

/// Whether no member was found for a slot since it was resumed.
fn is_nowhere(slot: &Slot) -> bool {
    let looked_for = |reason: &str| reason != RESUMED;
    matches!(&slot.state, SlotState::Waiting { reason, .. } if looked_for(reason))
        && slot.node == NodeId::NONE
}
