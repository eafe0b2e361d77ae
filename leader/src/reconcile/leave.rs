//! An operator's orders that leave a source: unload and rollback.
//!
//! The next version's actors that are gone are placed on members that can run them, before
//! anything is switched.

use convention::registry::next_active;
use convention::{Loads, is_each, is_open};
use protocol::registry::{
    Command, HistoryEntry, Outcome, Refusal, Replacement, RolloutKind, Slot, SlotState,
    SourceState, State,
};
use protocol::{NodeId, RequestId, SlotId, SourceHash};

use super::director::{Director, OrderError};
use super::fleet::Fleet;
use super::replica::Replica;

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

/// A group's active source is to be left.
struct Leave<'a> {
    request: RequestId,
    group: &'a str,
    from: SourceHash,
    kind: RolloutKind,
    now: bool,
    by: &'a str,
}

impl<R: Replica, F: Fleet> Director<R, F> {
    /// Unloads the source that this prefix of a hash names; answers when its actors have ended.
    /// The same request again is answered as the first time.
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
        self.leading()?;
        if let Some(outcome) = self.recorded(request) {
            return self.unloaded_before(prefix, request, outcome).await;
        }
        let hash = self.replica.read(|state| find_source(state, prefix))?;
        // The same bytes may be loaded again as soon as they are gone: that is another load.
        let mut unloading = None;
        loop {
            let group = self.replica.read(|state| {
                let source = state.sources.get(&hash)?;
                let active = active(state, &source.group);
                Some((source.group.clone(), active == Some(hash), source.order))
            });
            let Some((group, active, order)) = group else {
                break;
            };
            if *unloading.get_or_insert(order) != order {
                break;
            }
            let outcome = if active {
                let leave = Leave {
                    request,
                    group: &group,
                    from: hash,
                    kind: RolloutKind::Unload,
                    now,
                    by,
                };
                self.leave_in_turn(&leave).await?
            } else {
                let drain = Command::Drain {
                    request,
                    hash,
                    now,
                    by: by.to_owned(),
                    stamp: self.fleet.stamp(),
                };
                self.replica.propose(drain).await?.1
            };
            match outcome {
                Outcome::Began { .. } | Outcome::Ended { .. } => {
                    self.ended(request, outcome).await?;
                }
                // It may be the active one by now.
                Outcome::Refused(Refusal::Busy { .. }) => {
                    self.group_at_rest(&group).await?;
                    continue;
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
            self.wait_until(|state| !there(state)).await?;
        }
        Ok(Unloaded(hash))
    }

    /// The answer to an unload that was ordered before, perhaps of another leader.
    async fn unloaded_before(
        &self,
        prefix: &str,
        request: RequestId,
        outcome: Outcome,
    ) -> Result<Unloaded, OrderError> {
        let (from, _) = self.ended(request, outcome).await?;
        let hash = match from {
            Some(hash) => hash,
            None => self.replica.read(|state| find_unloaded(state, prefix))?,
        };
        let draining = |state: &State| {
            let source = state.sources.get(&hash);
            source.is_some_and(|source| matches!(source.state, SourceState::Draining { .. }))
        };
        self.wait_until(|state| !draining(state)).await?;
        Ok(Unloaded(hash))
    }

    /// Switches a group back to its highest other version and withdraws the one it leaves. The
    /// same request again is answered as the first time.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn rollback(
        &self,
        group: &str,
        request: RequestId,
        by: &str,
    ) -> Result<Left, OrderError> {
        self.leading()?;
        let outcome = match self.recorded(request) {
            Some(outcome) => outcome,
            None => self.begin_rollback(group, request, by).await?,
        };
        match self.ended(request, outcome).await? {
            (Some(from), Some(to)) => Ok(Left { from, to }),
            _ => Err(OrderError::Failed {
                reason: "another order overtook it".to_owned(),
            }),
        }
    }

    async fn begin_rollback(
        &self,
        group: &str,
        request: RequestId,
        by: &str,
    ) -> Result<Outcome, OrderError> {
        let Some(from) = self.replica.read(|state| active(state, group)) else {
            return Err(OrderError::Failed {
                reason: format!("group `{group}` has no active version"),
            });
        };
        let leave = Leave {
            request,
            group,
            from,
            kind: RolloutKind::Rollback,
            now: false,
            by,
        };
        match self.leave_in_turn(&leave).await? {
            Outcome::Refused(refusal) => Err(refusal.into()),
            outcome => Ok(outcome),
        }
    }

    /// Proposes until the group has no other rollout in progress.
    async fn leave_in_turn(&self, leave: &Leave<'_>) -> Result<Outcome, OrderError> {
        loop {
            let command = Command::Leave {
                request: leave.request,
                group: leave.group.to_owned(),
                from: leave.from,
                kind: leave.kind,
                replacements: self.replacements(leave).await?,
                now: leave.now,
                by: leave.by.to_owned(),
                stamp: self.fleet.stamp(),
            };
            match self.replica.propose(command).await?.1 {
                Outcome::Refused(Refusal::Busy { .. }) => self.group_at_rest(leave.group).await?,
                outcome => return Ok(outcome),
            }
        }
    }

    /// Members for the actors of the next version that are gone. A rollback to a version that
    /// nobody can run is refused; after an unload its role waits.
    async fn replacements(&self, leave: &Leave<'_>) -> Result<Vec<Replacement>, OrderError> {
        let gone = self.replica.read(|state| gone(state, leave));
        let mut loads = self.replica.read(Loads::of);
        let mut replacements = Vec::new();
        for (id, slot, each) in gone {
            let mut candidates = self.fleet.candidates(slot.source, slot.position).await;
            self.replica
                .read(|state| candidates.retain(|node| is_open(state, *node)));
            if each {
                candidates.retain(|node| *node == slot.node);
            }
            match loads.choose(&candidates, slot.node) {
                Some(node) => replacements.push(self.replacement(id, node)),
                None if each || leave.kind == RolloutKind::Unload => {}
                None => {
                    let (class, group) = (&slot.class, leave.group);
                    let reason = format!(
                        "no member can run `{class}` of the version of `{group}` to go back to"
                    );
                    return Err(OrderError::Failed { reason });
                }
            }
        }
        Ok(replacements)
    }

    fn replacement(&self, slot: SlotId, node: NodeId) -> Replacement {
        let actor = self.fleet.fresh_actor();
        Replacement { slot, node, actor }
    }
}

/// The slots of the next version that do not run, and whether each is one of several.
fn gone(state: &State, leave: &Leave<'_>) -> Vec<(SlotId, Slot, bool)> {
    let Some(next) = next_active(state, leave.group, leave.from) else {
        return Vec::new();
    };
    let slots = state.slots.iter();
    let gone = slots.filter(|(_, slot)| {
        slot.source == next && !matches!(slot.state, SlotState::Running | SlotState::Stopped)
    });
    gone.map(|(id, slot)| (*id, slot.clone(), is_each(state, slot)))
        .collect()
}

fn active(state: &State, group: &str) -> Option<SourceHash> {
    state.groups.get(group).and_then(|group| group.active)
}

/// The source that an unload of this prefix was about: loaded still, or in the history.
fn find_unloaded(state: &State, prefix: &str) -> Result<SourceHash, OrderError> {
    let draining = state.sources.iter().filter(|(hash, source)| {
        matches!(source.state, SourceState::Draining { .. }) && starts_with(**hash, prefix)
    });
    let draining = draining.map(|(hash, _)| *hash).next();
    let histories = state.groups.values().flat_map(|group| &group.history);
    let unloaded =
        |entry: &&HistoryEntry| entry.what == "unloaded" && starts_with(entry.hash, prefix);
    let unloaded = || histories.filter(unloaded).max_by_key(|entry| entry.stamp);
    match draining.or_else(|| unloaded().map(|entry| entry.hash)) {
        Some(hash) => Ok(hash),
        None => find_source(state, prefix),
    }
}

fn starts_with(hash: SourceHash, prefix: &str) -> bool {
    hash.to_string().starts_with(&prefix.to_lowercase())
}

fn find_source(state: &State, prefix: &str) -> Result<SourceHash, OrderError> {
    let matches: Vec<_> = state
        .sources
        .keys()
        .filter(|hash| starts_with(**hash, prefix))
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
