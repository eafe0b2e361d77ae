//! Keeps the router's roles as the registry has them, index by index.
//!
//! A switch therefore reaches the router as one change per role, and the leader can wait until
//! this node has applied it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use convention::{RoleStanding, Standing, role_standings};
use protocol::view::Wish;
use protocol::{RoleId, SourceHash};
use tokio::sync::oneshot;

use super::leftovers;
use super::node::Node;
use crate::cluster::lanes::map::Map;

/// What the binder is asked for besides what the registry says.
#[derive(Debug, Default)]
pub(crate) struct Sought {
    /// Roles that the router did not know, and why one may not be found.
    roles: BTreeMap<RoleId, String>,
    /// Who waits for a look at the registry as it is.
    settled: Vec<oneshot::Sender<()>>,
}

/// Follows the registry until shutdown; says in the membership's `bound` how far it is.
pub(super) async fn run(node: Arc<Node>) {
    let mut applied = node.replica.applied();
    let mut lease = node.membership.lease.state();
    let mut sought = node.membership.sought.subscribe();
    let mut known = BTreeMap::new();
    let mut sources = BTreeSet::new();
    let mut map = Map::default();
    loop {
        let index = *applied.borrow_and_update();
        let serves = lease.borrow_and_update().serves();
        sought.mark_unchanged();
        let mut looked_for = Sought::default();
        node.membership.sought.send_if_modified(|sought| {
            looked_for = std::mem::take(sought);
            false
        });
        let partial = node.replica.is_partial();
        let (mut wanted, named) = node
            .replica
            .read(|s| (role_standings(s, Some(node.id)), leftovers::named(s)));
        if !serves {
            hold_back(&mut wanted);
        }
        let next = node.replica.read(|state| Map::of(state, node.id));
        next.tell(&node, &map);
        map = next;
        clear_away(&node, &sources, &named);
        sources = named;
        for role in looked_for.roles.keys() {
            // The router has forgotten it: it is told again.
            known.remove(role);
        }
        apply(&node, &known, &wanted, partial).await;
        looked_for
            .roles
            .retain(|role, _| !wanted.contains_key(role));
        give_up(&node, looked_for.roles).await;
        for settled in looked_for.settled {
            // Who has given up waiting is gone.
            let _gone = settled.send(());
        }
        known = wanted;
        node.membership.serves.send_replace(serves);
        node.membership.bound.send_replace(index);
        tokio::select! {
            biased;
            () = node.shutdown.cancelled() => return,
            changed = applied.changed() => if changed.is_err() { return },
            changed = lease.changed() => if changed.is_err() { return },
            changed = sought.changed() => if changed.is_err() { return },
        }
    }
}

/// Looks for a role that the router does not know, and says here what has come of it.
pub(super) fn seek(node: &Arc<Node>, role: RoleId) {
    let (node, tracker) = (Arc::clone(node), node.tasks.clone());
    tracker.spawn(async move {
        let shutdown = node.shutdown.clone();
        let told = node.replica.want(Wish::Role(role));
        let reason = match shutdown.run_until_cancelled(told).await {
            Some(Ok(())) => "nobody plays this role".to_owned(),
            Some(Err(not_told)) => format!("nobody is known to play this role: {not_told}"),
            None => return,
        };
        let sought = &node.membership.sought;
        sought.send_modify(|sought| drop(sought.roles.insert(role, reason)));
    });
}

/// Waits until the router has the roles as the registry here has them now.
pub(super) async fn settled(node: &Node) {
    let (settled, has_settled) = oneshot::channel();
    let sought = &node.membership.sought;
    sought.send_modify(|sought| sought.settled.push(settled));
    // An error means that this node stops.
    let _stops = has_settled.await;
}

/// Nobody plays these roles, as far as is known.
async fn give_up(node: &Node, sought: BTreeMap<RoleId, String>) {
    let roles: Vec<_> = sought.keys().copied().collect();
    for (role, reason) in sought {
        node.router.unbind_role(role, reason).await;
    }
    release(node, roles).await;
}

/// Without a lease nothing is delivered by role or name: the actor may have been placed elsewhere.
fn hold_back(wanted: &mut Standings) {
    for role in wanted.values_mut() {
        if matches!(role.standing, Standing::Bound(_)) {
            role.standing = Standing::Held;
        }
    }
}

/// Clears away what the registry has forgotten.
fn clear_away(node: &Arc<Node>, known: &BTreeSet<SourceHash>, named: &BTreeSet<SourceHash>) {
    for hash in known.difference(named).copied() {
        let clearing = Arc::clone(node);
        node.tasks
            .spawn(async move { clearing.clear_away(hash).await });
    }
}

type Standings = BTreeMap<RoleId, RoleStanding>;

async fn apply(node: &Node, known: &Standings, wanted: &Standings, partial: bool) {
    let standing = |roles: &Standings, id: &RoleId| roles.get(id).map(|role| role.standing.clone());
    let changed: Vec<_> = wanted
        .iter()
        .filter(|(id, role)| standing(known, id).as_ref() != Some(&role.standing))
        .collect();
    let held = changed
        .iter()
        .filter(|(_, role)| role.standing == Standing::Held);
    let held = held.map(|(id, _)| **id).collect::<Vec<_>>();
    if !held.is_empty() {
        node.router.hold(held).await;
    }
    let mut released = Vec::new();
    for (id, role) in changed {
        match &role.standing {
            Standing::Held => continue,
            Standing::Bound(actor) => node.router.bind_role(*id, Some(*actor)).await,
            Standing::Unbound(reason) => node.router.unbind_role(*id, reason.clone()).await,
        }
        released.push(*id);
    }
    let dropped: Vec<_> = known.keys().filter(|id| !wanted.contains_key(id)).collect();
    if partial && !dropped.is_empty() {
        // It may only have left the view.
        let dropped = dropped.into_iter().copied();
        node.router.forget_roles(dropped.collect()).await;
        return release(node, released).await;
    }
    for (id, role) in known {
        if !wanted.contains_key(id) {
            let reason = format!("no source with the role `{}` is loaded", role.role);
            node.router.unbind_role(*id, reason).await;
            released.push(*id);
        }
    }
    release(node, released).await;
}

async fn release(node: &Node, roles: Vec<RoleId>) {
    if !roles.is_empty() {
        node.router.release(roles).await;
    }
}
