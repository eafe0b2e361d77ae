//! What an operator does to the actor of a role: stop, restart, resume.
//!
//! Messages to a stopped role become dead letters that say so; to one that restarts they wait.
//! Each step is in the log under the order's id: whoever leads next goes on where it was left, and
//! no actor is ended or started twice for one order.

use convention::registry::RESUMED;
use protocol::control::RoleAction;
use protocol::registry::{Change, Command, Outcome, Slot, SlotState};
use protocol::{NodeId, RequestId, SlotId, Stamp};

use super::director::{Director, OrderError};
use super::fleet::Fleet;
use super::replica::Replica;

/// Something to be done to the actors of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleOrder {
    /// Idempotency id.
    pub request: RequestId,
    /// The slot that plays it.
    pub slot: SlotId,
    /// What.
    pub action: RoleAction,
}

/// Number of the step of a restart that ends the old actor; its last step has the order's own id.
const REST: u8 = 1;

/// Milliseconds after which an actor that is being restarted starts in any case.
const REST_LIMIT_MS: u64 = 60_000;

impl<R: Replica, F: Fleet> Director<R, F> {
    /// Stops, restarts or resumes a slot's actor. The same request again goes on where the first
    /// one was left, and is answered as it.
    ///
    /// # Errors
    /// [`OrderError`]; `Failed` when it does not stand again.
    pub async fn operate(&self, order: RoleOrder) -> Result<(), OrderError> {
        self.leading()?;
        match order.action {
            RoleAction::Stop => self.stop(order).await,
            RoleAction::Restart => {
                // Once it was resumed, what plays the role is what the restart has started.
                if self.recorded(order.request).is_none() {
                    self.put_to_rest(order).await?;
                }
                self.resume(order).await
            }
            RoleAction::Resume => self.resume(order).await,
            RoleAction::Dump => Ok(()),
        }
    }

    async fn stop(&self, order: RoleOrder) -> Result<(), OrderError> {
        let (slot, stop) = (order.slot, true);
        let change = Change::Operate { slot, stop };
        self.ordered(order.request, change).await?;
        // Another order may have started it again since the first time.
        self.end_if(slot, |state| *state == SlotState::Stopped)
            .await;
        Ok(())
    }

    /// Ends a slot's actor while messages to its role wait.
    async fn put_to_rest(&self, order: RoleOrder) -> Result<(), OrderError> {
        let (slot, request) = (order.slot, order.request.step(REST));
        let lives = |slot: &Slot| matches!(slot.state, SlotState::Running | SlotState::Starting);
        let actor = self.replica.read(|s| {
            let slot = s.slots.get(&slot).filter(|slot| lives(slot));
            slot.map(|slot| slot.actor)
        });
        if self.recorded(request).is_none() {
            let Some(actor) = actor else {
                return Ok(());
            };
            // Reported as ended now, and not to start by itself before the old one can have gone:
            // should this leader be lost, it starts then.
            let until = Stamp(self.fleet.stamp().0 + REST_LIMIT_MS);
            let change = Change::Rest { slot, actor, until };
            self.ordered(request, change).await?;
        }
        // A leader before may have been lost before it told the actor.
        self.end_if(slot, |state| matches!(state, SlotState::Waiting { .. }))
            .await;
        Ok(())
    }

    /// Proposes a step, which is done once for its id.
    async fn ordered(&self, request: RequestId, change: Change) -> Result<(), OrderError> {
        let command = Command::Ordered {
            request,
            told: Vec::new(),
            change,
            stamp: self.fleet.stamp(),
        };
        match self.replica.propose(command).await?.1 {
            Outcome::Refused(refusal) => Err(refusal.into()),
            _ => Ok(()),
        }
    }

    /// Ends the last actor of a slot that stands so.
    async fn end_if(&self, slot: SlotId, so: impl Fn(&SlotState) -> bool) {
        let place = self.replica.read(|s| {
            let slot = s.slots.get(&slot).filter(|slot| so(&slot.state));
            slot.map(|slot| (slot.node, slot.actor))
        });
        if let Some((node, actor)) = place {
            self.fleet.end(node, actor).await;
        }
    }

    async fn resume(&self, order: RoleOrder) -> Result<(), OrderError> {
        let (slot, stop) = (order.slot, false);
        let change = Change::Operate { slot, stop };
        self.ordered(order.request, change).await?;
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
