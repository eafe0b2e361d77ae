//! What one follower has been told: from it and the ledger follows what it is told next.

use std::collections::BTreeSet;

use protocol::NodeId;
use protocol::view::{Change, Streamed, Wish};

use super::ledger::{Key, Ledger};

/// What a follower knows, as far as it decides what it is told next.
#[derive(Debug)]
pub struct Told {
    me: NodeId,
    wishes: BTreeSet<Wish>,
    /// Number of the last wish.
    number: u64,
    covered: u64,
    index: Option<u64>,
    voters: BTreeSet<NodeId>,
    groups: Part<String>,
    members: Part<NodeId>,
    /// Whether its wishes have changed since it was told.
    wished: bool,
}

/// What to tell a follower next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Something of what it has or wishes has changed.
    News(Streamed),
    /// Nothing that it has has changed, only the index is another.
    Index(Streamed),
    /// Nothing at all.
    Nothing,
}

/// Which keys of a map are in a view.
#[derive(Debug, PartialEq, Eq)]
enum Part<T> {
    All,
    These(BTreeSet<T>),
}

impl<T: Ord> Part<T> {
    fn has(&self, key: &T) -> bool {
        match self {
            Self::All => true,
            Self::These(keys) => keys.contains(key),
        }
    }
}

impl Told {
    /// A follower that is told all that it wishes anew; `number` is of its last wish.
    #[must_use]
    pub fn new(me: NodeId, wishes: impl IntoIterator<Item = Wish>, number: u64) -> Self {
        Self {
            me,
            wishes: wishes.into_iter().collect(),
            number,
            covered: 0,
            index: None,
            voters: BTreeSet::new(),
            groups: Part::These(BTreeSet::new()),
            members: Part::These(BTreeSet::new()),
            wished: true,
        }
    }

    /// The follower wishes to know more.
    pub fn wish(&mut self, wishes: impl IntoIterator<Item = Wish>, number: u64) {
        self.wishes.extend(wishes);
        self.number = number;
        self.wished = true;
    }

    /// How many wishes it has, those that the leader has for it included.
    #[must_use]
    pub fn n_wishes(&self) -> usize {
        self.wishes.len()
    }

    /// What it is told next, with the nodes that vote now, the leader among them.
    pub fn next(&mut self, ledger: &Ledger, voters: &BTreeSet<NodeId>) -> Next {
        let since = self.index.and_then(|index| ledger.since(index));
        let whole = since.is_none();
        if whole {
            self.groups = Part::These(BTreeSet::new());
            self.members = Part::These(BTreeSet::new());
        }
        let since = since.unwrap_or_default();
        let voters_moved = whole || self.voters != *voters;
        if voters_moved {
            self.voters.clone_from(voters);
        }
        let mut changes = Vec::new();
        if whole {
            ledger.always(&mut changes);
        }
        let groups_moved = whole || self.wished || since.iter().any(|key| moves_groups(key));
        let groups = groups_moved.then(|| self.groups(ledger));
        let groups = groups.filter(|groups| *groups != self.groups);
        let members = (groups_moved || voters_moved).then(|| {
            let groups = groups.as_ref().unwrap_or(&self.groups);
            self.members(ledger, groups)
        });
        let members = members.filter(|members| *members != self.members);
        self.update(ledger, &since, (&groups, &members), &mut changes);
        if let Some(groups) = groups {
            self.widen_groups(ledger, groups, &mut changes);
        }
        if let Some(members) = members {
            self.widen_members(ledger, members, &mut changes);
        }
        let covers_more = self.covered != self.number;
        let moved = self.index != Some(ledger.index());
        self.covered = self.number;
        self.index = Some(ledger.index());
        self.wished = false;
        let streamed = Streamed {
            whole,
            index: ledger.index(),
            covers: self.number,
            voters: voters_moved.then(|| self.voters.iter().copied().collect()),
            changes,
        };
        if whole || voters_moved || covers_more || !streamed.changes.is_empty() {
            Next::News(streamed)
        } else if moved {
            Next::Index(streamed)
        } else {
            Next::Nothing
        }
    }

    /// What has changed of that which is in the view before and now.
    fn update(
        &self,
        ledger: &Ledger,
        since: &BTreeSet<&Key>,
        (groups, members): (&Option<Part<String>>, &Option<Part<NodeId>>),
        changes: &mut Vec<Change>,
    ) {
        let stays = |group: &String| {
            let now = groups.as_ref().unwrap_or(&self.groups);
            self.groups.has(group) && now.has(group)
        };
        let stays_member = |id: &NodeId| {
            let now = members.as_ref().unwrap_or(&self.members);
            self.members.has(id) && now.has(id)
        };
        for key in since {
            let is_told = match key {
                Key::Settings | Key::Name(_) | Key::Removed(_) | Key::Authorities => true,
                Key::Member(id) => stays_member(id),
                Key::Group(group)
                | Key::Source(group, _)
                | Key::Slot(group, _)
                | Key::Rollout(group, _) => stays(group),
            };
            if is_told {
                changes.push(ledger.change(key));
            }
        }
    }

    fn widen_groups(&mut self, ledger: &Ledger, now: Part<String>, changes: &mut Vec<Change>) {
        let before = std::mem::replace(&mut self.groups, now);
        if let Part::These(before) = &before {
            let gone = before.iter().filter(|name| !self.groups.has(name));
            changes.extend(gone.map(|name| Change::Group(name.clone(), None)));
        }
        let come = |name: &&String| !before.has(name);
        match &self.groups {
            Part::All => {
                let all = ledger.state().groups.keys().filter(come);
                all.for_each(|name| ledger.group(name, changes));
            }
            Part::These(now) => {
                let now = now.iter().filter(come);
                now.for_each(|name| ledger.group(name, changes));
            }
        }
    }

    fn widen_members(&mut self, ledger: &Ledger, now: Part<NodeId>, changes: &mut Vec<Change>) {
        let before = std::mem::replace(&mut self.members, now);
        if let Part::These(before) = &before {
            let gone = before.iter().filter(|id| !self.members.has(id));
            changes.extend(gone.map(|id| Change::Member(*id, None)));
        }
        let known = ledger.state().members.iter();
        let told = |id: &NodeId| !before.has(id) && self.members.has(id);
        match &self.members {
            Part::All => changes.extend(
                known
                    .filter(|(id, _)| told(id))
                    .map(|(id, _)| ledger.change(&Key::Member(*id))),
            ),
            Part::These(now) => changes.extend(
                now.iter()
                    .filter(|id| told(id) && ledger.state().members.contains_key(id))
                    .map(|id| ledger.change(&Key::Member(*id))),
            ),
        }
    }

    /// The groups of the view as it is to be.
    fn groups(&mut self, ledger: &Ledger) -> Part<String> {
        let (state, found) = (ledger.state(), &ledger.found);
        // Messages for a role may wait where its actor was until it stands elsewhere.
        let own = found.of_node.get(&self.me).into_iter().flatten();
        self.wishes.extend(own.cloned().map(Wish::Group));
        if self.wishes.contains(&Wish::Groups) {
            return Part::All;
        }
        let mut groups = BTreeSet::new();
        for wish in &self.wishes {
            match wish {
                Wish::Group(name) => drop(groups.insert(name.clone())),
                Wish::Role(role) => groups.extend(found.of_role.get(role).cloned()),
                Wish::Source(hash) => {
                    groups.extend(state.sources.get(hash).map(|it| it.group.clone()));
                }
                Wish::Called(name) => {
                    groups.extend(found.called.get(name).into_iter().flatten().cloned());
                }
                Wish::Node(_) | Wish::Groups | Wish::Members => {}
            }
        }
        Part::These(groups)
    }

    /// The members of the view as it is to be.
    fn members(&self, ledger: &Ledger, groups: &Part<String>) -> Part<NodeId> {
        if self.wishes.contains(&Wish::Members) {
            return Part::All;
        }
        let (state, found) = (ledger.state(), &ledger.found);
        let mut members = self.voters.clone();
        members.insert(self.me);
        match groups {
            Part::All => members.extend(found.of_node.keys()),
            Part::These(groups) => {
                let slots = groups.iter().filter_map(|name| found.slots.get(name));
                let slots = slots.flatten().filter_map(|id| state.slots.get(id));
                members.extend(slots.map(|slot| slot.node));
            }
        }
        let wished = self.wishes.iter().filter_map(|wish| match wish {
            Wish::Node(id) => Some(*id),
            _ => None,
        });
        members.extend(wished);
        Part::These(members)
    }
}

/// Whether other groups may come to be in a view by it, or other members as their hosts.
fn moves_groups(key: &Key) -> bool {
    matches!(key, Key::Source(..) | Key::Slot(..))
}
