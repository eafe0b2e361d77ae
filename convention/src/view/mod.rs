//! Views: the part of the registry that a follower has.
//!
//! A view is itself a state, with only what concerns the member that has it and what it wished to
//! know; whatever is in it is as in the registry. In every view: the settings, the names of `.tli`
//! files, former members, the authorities, the member itself and the nodes that vote. By interest:
//! groups, each with its sources, Director actors and rollouts, and the members that host those;
//! single members.
//! A group that has had an actor on the member stays of interest to it.
//! In none: repeats of requests, tokens, approvals, the audit, a group's history but for the entry
//! that its source is active by.
//! Not here: the shapes that travel (`protocol::view`), how they do (`node`).

use std::collections::BTreeSet;

use protocol::registry::{Group, HistoryEntry, Roll, State};
use protocol::view::{Change, Settings, Wish};
use protocol::{NodeId, RoleId};

mod ledger;
pub use ledger::Ledger;
mod told;
pub use told::{Next, Told};

/// Whose view it is.
#[derive(Debug, Clone, Copy)]
pub struct Viewer<'a> {
    /// The member.
    pub me: NodeId,
    /// The nodes that vote, the leader among them.
    pub voters: &'a BTreeSet<NodeId>,
    /// What the member wishes to know.
    pub wishes: &'a BTreeSet<Wish>,
}

/// The view of a registry, looked up from the whole: what all changes together have to come to.
#[must_use]
pub fn project(state: &State, viewer: &Viewer<'_>) -> State {
    let wishes = |wish: &Wish| viewer.wishes.contains(wish);
    let groups: BTreeSet<&String> = wished_groups(state, viewer);
    let of_view = |group: &String| groups.contains(group);
    let groups = state.groups.iter().filter(|(name, _)| of_view(name));
    let sources = state.sources.iter().filter(|(_, it)| of_view(&it.group));
    let slots: Vec<_> = state
        .slots
        .iter()
        .filter(|(_, it)| of_view(&it.group))
        .collect();
    let rollouts = state.rollouts.iter().filter(|(_, it)| of_view(&it.group));
    let hosts: BTreeSet<NodeId> = slots.iter().map(|(_, slot)| slot.node).collect();
    let members = state.members.iter().filter(|(id, _)| {
        wishes(&Wish::Members)
            || **id == viewer.me
            || viewer.voters.contains(id)
            || hosts.contains(id)
            || wishes(&Wish::Node(**id))
    });
    let mut view = State {
        members: members.map(|(id, member)| (*id, member.clone())).collect(),
        groups: groups
            .map(|(name, group)| (name.clone(), shown(group)))
            .collect(),
        sources: sources.map(|(hash, it)| (*hash, it.clone())).collect(),
        slots: slots
            .into_iter()
            .map(|(id, it)| (*id, it.clone()))
            .collect(),
        rollouts: rollouts.map(|(id, it)| (*id, it.clone())).collect(),
        names: state.names.clone(),
        roll: Roll {
            removed: state.roll.removed.clone(),
            authorities: state.roll.authorities.clone(),
            ..Roll::default()
        },
        ..State::default()
    };
    set(&mut view, settings(state));
    count(&mut view);
    view
}

fn wished_groups<'a>(state: &'a State, viewer: &Viewer<'_>) -> BTreeSet<&'a String> {
    let wishes = |wish: Wish| viewer.wishes.contains(&wish);
    if wishes(Wish::Groups) {
        return state.groups.keys().collect();
    }
    let by_name = state
        .groups
        .keys()
        .filter(|name| wishes(Wish::Group((*name).clone())));
    let own = state.slots.values().filter(|slot| slot.node == viewer.me);
    let of_sources = state.sources.iter().filter(|(hash, source)| {
        let mut actors = source.definition.actors.iter();
        wishes(Wish::Source(**hash))
            || actors.any(|actor| {
                let role = actor.role.as_ref();
                let address = role.map(|role| RoleId::of(&source.group, role));
                let called = |name: &Option<String>| {
                    name.as_ref()
                        .is_some_and(|name| wishes(Wish::Called(name.clone())))
                };
                address.is_some_and(|address| wishes(Wish::Role(address)))
                    || called(&actor.role)
                    || called(&actor.global_name)
            })
    });
    by_name
        .chain(own.map(|slot| &slot.group))
        .chain(of_sources.map(|(_, source)| &source.group))
        .collect()
}

/// Takes changes into a view, in their order.
pub fn take_in(view: &mut State, changes: Vec<Change>) {
    for change in changes {
        match change {
            Change::Settings(settings) => set(view, settings),
            Change::Member(id, member) => put(&mut view.members, id, member.map(|it| *it)),
            Change::Group(name, group) => {
                if group.is_none() {
                    view.sources.retain(|_, source| source.group != name);
                    view.slots.retain(|_, slot| slot.group != name);
                    view.rollouts.retain(|_, rollout| rollout.group != name);
                }
                put(&mut view.groups, name, group.map(|it| *it));
            }
            Change::Source(hash, source) => put(&mut view.sources, hash, source.map(|it| *it)),
            Change::Slot(id, slot) => put(&mut view.slots, id, slot.map(|it| *it)),
            Change::Rollout(id, rollout) => put(&mut view.rollouts, id, rollout.map(|it| *it)),
            Change::Name(name, group) => put(&mut view.names, name, group),
            Change::Removed(id, removal) => put(&mut view.roll.removed, id, removal),
            Change::Authorities(authorities) => view.roll.authorities = *authorities,
        }
    }
    count(view);
}

fn put<K: Ord, V>(map: &mut std::collections::BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

/// Numbers that a member counts on from while it is on its own: past all that it knows.
fn count(view: &mut State) {
    let slots = view.slots.keys().map(|id| id.0);
    let rollouts = view.rollouts.keys().map(|id| id.0);
    view.last_number = slots.chain(rollouts).max().unwrap_or_default();
    let orders = view.sources.values().map(|source| source.order);
    view.last_order = orders.max().unwrap_or_default();
}

fn settings(state: &State) -> Settings {
    Settings {
        convention: state.convention,
        feature_level: state.feature_level,
        voters_wanted: state.roll.voters_wanted,
        recoveries: state.roll.recoveries,
    }
}

fn set(view: &mut State, settings: Settings) {
    view.convention = settings.convention;
    view.feature_level = settings.feature_level;
    view.roll.voters_wanted = settings.voters_wanted;
    view.roll.recoveries = settings.recoveries;
}

/// A group as views have it.
fn shown(group: &Group) -> Group {
    Group {
        active: group.active,
        history: active_since(group).cloned().into_iter().collect(),
        withdrawn: group.withdrawn.clone(),
        reverted: group.reverted.clone(),
    }
}

/// The entry that its source is active by.
fn active_since(group: &Group) -> Option<&HistoryEntry> {
    let mut latest = group.history.iter().rev();
    latest.find(|entry| entry.what == "active")
}
