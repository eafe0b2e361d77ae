//! Gives Director actors a member: one that waits, one that has to move, one more of each.
//!
//! The registry says who is open; the fleet says which of them can run the actor. When nobody
//! can, the slot says so, and the question is asked again when the members change.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use convention::{Loads, is_drained, is_each, is_open, places, why_nowhere};
use protocol::registry::{
    Command, MemberState, Outcome, Placement, Replacement, Slot, SlotState, State,
};
use protocol::{ActorId, NodeId, SlotId, SourceHash};

use super::Reconciler;
use super::fleet::Fleet;
use super::replica::{ProposeFailure, Replica};

/// Time for an actor to exit on the member that it leaves.
const END_LIMIT: Duration = Duration::from_secs(6);

/// After this a member is looked for again although none has changed: one may trust a new key.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Starts within the restart window after which an actor's own member is asked whether it can
/// still run it.
const STARTS_UNASKED: usize = 2;

impl<R: Replica, F: Fleet> Reconciler<R, F> {
    /// Gives a waiting slot a fresh address on a member that can run it.
    pub(super) async fn restart(&self, id: SlotId) -> Result<(), ProposeFailure> {
        let members = self.replica.read(roll_call);
        let Some(slot) = self.waiting(id) else {
            return Ok(());
        };
        self.end_the_last(&slot).await;
        if let Some(node) = self.place_for(&slot).await {
            return self.start(id, node).await.map(|_| ());
        }
        let (reason, stamp) = (
            self.replica.read(|state| why_nowhere(state, &slot)),
            self.fleet.stamp(),
        );
        let displace = Command::Displace {
            slot: id,
            actor: slot.actor,
            reason,
            stamp,
        };
        self.replica.propose(displace).await?;
        self.until_members_change(members, |state| is_waiting(state, id))
            .await;
        Ok(())
    }

    fn waiting(&self, id: SlotId) -> Option<Slot> {
        self.replica.read(|state| {
            let slot = state.slots.get(&id).cloned();
            slot.filter(|slot| matches!(slot.state, SlotState::Waiting { .. }))
        })
    }

    pub(super) async fn start(
        &self,
        slot: SlotId,
        node: NodeId,
    ) -> Result<Outcome, ProposeFailure> {
        let actor = self.fleet.fresh_actor();
        let replacement = Replacement { slot, node, actor };
        let stamp = self.fleet.stamp();
        let start = Command::Start { replacement, stamp };
        self.replica
            .propose(start)
            .await
            .map(|(_, outcome)| outcome)
    }

    /// The member for a slot's next actor: the one it was on if only its process died.
    pub(super) async fn place_for(&self, slot: &Slot) -> Option<NodeId> {
        let (own_is_open, each) = self
            .replica
            .read(|state| (is_open(state, slot.node), is_each(state, slot)));
        if own_is_open && slot.recent.len() <= STARTS_UNASKED {
            return Some(slot.node);
        }
        if each && !own_is_open {
            return None;
        }
        let mut candidates = self.fleet.candidates(slot.source, slot.position).await;
        self.replica.read(|state| {
            candidates.retain(|node| is_open(state, *node));
            if each {
                return candidates.contains(&slot.node).then_some(slot.node);
            }
            Loads::of(state).choose(&candidates, slot.node)
        })
    }

    /// The actor that a slot had before may still live on a member that is drained or stops.
    async fn end_the_last(&self, slot: &Slot) {
        let there = self.replica.read(|state| {
            let member = state.members.get(&slot.node);
            member.is_some_and(|member| member.state != MemberState::Lost)
        });
        if there && slot.actor != ActorId::NONE {
            let ending = self.fleet.end(slot.node, slot.actor);
            if tokio::time::timeout(END_LIMIT, ending).await.is_err() {
                tracing::warn!(node = %slot.node, actor = %slot.actor, "its end was not heard of");
            }
        }
    }

    /// Moves an actor away from its drained member: messages to its role wait until it stands
    /// elsewhere.
    pub(super) async fn evict(&self, id: SlotId) -> Result<(), ProposeFailure> {
        let found = self.replica.read(|state| {
            let slot = state.slots.get(&id)?;
            let moves = slot.state == SlotState::Running && is_drained(state, slot.node);
            let member = state.members.get(&slot.node)?.name.clone();
            let active = state.groups.get(&slot.group).and_then(|group| group.active);
            moves.then(|| (slot.clone(), member, active == Some(slot.source)))
        });
        let Some((slot, member, active)) = found else {
            return Ok(());
        };
        let reason = format!("member `{member}` is drained");
        let actor = slot.actor;
        let command = if active {
            let stamp = self.fleet.stamp();
            Command::Displace {
                slot: id,
                actor,
                reason,
                stamp,
            }
        } else {
            self.end_the_last(&slot).await;
            let stamp = self.fleet.stamp();
            Command::Ended {
                slot: id,
                actor,
                reason,
                stamp,
            }
        };
        self.replica.propose(command).await.map(|_| ())
    }

    /// Gives an actor that belongs on each member a slot on every candidate without one.
    pub(super) async fn extend(
        &self,
        hash: SourceHash,
        position: u32,
    ) -> Result<(), ProposeFailure> {
        let members = self.replica.read(roll_call);
        let candidates = self.fleet.candidates(hash, position).await;
        let found = self.replica.read(|state| {
            let class = class_of(state, hash, position)?;
            let there = places(state, hash, position);
            let lacking = candidates
                .into_iter()
                .filter(|node| is_open(state, *node) && !there.contains(node));
            Some((class, lacking.collect::<Vec<_>>()))
        });
        let Some((class, lacking)) = found else {
            return Ok(());
        };
        for node in &lacking {
            let placement = Placement {
                position,
                class: class.clone(),
                node: *node,
                actor: self.fleet.fresh_actor(),
            };
            let stamp = self.fleet.stamp();
            let extend = Command::Extend {
                hash,
                placement,
                stamp,
            };
            self.replica.propose(extend).await?;
        }
        if lacking.is_empty() {
            let active = |state: &State| state.groups.values().any(|g| g.active == Some(hash));
            self.until_members_change(members, active).await;
        }
        Ok(())
    }

    /// Waits until the members differ from `seen`, `needed` no longer holds, or it is time to ask
    /// again.
    async fn until_members_change(&self, seen: u64, needed: impl Fn(&State) -> bool) {
        let mut applied = self.replica.applied();
        let same = |state: &State| roll_call(state) == seen && needed(state);
        let changing = async {
            while self.replica.read(same) {
                if applied.changed().await.is_err() {
                    return;
                }
            }
        };
        let _asked_again = tokio::time::timeout(ASK_AGAIN, changing).await;
    }
}

/// What decides who can run what, in a number.
fn roll_call(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (node, member) in &state.members {
        node.hash(&mut hasher);
        member.incarnation.hash(&mut hasher);
        (member.state == MemberState::Up).hash(&mut hasher);
        member.admission.drained.hash(&mut hasher);
        member.capabilities.hash(&mut hasher);
    }
    hasher.finish()
}

fn is_waiting(state: &State, id: SlotId) -> bool {
    let slot = state.slots.get(&id);
    slot.is_some_and(|slot| matches!(slot.state, SlotState::Waiting { .. }))
}

/// The class at a position, as the preflight resolved it for another member.
fn class_of(state: &State, hash: SourceHash, position: u32) -> Option<String> {
    let mut slots = state.slots.values();
    let resolved = slots.find(|slot| slot.source == hash && slot.position == position);
    let definition = &state.sources.get(&hash)?.definition;
    let named = definition.actors.get(position as usize)?;
    Some(resolved.map_or_else(|| named.class.clone(), |slot| slot.class.clone()))
}
