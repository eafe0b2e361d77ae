//! What roles and global names stand for, read off the registry.
//!
//! Every node derives its routing from this after each applied index, so that a switch is one
//! step everywhere and a restarted node comes to the same answer. An actor that is placed on each
//! member is its own node's first; on a node without one, any that runs.

use std::collections::BTreeMap;

use protocol::definition::ActorDefinition;
use protocol::registry::{RolloutStep, Slot, SlotState, State};
use protocol::{ActorId, NodeId, RoleId, SlotId, SourceHash};

/// Where messages to a role go now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// To this actor.
    Bound(ActorId),
    /// They wait: a rollout holds the group, or the actor starts.
    Held,
    /// Nowhere; why.
    Unbound(String),
}

/// A role, its names, and where its messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleStanding {
    /// The group.
    pub group: String,
    /// The role.
    pub role: String,
    /// Where messages go.
    pub standing: Standing,
}

/// Every role that any loaded source defines, by address, as seen from the node `own`.
#[must_use]
pub fn role_standings(state: &State, own: Option<NodeId>) -> BTreeMap<RoleId, RoleStanding> {
    let best = best_slots(state, own);
    let best = |hash, position| best.get(&(hash, position)).copied();
    let mut standings = BTreeMap::new();
    for source in state.sources.values() {
        let roles = source
            .definition
            .actors
            .iter()
            .filter_map(|actor| actor.role.as_ref());
        for role in roles {
            standings
                .entry(RoleId::of(&source.group, role))
                .or_insert_with(|| RoleStanding {
                    group: source.group.clone(),
                    role: role.clone(),
                    standing: standing(state, &source.group, role, best),
                });
        }
    }
    standings
}

/// Where the holder of a global name of a `.tli` stands; `None` when no active source has it.
#[must_use]
pub fn name_standing(state: &State, name: &str, own: Option<NodeId>) -> Option<Standing> {
    let (_, slot) = find_name(state, name, own)?;
    Some(if is_held(state, &slot.group) {
        Standing::Held
    } else {
        standing_of(slot, name)
    })
}

fn standing<'a>(
    state: &State,
    group: &str,
    role: &str,
    best: impl Fn(SourceHash, u32) -> Option<(SlotId, &'a Slot)>,
) -> Standing {
    if is_held(state, group) {
        return Standing::Held;
    }
    let plays = |actor: &ActorDefinition| actor.role.as_deref() == Some(role);
    match place_of(state, group, plays).and_then(|(hash, position)| best(hash, position)) {
        Some((_, slot)) => standing_of(slot, role),
        None => Standing::Unbound(format!(
            "no active version of `{group}` has the role `{role}`"
        )),
    }
}

fn is_held(state: &State, group: &str) -> bool {
    let mut rollouts = state.rollouts.values();
    rollouts.any(|rollout| rollout.group == group && rollout.step != RolloutStep::Construct)
}

fn standing_of(slot: &Slot, role: &str) -> Standing {
    match &slot.state {
        SlotState::Running => Standing::Bound(slot.actor),
        SlotState::Starting | SlotState::Standing | SlotState::Waiting { .. } => Standing::Held,
        SlotState::Failed { reason } => Standing::Unbound(format!("`{role}` failed: {reason}")),
        SlotState::Stopped => Standing::Unbound(format!("`{role}` is stopped")),
        SlotState::Gone => Standing::Unbound(format!("the actor of `{role}` has ended")),
    }
}

/// The slot that plays a role in the group's active source: the first in the definition's order,
/// and of several members' the one of `own`.
#[must_use]
pub fn find_role<'a>(
    state: &'a State,
    group: &str,
    role: &str,
    own: Option<NodeId>,
) -> Option<(SlotId, &'a Slot)> {
    let plays = |actor: &ActorDefinition| actor.role.as_deref() == Some(role);
    find(state, group, plays, own)
}

/// The slot that holds a global name of a `.tli`; of several members' the one of `own`.
#[must_use]
pub fn find_name<'a>(
    state: &'a State,
    name: &str,
    own: Option<NodeId>,
) -> Option<(SlotId, &'a Slot)> {
    let group = state.names.get(name)?;
    let holds = |actor: &ActorDefinition| actor.global_name.as_deref() == Some(name);
    find(state, group, holds, own)
}

fn find<'a>(
    state: &'a State,
    group: &str,
    wanted: impl Fn(&ActorDefinition) -> bool,
    own: Option<NodeId>,
) -> Option<(SlotId, &'a Slot)> {
    let place = place_of(state, group, wanted)?;
    let slots = state.slots.iter().map(|(id, slot)| (*id, slot));
    let there = slots.filter(|(_, slot)| (slot.source, slot.position) == place);
    there.min_by_key(|(_, slot)| rank(slot, own))
}

/// The first actor of a group's active source that is as wanted.
fn place_of(
    state: &State,
    group: &str,
    wanted: impl Fn(&ActorDefinition) -> bool,
) -> Option<(SourceHash, u32)> {
    let active = state.groups.get(group)?.active?;
    let source = state.sources.get(&active)?;
    let mut actors = source.definition.actors.iter().zip(0..);
    let (_, position) = actors.find(|(actor, _)| wanted(actor))?;
    Some((active, position))
}

type Best<'a> = BTreeMap<(SourceHash, u32), (SlotId, &'a Slot)>;

/// The slot that stands for each place, found in one pass for all roles.
fn best_slots(state: &State, own: Option<NodeId>) -> Best<'_> {
    let mut best = Best::new();
    for (id, slot) in &state.slots {
        let entry = best.entry((slot.source, slot.position));
        let known = entry.or_insert((*id, slot));
        if rank(slot, own) < rank(known.1, own) {
            *known = (*id, slot);
        }
    }
    best
}

/// One that runs first, then the own node's; of equals the first slot, so that every node without
/// one of its own comes to the same answer.
fn rank(slot: &Slot, own: Option<NodeId>) -> (bool, bool) {
    (slot.state != SlotState::Running, own != Some(slot.node))
}
