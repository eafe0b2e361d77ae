//! Who was heard when: the leader by this voter, and this leader's voters by their answers.
//!
//! openraft keeps such clocks for itself, shows one of them in whole heartbeats and has no
//! CheckQuorum; this is kept beside it, from the messages as they pass.
//! Not here: what follows from it (`election`, `consensus`).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openraft::{AsyncRuntime, Instant as _};
use tokio::sync::Notify;

use super::types::{LogId, Membership, RaftId, Vote};

type InstantOf<R> = <R as AsyncRuntime>::Instant;

/// Shared by the network, the answering side and the election driver.
#[derive(Debug)]
pub(crate) struct Presence<R: AsyncRuntime> {
    // A lock because messages pass on any task; held for a few map operations.
    seen: Mutex<Seen<InstantOf<R>>>,
    /// Rings when a leader is heard again after a silence.
    pub(crate) again: Notify,
    silence: Duration,
}

#[derive(Debug)]
struct Seen<I> {
    heard: Option<I>,
    yielding: bool,
    led: Option<Vote>,
    acknowledged: BTreeMap<RaftId, I>,
    matched: BTreeMap<RaftId, LogId>,
}

impl<R: AsyncRuntime> Presence<R> {
    /// `silence`: after which a leader counts as silent, and a voter as out of reach.
    pub(crate) fn new(silence: Duration) -> Self {
        Self {
            seen: Mutex::new(Seen {
                heard: None,
                yielding: false,
                led: None,
                acknowledged: BTreeMap::new(),
                matched: BTreeMap::new(),
            }),
            again: Notify::new(),
            silence,
        }
    }

    /// A leader that this voter accepts has spoken.
    pub(crate) fn hear(&self) {
        let now = R::Instant::now();
        let before = self.seen().heard.replace(now);
        if before.is_none_or(|before| before + self.silence < now) {
            self.again.notify_one();
        }
    }

    /// When a leader was last heard.
    pub(crate) fn heard(&self) -> Option<InstantOf<R>> {
        self.seen().heard
    }

    /// The leader is about to hand over: it asks no more for its lead.
    pub(crate) fn set_yielding(&self, yielding: bool) {
        self.seen().yielding = yielding;
    }

    pub(crate) fn is_yielding(&self) -> bool {
        self.seen().yielding
    }

    /// `voter` has accepted what was sent at `sent` under `vote`.
    pub(crate) fn acknowledge(&self, voter: RaftId, vote: Vote, sent: InstantOf<R>) {
        let mut seen = self.seen();
        seen.lead(vote);
        let at = seen.acknowledged.entry(voter).or_insert(sent);
        *at = sent.max(*at);
    }

    /// `voter` holds the log up to `upto`.
    pub(crate) fn matched(&self, voter: RaftId, vote: Vote, upto: Option<LogId>) {
        let mut seen = self.seen();
        seen.lead(vote);
        if let Some(upto) = upto {
            let at = seen.matched.entry(voter).or_insert(upto);
            *at = upto.max(*at);
        }
    }

    /// Whether `voter`, which says that it does not hold `entry`, said before that it does.
    pub(crate) fn has_lost(&self, voter: RaftId, vote: Vote, entry: Option<LogId>) -> bool {
        let mut seen = self.seen();
        seen.lead(vote);
        entry.is_some() && entry <= seen.matched.get(&voter).copied()
    }

    /// Whether a majority has acknowledged this leader's lead within the silence.
    pub(crate) fn quorum_answers(&self, me: RaftId, membership: &Membership) -> bool {
        let now = R::Instant::now();
        let seen = self.seen();
        is_quorum(membership, |voter| {
            let at = seen.acknowledged.get(&voter);
            voter == me || at.is_some_and(|at| *at + self.silence >= now)
        })
    }

    /// When that was sent which a majority has acknowledged last; `None`: nothing in this lead.
    pub(crate) fn majority_at(&self, me: RaftId, membership: &Membership) -> Option<InstantOf<R>> {
        let seen = self.seen();
        let holds = |sent: InstantOf<R>| {
            is_quorum(membership, |voter| {
                let at = seen.acknowledged.get(&voter);
                voter == me || at.is_some_and(|at| *at >= sent)
            })
        };
        let sent = seen.acknowledged.values().copied();
        sent.filter(|sent| holds(*sent)).max()
    }

    /// Whether `voter` has acknowledged within the silence.
    pub(crate) fn answers(&self, voter: RaftId) -> bool {
        let at = self.seen().acknowledged.get(&voter).copied();
        at.is_some_and(|at| at + self.silence >= R::Instant::now())
    }

    fn seen(&self) -> MutexGuard<'_, Seen<InstantOf<R>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I> Seen<I> {
    /// What was seen in another term says nothing of this one.
    fn lead(&mut self, vote: Vote) {
        if self.led.is_none_or(|led| led.leader_id != vote.leader_id) {
            self.led = Some(vote);
            self.acknowledged.clear();
            self.matched.clear();
        }
    }
}

/// Whether the voters that `has` names are a majority, in both halves of a joint membership.
pub(crate) fn is_quorum(membership: &Membership, has: impl Fn(RaftId) -> bool) -> bool {
    let halves = membership.membership().get_joint_config();
    !halves.is_empty()
        && halves.iter().all(|half| {
            let count = half.iter().filter(|voter| has(**voter)).count();
            count > half.len() / 2
        })
}
