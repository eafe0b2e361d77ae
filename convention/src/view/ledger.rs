//! What a leader keeps to tell all its followers from: what changed at which index, found once for
//! all of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::registry::State;
use protocol::view::{Change, Settings};
use protocol::{NodeId, RoleId, RolloutId, SlotId, SourceHash};

use super::{active_since, settings, shown};

/// What may change of a view, with the group that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Settings,
    Member(NodeId),
    Group(String),
    Source(String, SourceHash),
    Slot(String, SlotId),
    Rollout(String, RolloutId),
    Name(String),
    Removed(NodeId),
    Authorities,
}

/// The registry at one index, as far as views go, and what led there.
#[derive(Debug, Default)]
pub struct Ledger {
    index: u64,
    // Without what no view has.
    state: State,
    settings: Settings,
    // What changed at each index behind `from`, oldest first; kept bounded.
    log: VecDeque<(u64, Vec<Key>)>,
    from: u64,
    pub(super) found: Found,
}

/// Where things are found, made anew whenever a group changes.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Groups that have actors on a node.
    pub(super) of_node: BTreeMap<NodeId, BTreeSet<String>>,
    pub(super) of_role: BTreeMap<RoleId, String>,
    /// Groups in which a role or name is called so.
    pub(super) called: BTreeMap<String, BTreeSet<String>>,
    sources: BTreeMap<String, Vec<SourceHash>>,
    pub(super) slots: BTreeMap<String, Vec<SlotId>>,
    rollouts: BTreeMap<String, Vec<RolloutId>>,
}

impl Ledger {
    /// A ledger that begins at this index: whoever is told of it first is told all.
    #[must_use]
    pub fn new(index: u64, state: &State) -> Self {
        let mut ledger = Self::default();
        ledger.advance(index, state);
        ledger.log.clear();
        ledger.from = index;
        ledger
    }

    /// The index that it stands at.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The registry as far as views go.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Takes in the registry at a later index.
    pub fn advance(&mut self, index: u64, now: &State) {
        if index <= self.index && self.index > 0 {
            return;
        }
        let mut keys = Vec::new();
        let state = &mut self.state;
        let moved = settings(now);
        if moved != self.settings {
            self.settings = moved;
            keys.push(Key::Settings);
        }
        differing(&mut state.members, &now.members, |id, _| {
            keys.push(Key::Member(*id))
        });
        differing(&mut state.names, &now.names, |name, _| {
            keys.push(Key::Name(name.clone()))
        });
        let removed = &now.roll.removed;
        differing(&mut state.roll.removed, removed, |id, _| {
            keys.push(Key::Removed(*id))
        });
        if state.roll.authorities != now.roll.authorities {
            state.roll.authorities.clone_from(&now.roll.authorities);
            keys.push(Key::Authorities);
        }
        let before = keys.len();
        let groups = &mut state.groups;
        groups.retain(|name, _| {
            let stays = now.groups.contains_key(name);
            if !stays {
                keys.push(Key::Group(name.clone()));
            }
            stays
        });
        for (name, group) in &now.groups {
            let same = groups.get(name).is_some_and(|known| {
                known.active == group.active
                    && known.withdrawn == group.withdrawn
                    && known.reverted == group.reverted
                    && known.history.first() == active_since(group)
            });
            if !same {
                groups.insert(name.clone(), shown(group));
                keys.push(Key::Group(name.clone()));
            }
        }
        differing(&mut state.sources, &now.sources, |hash, source| {
            keys.push(Key::Source(source.group.clone(), *hash));
        });
        differing(&mut state.slots, &now.slots, |id, slot| {
            keys.push(Key::Slot(slot.group.clone(), *id));
        });
        differing(&mut state.rollouts, &now.rollouts, |id, rollout| {
            keys.push(Key::Rollout(rollout.group.clone(), *id));
        });
        if keys.len() > before {
            self.found = Found::of(&self.state);
        }
        self.index = index;
        if !keys.is_empty() {
            self.log.push_back((index, keys));
        }
        while self.log.len() > KEPT {
            if let Some((index, _)) = self.log.pop_front() {
                self.from = index;
            }
        }
    }

    /// What has changed behind an index, if that is still known.
    pub(super) fn since(&self, index: u64) -> Option<BTreeSet<&Key>> {
        if index < self.from {
            return None;
        }
        let behind = self.log.iter().rev().take_while(|(at, _)| *at > index);
        Some(behind.flat_map(|(_, keys)| keys).collect())
    }

    /// What is to be said of something now.
    pub(super) fn change(&self, key: &Key) -> Change {
        let state = &self.state;
        match key {
            Key::Settings => Change::Settings(self.settings.clone()),
            Key::Member(id) => Change::Member(*id, boxed(state.members.get(id))),
            Key::Group(name) => Change::Group(name.clone(), boxed(state.groups.get(name))),
            Key::Source(_, hash) => Change::Source(*hash, boxed(state.sources.get(hash))),
            Key::Slot(_, id) => Change::Slot(*id, boxed(state.slots.get(id))),
            Key::Rollout(_, id) => Change::Rollout(*id, boxed(state.rollouts.get(id))),
            Key::Name(name) => Change::Name(name.clone(), state.names.get(name).cloned()),
            Key::Removed(id) => Change::Removed(*id, state.roll.removed.get(id).cloned()),
            Key::Authorities => Change::Authorities(Box::new(state.roll.authorities.clone())),
        }
    }

    /// All that there is to say of a group that comes into a view.
    pub(super) fn group(&self, name: &String, changes: &mut Vec<Change>) {
        if let Some(group) = self.state.groups.get(name) {
            changes.push(Change::Group(name.clone(), boxed(Some(group))));
        }
        for hash in self.found.sources.get(name).into_iter().flatten() {
            changes.push(Change::Source(*hash, boxed(self.state.sources.get(hash))));
        }
        for id in self.found.slots.get(name).into_iter().flatten() {
            changes.push(Change::Slot(*id, boxed(self.state.slots.get(id))));
        }
        for id in self.found.rollouts.get(name).into_iter().flatten() {
            changes.push(Change::Rollout(*id, boxed(self.state.rollouts.get(id))));
        }
    }

    /// What is in every view.
    pub(super) fn always(&self, changes: &mut Vec<Change>) {
        changes.push(Change::Settings(self.settings.clone()));
        if self.state.roll.authorities != Default::default() {
            changes.push(self.change(&Key::Authorities));
        }
        let names = self.state.names.iter();
        changes.extend(names.map(|(name, it)| Change::Name(name.clone(), Some(it.clone()))));
        let removed = self.state.roll.removed.iter();
        changes.extend(removed.map(|(id, it)| Change::Removed(*id, Some(it.clone()))));
    }
}

impl Found {
    fn of(state: &State) -> Self {
        let mut found = Self::default();
        for (hash, source) in &state.sources {
            let group = &source.group;
            found.sources.entry(group.clone()).or_default().push(*hash);
            for actor in &source.definition.actors {
                if let Some(role) = &actor.role {
                    found.of_role.insert(RoleId::of(group, role), group.clone());
                }
                for name in actor.role.iter().chain(&actor.global_name) {
                    let called = found.called.entry(name.clone()).or_default();
                    called.insert(group.clone());
                }
            }
        }
        for (id, slot) in &state.slots {
            let group = &slot.group;
            found.slots.entry(group.clone()).or_default().push(*id);
            let of_node = found.of_node.entry(slot.node).or_default();
            of_node.insert(group.clone());
        }
        for (id, rollout) in &state.rollouts {
            let of_group = found.rollouts.entry(rollout.group.clone()).or_default();
            of_group.push(*id);
        }
        found
    }
}

/// Makes `known` the same as `now`, and tells of each difference: what was there, what is.
fn differing<K: Ord + Clone, V: PartialEq + Clone>(
    known: &mut BTreeMap<K, V>,
    now: &BTreeMap<K, V>,
    mut tell: impl FnMut(&K, &V),
) {
    known.retain(|key, value| {
        let stays = now.contains_key(key);
        if !stays {
            tell(key, value);
        }
        stays
    });
    for (key, value) in now {
        let before = known.get(key);
        if before == Some(value) {
            continue;
        }
        if let Some(before) = before {
            tell(key, before);
        }
        tell(key, value);
        known.insert(key.clone(), value.clone());
    }
}

fn boxed<T: Clone>(value: Option<&T>) -> Option<Box<T>> {
    value.cloned().map(Box::new)
}

/// Indexes remembered: who is further behind is told all anew.
const KEPT: usize = 1_024;
