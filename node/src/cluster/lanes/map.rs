//! Where the router finds other nodes and actors: told from the registry, index by index, before
//! the roles that lead there are bound.
//!
//! What the registry does not say (an actor's own children elsewhere) members are asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use protocol::peer::{PeerRequest, PeerResponse};
use protocol::registry::{MemberState, SlotState, State};
use protocol::view::Wish;
use protocol::wire::{Refusal, RefusalCode};
use protocol::{ActorId, ConventionId, Incarnation, NodeId};
use tokio::task::JoinSet;

use crate::agent::node::Node;
use crate::cluster::neighbours;

/// What the router was told so far.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Map {
    convention: Option<ConventionId>,
    peers: BTreeMap<NodeId, Peer>,
    placed: BTreeMap<ActorId, NodeId>,
    removed: BTreeSet<NodeId>,
}

/// A node as the router knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Peer {
    incarnation: Incarnation,
    /// Why nothing reaches it, if so.
    gone: Option<String>,
}

impl Map {
    /// What the registry says now.
    pub(crate) fn of(state: &State, me: NodeId) -> Self {
        let members = state.members.iter().filter(|(id, _)| **id != me);
        let peers = members.filter(|(_, member)| member.incarnation != Incarnation(0));
        let peers = peers.map(|(id, member)| {
            let name = &member.name;
            let gone = match member.state {
                MemberState::Up => None,
                MemberState::Down => Some(format!("member `{name}` was stopped")),
                MemberState::Lost => Some(format!("member `{name}` is lost")),
            };
            let incarnation = member.incarnation;
            (*id, Peer { incarnation, gone })
        });
        let slots = state.slots.values().filter(|slot| slot.node != me);
        let placed = slots.filter(|slot| {
            let lives = matches!(
                slot.state,
                SlotState::Starting | SlotState::Standing | SlotState::Running
            );
            lives && slot.actor != ActorId::NONE
        });
        Self {
            convention: state.convention,
            peers: peers.collect(),
            placed: placed.map(|slot| (slot.actor, slot.node)).collect(),
            removed: state.roll.removed.keys().copied().collect(),
        }
    }

    /// Tells the router what is new since `before`.
    pub(crate) fn tell(&self, node: &Arc<Node>, before: &Self) {
        for (id, peer) in &before.peers {
            let now = self.peers.get(id);
            let reason = match now {
                // Of another convention now: none of those before is a member of it.
                None if self.removed.contains(id) || self.convention != before.convention => {
                    Some("the node is no member any more".to_owned())
                }
                // It is of no interest here.
                None => None,
                Some(now) if now.incarnation != peer.incarnation => {
                    Some("the node has started again".to_owned())
                }
                Some(now) if peer.gone.is_none() => now.gone.clone(),
                Some(_) => None,
            };
            if let Some(reason) = reason {
                let run = peer.incarnation;
                if now.is_none() && node.directory.is_private() {
                    neighbours::keep(node, *id, run, reason.clone());
                } else {
                    node.router.link_lost(*id, run, reason.clone());
                }
                let refusal = Refusal::new(RefusalCode::Stopping, reason);
                node.mutual.lanes.close_run(*id, run, &refusal);
                node.mutual.holdings.forget(*id);
            }
        }
        let there = |map: &Self| -> Vec<(Incarnation, NodeId)> {
            let peers = map.peers.iter().filter(|(_, peer)| peer.gone.is_none());
            peers.map(|(id, peer)| (peer.incarnation, *id)).collect()
        };
        let mut peers = there(self);
        if peers != there(before) || before == &Self::default() {
            peers.push((node.incarnation, node.id));
            node.router.peers(peers);
        }
        for (actor, id) in &self.placed {
            if before.placed.get(actor) != Some(id) {
                node.router.place(*actor, Some(*id));
            }
        }
        for actor in before.placed.keys() {
            if !self.placed.contains_key(actor) {
                node.router.place(*actor, None);
            }
        }
    }
}

/// Looks for an actor that nobody told the router about, and answers it.
pub(crate) fn locate(node: &Arc<Node>, actor: ActorId) {
    let (node, tracker) = (Arc::clone(node), node.tasks.clone());
    tracker.spawn(async move {
        let shutdown = node.shutdown.clone();
        let found = shutdown.run_until_cancelled(find(&node, actor)).await;
        node.router.located(actor, found.flatten());
    });
}

async fn find(node: &Arc<Node>, actor: ActorId) -> Option<NodeId> {
    if let Some(known) = known(node, actor) {
        return Some(known);
    }
    if node.replica.is_partial()
        && let Some(found) = ask_leader(node, actor).await
    {
        return Some(found);
    }
    let me = node.id;
    let others: Vec<_> = node.replica.read(|state| {
        let members = state.members.iter();
        let up = members.filter(|(id, m)| **id != me && m.state == MemberState::Up);
        up.map(|(id, _)| *id).take(ASKED_MAX).collect()
    });
    let mut asking = JoinSet::new();
    for member in others {
        let peers = node.membership.peers.clone();
        asking.spawn(async move {
            let request = PeerRequest::Locate { actor };
            match peers.ask(member, &request, LOCATE_LIMIT).await {
                Ok(PeerResponse::Located { node }) => node,
                _ => None,
            }
        });
    }
    while let Some(joined) = asking.join_next().await {
        if let Ok(Some(found)) = joined {
            return Some(found);
        }
    }
    neighbours::find(node, actor.incarnation()).await
}

/// Where the leader, which knows all members, knows an actor to be.
async fn ask_leader(node: &Node, actor: ActorId) -> Option<NodeId> {
    let request = PeerRequest::Locate { actor };
    let asking = node.membership.peers.ask_leader(&request, LOCATE_LIMIT);
    let Ok(PeerResponse::Located { node: found }) = asking.await else {
        return None;
    };
    let found = found?;
    // Its messages go there, and it may be lost.
    let _not_told = node.replica.want(Wish::Node(found)).await;
    Some(found)
}

/// Where an actor is, as far as this node knows.
pub(crate) fn known(node: &Node, actor: ActorId) -> Option<NodeId> {
    if node.actors.stage(actor).is_some() {
        return Some(node.id);
    }
    let of_slot = node.replica.read(|state| {
        let mut slots = state.slots.values();
        slots.find(|slot| slot.actor == actor).map(|slot| slot.node)
    });
    of_slot.or_else(|| node.mutual.elsewhere(actor))
}

/// Answers another member that looks for an actor.
pub(crate) fn answer(node: &Node, actor: ActorId) -> PeerResponse {
    let run = actor.incarnation();
    let of_run = || {
        node.replica.read(|state| {
            let mut members = state.members.iter();
            let found = members.find(|(_, member)| member.incarnation == run);
            found.map(|(id, _)| *id)
        })
    };
    let node = known(node, actor).or_else(of_run);
    PeerResponse::Located { node }
}

/// How long a member may take to say whether it knows an actor.
const LOCATE_LIMIT: Duration = Duration::from_secs(5);

/// Members asked for one actor.
const ASKED_MAX: usize = 256;
