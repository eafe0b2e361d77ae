//! The members as the leader orders them about: steps for this node are carried out at once, all
//! others asked for over the network until they are done or the member is lost.
//!
//! A member counts as there for as long as the registry says that it is up under the same
//! incarnation; whoever loses its lease is given up by everything that waits for it. Once this
//! node leads no more its steps wait for ever: whoever waits for them is dropped with the lead.
//! Not here: what a step does (`steps`), in which order packages spread (`distribution`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leader::reconcile::{Construct, Fleet, Lost, Preflight, StepKey};
use protocol::control::{ActorFailure, FailureCode, Reach};
use protocol::peer::{PeerRequest, PeerResponse, Step, StepOutcome};
use protocol::registry::{MemberState, State};
use protocol::wire::RefusalCode;
use protocol::{ActorId, GroupDefinition, Incarnation, NodeId, RequestId, SourceHash, Stamp};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::lease::FORMER_LEADER;
use super::peers::PeerFault;
use super::steps::{self, failure, step_number};
use crate::agent::fleet::LocalFleet;
use crate::agent::node::{Node, stamp};

mod looking;
mod spread;
mod spreading;

use spread::Spread;

/// How long one attempt of a step may take; the next one finds what the last has begun.
const ATTEMPT: Duration = Duration::from_secs(30);

/// How long a member may take to apply an index before its lease depends on it.
const APPLIED_LIMIT: Duration = Duration::from_secs(5);

/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(100);

/// Members that are told of a new lead at once.
const TOLD_AT_ONCE: usize = 64;

/// All members, for the reconciler and the director of this node while it leads.
#[derive(Debug, Clone)]
pub(crate) struct ClusterFleet {
    node: Arc<Node>,
    local: Arc<LocalFleet>,
    // Packages on their way to members. Held for look-ups only.
    spreads: Arc<Mutex<BTreeMap<SourceHash, Arc<Spread>>>>,
}

/// Why a step was not done at a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StepFault {
    /// The member is not up any more, or runs anew.
    Lost(String),
    /// It refuses.
    Refused(String),
}

impl StepFault {
    fn told(self) -> String {
        match self {
            Self::Lost(reason) | Self::Refused(reason) => reason,
        }
    }
}

impl ClusterFleet {
    /// All members, this node's own part carried out by `local`.
    pub(crate) fn new(node: Arc<Node>, local: Arc<LocalFleet>) -> Self {
        Self {
            node,
            local,
            spreads: Arc::default(),
        }
    }

    /// Has another member carry out a step.
    pub(crate) async fn step(&self, member: NodeId, step: Step) -> Result<StepOutcome, StepFault> {
        let standing = self.node.replica.read(|state| up(state, member));
        let Some(incarnation) = standing else {
            return Err(StepFault::Lost(self.absence(member)));
        };
        tokio::select! {
            biased;
            done = self.ask_until_done(member, step) => done,
            () = self.gone(member, incarnation) => Err(StepFault::Lost(self.absence(member))),
        }
    }

    async fn ask_until_done(&self, member: NodeId, step: Step) -> Result<StepOutcome, StepFault> {
        let term = self.node.membership.registry.standing().borrow().term;
        let request = PeerRequest::Step { term, step };
        loop {
            match self
                .node
                .membership
                .peers
                .ask(member, &request, ATTEMPT)
                .await
            {
                Ok(PeerResponse::Step(outcome)) => return Ok(outcome),
                Ok(_) => return Err(StepFault::Refused("an answer of another kind".to_owned())),
                Err(PeerFault::Refused(refusal)) => match refusal.code {
                    RefusalCode::NotLeader => {
                        tracing::info!(%member, reason = refusal.text, "a step comes too late");
                        return std::future::pending().await;
                    }
                    RefusalCode::Busy | RefusalCode::Stopping | RefusalCode::Removed => {}
                    _ => return Err(StepFault::Refused(refusal.text)),
                },
                Err(fault) => tracing::debug!(%member, %fault, "a step is asked for again"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Resolves when a member is not up under this incarnation any more.
    async fn gone(&self, member: NodeId, incarnation: Incarnation) {
        let mut applied = self.node.replica.applied();
        while self.node.replica.read(|s| up(s, member)) == Some(incarnation) {
            if applied.changed().await.is_err() {
                return;
            }
        }
    }

    /// Resolves when a member that led before this node has no lease any more: its own right as a
    /// leader is over (`FORMER_LEADER`), and nobody has granted it another. Whoever else had led
    /// meanwhile and granted any would stand in the log between; what this node had granted in an
    /// earlier lead is known here; and what it grants in this one asks for at least what is applied
    /// here now.
    async fn without_lease(&self, member: NodeId) {
        let Some(since) = self.node.mutual.leads_since() else {
            return std::future::pending().await;
        };
        let over = tokio::time::Instant::from_std(since + FORMER_LEADER);
        tokio::time::sleep_until(over).await;
        self.node.membership.sessions.ungranted(member).await;
        let consensus = self.node.replica.consensus();
        let led_before = consensus.and_then(|consensus| consensus.led_before());
        if led_before != Some(member) {
            std::future::pending().await
        }
    }

    fn absence(&self, member: NodeId) -> String {
        self.node.replica.read(|state| {
            let Some(known) = state.members.get(&member) else {
                return format!("member `{member}` is none any more");
            };
            let name = &known.name;
            match known.state {
                MemberState::Up => format!("member `{name}` has started again"),
                MemberState::Down => format!("member `{name}` is down"),
                MemberState::Lost => format!("member `{name}` is lost"),
            }
        })
    }

    pub(super) fn name(&self, member: NodeId) -> String {
        self.node.replica.read(|state| name_of(state, member))
    }

    /// The members that are up, without this node.
    fn others(&self) -> Vec<NodeId> {
        let me = self.node.id;
        self.node.replica.read(|state| {
            let members = state.members.iter();
            let up = members.filter(|(id, m)| **id != me && m.state == MemberState::Up);
            up.map(|(id, _)| *id).collect()
        })
    }

    /// Tells the members that are up of this node's lead, each until it has begun a session: one
    /// that still holds to a dead leader looks for the next one then.
    pub(crate) async fn tell_of_lead(&self) {
        let room = Arc::new(Semaphore::new(TOLD_AT_ONCE));
        let mut telling = JoinSet::new();
        for member in self.others() {
            // One after the other: each that waits looks whenever a session begins, and most have
            // begun theirs when it is their turn.
            let Ok(room) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            if self.node.membership.sessions.has_begun(member) {
                continue;
            }
            let fleet = self.clone();
            telling.spawn(async move {
                let _room = room;
                tokio::select! {
                    biased;
                    () = fleet.begun_or_gone(member) => {}
                    _told = fleet.step(member, Step::Applied { index: 0 }) => {}
                }
            });
        }
        while telling.join_next().await.is_some() {}
    }

    /// Has all other members that are up carry out a step; those that are lost are left out.
    async fn everywhere(&self, step: Step) {
        let mut steps = JoinSet::new();
        for member in self.others() {
            let (fleet, step) = (self.clone(), step.clone());
            steps.spawn(async move {
                if let Err(fault) = fleet.step(member, step).await {
                    tracing::info!(%member, ?fault, "a step was not done at a member");
                }
            });
        }
        while steps.join_next().await.is_some() {}
    }

    async fn done_or_lost(&self, member: NodeId, step: Step, actor: ActorId) -> Result<(), Lost> {
        match self.step(member, step).await {
            Ok(StepOutcome::Done) => Ok(()),
            _ => Err(Lost { actor }),
        }
    }
}

impl Fleet for ClusterFleet {
    async fn hold(
        &self,
        source: SourceHash,
        bytes: u64,
        reach: Reach,
        request: RequestId,
        origin: NodeId,
    ) -> Result<Vec<String>, ActorFailure> {
        self.spread_for(source, bytes, reach, request, origin).await
    }

    async fn secure(&self, source: SourceHash, bytes: u64) -> Result<(), ActorFailure> {
        self.hold_by_majority(source, bytes).await
    }

    async fn preflight(
        &self,
        source: SourceHash,
        group: &str,
        definition: &GroupDefinition,
        origin: NodeId,
    ) -> Result<Preflight, ActorFailure> {
        self.look(source, group, definition, Some(origin)).await
    }

    async fn candidates(&self, source: SourceHash, position: u32) -> Vec<NodeId> {
        self.candidates_for(source, position).await
    }

    async fn construct(&self, order: &Construct) -> Result<(), ActorFailure> {
        let holders = self.holders(order.source);
        if order.node == self.node.id {
            return steps::construct(&self.node, &self.local, order, &holders).await;
        }
        let step = Step::Construct {
            slot: order.slot,
            actor: order.actor,
            source: order.source,
            class: order.class.clone(),
            global_name: order.global_name.clone(),
            requirements: order.requirements.clone(),
            on_lost_lease: order.on_lost_lease,
            holders,
        };
        match self.step(order.node, step).await {
            Ok(StepOutcome::Done) => Ok(()),
            Ok(StepOutcome::Failed(failure)) => Err(failure),
            Ok(_) => Err(failure("an answer of another kind".to_owned())),
            Err(fault) => Err(ActorFailure {
                code: FailureCode::ProcessDied,
                message: fault.told(),
                traceback: None,
            }),
        }
    }

    async fn discard(&self, node: NodeId, actor: ActorId) {
        if node == self.node.id {
            return self.local.discard(node, actor).await;
        }
        let _lost = self.step(node, Step::Discard { actor }).await;
    }

    /// A member that does not get there within [`APPLIED_LIMIT`] is granted no more lease until it
    /// does; without one it is lost, and waited for no longer.
    async fn applied(&self, index: u64) {
        self.node.membership.sessions.hurry_all();
        let mut steps = JoinSet::new();
        for member in self.others() {
            let fleet = self.clone();
            steps.spawn(async move {
                let applied = fleet.step(member, Step::Applied { index });
                let demanded = async {
                    tokio::time::sleep(APPLIED_LIMIT).await;
                    tracing::warn!(%member, index, "a member does not apply what others wait for");
                    fleet.node.membership.sessions.require(member, index);
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    _done_or_lost = applied => {}
                    () = demanded => {}
                    () = fleet.without_lease(member) => {
                        tracing::info!(%member, "the former leader has no lease any more");
                    }
                }
            });
        }
        self.local.applied(index).await;
        while steps.join_next().await.is_some() {}
    }

    async fn deliver(&self, node: NodeId, key: StepKey, literal: &str) -> Result<(), Lost> {
        if node == self.node.id {
            return self.local.deliver(node, key, literal).await;
        }
        let actor = key.actor;
        let step = Step::Deliver {
            rollout: key.rollout,
            kind: step_number(key.step),
            actor,
            literal: literal.to_owned(),
        };
        self.done_or_lost(node, step, actor).await
    }

    async fn flush(&self, node: NodeId, actor: ActorId) -> Result<(), Lost> {
        if node == self.node.id {
            return self.local.flush(node, actor).await;
        }
        self.done_or_lost(node, Step::Flush { actor }, actor).await
    }

    async fn drain(&self, source: SourceHash, now: bool) {
        let elsewhere = self.everywhere(Step::Drain { source, now });
        tokio::join!(self.local.drain(source, now), elsewhere);
    }

    async fn end(&self, node: NodeId, actor: ActorId) {
        if node == self.node.id {
            return self.local.end(node, actor).await;
        }
        let _lost = self.step(node, Step::End { actor }).await;
    }

    fn fresh_actor(&self) -> ActorId {
        self.node.fresh_actor()
    }

    fn stamp(&self) -> Stamp {
        stamp()
    }
}

/// The incarnation of a member that is up.
fn up(state: &State, member: NodeId) -> Option<Incarnation> {
    let known = state.members.get(&member)?;
    (known.state == MemberState::Up).then_some(known.incarnation)
}

/// Name of a member, or its id.
pub(crate) fn name_of(state: &State, member: NodeId) -> String {
    let known = state.members.get(&member);
    known.map_or_else(|| member.to_string(), |member| member.name.clone())
}
