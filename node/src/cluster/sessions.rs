//! The leader's side of all sessions: leases granted and given up.
//!
//! Leases are not in the log: a node that begins to lead grants everybody a fresh one. When one and
//! its margin are over, the member is lost, by commit; many at once are lost slowly, for it is
//! likelier that this node was cut off.
//! Not here: what is sent to a member (`feed`), what follows from a loss (the registry, the
//! reconciler).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use leader::reconcile::{ProposeFailure, Replica};
use protocol::peer::{SessionDown, SessionOpen};
use protocol::registry::{Command, KeyDigest, MemberCommand, MemberState, Outcome};
use protocol::{Incarnation, NodeId, SourceHash};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use transport::streams::BiStream;

use super::feed::{Ledgers, feed};
use super::histories::{NoSession, may_begin};
use super::leadership;
use crate::agent::node::{Node, stamp};

/// The members' sessions with this node, while it leads.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    // Held for a look-up or an insertion only.
    seen: Mutex<BTreeMap<NodeId, Seen>>,
    changed: watch::Sender<u64>,
    // Apart from the above, which moves thousands of times a second where there are many members.
    begun: watch::Sender<u64>,
    hurry: watch::Sender<u64>,
    // Runs that were refused: each is told about once. Held for an insertion only.
    refused: Mutex<BTreeMap<NodeId, Incarnation>>,
    granted: Granted,
    /// What all followers are told from.
    pub(super) ledgers: Ledgers,
}

#[derive(Debug)]
struct Seen {
    incarnation: Incarnation,
    until: Instant,
    report: Report,
    /// What its router must have before a heartbeat renews the lease; `None`: no session yet since
    /// this node leads.
    begun_at: Option<u64>,
    /// Since when it has not been as far as it must; `None`: it is.
    behind_since: Option<Instant>,
    /// Its loss is on its way to the log: nothing renews the lease any more.
    losing: bool,
}

impl Seen {
    /// How long the lease and its margin last, for one that is heard now. One that is behind is
    /// alive as well, and not lost for it at once; but everybody waits for it.
    fn renewed_until(&self) -> Instant {
        let now = Instant::now();
        let counts = match self.behind_since {
            Some(since) => now.min(since + BEHIND_LIMIT),
            None => now,
        };
        counts + LEASE + MARGIN
    }
}

/// What a heartbeat does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// The lease is renewed.
    Renewed,
    /// It is not: the member's roles are older than its session.
    Behind,
    /// There is none to renew.
    Over,
}

/// What a member said of itself last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    /// Last index that its router has.
    pub(crate) bound: u64,
    /// Actors alive on it.
    pub(crate) actors: u64,
    /// Packages that it holds.
    pub(crate) held: Vec<SourceHash>,
    /// Those that no key of its validates, and why.
    pub(crate) distrusted: Vec<(SourceHash, String)>,
    /// Key of the authority that issued its certificate.
    pub(crate) certified_by: Option<KeyDigest>,
    /// Keys of authorities that it holds.
    pub(crate) authorities: Vec<KeyDigest>,
    /// When it was heard last; `None`: not since this node leads.
    pub(crate) heard: Option<Instant>,
}

impl Sessions {
    /// What the members with a lease said last.
    pub(crate) fn reports(&self) -> BTreeMap<NodeId, Report> {
        let seen = self.seen();
        let reports = seen.iter();
        reports
            .map(|(node, seen)| (*node, seen.report.clone()))
            .collect()
    }

    /// Moves with each report, lease and loss.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Moves with each lease that is granted, and when members have none any more.
    pub(crate) fn begun(&self) -> watch::Receiver<u64> {
        self.begun.subscribe()
    }

    /// From now on somebody waits until all members have what is applied here.
    pub(crate) fn hurry_all(&self) {
        self.hurry.send_modify(|times| *times += 1);
    }

    /// Moves when all members are waited for.
    pub(super) fn hurry(&self) -> watch::Receiver<u64> {
        self.hurry.subscribe()
    }

    /// Whether a member with a lease has said last that it is not as far as this index.
    pub(super) fn is_any_behind(&self, index: u64) -> bool {
        self.seen().values().any(|seen| seen.report.bound < index)
    }

    /// How many members have a lease.
    pub(crate) fn count(&self) -> usize {
        self.seen().len()
    }

    /// A member that stops in order has no lease to lose.
    pub(super) fn forget(&self, node: NodeId) {
        self.seen().remove(&node);
        self.turned();
    }

    /// Whether the member has begun a session since this node leads.
    pub(crate) fn has_begun(&self, node: NodeId) -> bool {
        let seen = self.seen();
        seen.get(&node).is_some_and(|seen| seen.begun_at.is_some())
    }

    /// Whether this run of a member was not refused before.
    pub(super) fn is_news(&self, node: NodeId, incarnation: Incarnation) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.insert(node, incarnation) != Some(incarnation)
    }

    /// From now on heartbeats renew the member's lease only once its router has this index: who
    /// waits for it has waited long, and is to wait no longer than the lease.
    pub(crate) fn require(&self, node: NodeId, index: u64) {
        let mut seen = self.seen();
        let Some(entry) = seen.get_mut(&node) else {
            return;
        };
        if let Some(begun_at) = &mut entry.begun_at
            && *begun_at < index
            && entry.report.bound < index
        {
            *begun_at = index;
            entry.behind_since.get_or_insert_with(Instant::now);
        }
    }

    /// Grants a fresh lease; `false` while the loss of the last one is on its way. `applied`: for a
    /// session that begins now, how far the registry is here. It is looked at under the lock, so
    /// that whoever finds no session afterwards knows that a later one asks for as much or more.
    fn grant(
        &self,
        node: NodeId,
        incarnation: Incarnation,
        applied: Option<&dyn Fn() -> u64>,
    ) -> bool {
        let mut seen = self.seen();
        let fresh = || Seen {
            incarnation,
            until: Instant::now(),
            report: Report::default(),
            begun_at: None,
            behind_since: None,
            losing: false,
        };
        let entry = seen.entry(node).or_insert_with(fresh);
        if entry.incarnation != incarnation {
            *entry = fresh();
        }
        if entry.losing {
            return false;
        }
        if let Some(applied) = applied {
            entry.begun_at = Some(applied());
            entry.behind_since.get_or_insert_with(Instant::now);
        }
        entry.until = entry.renewed_until();
        drop(seen);
        self.turned();
        true
    }

    /// Has a lease that was granted without a session end then at the latest, unless an earlier one
    /// lasts longer.
    fn shorten(&self, node: NodeId, end: Instant) {
        let end = self.granted.until(node).map_or(end, |until| until.max(end));
        let mut seen = self.seen();
        let unclaimed = seen.get_mut(&node).filter(|it| it.begun_at.is_none());
        if let Some(entry) = unclaimed {
            entry.until = entry.until.min(end);
        }
    }

    fn hear(&self, node: NodeId, incarnation: Incarnation, report: Report) -> Heard {
        let mut seen = self.seen();
        let entry = seen.get_mut(&node);
        let Some(entry) = entry.filter(|it| it.incarnation == incarnation && !it.losing) else {
            return Heard::Over;
        };
        let heard = match entry.begun_at {
            None => return Heard::Over,
            Some(begun_at) if report.bound < begun_at => Heard::Behind,
            Some(_) => Heard::Renewed,
        };
        if heard == Heard::Renewed {
            entry.behind_since = None;
        }
        entry.until = entry.renewed_until();
        entry.report = report;
        drop(seen);
        self.moved();
        heard
    }

    /// From now on nothing renews this lease; `false` if it was renewed just now.
    fn begin_loss(&self, node: NodeId, incarnation: Incarnation) -> bool {
        let mut seen = self.seen();
        let entry = seen.get_mut(&node);
        let over = |it: &&mut Seen| it.incarnation == incarnation && it.until <= Instant::now();
        let Some(entry) = entry.filter(over) else {
            return false;
        };
        entry.losing = true;
        true
    }

    /// Members whose lease and margin are over, the longest first, and when the next one's are.
    fn due(&self, now: Instant) -> (Vec<(NodeId, Incarnation)>, Option<Instant>) {
        let seen = self.seen();
        let over = seen.iter().filter(|(_, seen)| seen.until <= now);
        let mut over: Vec<_> = over
            .map(|(node, seen)| (seen.until, *node, seen.incarnation))
            .collect();
        over.sort_unstable();
        let next = seen.values().map(|seen| seen.until).filter(|at| *at > now);
        let due = over.into_iter().map(|(_, node, run)| (node, run));
        (due.collect(), next.min())
    }

    /// How many have missed a heartbeat: those that fall silent together do not end together, for
    /// each was heard at another moment.
    fn silent(&self, now: Instant) -> usize {
        let left = LEASE + MARGIN - 2 * HEARTBEAT;
        let seen = self.seen();
        seen.values()
            .filter(|seen| seen.until <= now + left)
            .count()
    }

    /// Another member has a lease, or has none any more.
    fn turned(&self) {
        self.begun.send_modify(|begun| *begun += 1);
        self.moved();
    }

    fn moved(&self) {
        self.changed.send_modify(|changed| *changed += 1);
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<NodeId, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches the leases whenever this node leads, until shutdown.
pub(crate) async fn watch_leases(node: Arc<Node>) {
    let mut standing = node.membership.registry.standing();
    let (mut granted_in, mut begun, mut away) = (None, Instant::now(), None);
    loop {
        let leads = async {
            let leads = standing.wait_for(|standing| standing.leads).await;
            let term = leads.ok().map(|standing| standing.term);
            match term {
                Some(term) => term,
                None => std::future::pending().await,
            }
        };
        let Some(term) = node.shutdown.run_until_cancelled(leads).await else {
            return;
        };
        // One that was only not answered for a moment leads on in its term: nobody else has
        // granted a lease meanwhile, and who was silent before is silent for as long. After longer
        // all are given time to come back.
        let was_away = away.is_some_and(|since: Instant| since.elapsed() > AWAY);
        let is_new = granted_in != Some(term) || was_away;
        if is_new {
            node.membership.sessions.clear();
            begun = Instant::now();
        }
        let watching = async {
            if is_new {
                // One that an earlier leader took in last is known only then.
                leadership::settled(&node).await;
                grant_all(&node);
                granted_in = Some(term);
            }
            expire(&node, begun).await;
        };
        let mut led = standing.clone();
        let over = async {
            let stays = |s: &super::Standing| s.leads && s.term == term;
            drop(led.wait_for(|standing| !stays(standing)).await);
        };
        tokio::select! {
            biased;
            () = node.shutdown.cancelled() => return,
            () = over => {}
            () = watching => {}
        }
        away = Some(Instant::now());
    }
}

/// Everybody who is up has a fresh lease from a new leader.
fn grant_all(node: &Node) {
    let membership = &node.membership;
    let up = membership.registry.read(|state| {
        let others = state.members.iter().filter(|(id, _)| **id != membership.me);
        let up = others.filter(|(_, member)| member.state == MemberState::Up);
        up.map(|(id, member)| (*id, member.incarnation))
            .collect::<Vec<_>>()
    });
    for (member, incarnation) in up {
        membership.sessions.grant(member, incarnation, None);
    }
}

/// Commits the loss of members whose lease and margin are over; this node leads since `begun`.
async fn expire(node: &Node, begun: Instant) {
    let sessions = &node.membership.sessions;
    let mut begun_or_over = sessions.begun();
    loop {
        begun_or_over.borrow_and_update();
        // Who led before has no lease of its own any more, and is soon back if it lives.
        let consensus = node.membership.registry.consensus();
        if let Some(member) = consensus.and_then(|consensus| consensus.led_before()) {
            sessions.shorten(member, begun + FORMER_LEADER_BACK);
        }
        let (due, next) = sessions.due(Instant::now());
        if due.is_empty() {
            // What is renewed ends later, and what is granted meanwhile not before the others:
            // nobody is looked at for each heartbeat of everybody.
            match next {
                Some(at) => sleep_until(at).await,
                None => drop(begun_or_over.changed().await),
            }
            continue;
        }
        let count = sessions.count();
        let at_once = (count / MASS_PART).max(1);
        let silent = sessions.silent(Instant::now());
        if silent > at_once {
            let detail = format!("{silent} of {count} members are silent");
            node.membership
                .audit
                .note("many members silent", "leases", &detail);
        }
        for (member, incarnation) in due.iter().take(at_once).copied() {
            lose(node, member, incarnation).await;
        }
        if silent > at_once {
            tokio::time::sleep(MASS_PAUSE).await;
        }
    }
}

async fn lose(node: &Node, member: NodeId, incarnation: Incarnation) {
    if !node.membership.sessions.begin_loss(member, incarnation) {
        return;
    }
    let lost = Command::Member(MemberCommand::Lost {
        node: member,
        incarnation,
        stamp: stamp(),
    });
    match node.membership.registry.propose(lost).await {
        Ok(_) => {
            tracing::warn!(node = %member, "member lost");
            // Unless it came back in another run just now.
            let mut seen = node.membership.sessions.seen();
            if seen
                .get(&member)
                .is_some_and(|seen| seen.incarnation == incarnation)
            {
                seen.remove(&member);
            }
        }
        Err(failure) => {
            tracing::warn!(node = %member, %failure, "the loss of a member is not committed");
            tokio::time::sleep(LOSE_AGAIN).await;
        }
    }
}

/// Serves the session of a member until it ends.
pub(super) async fn serve(node: &Arc<Node>, from: NodeId, open: SessionOpen, stream: BiStream) {
    let BiStream {
        mut sender,
        mut receiver,
    } = stream;
    let was_lost = match begin(node, from, &open).await {
        Ok(was_lost) => was_lost,
        Err(NoSession(reason, down)) => {
            tracing::info!(member = %from, reason, "no session");
            let _gone = sender.send(&down).await;
            let _gone = sender.finish_and_wait().await;
            return;
        }
    };
    let welcome = SessionDown::Welcome {
        term: node.membership.registry.standing().borrow().term,
        recoveries: node.membership.registry.recoveries(),
        lease_ms: LEASE.as_millis() as u64,
        heartbeat_ms: HEARTBEAT.as_millis() as u64,
        was_lost,
    };
    if sender.send(&welcome).await.is_err() {
        return;
    }
    tracing::info!(member = %from, name = open.name, was_lost, "session with a member");
    let (acknowledge, acknowledged) = mpsc::channel(16);
    let (log, logs) = watch::channel(open.raft);
    let ended = tokio::select! {
        ended = hear(node, (from, &open), &mut receiver, (acknowledge, log)) => ended,
        ended = feed(node, (from, &open), &mut sender, (acknowledged, logs)) => ended,
    };
    tracing::info!(member = %from, reason = ended, "session ended");
}

/// Has the registry know this run of the member, and grants it a lease. Says whether it counted as
/// lost.
async fn begin(node: &Node, from: NodeId, open: &SessionOpen) -> Result<bool, NoSession> {
    may_begin(node, from, open).await?;
    let registry = &node.membership.registry;
    let known = registry.read(|state| state.members.get(&from).cloned());
    let is_up = known.as_ref().is_some_and(|member| {
        member.incarnation == open.incarnation && member.state == MemberState::Up
    });
    let was_lost = known.as_ref().is_some_and(|member| {
        member.incarnation == open.incarnation && member.state == MemberState::Lost
    });
    let failed = |failure: ProposeFailure| failure.to_string();
    if !is_up {
        let started = Command::MemberStarted {
            node: from,
            name: open.name.clone(),
            address: open.address.clone(),
            incarnation: open.incarnation,
            capabilities: open.capabilities.clone(),
            stamp: stamp(),
        };
        let (_, outcome) = registry.propose(started).await.map_err(failed)?;
        if let Outcome::Refused(refused) = outcome {
            return Err(refused.to_string().into());
        }
    }
    let differs = registry.read(|state| {
        state.members.get(&from).is_some_and(|member| {
            member.address != open.address
                || member.capabilities != open.capabilities
                || member.admission.may_vote != open.may_vote
        })
    });
    if differs {
        let described = Command::Member(MemberCommand::Describe {
            node: from,
            incarnation: open.incarnation,
            address: open.address.clone(),
            capabilities: open.capabilities.clone(),
            may_vote: open.may_vote,
            stamp: stamp(),
        });
        registry.propose(described).await.map_err(failed)?;
    }
    // A leader that was just elected may know less than what was acknowledged before.
    registry.confirm().await.map_err(failed)?;
    let applied = || registry.read_at(|index, _| index);
    let sessions = &node.membership.sessions;
    if !sessions.grant(from, open.incarnation, Some(&applied)) {
        return Err("the loss of its last lease is being committed"
            .to_owned()
            .into());
    }
    Ok(was_lost)
}

/// Between two heartbeats.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(2);

/// From the moment that a heartbeat was sent.
pub(crate) const LEASE: Duration = Duration::from_secs(6);

/// What the leader waits longer: clocks run at different speeds.
const MARGIN: Duration = Duration::from_millis(500);

/// A leader that no majority answered for longer than this grants all leases anew when one does.
const AWAY: Duration = Duration::from_secs(3);

/// How long a new leader waits for the one before it to come as a member: longer than that one
/// serves without a session (`lease::FORMER_LEADER`), and long enough to find the new one.
const FORMER_LEADER_BACK: Duration = Duration::from_millis(3_500);

/// How long a member may be heard that is not as far as it must, before its lease runs out.
const BEHIND_LIMIT: Duration = Duration::from_secs(15);

/// More than this part of the members silent: lost slowly.
const MASS_PART: usize = 5;

/// Between two portions of a mass expiry.
const MASS_PAUSE: Duration = Duration::from_secs(1);

/// Wait before a loss that was not committed is tried again.
const LOSE_AGAIN: Duration = Duration::from_millis(200);

mod granted;
use granted::Granted;

mod hearing;
use hearing::hear;

#[cfg(test)]
mod tests;
