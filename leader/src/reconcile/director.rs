//! The leader's side of an operator's orders: a load, and how every order waits for its end.
//!
//! Each order ends when the convention is in the state asked for, or with the reason why not.
//! A group has one rollout at a time; an order for a busy group waits for its turn.
//! A node that does not lead refuses; one that stops leading says that the end is unknown, and the
//! same request to the next leader is answered as if nothing had happened.
//! Not here: unload and rollback (`leave`), what is done to a role (`roles`).

use std::sync::Arc;
use std::time::Duration;

use convention::Loads;
use convention::registry::version_key;
use protocol::control::{ActorFailure, FailureCode, PreparedClass, Reach};
use protocol::definition;
use protocol::registry::{Command, Outcome, Placement, Refusal, SourceState, State};
use protocol::{GroupDefinition, NodeId, RequestId, SourceHash};

use super::fleet::{Fleet, Preflight};
use super::replica::{ProposeFailure, Replica};

/// How often one who waits looks whether this node still leads.
const LEADS_CHECK: Duration = Duration::from_millis(500);

/// A verified package, held in the store, to be made active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOrder {
    /// Idempotency id.
    pub request: RequestId,
    /// The source.
    pub hash: SourceHash,
    /// Its group.
    pub group: String,
    /// Its version.
    pub version: Option<String>,
    /// Bytes of the package.
    pub bytes: u64,
    /// The group's definition.
    pub definition: GroupDefinition,
    /// Who asks.
    pub by: String,
    /// Member that the load came from.
    pub origin: NodeId,
    /// Who pulls and verifies the package before the switch.
    pub reach: Reach,
    /// Answer at commit; a class that no member fits waits for one.
    pub no_wait: bool,
    /// Only if the version is higher than the active one and not withdrawn.
    pub upwards_only: bool,
}

/// A load that ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Whether anything changed.
    pub changed: bool,
    /// Why not, and what an operator should know.
    pub notes: Vec<String>,
}

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The registry refuses.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The code cannot be brought up; the running version is untouched.
    #[error("{0}")]
    Code(#[from] ActorFailure),
    /// The rollout failed; the version before is active.
    #[error("{reason}")]
    Failed {
        /// Why, with a traceback if there is one.
        reason: String,
    },
    /// A prefix of a hash means nothing or several things.
    #[error("{what}")]
    Hash {
        /// What is wrong.
        what: String,
    },
    /// The registry could not be written.
    #[error(transparent)]
    Propose(#[from] ProposeFailure),
}

/// Carries out an operator's orders at the leader.
#[derive(Debug)]
pub struct Director<R, F> {
    pub(super) replica: Arc<R>,
    pub(super) fleet: Arc<F>,
}

impl<R: Replica, F: Fleet> Director<R, F> {
    /// A director over this registry and fleet.
    #[must_use]
    pub fn new(replica: Arc<R>, fleet: Arc<F>) -> Self {
        Self { replica, fleet }
    }

    /// Makes a source active; answers when it is, everywhere. The same request again is answered
    /// as the first time, by whoever leads then.
    ///
    /// # Errors
    /// [`OrderError`]; whatever it is, the version that was active before still is, except after
    /// [`ProposeFailure::Unknown`].
    pub async fn load(&self, order: &LoadOrder) -> Result<Loaded, OrderError> {
        self.leading()?;
        if let Some(outcome) = self.recorded(order.request) {
            return self.loaded(order, outcome, Vec::new()).await;
        }
        if self.replica.read(|state| skipped(state, order)).is_some() {
            self.replica.confirm().await?;
            // What was read before may have been older.
            if let Some(note) = self.replica.read(|state| skipped(state, order)) {
                return Ok(unchanged(note));
            }
        }
        self.not_draining(order.hash)?;
        let mut notes = self.hold(order).await?;
        // Bytes that are loaded already keep the definition that came with them.
        let known = self
            .replica
            .read(|s| s.sources.get(&order.hash).map(|s| s.definition.clone()));
        let definition = known.unwrap_or_else(|| order.definition.clone());
        let preflight = self.preflight(order, &definition).await?;
        notes.extend(preflight.notes.iter().cloned());
        let placements = self.place(order, &definition, &preflight)?;
        let command = || Command::Load {
            request: order.request,
            hash: order.hash,
            group: order.group.clone(),
            version: order.version.clone(),
            bytes: order.bytes,
            definition: definition.clone(),
            placements: placements.clone(),
            by: order.by.clone(),
            stamp: self.fleet.stamp(),
        };
        let outcome = self.propose_in_turn(order, command).await?;
        if matches!(outcome, Outcome::Began { .. } | Outcome::Ended { .. })
            && let Err(failure) = self.fleet.secure(order.hash, order.bytes).await
        {
            // It is committed; whoever leads goes on bringing it to the voters.
            notes.push(failure.message);
        }
        self.loaded(order, outcome, notes).await
    }

    async fn hold(&self, order: &LoadOrder) -> Result<Vec<String>, OrderError> {
        let (hash, bytes, reach) = (order.hash, order.bytes, order.reach);
        let held = self
            .fleet
            .hold(hash, bytes, reach, order.request, order.origin);
        Ok(held.await?)
    }

    async fn preflight(
        &self,
        order: &LoadOrder,
        definition: &GroupDefinition,
    ) -> Result<Preflight, OrderError> {
        let looked_at = self
            .fleet
            .preflight(order.hash, &order.group, definition, order.origin)
            .await;
        let failure = match looked_at {
            Ok(preflight) => return Ok(preflight),
            Err(failure) => failure,
        };
        // A drain ends the forkserver of its source, and with it a preflight of the same bytes.
        self.not_draining(order.hash)?;
        if !(order.no_wait && failure.code == FailureCode::NoCompatibleSystem) {
            return Err(failure.into());
        }
        let notes = vec![format!("{}; its role waits", failure.message)];
        let classes = definition.actors.iter().map(|actor| PreparedClass {
            name: actor.class.clone(),
            class: None,
            fits: Vec::new(),
            failure: Some(failure.clone()),
        });
        Ok(Preflight {
            classes: classes.collect(),
            nodes: vec![Vec::new(); definition.actors.len()],
            notes,
        })
    }

    /// The answer to a load of which the registry said this.
    async fn loaded(
        &self,
        order: &LoadOrder,
        outcome: Outcome,
        notes: Vec<String>,
    ) -> Result<Loaded, OrderError> {
        match outcome {
            Outcome::Began { rollout } if order.no_wait => {
                tracing::info!(rollout = rollout.0, "load answers at commit");
            }
            Outcome::Began { .. } | Outcome::Ended { .. } => {
                self.ended(order.request, outcome).await?;
            }
            Outcome::Refused(refusal) => return Err(refusal.into()),
            _ => return Ok(unchanged(active_already(order.hash))),
        }
        Ok(Loaded {
            changed: true,
            notes,
        })
    }

    fn not_draining(&self, hash: SourceHash) -> Result<(), Refusal> {
        let state = self
            .replica
            .read(|s| s.sources.get(&hash).map(|source| source.state));
        match state {
            Some(SourceState::Draining { .. }) => Err(Refusal::Draining { hash }),
            _ => Ok(()),
        }
    }

    /// Proposes until the group has no other rollout in progress; each time only what survives
    /// any minority of those that vote then.
    async fn propose_in_turn(
        &self,
        order: &LoadOrder,
        command: impl Fn() -> Command,
    ) -> Result<Outcome, OrderError> {
        loop {
            self.fleet.secure(order.hash, order.bytes).await?;
            match self.replica.propose(command()).await?.1 {
                Outcome::Refused(Refusal::Busy { .. }) => self.group_at_rest(&order.group).await?,
                outcome => return Ok(outcome),
            }
        }
    }

    pub(super) async fn group_at_rest(&self, group: &str) -> Result<(), ProposeFailure> {
        let busy = |state: &State| state.rollouts.values().any(|r| r.group == group);
        self.wait_until(|state| !busy(state)).await
    }

    /// Where each actor goes: `each` on all members that fit, `one` on the member that the load
    /// came from if it fits, else on the one with the fewest Director actors.
    fn place(
        &self,
        order: &LoadOrder,
        definition: &GroupDefinition,
        preflight: &Preflight,
    ) -> Result<Vec<Placement>, OrderError> {
        let mut loads = self.replica.read(Loads::of);
        let mut placements = Vec::new();
        for ((actor, class), position) in definition.actors.iter().zip(&preflight.classes).zip(0..)
        {
            let nodes = preflight.nodes.get(position as usize);
            let fitting = fitting(class, nodes.map_or(&[], Vec::as_slice), order.no_wait)?;
            let chosen = match actor.placement {
                definition::Placement::Each => fitting.to_vec(),
                definition::Placement::One => {
                    let node = loads.choose(fitting, order.origin);
                    vec![node.unwrap_or(NodeId::NONE)]
                }
            };
            placements.extend(chosen.into_iter().map(|node| Placement {
                position,
                class: class.class.clone().unwrap_or_else(|| class.name.clone()),
                node,
                actor: self.fleet.fresh_actor(),
            }));
        }
        Ok(placements)
    }

    /// Refuses while another node leads.
    pub(super) fn leading(&self) -> Result<(), ProposeFailure> {
        if self.replica.leads() {
            return Ok(());
        }
        let reason = "this node does not lead the convention".to_owned();
        Err(ProposeFailure::Unavailable { reason })
    }

    /// What came of a request that was carried out before.
    pub(super) fn recorded(&self, request: RequestId) -> Option<Outcome> {
        self.replica.read(|state| {
            let recorded = state.requests.get(&request)?;
            Some(recorded.outcome.clone())
        })
    }

    /// Waits for the end of the rollout that a request began; gives what was active before it and
    /// what is active by it.
    pub(super) async fn ended(
        &self,
        request: RequestId,
        outcome: Outcome,
    ) -> Result<(Option<SourceHash>, Option<SourceHash>), OrderError> {
        let (Outcome::Began { rollout } | Outcome::Ended { rollout, .. }) = outcome else {
            return Ok((None, None));
        };
        self.wait_until(|state| !state.rollouts.contains_key(&rollout))
            .await?;
        match self.recorded(request).unwrap_or(outcome) {
            Outcome::Ended {
                failure: Some(reason),
                ..
            } => Err(OrderError::Failed { reason }),
            Outcome::Ended { from, to, .. } => Ok((from, to)),
            _ => {
                let reason = "its end is so long ago that it is forgotten".to_owned();
                Err(ProposeFailure::Unknown { reason }.into())
            }
        }
    }

    /// Waits until something holds of the registry, as long as this node leads.
    pub(super) async fn wait_until(
        &self,
        done: impl Fn(&State) -> bool,
    ) -> Result<(), ProposeFailure> {
        let mut applied = self.replica.applied();
        loop {
            if self.replica.read(&done) {
                return Ok(());
            }
            if !self.replica.leads() {
                let reason = "this node leads no longer; the next leader goes on".to_owned();
                return Err(ProposeFailure::Unknown { reason });
            }
            let changed = tokio::time::timeout(LEADS_CHECK, applied.changed()).await;
            if let Ok(Err(_closed)) = changed {
                let reason = "the registry is closed".to_owned();
                return Err(ProposeFailure::Unknown { reason });
            }
        }
    }
}

/// The members on which a class fits; none only where it may wait for one.
fn fitting<'a>(
    class: &PreparedClass,
    nodes: &'a [NodeId],
    no_wait: bool,
) -> Result<&'a [NodeId], OrderError> {
    match &class.failure {
        Some(failure) if no_wait && failure.code == FailureCode::NoCompatibleSystem => Ok(&[]),
        Some(failure) => Err(failure.clone().into()),
        None if nodes.is_empty() && !no_wait => {
            let reason = format!("no member can run `{}`", class.name);
            Err(OrderError::Failed { reason })
        }
        None => Ok(nodes),
    }
}

fn active_already(hash: SourceHash) -> String {
    format!("{} is active already", hash.short())
}

fn unchanged(note: String) -> Loaded {
    Loaded {
        changed: false,
        notes: vec![note],
    }
}

/// Why a load has nothing to do, if so.
fn skipped(state: &State, order: &LoadOrder) -> Option<String> {
    let group = state.groups.get(&order.group)?;
    let active = group.active?;
    if active == order.hash {
        return Some(active_already(order.hash));
    }
    if !order.upwards_only {
        return None;
    }
    if group.withdrawn.contains(&order.hash) {
        return Some(format!(
            "{} was withdrawn by a rollback; `load` its file to bring it back",
            order.hash.short()
        ));
    }
    let running = state.sources.get(&active)?.version.as_deref();
    let lower = version_key(order.version.as_deref()) <= version_key(running);
    lower.then(|| {
        let shown = running.unwrap_or("without a number");
        format!("version {shown} is active and not lower")
    })
}
