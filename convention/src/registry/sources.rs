//! Loaded sources: their rank within a group, which one is next, draining and forgetting.

use std::collections::BTreeSet;

use package::VersionKey;
use protocol::definition::AutoUnload;
use protocol::registry::{
    HISTORY_KEPT, HistoryEntry, Outcome, Refusal, Source, SourceState, State,
};
use protocol::{SlotId, SourceHash, Stamp};

use super::Registry;

/// The group's sources, highest version first; equal versions rank by load, latest first.
#[must_use]
pub fn ranked<'a>(state: &'a State, group: &str) -> Vec<(SourceHash, &'a Source)> {
    let mut sources: Vec<_> = state
        .sources
        .iter()
        .filter(|(_, source)| source.group == group)
        .map(|(hash, source)| (*hash, source))
        .collect();
    sources.sort_by_cached_key(|(_, source)| {
        std::cmp::Reverse((version_key(source.version.as_deref()), source.order))
    });
    sources
}

/// What a version sorts by; a package without one sorts lowest.
#[must_use]
pub fn version_key(version: Option<&str>) -> VersionKey {
    VersionKey::of(
        &version
            .map(|version| format!("-{version}"))
            .unwrap_or_default(),
    )
}

/// The source that becomes active when `leaving` is left: the highest loaded version that is not
/// withdrawn and was not reverted before it was ever active.
#[must_use]
pub fn next_active(state: &State, group: &str, leaving: SourceHash) -> Option<SourceHash> {
    let known = state.groups.get(group);
    let left = |hash: &SourceHash| {
        known.is_some_and(|g| g.withdrawn.contains(hash) || g.reverted.contains(hash))
    };
    let candidate = |(hash, source): &(SourceHash, &Source)| {
        *hash != leaving && source.state == SourceState::Loaded && !left(hash)
    };
    ranked(state, group)
        .into_iter()
        .find(candidate)
        .map(|(hash, _)| hash)
}

/// The sources that go when `active` has become active: surplus by its `AutoUnload`, latest loads
/// kept first, and another file without a version.
#[must_use]
pub fn drained_after_switch(state: &State, active: SourceHash) -> Vec<SourceHash> {
    let Some(now) = state.sources.get(&active) else {
        return Vec::new();
    };
    let mut others: Vec<_> = state
        .sources
        .iter()
        .filter(|(hash, source)| {
            **hash != active && source.group == now.group && source.state == SourceState::Loaded
        })
        .collect();
    others.sort_by_key(|(_, source)| std::cmp::Reverse(source.order));
    let keep = match now.definition.auto_unload {
        AutoUnload::KeepAll => usize::MAX,
        AutoUnload::Keep(count) => count.max(1) as usize - 1,
    };
    let replaced = |source: &Source| now.version.is_none() && source.version.is_none();
    let (same_file, rest): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|(_, source)| replaced(source));
    same_file
        .into_iter()
        .chain(rest.into_iter().skip(keep))
        .map(|(hash, _)| *hash)
        .collect()
}

impl Registry {
    pub(super) fn active(&self, group: &str) -> Option<SourceHash> {
        self.state.groups.get(group).and_then(|group| group.active)
    }

    /// Slots of a source whose actors live.
    pub(super) fn living_slots(&self, hash: Option<SourceHash>) -> BTreeSet<SlotId> {
        use protocol::registry::SlotState::{Running, Standing};
        let living = self.state.slots.iter().filter(|(_, slot)| {
            Some(slot.source) == hash && matches!(slot.state, Running | Standing)
        });
        living.map(|(id, _)| *id).collect()
    }

    pub(super) fn drain(&mut self, hash: SourceHash, now: bool, by: &str, stamp: Stamp) -> Outcome {
        let Some(source) = self.state.sources.get(&hash) else {
            return Outcome::Refused(Refusal::UnknownSource { hash });
        };
        let group = source.group.clone();
        if matches!(source.state, SourceState::Draining { .. }) {
            return Outcome::Refused(Refusal::Draining { hash });
        }
        let in_rollout = |rollout: &protocol::registry::Rollout| {
            rollout.to == Some(hash) || rollout.from == Some(hash)
        };
        if self.active(&group) == Some(hash) || self.state.rollouts.values().any(in_rollout) {
            return Outcome::Refused(Refusal::Busy { group });
        }
        self.begin_draining(hash, now, stamp, by);
        Outcome::Done
    }

    pub(super) fn begin_draining(&mut self, hash: SourceHash, now: bool, stamp: Stamp, by: &str) {
        if let Some(source) = self.state.sources.get_mut(&hash) {
            source.state = SourceState::Draining { now };
            self.record(hash, stamp, "unloading", by, "");
        }
    }

    pub(super) fn forget(&mut self, hash: SourceHash, stamp: Stamp) -> Outcome {
        let state = self.state.sources.get(&hash).map(|source| source.state);
        if !matches!(state, Some(SourceState::Draining { .. })) {
            return Outcome::Stale;
        }
        self.record(hash, stamp, "unloaded", "", "");
        self.remove_source(hash);
        Outcome::Done
    }

    /// Takes over what a backup knows of a group; again for one taken over before: nothing.
    pub(super) fn remember(
        &mut self,
        name: &str,
        history: &[HistoryEntry],
        withdrawn: &BTreeSet<SourceHash>,
    ) -> Outcome {
        let group = self.group_mut(name);
        // The newest: the oldest may have been dropped since.
        let newest = history.last();
        if newest.is_some_and(|newest| group.history.contains(newest)) {
            return Outcome::Stale;
        }
        group.history.splice(..0, history.iter().cloned());
        let surplus = group.history.len().saturating_sub(HISTORY_KEPT);
        group.history.drain(..surplus);
        let active = group.active;
        let left = withdrawn.iter().filter(|hash| Some(**hash) != active);
        group.withdrawn.extend(left);
        Outcome::Done
    }

    pub(super) fn remove_source(&mut self, hash: SourceHash) {
        if let Some(source) = self.state.sources.remove(&hash) {
            self.group_mut(&source.group).reverted.remove(&hash);
        }
        self.state.slots.retain(|_, slot| slot.source != hash);
        self.reserve_names();
    }
}

#[cfg(test)]
mod tests {
    use protocol::registry::Command;

    use super::*;

    #[test]
    fn what_a_backup_remembers_comes_before_what_happened_since_and_once() {
        let entry = |stamp, what: &str| HistoryEntry {
            stamp: Stamp(stamp),
            what: what.to_owned(),
            hash: SourceHash([1; 32]),
            version: None,
            by: String::new(),
            detail: String::new(),
        };
        let mut registry = Registry::new();
        let remember = Command::Remember {
            group: "foo".to_owned(),
            history: vec![entry(1, "loaded"), entry(2, "active")],
            withdrawn: BTreeSet::from([SourceHash([2; 32])]),
            stamp: Stamp(9),
        };
        registry.group_mut("foo").history.push(entry(8, "restored"));
        assert_eq!(registry.apply(&remember), Outcome::Done);
        assert_eq!(registry.apply(&remember), Outcome::Stale);
        let group = &registry.state().groups["foo"];
        let stamps: Vec<_> = group.history.iter().map(|entry| entry.stamp.0).collect();
        assert_eq!(stamps, [1, 2, 8]);
        assert!(group.withdrawn.contains(&SourceHash([2; 32])));
    }
}
