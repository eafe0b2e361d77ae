//! The leader's steps, carried out on this member: each once, however often it is ordered.
//!
//! A step of an older term than the newest known is refused: its leader is one no longer. What
//! names an actor is remembered, so that a late order neither starts it again after its end nor
//! after it was discarded.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use leader::RaftId;
use leader::reconcile::{Construct, Fleet, StepKey, StepName};
use protocol::control::{ActorFailure, FailureCode};
use protocol::peer::{PeerResponse, Step, StepOutcome};
use protocol::registry::State;
use protocol::wire::{Refusal, RefusalCode};
use protocol::{ActorId, NodeId, SlotId, SourceHash};

use super::packages::HoldFault;
use super::voters;
use crate::agent::fleet::LocalFleet;
use crate::agent::node::Node;

/// How long an order waits for the registry here to know what it is about.
const REGISTRY_LIMIT: Duration = Duration::from_secs(15);

/// Actors remembered.
const LEDGER_KEPT: usize = 10_000;

/// Which actors were ordered here.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    // Held for look-ups and insertions only.
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    constructed: HashSet<ActorId>,
    ended: HashSet<ActorId>,
    order: VecDeque<ActorId>,
}

impl Ledger {
    /// Whether the actor is to be constructed now: false when it was before, `None` once it was
    /// discarded.
    fn begin(&self, actor: ActorId) -> Option<bool> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.ended.contains(&actor) {
            return None;
        }
        entries.remember(actor);
        Some(entries.constructed.insert(actor))
    }

    /// The actor is to end; an order to construct it that comes later is too late.
    fn end(&self, actor: ActorId) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.remember(actor);
        entries.ended.insert(actor);
    }
}

impl Entries {
    fn remember(&mut self, actor: ActorId) {
        if self.constructed.contains(&actor) || self.ended.contains(&actor) {
            return;
        }
        self.order.push_back(actor);
        if self.order.len() > LEDGER_KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.constructed.remove(&oldest);
            self.ended.remove(&oldest);
        }
    }
}

/// Carries out a step that `from` orders as the leader of `term`.
///
/// # Errors
/// [`Refusal`]: the term is over, or this node is not up yet.
pub(crate) async fn execute(
    node: &Arc<Node>,
    from: NodeId,
    term: u64,
    step: Step,
) -> Result<PeerResponse, Refusal> {
    if !node.membership.registry.admits_term(term) {
        let text = format!("the lead of term {term} is over");
        return Err(Refusal::new(RefusalCode::NotLeader, text));
    }
    let Some(local) = node.mutual.local.get().cloned() else {
        let text = "this node has not finished starting";
        return Err(Refusal::new(RefusalCode::Busy, text));
    };
    // Not the step itself: one of them carries the key of the authority.
    tracing::debug!(%from, term, step = kind(&step), "step");
    // A task of its own: an asker that goes away leaves no half-done step behind.
    let (node, tracker) = (Arc::clone(node), node.tasks.clone());
    let done = tracker.spawn(async move {
        let shutdown = node.shutdown.clone();
        shutdown
            .run_until_cancelled(carry_out(&node, &local, from, step))
            .await
    });
    match done.await {
        Ok(Some(outcome)) => Ok(PeerResponse::Step(outcome)),
        Ok(None) => Err(Refusal::new(RefusalCode::Stopping, "this node stops")),
        Err(error) => Err(Refusal::new(RefusalCode::BadRequest, error.to_string())),
    }
}

async fn carry_out(node: &Arc<Node>, local: &LocalFleet, from: NodeId, step: Step) -> StepOutcome {
    match step {
        Step::Hold {
            hash,
            bytes,
            holders,
        } => held(node.hold_package(hash, Some(bytes), &holders).await),
        Step::Preflight {
            hash,
            group,
            definition,
            capability_sets,
            ..
        } => {
            let looked_at = node
                .sources
                .look_at(node, hash, &group, &definition, capability_sets);
            match looked_at.await {
                Ok((classes, notes)) => StepOutcome::Preflight { classes, notes },
                Err(failure) => StepOutcome::Failed(failure),
            }
        }
        Step::Construct {
            slot,
            actor,
            source,
            class,
            global_name,
            requirements,
            on_lost_lease,
            holders,
        } => {
            let order = Construct {
                slot,
                actor,
                node: node.id,
                source,
                class,
                global_name,
                requirements,
                on_load: None,
                on_lost_lease,
            };
            let holders = [holders, vec![from]].concat();
            ended(construct(node, local, &order, &holders).await)
        }
        Step::Discard { actor } => {
            node.mutual.ledger.end(actor);
            local.discard(node.id, actor).await;
            StepOutcome::Done
        }
        Step::Applied { index } => {
            local.applied(index).await;
            StepOutcome::Done
        }
        Step::Deliver {
            rollout,
            kind,
            actor,
            literal,
        } => {
            let Some(step) = step_name(kind) else {
                return failed(format!("delivery of an unknown kind {kind}"));
            };
            let key = StepKey {
                rollout,
                step,
                actor,
            };
            match local.deliver(node.id, key, &literal).await {
                Ok(()) => StepOutcome::Done,
                Err(_lost) => StepOutcome::Lost,
            }
        }
        Step::Flush { actor } => match local.flush(node.id, actor).await {
            Ok(()) => StepOutcome::Done,
            Err(_lost) => StepOutcome::Lost,
        },
        Step::Drain { source, now } => {
            local.drain(source, now).await;
            StepOutcome::Done
        }
        Step::End { actor } => {
            node.mutual.ledger.end(actor);
            local.end(node.id, actor).await;
            StepOutcome::Done
        }
        Step::OpenLog {
            raft,
            recoveries,
            authority,
        } => ended(voters::open_log(node, raft, recoveries, &authority.0).await),
        Step::CloseLog { raft } => ended(voters::close_log(node, RaftId(raft)).await),
    }
}

fn kind(step: &Step) -> &'static str {
    match step {
        Step::Hold { .. } => "hold",
        Step::Preflight { .. } => "preflight",
        Step::Construct { .. } => "construct",
        Step::Discard { .. } => "discard",
        Step::Applied { .. } => "applied",
        Step::Deliver { .. } => "deliver",
        Step::Flush { .. } => "flush",
        Step::Drain { .. } => "drain",
        Step::End { .. } => "end",
        Step::OpenLog { .. } => "open log",
        Step::CloseLog { .. } => "close log",
    }
}

/// Constructs a Director actor here, with its package and the registry in hand.
pub(crate) async fn construct(
    node: &Arc<Node>,
    local: &LocalFleet,
    order: &Construct,
    holders: &[NodeId],
) -> Result<(), ActorFailure> {
    let actor = order.actor;
    let bytes = await_order(node, order.slot, actor, order.source).await?;
    let held = node.hold_package(order.source, Some(bytes), holders).await;
    let held = held.map_err(|fault| failure(fault.to_string()))?;
    if let Some(reason) = held.distrust {
        let source = order.source.short();
        return Err(failure(format!("{source} is not trusted here: {reason}")));
    }
    match node.mutual.ledger.begin(actor) {
        Some(true) => local.construct(order).await,
        // It is under way or stands; or it has ended, and is not to live twice.
        Some(false) => node.actors.stands(actor).await,
        None => Err(failure(format!("actor {actor} was discarded"))),
    }
}

/// Waits until the registry here says the same as the order; gives the package's length.
async fn await_order(
    node: &Node,
    slot: SlotId,
    actor: ActorId,
    source: SourceHash,
) -> Result<u64, ActorFailure> {
    let known = |state: &State| {
        let there = state.slots.get(&slot).is_some_and(|s| s.actor == actor);
        let bytes = state.sources.get(&source).map(|source| source.bytes);
        bytes.filter(|_| there)
    };
    let mut applied = node.replica.applied();
    let waiting = async {
        loop {
            if let Some(bytes) = node.replica.read(known) {
                return Some(bytes);
            }
            applied.changed().await.ok()?;
        }
    };
    let waited = tokio::time::timeout(REGISTRY_LIMIT, waiting).await;
    waited.ok().flatten().ok_or_else(|| {
        let message = format!("the registry on this member does not know of actor {actor} yet");
        let code = FailureCode::TimedOut;
        ActorFailure {
            code,
            message,
            traceback: None,
        }
    })
}

/// Number of a delivery's kind on the wire.
pub(crate) fn step_number(step: StepName) -> u8 {
    match step {
        StepName::OnLoad => 1,
        StepName::OnDeactivate => 2,
        StepName::OnReactivate => 3,
        StepName::OnRevert => 4,
    }
}

fn step_name(number: u8) -> Option<StepName> {
    let names = [
        StepName::OnLoad,
        StepName::OnDeactivate,
        StepName::OnReactivate,
        StepName::OnRevert,
    ];
    names.into_iter().find(|name| step_number(*name) == number)
}

fn held(held: Result<super::packages::Held, HoldFault>) -> StepOutcome {
    match held {
        Ok(held) => StepOutcome::Held {
            distrust: held.distrust,
        },
        Err(fault) => failed(fault.to_string()),
    }
}

fn ended(done: Result<(), ActorFailure>) -> StepOutcome {
    match done {
        Ok(()) => StepOutcome::Done,
        Err(failure) => StepOutcome::Failed(failure),
    }
}

fn failed(message: String) -> StepOutcome {
    StepOutcome::Failed(failure(message))
}

pub(crate) fn failure(message: String) -> ActorFailure {
    ActorFailure {
        code: FailureCode::Failure,
        message,
        traceback: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Incarnation;

    #[test]
    fn an_actor_is_begun_once_and_never_after_its_end() {
        let ledger = Ledger::default();
        let actor = ActorId::allot(Incarnation(1), 7);
        assert_eq!(ledger.begin(actor), Some(true));
        assert_eq!(ledger.begin(actor), Some(false));
        ledger.end(actor);
        assert_eq!(ledger.begin(actor), None);
        let late = ActorId::allot(Incarnation(1), 8);
        ledger.end(late);
        assert_eq!(ledger.begin(late), None);
    }

    #[test]
    fn the_ledger_forgets_the_oldest() {
        let ledger = Ledger::default();
        let actor = |serial| ActorId::allot(Incarnation(1), serial);
        for serial in 0..=LEDGER_KEPT as u64 {
            assert_eq!(ledger.begin(actor(serial)), Some(true));
        }
        assert_eq!(ledger.begin(actor(0)), Some(true));
        assert_eq!(ledger.begin(actor(LEDGER_KEPT as u64)), Some(false));
    }

    #[test]
    fn kinds_of_deliveries_have_numbers_for_good() {
        for number in 1..=4 {
            assert_eq!(step_name(number).map(step_number), Some(number));
        }
        assert_eq!(step_name(0), None);
    }
}
