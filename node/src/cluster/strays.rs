//! Director actors that must not live on here: placed elsewhere meanwhile, or bound to the lease.

use std::sync::Arc;
use std::time::Duration;

use protocol::definition::OnLostLease;
use protocol::registry::State;
use protocol::{ActorId, NodeId, SlotId};

use super::lease::LeaseState;
use crate::agent::node::Node;

/// Ends those of `before` that the registry no longer names, as it catches up.
pub(crate) async fn end(node: Arc<Node>, mut before: Vec<(ActorId, SlotId)>) {
    let mut applied = node.membership.registry.applied();
    let until = tokio::time::Instant::now() + CATCH_UP_LIMIT;
    loop {
        applied.borrow_and_update();
        let me = node.id;
        let strays = node.membership.registry.read(|state| {
            let strays = before
                .iter()
                .filter(|(actor, slot)| !named(state, me, *actor, *slot));
            strays.map(|(actor, _)| *actor).collect::<Vec<_>>()
        });
        before.retain(|(actor, _)| !strays.contains(actor));
        for actor in strays {
            tracing::info!(%actor, "ended here: it was placed elsewhere meanwhile");
            let ending = Arc::clone(&node);
            node.tasks
                .spawn(async move { ending.exit(actor, ending.patience.exit).await });
        }
        if before.is_empty() {
            return;
        }
        tokio::select! {
            biased;
            () = node.shutdown.cancelled() => return,
            () = tokio::time::sleep_until(until) => return,
            changed = applied.changed() => if changed.is_err() { return },
        }
    }
}

/// Ends what was started here without the convention, once that is back: what runs is for it to
/// say.
pub(crate) async fn end_after_offline(node: Arc<Node>) {
    let mut offline = node.membership.registry.offline();
    let mut was = false;
    loop {
        let now = *offline.borrow_and_update();
        if was && !now {
            let ending = end(Arc::clone(&node), node.actors.slots());
            node.tasks.spawn(ending);
        }
        was = now;
        tokio::select! {
            biased;
            () = node.shutdown.cancelled() => return,
            changed = offline.changed() => if changed.is_err() { return },
        }
    }
}

fn named(state: &State, me: NodeId, actor: ActorId, slot: SlotId) -> bool {
    let slot = state.slots.get(&slot);
    slot.is_some_and(|slot| slot.node == me && slot.actor == actor)
}

/// Ends the actors that may not outlive the lease, each time that it ends.
pub(crate) async fn stop_on_lost_lease(node: Arc<Node>) {
    let mut lease = node.membership.lease.state();
    loop {
        let ended = *lease.borrow_and_update() == LeaseState::Ended;
        for actor in ended.then(|| bound_to_lease(&node)).into_iter().flatten() {
            tracing::warn!(%actor, "ended: the node's lease is over (`OnLostLease`)");
            let ending = Arc::clone(&node);
            node.tasks
                .spawn(async move { ending.exit(actor, STOP_GRACE).await });
        }
        tokio::select! {
            biased;
            () = node.shutdown.cancelled() => return,
            changed = lease.changed() => if changed.is_err() { return },
        }
    }
}

fn bound_to_lease(node: &Node) -> Vec<ActorId> {
    let slots = node.actors.slots();
    node.membership.registry.read(|state| {
        let stops = |slot: &SlotId| {
            let slot = state.slots.get(slot)?;
            let definition = state.sources.get(&slot.source)?.actor(slot)?;
            Some(definition.on_lost_lease == OnLostLease::Stop)
        };
        let bound = slots.iter().filter(|(_, slot)| stops(slot) == Some(true));
        bound.map(|(actor, _)| *actor).collect()
    })
}

/// How long the registry may take to say what has become of them.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(60);

/// Less than the margin that the leader waits after the lease.
const STOP_GRACE: Duration = Duration::from_millis(250);
