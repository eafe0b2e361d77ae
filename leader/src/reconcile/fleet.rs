//! What the reconciler asks of nodes: one trait, carried out on one host or over QUIC on many.
//!
//! Every step names a rollout, the step and the actor's incarnation; the node that executes it
//! remembers them, so that a repeated order (a new leader, a retry) is carried out once.

use std::future::Future;

use protocol::control::{ActorFailure, PreparedClass, Reach};
use protocol::definition::OnLostLease;
use protocol::registry::{SlotState, State};
use protocol::{ActorId, GroupDefinition, NodeId, RequestId, RolloutId, SlotId, SourceHash, Stamp};

/// Names one delivery for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepKey {
    /// The rollout; `None` for a start outside of one.
    pub rollout: Option<RolloutId>,
    /// The step.
    pub step: StepName,
    /// The incarnation that gets it.
    pub actor: ActorId,
}

/// Deliveries of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepName {
    /// The message of `OnLoad`.
    OnLoad,
    /// The message of `OnDeactivate`.
    OnDeactivate,
    /// The message of `OnReactivate`, because its version becomes active again.
    OnReactivate,
    /// The message of `OnReactivate`, because the rollout that replaced it was reverted.
    OnRevert,
}

/// An actor to be constructed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Construct {
    /// Its slot.
    pub slot: SlotId,
    /// Its address.
    pub actor: ActorId,
    /// Where.
    pub node: NodeId,
    /// Its source.
    pub source: SourceHash,
    /// `pkg.mod.Class`.
    pub class: String,
    /// Its name in the convention.
    pub global_name: Option<String>,
    /// Dictionary literal of the capabilities it requires.
    pub requirements: Option<String>,
    /// The literal of `OnLoad`, if it has one.
    pub on_load: Option<String>,
    /// What it does when its node's lease ends.
    pub on_lost_lease: OnLostLease,
}

impl Construct {
    /// The order for a slot that is to start; `None` when it is not.
    #[must_use]
    pub fn of(state: &State, id: SlotId) -> Option<Self> {
        let slot = state
            .slots
            .get(&id)
            .filter(|slot| slot.state == SlotState::Starting)?;
        let definition = state.sources.get(&slot.source)?.actor(slot)?;
        Some(Self {
            slot: id,
            actor: slot.actor,
            node: slot.node,
            source: slot.source,
            class: slot.class.clone(),
            global_name: definition.global_name.clone(),
            requirements: definition.requirements.clone(),
            on_load: definition.on_load.clone(),
            on_lost_lease: definition.on_lost_lease,
        })
    }
}

/// The actor is gone: nothing was delivered, or it ended before it was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("actor {actor} has ended")]
pub struct Lost {
    /// The actor.
    pub actor: ActorId,
}

/// What the preflight found: one a class, in the order of the definition, and where each may run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preflight {
    /// The classes, resolved.
    pub classes: Vec<PreparedClass>,
    /// Members on which each class may run, in the order of `classes`; preferred first. None: no
    /// member fits, and the class's failure says what is missing.
    pub nodes: Vec<Vec<NodeId>>,
    /// What an operator should know.
    pub notes: Vec<String>,
}

/// The nodes, as the reconciler sees them.
pub trait Fleet: Send + Sync + 'static {
    /// Has a majority of the voters hold a package on disk; with [`Reach::Everywhere`] every
    /// eligible member pulls and verifies it. Gives notes for the operator.
    fn hold(
        &self,
        source: SourceHash,
        bytes: u64,
        reach: Reach,
        request: RequestId,
        origin: NodeId,
    ) -> impl Future<Output = Result<Vec<String>, ActorFailure>> + Send;

    /// Has a majority of those that vote by now hold a package that was held before: the voters
    /// may have changed since.
    fn secure(
        &self,
        source: SourceHash,
        bytes: u64,
    ) -> impl Future<Output = Result<(), ActorFailure>> + Send;

    /// Imports a source's classes on eligible members and evaluates their checks; changes nothing.
    fn preflight(
        &self,
        source: SourceHash,
        group: &str,
        definition: &GroupDefinition,
        origin: NodeId,
    ) -> impl Future<Output = Result<Preflight, ActorFailure>> + Send;

    /// Members that may run an actor of a loaded source now: up, not drained, trusting the
    /// package, fitting its requirements and check; the one with the fewest actors first.
    fn candidates(
        &self,
        source: SourceHash,
        position: u32,
    ) -> impl Future<Output = Vec<NodeId>> + Send;

    /// Constructs an actor and waits until it stands; again for one that stands: `Ok`.
    fn construct(&self, order: &Construct)
    -> impl Future<Output = Result<(), ActorFailure>> + Send;

    /// Ends an actor that was constructed and got nothing yet.
    fn discard(&self, node: NodeId, actor: ActorId) -> impl Future<Output = ()> + Send;

    /// Waits until every node that routes has applied this index.
    fn applied(&self, index: u64) -> impl Future<Output = ()> + Send;

    /// Sends a literal to an actor.
    fn deliver(
        &self,
        node: NodeId,
        key: StepKey,
        literal: &str,
    ) -> impl Future<Output = Result<(), Lost>> + Send;

    /// Waits until an actor has handled all that it was sent before.
    fn flush(&self, node: NodeId, actor: ActorId) -> impl Future<Output = Result<(), Lost>> + Send;

    /// Ends all actors of a source, whoever created them: when idle, or now.
    fn drain(&self, source: SourceHash, now: bool) -> impl Future<Output = ()> + Send;

    /// Asks a Director actor to end (its slot says already what comes next).
    fn end(&self, node: NodeId, actor: ActorId) -> impl Future<Output = ()> + Send;

    /// A fresh address.
    fn fresh_actor(&self) -> ActorId;

    /// The time.
    fn stamp(&self) -> Stamp;
}
