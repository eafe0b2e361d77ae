//! What this node knows of others' packages: who holds which, and who does not trust it.
//!
//! Memory of a leader, fed by heartbeats and by the answers to its steps; it may be behind, so
//! whoever acts on it has the member pull and judge again. Also how far each load has come.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::control::MemberProgress;
use protocol::{NodeId, RequestId, SourceHash};

/// Loads whose progress is remembered.
const PROGRESS_KEPT: usize = 32;

/// Who holds what, as far as this node knows.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    // Held for look-ups and insertions only.
    known: Mutex<BTreeMap<SourceHash, BTreeMap<NodeId, Option<String>>>>,
    alive: Mutex<BTreeMap<NodeId, u64>>,
    progress: Mutex<VecDeque<(RequestId, BTreeMap<String, MemberProgress>)>>,
}

impl Holdings {
    /// A member says what it holds, what of that it distrusts, and how many actors it has.
    pub(crate) fn reported(
        &self,
        node: NodeId,
        held: &[SourceHash],
        distrusted: &[(SourceHash, String)],
        actors: u64,
    ) {
        let held: BTreeSet<_> = held.iter().copied().collect();
        let mut known = lock(&self.known);
        for (hash, nodes) in known.iter_mut() {
            if !held.contains(hash) {
                nodes.remove(&node);
            }
        }
        for hash in held {
            let distrust = distrusted.iter().find(|(named, _)| *named == hash);
            let distrust = distrust.map(|(_, reason)| reason.clone());
            known.entry(hash).or_default().insert(node, distrust);
        }
        known.retain(|_, nodes| !nodes.is_empty());
        drop(known);
        lock(&self.alive).insert(node, actors);
    }

    /// A member has answered that it holds this package.
    pub(crate) fn holds(&self, node: NodeId, hash: SourceHash, distrust: Option<String>) {
        let mut known = lock(&self.known);
        known.entry(hash).or_default().insert(node, distrust);
    }

    /// A member has not got this package.
    pub(crate) fn holds_not(&self, node: NodeId, hash: SourceHash) {
        if let Some(nodes) = lock(&self.known).get_mut(&hash) {
            nodes.remove(&node);
        }
    }

    /// Nobody is known to hold this package.
    pub(crate) fn forget_source(&self, hash: SourceHash) {
        lock(&self.known).remove(&hash);
    }

    /// A member was lost: nothing of what is known of it counts.
    pub(crate) fn forget(&self, node: NodeId) {
        for nodes in lock(&self.known).values_mut() {
            nodes.remove(&node);
        }
        lock(&self.alive).remove(&node);
    }

    /// Who holds the package.
    pub(crate) fn holders(&self, hash: SourceHash) -> Vec<NodeId> {
        let known = lock(&self.known);
        let nodes = known.get(&hash).into_iter().flatten();
        nodes.map(|(node, _)| *node).collect()
    }

    /// Whether a member trusts a package that it holds: `Some(None)` it does, `Some(reason)` it
    /// does not; `None`: not known to hold it.
    pub(crate) fn judgement(&self, node: NodeId, hash: SourceHash) -> Option<Option<String>> {
        lock(&self.known).get(&hash)?.get(&node).cloned()
    }

    /// Actors alive on each member, as last reported.
    pub(crate) fn alive(&self) -> BTreeMap<NodeId, u64> {
        lock(&self.alive).clone()
    }

    /// Says how far a load is on a member.
    pub(crate) fn proceed(&self, request: RequestId, name: &str, state: &str, detail: &str) {
        let mut progress = lock(&self.progress);
        if !progress.iter().any(|(known, _)| *known == request) {
            if progress.len() >= PROGRESS_KEPT {
                progress.pop_front();
            }
            progress.push_back((request, BTreeMap::new()));
        }
        let found = progress.iter_mut().find(|(known, _)| *known == request);
        if let Some((_, members)) = found {
            let said = MemberProgress {
                name: name.to_owned(),
                state: state.to_owned(),
                detail: detail.to_owned(),
            };
            members.insert(name.to_owned(), said);
        }
    }

    /// How far a load is on each member, by name; empty when nothing is known of it.
    pub(crate) fn progress(&self, request: RequestId) -> Vec<MemberProgress> {
        let progress = lock(&self.progress);
        let found = progress.iter().find(|(known, _)| *known == request);
        found
            .map(|(_, members)| members.values().cloned().collect())
            .unwrap_or_default()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_replaces_what_was_known_of_its_member_only() {
        let (one, two) = (SourceHash::of(b"1"), SourceHash::of(b"2"));
        let holdings = Holdings::default();
        holdings.holds(NodeId(1), one, None);
        holdings.holds(NodeId(2), one, Some("no key".to_owned()));
        holdings.reported(NodeId(1), &[two], &[], 3);
        assert_eq!(holdings.holders(one), [NodeId(2)]);
        assert_eq!(holdings.judgement(NodeId(1), two), Some(None));
        assert_eq!(holdings.judgement(NodeId(1), one), None);
        assert_eq!(holdings.alive(), BTreeMap::from([(NodeId(1), 3)]));
        holdings.forget(NodeId(2));
        assert!(holdings.holders(one).is_empty());
    }

    #[test]
    fn progress_is_kept_a_load_and_bounded() {
        let holdings = Holdings::default();
        for number in 0..=PROGRESS_KEPT as u8 {
            let request = RequestId([number; 16]);
            holdings.proceed(request, "a", "pulling", "");
            holdings.proceed(request, "a", "verified", "");
        }
        assert!(holdings.progress(RequestId([0; 16])).is_empty());
        let kept = holdings.progress(RequestId([1; 16]));
        assert_eq!(kept.len(), 1);
        assert_eq!(kept.first().map(|m| m.state.as_str()), Some("verified"));
    }
}
