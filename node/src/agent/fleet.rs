//! The leader's orders, carried out on this node.
//!
//! A step that names an incarnation is carried out once: the keys of those done are remembered with
//! the actor, as long as it lives.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use leader::reconcile::{Construct, Fleet, Lost, Preflight, Replica, StepKey};
use protocol::control::{ActorFailure, Origin, Reach};
use protocol::registry::{RolloutStep, State};
use protocol::{ActorId, GroupDefinition, NodeId, RequestId, SourceHash, Stamp};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::actors::Birth;
use super::node::{Node, stamp};
use crate::cluster::placement;

/// This node as the one that the leader orders about.
#[derive(Debug)]
pub(crate) struct LocalFleet {
    node: Arc<Node>,
    bound: watch::Receiver<u64>,
}

impl LocalFleet {
    /// A fleet of one node, whose binder says in `bound` which index it has applied.
    pub(crate) fn new(node: Arc<Node>, bound: watch::Receiver<u64>) -> Self {
        Self { node, bound }
    }
}

impl Fleet for LocalFleet {
    /// The package was verified and kept when it was uploaded.
    async fn hold(
        &self,
        _source: SourceHash,
        _bytes: u64,
        _reach: Reach,
        _request: RequestId,
        _origin: NodeId,
    ) -> Result<Vec<String>, ActorFailure> {
        Ok(Vec::new())
    }

    async fn secure(&self, _source: SourceHash, _bytes: u64) -> Result<(), ActorFailure> {
        Ok(())
    }

    async fn candidates(&self, source: SourceHash, position: u32) -> Vec<NodeId> {
        let wanted = Replica::read(&*self.node.replica, |state| {
            let source = state.sources.get(&source)?;
            let actor = source.definition.actors.get(position as usize)?;
            let definition = GroupDefinition {
                actors: vec![actor.clone()],
                ..GroupDefinition::default()
            };
            Some((source.group.clone(), definition))
        });
        let Some((group, definition)) = wanted else {
            return Vec::new();
        };
        let here = self.node.id;
        match self.preflight(source, &group, &definition, here).await {
            Ok(found) => found.nodes.into_iter().flatten().collect(),
            Err(_) => Vec::new(),
        }
    }

    async fn preflight(
        &self,
        source: SourceHash,
        group: &str,
        definition: &GroupDefinition,
        _origin: NodeId,
    ) -> Result<Preflight, ActorFailure> {
        let own = self.node.capabilities();
        let sets = vec![own.clone()];
        let sources = &self.node.sources;
        let looked_at = sources.look_at(&self.node, source, group, definition, sets);
        let (classes, notes) = looked_at.await?;
        let fits = classes
            .iter()
            .zip(&definition.actors)
            .map(|(class, actor)| {
                let missing = placement::missing(actor.requirements.as_deref(), &own);
                class.failure.is_none() && missing.is_none() && class.fits.first() == Some(&true)
            });
        let nodes = fits.map(|fits| if fits { vec![self.node.id] } else { Vec::new() });
        Ok(Preflight {
            nodes: nodes.collect(),
            classes,
            notes,
        })
    }

    async fn construct(&self, order: &Construct) -> Result<(), ActorFailure> {
        let birth = Birth {
            actor: order.actor,
            parent: ActorId::NONE,
            origin: Origin::Source(order.source),
            class: order.class.clone(),
            global_name: order.global_name.clone(),
            requirements: order.requirements.clone(),
            slot: Some(order.slot),
        };
        self.node.give_birth(birth).await
    }

    async fn discard(&self, _node: NodeId, actor: ActorId) {
        self.node.exit(actor, self.node.patience.exit).await;
    }

    async fn applied(&self, index: u64) {
        let mut bound = self.bound.clone();
        drop(bound.wait_for(|bound| *bound >= index).await);
        // What this node passed on by role before it held them is with the old version's actors
        // before these are told to finish.
        let hosts = self
            .node
            .replica
            .read(|state| old_hosts(state, self.node.id));
        if !hosts.is_empty() {
            self.node.router.flush_links(hosts).await;
        }
    }

    async fn deliver(&self, _node: NodeId, key: StepKey, literal: &str) -> Result<(), Lost> {
        let actor = key.actor;
        if self.node.actors.first_time(key).ok_or(Lost { actor })? {
            self.node.router.send_literal(actor, literal.to_owned());
        }
        Ok(())
    }

    async fn flush(&self, _node: NodeId, actor: ActorId) -> Result<(), Lost> {
        self.node
            .router
            .marker(actor)
            .await
            .map_err(|_gone| Lost { actor })
    }

    async fn drain(&self, source: SourceHash, now: bool) {
        let limit = if now {
            Duration::ZERO
        } else {
            self.node.settings.drain
        };
        let until = tokio::time::Instant::now() + limit;
        loop {
            let actors = self.node.actors.of_source(source);
            if actors.is_empty() {
                break;
            }
            let mut leaving = JoinSet::new();
            for actor in actors {
                let node = Arc::clone(&self.node);
                leaving.spawn(async move {
                    let _idle = tokio::time::timeout_at(until, node.router.idle(actor)).await;
                    node.exit(actor, node.patience.exit).await;
                });
            }
            leaving.join_all().await;
        }
        self.node.hosting.finish(&Origin::Source(source)).await;
    }

    async fn end(&self, _node: NodeId, actor: ActorId) {
        self.node.exit(actor, self.node.patience.exit).await;
    }

    fn fresh_actor(&self) -> ActorId {
        self.node.fresh_actor()
    }

    fn stamp(&self) -> Stamp {
        stamp()
    }
}

/// Other nodes with actors that a hold waits for.
fn old_hosts(state: &State, me: NodeId) -> BTreeSet<NodeId> {
    let rollouts = state.rollouts.values();
    let holds = rollouts.filter(|rollout| rollout.step == RolloutStep::Hold);
    let slots = holds.flat_map(|rollout| &rollout.deactivated);
    let hosts = slots.filter_map(|slot| Some(state.slots.get(slot)?.node));
    hosts
        .filter(|node| *node != me && *node != NodeId::NONE)
        .collect()
}
