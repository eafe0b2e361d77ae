//! Carries one rollout from the step it is in to its end.
//!
//! Construct → (all stand) Hold → (old actors flushed) Switch → (OnLoad sent) Finish.
//! A failure in Construct discards what was constructed and leaves everything as it was; one in
//! Hold reverts. Each arrow is a committed command; what is between two of them may be repeated.

use std::collections::BTreeSet;

use protocol::control::ActorFailure;
use protocol::definition::ActorDefinition;
use protocol::registry::{Command, Rollout, RolloutStep, Slot, SlotState};
use protocol::{RolloutId, SlotId};
use tokio::task::JoinSet;

use super::Reconciler;
use super::fleet::{Construct, Fleet, StepKey, StepName};
use super::replica::{ProposeFailure, Replica};

/// Most bytes of a failure's text that go into the log.
const REASON_BYTES_MAX: usize = 8 << 10;

impl<R: Replica, F: Fleet> Reconciler<R, F> {
    pub(super) async fn rollout(&self, id: RolloutId) -> Result<(), ProposeFailure> {
        loop {
            let Some(rollout) = self.replica.read(|state| state.rollouts.get(&id).cloned()) else {
                return Ok(());
            };
            tracing::info!(rollout = id.0, group = rollout.group, step = ?rollout.step, "rollout");
            match rollout.step {
                RolloutStep::Construct => self.construct_all(id, &rollout).await?,
                RolloutStep::Hold => self.deactivate_all(id, &rollout).await?,
                RolloutStep::Switched => self.activate_all(id, &rollout).await?,
                RolloutStep::Reverting => self.revert_all(id, &rollout).await?,
            }
        }
    }

    async fn construct_all(&self, id: RolloutId, rollout: &Rollout) -> Result<(), ProposeFailure> {
        self.starting(&rollout.constructed).await;
        let orders = self.replica.read(|state| {
            let slots = rollout.constructed.iter();
            slots
                .filter_map(|slot| Construct::of(state, *slot))
                .collect::<Vec<_>>()
        });
        let built = self.construct_orders(orders).await;
        let failed = match &built {
            Ok(()) => self.lost(rollout, &SlotState::Starting),
            Err(failure) => Some(reason_of(failure)),
        };
        if let Some(reason) = failed {
            self.discard_all(&rollout.constructed).await;
            return self.abort(id, reason).await;
        }
        let stamp = self.fleet.stamp();
        let hold = Command::Hold { rollout: id, stamp };
        self.replica.propose(hold).await.map(|_| ())
    }

    /// Waits until no slot waits for a new address any more.
    async fn starting(&self, slots: &BTreeSet<SlotId>) {
        let mut applied = self.replica.applied();
        let waiting = |state: &protocol::registry::State| {
            slots
                .iter()
                .filter_map(|id| state.slots.get(id))
                .any(|slot| matches!(slot.state, SlotState::Waiting { .. }))
        };
        while self.replica.read(waiting) {
            if applied.changed().await.is_err() {
                return;
            }
        }
    }

    async fn construct_orders(&self, orders: Vec<Construct>) -> Result<(), ActorFailure> {
        let mut tasks = JoinSet::new();
        for order in orders {
            let fleet = std::sync::Arc::clone(&self.fleet);
            tasks.spawn(async move {
                let built = fleet.construct(&order).await;
                built.map_err(|mut failure| {
                    failure.message = format!("`{}`: {}", order.class, failure.message);
                    failure
                })
            });
        }
        let mut first = Ok(());
        while let Some(joined) = tasks.join_next().await {
            if let Ok(Err(failure)) = joined
                && first.is_ok()
            {
                first = Err(failure);
            }
        }
        first
    }

    async fn deactivate_all(&self, id: RolloutId, rollout: &Rollout) -> Result<(), ProposeFailure> {
        let index = *self.replica.applied().borrow();
        self.fleet.applied(index).await;
        let deactivating = self.deactivate_each(id, rollout);
        let lost = match tokio::time::timeout(self.hold_limit, deactivating).await {
            Ok(Ok(())) => self.lost(rollout, &SlotState::Standing),
            // "At once": whatever became of the old version's actors.
            _ if rollout.now => None,
            Ok(Err(reason)) => Some(reason),
            Err(_elapsed) => Some(format!(
                "the old version did not finish its work within {:?} of the hold",
                self.hold_limit
            )),
        };
        let stamp = self.fleet.stamp();
        match lost {
            None => {
                self.replica
                    .propose(Command::Switch { rollout: id, stamp })
                    .await?;
            }
            Some(reason) => self.abort(id, reason).await?,
        }
        Ok(())
    }

    /// Sends OnDeactivate behind what was accepted before, and waits until it was handled.
    async fn deactivate_each(&self, id: RolloutId, rollout: &Rollout) -> Result<(), String> {
        let mut flushes = JoinSet::new();
        for (slot, literal) in self.messages(&rollout.deactivated, StepName::OnDeactivate) {
            let key = key(id, StepName::OnDeactivate, &slot);
            let sent = self.fleet.deliver(slot.node, key, &literal).await;
            let (fleet, now) = (std::sync::Arc::clone(&self.fleet), rollout.now);
            flushes.spawn(async move {
                let flushed = match sent {
                    Ok(()) if now => Ok(()),
                    Ok(()) => fleet.flush(slot.node, slot.actor).await,
                    Err(lost) => Err(lost),
                };
                flushed.map_err(|_lost| slot.class)
            });
        }
        while let Some(flushed) = flushes.join_next().await {
            if let Ok(Err(class)) = flushed {
                return Err(format!(
                    "an actor of the old version (`{class}`) ended in the hold"
                ));
            }
        }
        Ok(())
    }

    /// An actor of the new version that is not as far as all are to be, in words.
    fn lost(&self, rollout: &Rollout, wanted: &SlotState) -> Option<String> {
        self.replica.read(|state| {
            let constructed = rollout.constructed.iter();
            let mut slots = constructed.filter_map(|id| state.slots.get(id));
            let lost = slots.find(|slot| slot.state != *wanted)?;
            let class = &lost.class;
            Some(format!(
                "an actor of the new version (`{class}`) ended before the switch"
            ))
        })
    }

    async fn activate_all(&self, id: RolloutId, rollout: &Rollout) -> Result<(), ProposeFailure> {
        let index = *self.replica.applied().borrow();
        self.fleet.applied(index).await;
        self.send_all(id, StepName::OnLoad, &rollout.constructed)
            .await;
        self.send_all(id, StepName::OnReactivate, &rollout.reactivated)
            .await;
        let stamp = self.fleet.stamp();
        self.replica
            .propose(Command::Finish { rollout: id, stamp })
            .await?;
        Ok(())
    }

    async fn revert_all(&self, id: RolloutId, rollout: &Rollout) -> Result<(), ProposeFailure> {
        self.discard_all(&rollout.constructed).await;
        self.send_all(id, StepName::OnRevert, &rollout.deactivated)
            .await;
        let stamp = self.fleet.stamp();
        self.replica
            .propose(Command::Finish { rollout: id, stamp })
            .await?;
        Ok(())
    }

    /// Sends a step's message to each slot's living actor; one that ended gets its own OnLoad
    /// when it starts again.
    async fn send_all(&self, id: RolloutId, step: StepName, slots: &BTreeSet<SlotId>) {
        for (slot, literal) in self.messages(slots, step) {
            let key = key(id, step, &slot);
            if let Err(lost) = self.fleet.deliver(slot.node, key, &literal).await {
                tracing::info!(rollout = id.0, ?step, %lost, "not delivered");
            }
        }
    }

    /// The running slots that have such a message, with it.
    fn messages(&self, slots: &BTreeSet<SlotId>, step: StepName) -> Vec<(Slot, String)> {
        self.replica.read(|state| {
            let slots = slots.iter().filter_map(|id| state.slots.get(id));
            let running = slots.filter(|slot| slot.state == SlotState::Running);
            let with_message = running.filter_map(|slot| {
                let definition = state.sources.get(&slot.source)?.actor(slot)?;
                Some((slot.clone(), message(definition, step).clone()?))
            });
            with_message.collect()
        })
    }

    async fn discard_all(&self, slots: &BTreeSet<SlotId>) {
        let actors = self.replica.read(|state| {
            let slots = slots.iter().filter_map(|id| state.slots.get(id));
            slots
                .map(|slot| (slot.node, slot.actor))
                .collect::<Vec<_>>()
        });
        for (node, actor) in actors {
            self.fleet.discard(node, actor).await;
        }
    }

    async fn abort(&self, id: RolloutId, reason: String) -> Result<(), ProposeFailure> {
        tracing::warn!(rollout = id.0, reason, "rollout fails");
        let stamp = self.fleet.stamp();
        self.replica
            .propose(Command::Abort {
                rollout: id,
                reason,
                stamp,
            })
            .await
            .map(|_| ())
    }
}

fn message(actor: &ActorDefinition, step: StepName) -> &Option<String> {
    match step {
        StepName::OnLoad => &actor.on_load,
        StepName::OnDeactivate => &actor.on_deactivate,
        StepName::OnReactivate | StepName::OnRevert => &actor.on_reactivate,
    }
}

fn key(rollout: RolloutId, step: StepName, slot: &Slot) -> StepKey {
    StepKey {
        rollout: Some(rollout),
        step,
        actor: slot.actor,
    }
}

/// What the history and the one who waits are told: message and traceback.
fn reason_of(failure: &ActorFailure) -> String {
    let mut reason = failure.message.clone();
    if let Some(traceback) = &failure.traceback {
        reason.push('\n');
        reason.push_str(traceback);
    }
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason
}
