//! The leader's side of an operator's orders: load, unload, rollback, and what is done to a role.
//!
//! Each order ends when the convention is in the state asked for, or with the reason why not.
//! A group has one rollout at a time; an order for a busy group waits for its turn.

use std::sync::Arc;

use convention::registry::{next_active, version_key};
use protocol::control::{ActorFailure, Reach};
use protocol::registry::{
    Command, Outcome, Placement, Refusal, Replacement, RolloutKind, SlotState, SourceState, State,
};
use protocol::{GroupDefinition, NodeId, RequestId, RolloutId, SourceHash};

use super::fleet::{Fleet, Preflight};
use super::replica::{ProposeFailure, Replica};

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

/// A source that is unloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unloaded(pub SourceHash);

/// A rollback that ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// The version left.
    pub from: SourceHash,
    /// The version active now.
    pub to: SourceHash,
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

    /// Makes a source active; answers when it is, everywhere.
    ///
    /// # Errors
    /// [`OrderError`]; whatever it is, the version that was active before still is, except after
    /// [`ProposeFailure::Unknown`].
    pub async fn load(&self, order: &LoadOrder) -> Result<Loaded, OrderError> {
        if let Some(note) = self.replica.read(|state| skipped(state, order)) {
            return Ok(Loaded {
                changed: false,
                notes: vec![note],
            });
        }
        self.not_draining(order.hash)?;
        let looked_at = self
            .fleet
            .preflight(order.hash, &order.group, &order.definition, order.origin)
            .await;
        // A drain ends the forkserver of its source, and with it a preflight of the same bytes.
        if looked_at.is_err() {
            self.not_draining(order.hash)?;
        }
        let preflight = looked_at?;
        let placements = self.place(&preflight)?;
        let command = || Command::Load {
            request: order.request,
            hash: order.hash,
            group: order.group.clone(),
            version: order.version.clone(),
            bytes: order.bytes,
            definition: order.definition.clone(),
            placements: placements.clone(),
            by: order.by.clone(),
            stamp: self.fleet.stamp(),
        };
        match self.propose_in_turn(&order.group, command).await? {
            Outcome::Began { rollout } if order.no_wait => {
                tracing::info!(rollout = rollout.0, "load answers at commit");
            }
            Outcome::Began { rollout } => {
                self.loaded(rollout, &order.group, order.hash).await?;
            }
            Outcome::Refused(refusal) => return Err(refusal.into()),
            _ => {
                let notes = vec![format!("{} is active already", order.hash.short())];
                return Ok(Loaded {
                    changed: false,
                    notes,
                });
            }
        }
        Ok(Loaded {
            changed: true,
            notes: preflight.notes,
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

    /// Unloads the source that this prefix of a hash names; answers when its actors have ended.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn unload(
        &self,
        prefix: &str,
        request: RequestId,
        now: bool,
        by: &str,
    ) -> Result<Unloaded, OrderError> {
        let hash = self.replica.read(|state| find_source(state, prefix))?;
        // The same bytes may be loaded again as soon as they are gone: that is another load.
        let mut unloading = None;
        loop {
            let group = self.replica.read(|state| {
                let source = state.sources.get(&hash)?;
                let active = state
                    .groups
                    .get(&source.group)
                    .and_then(|group| group.active);
                Some((source.group.clone(), active == Some(hash), source.order))
            });
            let Some((group, active, order)) = group else {
                break;
            };
            if *unloading.get_or_insert(order) != order {
                break;
            }
            let outcome = if active {
                let kind = RolloutKind::Unload;
                self.propose_in_turn(&group, || self.leave(&group, hash, kind, request, now, by))
                    .await?
            } else {
                let drain = || {
                    let (by, stamp) = (by.to_owned(), self.fleet.stamp());
                    Command::Drain {
                        request,
                        hash,
                        now,
                        by,
                        stamp,
                    }
                };
                // Busy: it may be the active one by now.
                match self.replica.propose(drain()).await?.1 {
                    Outcome::Refused(Refusal::Busy { .. }) => {
                        self.group_at_rest(&group).await;
                        continue;
                    }
                    outcome => outcome,
                }
            };
            match outcome {
                Outcome::Began { rollout } => {
                    self.finished(rollout, &group, |active| active != Some(hash))
                        .await?;
                }
                // The active version changed between the look and the command.
                Outcome::Refused(Refusal::UnknownSource { .. }) => continue,
                Outcome::Refused(Refusal::Draining { .. }) => {}
                Outcome::Refused(refusal) => return Err(refusal.into()),
                _ => {}
            }
            break;
        }
        if let Some(order) = unloading {
            let there = |state: &State| state.sources.get(&hash).is_some_and(|s| s.order == order);
            self.wait_until(|state| !there(state)).await;
        }
        Ok(Unloaded(hash))
    }

    /// Switches a group back to its highest other version and withdraws the one it leaves.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn rollback(
        &self,
        group: &str,
        request: RequestId,
        by: &str,
    ) -> Result<Left, OrderError> {
        let active = self
            .replica
            .read(|s| s.groups.get(group).and_then(|group| group.active));
        let Some(from) = active else {
            return Err(OrderError::Failed {
                reason: format!("group `{group}` has no active version"),
            });
        };
        let kind = RolloutKind::Rollback;
        let command = || self.leave(group, from, kind, request, false, by);
        match self.propose_in_turn(group, command).await? {
            Outcome::Began { rollout } => {
                self.finished(rollout, group, |active| active != Some(from))
                    .await?;
            }
            Outcome::Refused(refusal) => return Err(refusal.into()),
            _ => {}
        }
        match self
            .replica
            .read(|s| s.groups.get(group).and_then(|group| group.active))
        {
            Some(to) if to != from => Ok(Left { from, to }),
            _ => Err(OrderError::Failed {
                reason: self.last_failure(group),
            }),
        }
    }

    fn leave(
        &self,
        group: &str,
        from: SourceHash,
        kind: RolloutKind,
        request: RequestId,
        now: bool,
        by: &str,
    ) -> Command {
        let gone = self.replica.read(|state| {
            let next = next_active(state, group, from);
            let slots = state
                .slots
                .iter()
                .filter(|(_, slot)| Some(slot.source) == next && slot.state != SlotState::Running);
            slots.map(|(id, slot)| (*id, slot.node)).collect::<Vec<_>>()
        });
        let replacements = gone.into_iter().map(|(slot, node)| Replacement {
            slot,
            node,
            actor: self.fleet.fresh_actor(),
        });
        Command::Leave {
            request,
            group: group.to_owned(),
            from,
            kind,
            replacements: replacements.collect(),
            now,
            by: by.to_owned(),
            stamp: self.fleet.stamp(),
        }
    }

    /// Proposes until the group has no other rollout in progress.
    async fn propose_in_turn(
        &self,
        group: &str,
        command: impl Fn() -> Command,
    ) -> Result<Outcome, OrderError> {
        loop {
            match self.replica.propose(command()).await?.1 {
                Outcome::Refused(Refusal::Busy { .. }) => self.group_at_rest(group).await,
                outcome => return Ok(outcome),
            }
        }
    }

    async fn group_at_rest(&self, group: &str) {
        let busy = |state: &State| state.rollouts.values().any(|r| r.group == group);
        self.wait_until(|state| !busy(state)).await;
    }

    fn place(&self, preflight: &Preflight) -> Result<Vec<Placement>, OrderError> {
        let mut placements = Vec::new();
        for (position, class) in preflight.classes.iter().enumerate() {
            if let Some(failure) = &class.failure {
                return Err(failure.clone().into());
            }
            let node = preflight
                .nodes
                .get(position)
                .and_then(|nodes| nodes.first());
            let (Some(node), Some(resolved)) = (node, &class.class) else {
                let reason = format!("no member can run `{}`", class.name);
                return Err(OrderError::Failed { reason });
            };
            placements.push(Placement {
                position: position as u32,
                class: resolved.clone(),
                node: *node,
                actor: self.fleet.fresh_actor(),
            });
        }
        Ok(placements)
    }

    /// Waits for a rollout's end; `Err` when the group's active source is not as `wanted`.
    async fn finished(
        &self,
        id: RolloutId,
        group: &str,
        wanted: impl Fn(Option<SourceHash>) -> bool,
    ) -> Result<(), OrderError> {
        self.wait_until(|state| !state.rollouts.contains_key(&id))
            .await;
        if wanted(
            self.replica
                .read(|s| s.groups.get(group).and_then(|group| group.active)),
        ) {
            return Ok(());
        }
        Err(OrderError::Failed {
            reason: self.last_failure(group),
        })
    }

    /// Waits for the end of a load's rollout and says how it went, whatever happened since.
    async fn loaded(&self, id: RolloutId, group: &str, hash: SourceHash) -> Result<(), OrderError> {
        self.wait_until(|state| !state.rollouts.contains_key(&id))
            .await;
        let last = self.replica.read(|state| {
            let history = &state.groups.get(group)?.history;
            let mut ends = history.iter().filter(|e| e.hash == hash && is_end(&e.what));
            ends.next_back()
                .map(|entry| (entry.what.clone(), entry.detail.clone()))
        });
        match last {
            Some((what, reason)) if what != "active" => Err(OrderError::Failed { reason }),
            _ => Ok(()),
        }
    }

    fn last_failure(&self, group: &str) -> String {
        let found = self.replica.read(|state| {
            let history = &state.groups.get(group)?.history;
            let failed = history
                .iter()
                .rev()
                .find(|e| e.what == "refused" || e.what == "reverted");
            failed.map(|entry| entry.detail.clone())
        });
        found.unwrap_or_else(|| "another order overtook it".to_owned())
    }

    pub(super) async fn wait_until(&self, done: impl Fn(&State) -> bool) {
        let mut applied = self.replica.applied();
        while !self.replica.read(&done) {
            if applied.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Whether an entry of the history says how a rollout ended.
fn is_end(what: &str) -> bool {
    matches!(what, "active" | "refused" | "reverted")
}

/// Why a load has nothing to do, if so.
fn skipped(state: &State, order: &LoadOrder) -> Option<String> {
    let group = state.groups.get(&order.group)?;
    let active = group.active?;
    if active == order.hash {
        return Some(format!("{} is active already", order.hash.short()));
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

fn find_source(state: &State, prefix: &str) -> Result<SourceHash, OrderError> {
    let matches: Vec<_> = state
        .sources
        .keys()
        .filter(|hash| hash.to_string().starts_with(&prefix.to_lowercase()))
        .collect();
    let several = || {
        matches
            .iter()
            .map(|h| h.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    match matches.as_slice() {
        [hash] if !prefix.is_empty() => Ok(**hash),
        [] => Err(OrderError::Hash {
            what: format!("no loaded source has a hash that starts with `{prefix}`"),
        }),
        _ => Err(OrderError::Hash {
            what: format!("`{prefix}` is the start of several hashes: {}", several()),
        }),
    }
}
