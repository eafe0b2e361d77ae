//! Carries one rollout from the step it is in to its end.
//!
//! Construct → (all stand) Hold → (old actors flushed) Switch → (OnLoad sent) Finish.
//! A failure in Construct discards what was constructed and leaves everything as it was; one in
//! Hold reverts. Each arrow is a committed command; what is between two of them may be repeated.
//! An actor whose member is lost while it is constructed is constructed on another; one that is
//! on each member is left out.

use std::collections::BTreeSet;

use convention::why_nowhere;
use protocol::control::ActorFailure;
use protocol::definition::ActorDefinition;
use protocol::registry::{Command, Rollout, RolloutStep, Slot, SlotState};
use protocol::{ActorId, NodeId, RolloutId, SlotId};
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
        if let Some(reason) = self.bring_up(id).await? {
            if !self.is_at(id, RolloutStep::Construct) {
                return Ok(());
            }
            self.discard_all(&rollout.constructed).await;
            return self.abort(id, reason).await;
        }
        let stamp = self.fleet.stamp();
        let hold = Command::Hold { rollout: id, stamp };
        self.replica.propose(hold).await.map(|_| ())
    }

    /// Whether the rollout is still in this step; what is found of another says nothing of it.
    fn is_at(&self, id: RolloutId, step: RolloutStep) -> bool {
        let at = |rollout: &Rollout| rollout.step == step;
        self.replica
            .read(|state| state.rollouts.get(&id).is_some_and(at))
    }

    /// Constructs until every actor of the new version stands; gives the reason if one cannot.
    async fn bring_up(&self, id: RolloutId) -> Result<Option<String>, ProposeFailure> {
        let mut built = BTreeSet::new();
        loop {
            // Read anew: members come and go meanwhile.
            let Some(rollout) = self.replica.read(|state| state.rollouts.get(&id).cloned()) else {
                return Ok(None);
            };
            if let Some(reason) = self.place_waiting(&rollout).await? {
                return Ok(Some(reason));
            }
            let orders = self.replica.read(|state| {
                let slots = rollout.constructed.iter();
                let orders = slots.filter_map(|slot| Construct::of(state, *slot));
                orders
                    .filter(|order| !built.contains(&order.actor))
                    .collect::<Vec<_>>()
            });
            if orders.is_empty() {
                if self.places_wanted(&rollout).is_empty() {
                    return Ok(self.lost(id, &SlotState::Starting));
                }
                continue;
            }
            if let Err(reason) = self.construct_orders(id, orders, &mut built).await {
                return Ok(Some(reason));
            }
        }
    }

    /// Slots of a rollout whose member was lost or started anew.
    fn places_wanted(&self, rollout: &Rollout) -> Vec<(SlotId, Slot)> {
        self.replica.read(|state| {
            let constructed = rollout.constructed.iter();
            let slots = constructed.filter_map(|id| Some((*id, state.slots.get(id)?)));
            let waiting = slots.filter(|(_, s)| matches!(s.state, SlotState::Waiting { .. }));
            waiting.map(|(id, slot)| (id, slot.clone())).collect()
        })
    }

    async fn place_waiting(&self, rollout: &Rollout) -> Result<Option<String>, ProposeFailure> {
        for (id, slot) in self.places_wanted(rollout) {
            let Some(node) = self.place_for(&slot).await else {
                let reason = self.replica.read(|state| why_nowhere(state, &slot));
                return Ok(Some(reason));
            };
            self.start(id, node).await?;
        }
        Ok(None)
    }

    /// `Err` when a constructor failed, and not because its member was lost.
    async fn construct_orders(
        &self,
        id: RolloutId,
        orders: Vec<Construct>,
        built: &mut BTreeSet<ActorId>,
    ) -> Result<(), String> {
        let mut tasks = JoinSet::new();
        for order in orders {
            let fleet = std::sync::Arc::clone(&self.fleet);
            tasks.spawn(async move {
                let stands = fleet.construct(&order).await;
                (order, stands)
            });
        }
        let mut first = Ok(());
        while let Some(joined) = tasks.join_next().await {
            match joined {
                Ok((order, Ok(()))) => {
                    built.insert(order.actor);
                }
                Ok((order, Err(failure))) if first.is_ok() && self.is_its_own(id, &order) => {
                    first = Err(format!("`{}`: {}", order.class, reason_of(&failure)));
                }
                _ => {}
            }
        }
        first
    }

    /// Whether a failed construction still counts: its slot was not given to another since.
    fn is_its_own(&self, id: RolloutId, order: &Construct) -> bool {
        self.replica.read(|state| {
            let rollout = state.rollouts.get(&id);
            let slot = state.slots.get(&order.slot);
            let same = |slot: &Slot| {
                slot.actor == order.actor && !matches!(slot.state, SlotState::Waiting { .. })
            };
            rollout.is_some_and(|rollout| rollout.constructed.contains(&order.slot))
                && slot.is_some_and(same)
        })
    }

    async fn deactivate_all(&self, id: RolloutId, rollout: &Rollout) -> Result<(), ProposeFailure> {
        let index = *self.replica.applied().borrow();
        let mut confirmed = false;
        if rollout.now {
            // No limit cuts this one short: what it left out would reach both versions.
            self.fleet.applied(index).await;
        }
        let deactivating = async {
            if !rollout.now {
                self.fleet.applied(index).await;
            }
            confirmed = true;
            self.deactivate_each(id, rollout).await
        };
        let lost = match tokio::time::timeout(self.hold_limit, deactivating).await {
            Ok(Ok(())) => self.lost(id, &SlotState::Standing),
            // "At once": whatever became of the old version's actors.
            _ if rollout.now => None,
            Ok(Err(reason)) => Some(reason),
            Err(_elapsed) if !confirmed => Some(format!(
                "not every member confirmed within {:?} that it holds the group's messages",
                self.hold_limit
            )),
            Err(_elapsed) => Some(format!(
                "the old version did not finish its work within {:?} of the hold",
                self.hold_limit
            )),
        };
        let stamp = self.fleet.stamp();
        match lost {
            Some(_) if !self.is_at(id, RolloutStep::Hold) => {}
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
        for (slot_id, slot, literal) in self.messages(&rollout.deactivated, StepName::OnDeactivate)
        {
            let key = key(id, StepName::OnDeactivate, &slot);
            let sent = self.fleet.deliver(slot.node, key, &literal).await;
            let (fleet, now) = (std::sync::Arc::clone(&self.fleet), rollout.now);
            flushes.spawn(async move {
                let flushed = match sent {
                    Ok(()) if now => Ok(()),
                    Ok(()) => fleet.flush(slot.node, slot.actor).await,
                    Err(lost) => Err(lost),
                };
                flushed.map_err(|_lost| (slot_id, slot.class))
            });
        }
        while let Some(flushed) = flushes.join_next().await {
            if let Ok(Err((slot, class))) = flushed
                && self.still_counts(id, slot)
            {
                return Err(format!(
                    "an actor of the old version (`{class}`) ended in the hold"
                ));
            }
        }
        Ok(())
    }

    /// Whether a rollout still waits for this actor of the old version: not for one of several
    /// whose member was lost.
    fn still_counts(&self, id: RolloutId, slot: SlotId) -> bool {
        let rollout = |rollout: &Rollout| rollout.deactivated.contains(&slot);
        self.replica
            .read(|state| state.rollouts.get(&id).is_some_and(rollout))
    }

    /// An actor of the new version that is not as far as all are to be, in words.
    fn lost(&self, id: RolloutId, wanted: &SlotState) -> Option<String> {
        self.replica.read(|state| {
            let rollout = state.rollouts.get(&id)?;
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
        for (_, slot, literal) in self.messages(slots, step) {
            let key = key(id, step, &slot);
            if let Err(lost) = self.fleet.deliver(slot.node, key, &literal).await {
                tracing::info!(rollout = id.0, ?step, %lost, "not delivered");
            }
        }
    }

    /// The running slots that have such a message, with it.
    fn messages(&self, slots: &BTreeSet<SlotId>, step: StepName) -> Vec<(SlotId, Slot, String)> {
        self.replica.read(|state| {
            let slots = slots.iter();
            let slots = slots.filter_map(|id| Some((*id, state.slots.get(id)?)));
            let running = slots.filter(|(_, slot)| slot.state == SlotState::Running);
            let with_message = running.filter_map(|(id, slot)| {
                let definition = state.sources.get(&slot.source)?.actor(slot)?;
                Some((id, slot.clone(), message(definition, step).clone()?))
            });
            with_message.collect()
        })
    }

    async fn discard_all(&self, slots: &BTreeSet<SlotId>) {
        let actors = self.replica.read(|state| {
            let slots = slots.iter().filter_map(|id| state.slots.get(id));
            slots
                .filter(|slot| slot.node != NodeId::NONE)
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
