//! Heartbeats and elections of one voter: openraft's own timers are off.
//!
//! A voter campaigns only when it has not heard a leader for a time that is drawn anew each round,
//! and a majority says that it would vote for it (Pre-Vote); so a voter behind a flapping link
//! never raises the term of a live leader. A voter that is alone, or a learner, sets no timer.
//! Not here: what voters answer (`answer`), who counts as heard (`presence`).
//! Source: Ongaro, "Consensus: bridging theory and practice", 4.2.3, 6.2 and 9.6.

use std::sync::Arc;
use std::time::Duration;

use openraft::metrics::RaftServerMetrics;
use openraft::{AsyncRuntime, Instant as _, Raft, ServerState};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::config::Timing;
use super::file::Identity;
use super::message::{self, Opinion, Reply, Rpc};
use super::peers::Calls;
use super::presence::{Presence, is_quorum};
use super::standing::Standing;
use super::types::{Membership, RaftId, TypeConfig, Vote, Voter};

/// How much longer a voter waits that was told that it is none any more.
const REMOVED_FACTOR: u32 = 16;

/// How long the second half of a change of the voters may take before the leader sees to it.
const CHANGE_LIMIT: Duration = Duration::from_secs(1);

/// The task behind heartbeats, elections and [`Standing`].
pub(crate) struct Driver<R: AsyncRuntime> {
    pub(crate) raft: Raft<TypeConfig<R>>,
    pub(crate) ours: Identity,
    pub(crate) calls: Calls,
    pub(crate) presence: Arc<Presence<R>>,
    pub(crate) timing: Timing,
    pub(crate) standing: watch::Sender<Standing>,
}

/// What the driver remembers from one turn to the next.
#[derive(Debug)]
struct Round<I> {
    /// No campaign before this and the draw have passed.
    since: I,
    draw: Duration,
    removed: bool,
    /// What this voter had voted for when it looked last.
    vote: Option<Vote>,
    heartbeat_at: Option<I>,
    /// Since when this node leads and the voters are half changed.
    joint_since: Option<I>,
}

type Metrics = RaftServerMetrics<RaftId, Voter>;

impl<R: AsyncRuntime> Driver<R> {
    /// Runs until `stop` or until consensus ends.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut changes = self.raft.server_metrics();
        let mut round = Round {
            since: R::Instant::now(),
            draw: self.timing.draw::<R>(),
            removed: false,
            vote: None,
            heartbeat_at: None,
            joint_since: None,
        };
        loop {
            let metrics = changes.borrow_and_update().clone();
            let turn = self.turn(&metrics, &mut round);
            let wake = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                wake = turn => wake,
            };
            self.publish(&round);
            let slept = async {
                match wake {
                    Some(at) => R::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = self.presence.again.notified() => {}
                () = slept => {}
            }
        }
    }

    /// Does what is due; when to look again.
    async fn turn(&self, metrics: &Metrics, round: &mut Round<R::Instant>) -> Option<R::Instant> {
        let membership = &metrics.membership_config;
        if metrics.state == ServerState::Leader {
            return self.lead(membership, round).await;
        }
        if round.heartbeat_at.take().is_some() {
            // Who has just lost the lead is not the first to ask for it again.
            round.joint_since = None;
            round.since = R::Instant::now() + self.timing.silence();
        }
        if !membership.voter_ids().any(|voter| voter == self.ours.raft) {
            return self.silence_at();
        }
        if membership.voter_ids().count() == 1 {
            if metrics.state == ServerState::Follower {
                self.elect().await;
            }
            return None;
        }
        // Who has voted for another gives it the time to lead.
        if round.vote.replace(metrics.vote) != Some(metrics.vote) {
            round.since = R::Instant::now();
            round.draw = self.timing.draw::<R>();
        }
        let since = self
            .presence
            .heard()
            .map_or(round.since, |it| it.max(round.since));
        let due = since + round.draw;
        if R::Instant::now() >= due {
            self.campaign(membership, round).await;
            return Some(round.since + round.draw);
        }
        Some(due)
    }

    /// Sends the heartbeat that is due, unless this node is alone or hands over.
    async fn lead(
        &self,
        membership: &Membership,
        round: &mut Round<R::Instant>,
    ) -> Option<R::Instant> {
        round.removed = false;
        let me = self.ours.raft;
        if membership.nodes().all(|(raft, _)| *raft == me) || self.has_left(membership) {
            return None;
        }
        self.end_change(membership, round);
        let now = R::Instant::now();
        let interval = Duration::from_millis(self.timing.heartbeat_ms);
        let at = round.heartbeat_at.unwrap_or(now);
        if at > now {
            return Some(at);
        }
        if !self.presence.is_yielding() {
            // It fails when consensus has ended; then this task ends too.
            let _ = self.raft.trigger().heartbeat().await;
        }
        // Late by a whole interval: do not catch up.
        let next = (at + interval).max(now);
        round.heartbeat_at = Some(next);
        Some(next)
    }

    /// Whether this leader is no voter any more, and the change that says so is committed: from
    /// then on it is silent, and the others elect one of theirs.
    fn has_left(&self, membership: &Membership) -> bool {
        let votes = membership.voter_ids().any(|it| it == self.ours.raft);
        !votes && self.raft.data_metrics().borrow().last_applied >= *membership.log_id()
    }

    /// Ends a change of the voters that an earlier leader, or a caller that went away, left half
    /// done.
    fn end_change(&self, membership: &Membership, round: &mut Round<R::Instant>) {
        let [_, .., goal] = membership.membership().get_joint_config().as_slice() else {
            round.joint_since = None;
            return;
        };
        let since = *round.joint_since.get_or_insert_with(R::Instant::now);
        if since.elapsed() < CHANGE_LIMIT {
            return;
        }
        round.joint_since = None;
        let (raft, goal) = (self.raft.clone(), goal.clone());
        // Whoever changes them at the same time is refused, or this is; both lead to an end.
        drop(R::spawn(async move {
            let change = raft.change_membership(goal, false);
            if let Ok(ended) = R::timeout(CHANGE_LIMIT, change).await {
                tracing::info!(ended = ended.is_ok(), "change of voters taken up");
            }
        }));
    }

    /// When the leader that this node hears will count as silent.
    fn silence_at(&self) -> Option<R::Instant> {
        let at = self.presence.heard()? + self.timing.silence();
        (at > R::Instant::now()).then_some(at)
    }

    /// Asks the others, and campaigns if a majority is for it. Begins a new round.
    async fn campaign(&self, membership: &Membership, round: &mut Round<R::Instant>) {
        let opinions = self.poll(membership).await;
        let is_for = |voter| {
            let found = opinions.iter().find(|(from, _)| *from == voter);
            voter == self.ours.raft || found.is_some_and(|(_, it)| *it == Opinion::For)
        };
        // A leader may have spoken meanwhile, or this voter have voted for another.
        let hears = self.timing.hears(self.presence.heard());
        let has_voted = Some(self.raft.server_metrics().borrow().vote) != round.vote;
        if is_quorum(membership, is_for) && !hears && !has_voted {
            tracing::info!(me = %self.ours.raft, "campaign begun");
            self.elect().await;
        } else {
            tracing::debug!(me = %self.ours.raft, ?opinions, "campaign put off");
        }
        round.removed = opinions.iter().any(|(_, it)| *it == Opinion::Removed);
        round.since = R::Instant::now();
        round.draw = self.timing.draw::<R>();
        if round.removed {
            round.draw *= REMOVED_FACTOR;
        }
    }

    /// What the other voters think, as far as they say so in time.
    async fn poll(&self, membership: &Membership) -> Vec<(RaftId, Opinion)> {
        let within = Duration::from_millis(self.timing.election_min_ms);
        let last = self.raft.data_metrics().borrow().last_log;
        let others: Vec<_> = membership
            .voter_ids()
            .filter(|it| *it != self.ours.raft)
            .collect();
        let (sender, mut answers) = mpsc::channel(others.len().max(1));
        for raft in others {
            let Some(voter) = membership.membership().get_node(&raft).cloned() else {
                continue;
            };
            let Ok(message) = message::ask::<R>(self.ours, raft, &Rpc::Poll { last }) else {
                continue;
            };
            let (calls, sender) = (self.calls.clone(), sender.clone());
            // Ends with the time limit at the latest.
            drop(R::spawn(async move {
                let answer = R::timeout(within, calls.call(&voter, message, within)).await;
                let reply = answer.ok().and_then(Result::ok);
                if let Some(Ok(Reply::Poll(it))) = reply.map(|it| message::read_answer(&it)) {
                    let _ = sender.send((raft, it)).await;
                }
            }));
        }
        drop(sender);
        let mut opinions = Vec::new();
        while let Some(opinion) = answers.recv().await {
            opinions.push(opinion);
            let is_for =
                |voter| voter == self.ours.raft || opinions.contains(&(voter, Opinion::For));
            if is_quorum(membership, is_for) {
                break;
            }
        }
        opinions
    }

    async fn elect(&self) {
        // It fails when consensus has ended; then this task ends too.
        let _ = self.raft.trigger().elect().await;
    }

    fn publish(&self, round: &Round<R::Instant>) {
        let metrics = self.raft.server_metrics().borrow().clone();
        let heard = self.presence.heard();
        let hears = heard.is_some_and(|at| at + self.timing.silence() >= R::Instant::now());
        let marks = (hears, round.removed);
        let now = Standing::of(self.ours.raft, &metrics, &self.presence, marks);
        self.standing.send_if_modified(|standing| {
            let changed = *standing != now;
            if changed {
                tracing::debug!(standing = ?now, "standing changed");
                *standing = now;
            }
            changed
        });
    }
}
