//! What takes the place of a session while this node leads: its own lease, and its entry among the
//! members.

use std::sync::Arc;
use std::time::Duration;

use leader::reconcile::Replica;
use protocol::registry::{Command, MemberState};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::agent::node::{Node, stamp};
use crate::cluster::Standing;

/// While this node leads: it is up in its own registry, and its lease holds.
pub(super) async fn lead(node: &Arc<Node>, standing: &mut watch::Receiver<Standing>) {
    let membership = &node.membership;
    membership.lease.begin_lead();
    while standing.borrow_and_update().leads {
        let alone = lead_on(node);
        // One that is about to end has said so.
        if announced(node) || node.stop.is_cancelled() {
            membership.trouble.send_replace(None);
        } else if let Err(failure) = announce(node).await {
            tracing::warn!(%failure, "this node is not announced yet");
            let _moved = timeout(LEAD_ON, standing.changed()).await;
            continue;
        }
        let mut applied = membership.registry.applied();
        tokio::select! {
            changed = standing.changed() => if changed.is_err() { return },
            // Somebody may have called it lost while it did not lead.
            changed = applied.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LEAD_ON), if !alone => {}
        }
    }
    membership.lease.lead_no_longer();
}

/// Prolongs the lease of a leader by what its majority acknowledged; whether it votes alone.
fn lead_on(node: &Node) -> bool {
    let membership = &node.membership;
    let Some(consensus) = membership.registry.consensus() else {
        return false;
    };
    let alone = consensus.standing().borrow().voters.len() == 1;
    if alone {
        membership.lease.lead_alone();
    } else if let Some(sent) = consensus.majority_at() {
        membership.lease.lead(sent);
    }
    alone
}

/// Whether the registry knows this run of the node to be up.
fn announced(node: &Node) -> bool {
    let me = node.membership.me;
    node.membership.registry.read(|state| {
        let member = state.members.get(&me);
        member.is_some_and(|member| {
            member.incarnation == node.incarnation && member.state == MemberState::Up
        })
    })
}

/// Says that this run of the node has started.
pub(crate) async fn announce(node: &Node) -> Result<(), leader::reconcile::ProposeFailure> {
    let started = Command::MemberStarted {
        node: node.id,
        name: node.settings.node_name.clone(),
        address: node.membership.address().to_owned(),
        incarnation: node.incarnation,
        capabilities: node.capabilities(),
        stamp: stamp(),
    };
    node.membership.registry.propose(started).await.map(drop)
}

/// How often a leader looks whether its majority acknowledges it.
const LEAD_ON: Duration = Duration::from_millis(100);
