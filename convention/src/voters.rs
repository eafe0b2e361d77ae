//! Who is to vote: the next single change towards one, three or five voters.
//!
//! Pure and without memory: asked again after each change, it converges. One until three members
//! are willing, then one joint change; never an even number. A voter that is gone is replaced only
//! after a grace time, and only by one that is ready; it is never merely taken out.
//! Not here: raft ids, which the caller allots afresh (`leader::RaftId` fits `Id`), and carrying
//! a change out.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{NodeId, Stamp};

/// Time after which a voter that is gone is replaced.
pub const GRACE_MS: u64 = 60_000;

/// A member of the convention, as a voter or one to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Willing {
    /// Whether it answers now.
    pub is_up: bool,
    /// Since when it is up, or gone.
    pub since: Stamp,
    /// Whether it holds every package that the registry names, checked by hash.
    pub holds_packages: bool,
    /// Whether it, as a learner, has the whole log.
    pub caught_up: bool,
}

/// Who votes and who learns now; of each raft id the node behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Electorate<Id> {
    /// The voters.
    pub voters: BTreeMap<Id, NodeId>,
    /// The learners.
    pub learners: BTreeMap<Id, NodeId>,
    /// The leader, which asks.
    pub leader: Id,
}

/// What an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoterSettings {
    /// Voters wanted; an even number counts as the odd one below.
    pub wanted: usize,
    /// Time after which a voter that is gone is replaced.
    pub grace_ms: u64,
}

impl Default for VoterSettings {
    fn default() -> Self {
        Self {
            wanted: 3,
            grace_ms: GRACE_MS,
        }
    }
}

/// The next change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VoterChange<Id> {
    /// This node is to learn the log, under a fresh raft id.
    AddLearner(NodeId),
    /// This learner is not wanted any more.
    RemoveLearner(Id),
    /// Exactly these are to vote; all of them vote or learn already.
    SetVoters(BTreeSet<Id>),
}

/// The next change, if one is due. `members` has who is willing to vote and nobody else: a voter
/// that is missing there is demoted.
#[must_use]
pub fn next_change<Id: Copy + Ord>(
    members: &BTreeMap<NodeId, Willing>,
    electorate: &Electorate<Id>,
    settings: VoterSettings,
    now: Stamp,
) -> Option<VoterChange<Id>> {
    let ranks = ranks(members, electorate, settings, now);
    let goal = best(&ranks, settings.wanted, |_| true);
    if let Some(learner) = surplus_learner(electorate, &ranks, &goal) {
        return Some(VoterChange::RemoveLearner(learner));
    }
    let at_once = best(&ranks, settings.wanted, |rank| {
        !matches!(rank, Rank::Learning | Rank::Fresh)
    });
    let voters: BTreeSet<Id> = at_once.iter().filter_map(|it| it.id).collect();
    let changes = !voters.iter().eq(electorate.voters.keys());
    // Who is to go stays while somebody else becomes ready.
    let worth = voters.len() >= electorate.voters.len() || goal.len() <= voters.len();
    if changes && worth && !voters.is_empty() {
        let is_live = |id: &Id| {
            let node = electorate
                .voters
                .get(id)
                .or_else(|| electorate.learners.get(id));
            node.and_then(|node| members.get(node))
                .is_some_and(|member| member.is_up)
        };
        let old: BTreeSet<Id> = electorate.voters.keys().copied().collect();
        return [&old, &voters]
            .iter()
            .all(|side| side.iter().filter(|id| is_live(id)).count() > side.len() / 2)
            .then_some(VoterChange::SetVoters(voters));
    }
    let fresh = goal.iter().find(|it| it.rank == Rank::Fresh);
    fresh.map(|it| VoterChange::AddLearner(it.node))
}

/// How gladly a node is taken as a voter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// It leads.
    Leader,
    /// It votes and answers.
    Votes,
    /// It votes and does not answer, not for long.
    Absent,
    /// It learns and can vote at once.
    Ready,
    /// It learns.
    Learning,
    /// It is neither yet.
    Fresh,
    /// It votes and has not answered for longer than the grace time.
    Dead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ranked<Id> {
    rank: Rank,
    since: Stamp,
    node: NodeId,
    id: Option<Id>,
}

/// Everybody who could vote, the best first.
fn ranks<Id: Copy + Ord>(
    members: &BTreeMap<NodeId, Willing>,
    electorate: &Electorate<Id>,
    settings: VoterSettings,
    now: Stamp,
) -> Vec<Ranked<Id>> {
    let mut ranks = Vec::new();
    for (node, member) in members {
        let id_in = |side: &BTreeMap<Id, NodeId>| {
            let found = side.iter().rev().find(|(_, it)| *it == node);
            found.map(|(id, _)| *id)
        };
        let (voter, learner) = (id_in(&electorate.voters), id_in(&electorate.learners));
        // Whichever way the clocks of two leaders differ, nobody stays absent for ever.
        let gone_ms = now.0.abs_diff(member.since.0);
        let (rank, id) = match (voter, learner) {
            (Some(id), _) if member.is_up && id == electorate.leader => (Rank::Leader, Some(id)),
            (Some(id), _) if member.is_up => (Rank::Votes, Some(id)),
            (Some(id), _) if gone_ms < settings.grace_ms => (Rank::Absent, Some(id)),
            (Some(id), _) => (Rank::Dead, Some(id)),
            (None, Some(id)) if member.is_up && member.holds_packages && member.caught_up => {
                (Rank::Ready, Some(id))
            }
            (None, Some(id)) if member.is_up => (Rank::Learning, Some(id)),
            (None, None) if member.is_up => (Rank::Fresh, None),
            (None, _) => continue,
        };
        ranks.push(Ranked {
            rank,
            since: member.since,
            node: *node,
            id,
        });
    }
    ranks.sort_unstable();
    ranks
}

/// The best of those that `may` be taken: an odd number, at most `wanted`.
fn best<Id: Copy>(
    ranks: &[Ranked<Id>],
    wanted: usize,
    may: impl Fn(Rank) -> bool,
) -> Vec<Ranked<Id>> {
    let mut found: Vec<_> = ranks.iter().filter(|it| may(it.rank)).copied().collect();
    let count = found.len().min(wanted.max(1));
    found.truncate(if count % 2 == 0 {
        count.saturating_sub(1)
    } else {
        count
    });
    found
}

/// A learner that is not on its way to become a voter.
fn surplus_learner<Id: Copy + Ord>(
    electorate: &Electorate<Id>,
    ranks: &[Ranked<Id>],
    goal: &[Ranked<Id>],
) -> Option<Id> {
    let wanted = |id: &Id| goal.iter().any(|it| it.id == Some(*id));
    let known = |id: &Id| ranks.iter().any(|it| it.id == Some(*id));
    let mut surplus = electorate.learners.keys().filter(|id| !wanted(id));
    // One that is no use to anybody goes first.
    let useless = surplus.clone().find(|id| !known(id));
    useless.or_else(|| surplus.next()).copied()
}

#[cfg(test)]
mod tests;
