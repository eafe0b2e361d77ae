//! The member's side of its session with the leader: heartbeats, the lease, the registry's stream.
//!
//! A member only dials out. When the session ends for whatever reason, it looks for the leader
//! anew; the lease runs on meanwhile (`lease`).
//! Not here: the leader's side (`sessions`), joining (`join`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use leader::RaftId;
use protocol::NodeId;
use protocol::limits::STREAM_WINDOW_BYTES;
use protocol::peer::{PeerRequest, SessionDown, SessionOpen, SessionUp};
use protocol::registry::{FEATURE_LEVEL, KeyDigest};
use protocol::view::Wish;
use rand::Rng;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use transport::Alpn;
use transport::streams::{BiStream, FrameReceiver, FrameSender};

use super::parts::Parts;
use super::peers::told;
use super::view::ANOTHER_PART;
use super::{invited, strays, voters};
use crate::agent::node::Node;

mod lead;
pub(crate) use lead::announce;
use lead::lead;

/// Keeps a session with whoever leads, and announces this node when it leads itself, until
/// shutdown.
pub(crate) async fn run(node: Arc<Node>) {
    let membership = &node.membership;
    let mut standing = membership.registry.standing();
    let mut removed = membership.registry.removed();
    while !node.shutdown.is_cancelled() {
        let once = async {
            let leads = standing.borrow_and_update().leads;
            let reason = removed.borrow_and_update().clone();
            if leads {
                lead(&node, &mut standing).await;
            } else if let Some(reason) = reason {
                if invited::goes_on_alone(&node) {
                    go_on_alone(&node, &reason).await;
                } else {
                    removed_for_good(&node, &reason, &mut removed).await;
                }
            } else if let Err(reason) = follow(&node).await {
                tracing::debug!(reason, "no session");
                if invited::is_deserted(&node) {
                    return go_on_alone(&node, &reason).await;
                }
                membership.trouble.send_replace(Some(reason));
                let pause = rand::rng().random_range(PAUSE_MS);
                tokio::select! {
                    _gone = removed.changed() => {}
                    _leads = standing.wait_for(|standing| standing.leads) => {}
                    () = tokio::time::sleep(Duration::from_millis(pause)) => {}
                }
            }
        };
        let _stopped = node.shutdown.run_until_cancelled(once).await;
    }
}

/// A program's node that has no convention any more founds one of its own.
async fn go_on_alone(node: &Arc<Node>, reason: &str) {
    let membership = &node.membership;
    let Some(left) = membership.identity().convention() else {
        return;
    };
    tracing::warn!(reason, "this node goes on alone");
    if let Err(failure) = invited::alone(node, left).await {
        tracing::error!(failure, "this node has no convention of its own");
        membership.trouble.send_replace(Some(failure));
        tokio::time::sleep(REFUSED_PAUSE).await;
    }
}

/// A node that was removed waits for the operator.
async fn removed_for_good(
    node: &Node,
    reason: &str,
    removed: &mut watch::Receiver<Option<String>>,
) {
    tracing::error!(reason, "this node is no member of its convention any more");
    node.membership.lease.end();
    node.membership
        .trouble
        .send_replace(Some(reason.to_owned()));
    let _never_again = removed.changed().await;
}

/// One session, from looking for the leader to its end.
async fn follow(node: &Arc<Node>) -> Result<(), String> {
    let membership = &node.membership;
    let Some((leader, address)) = membership.peers.leader(LOOK_LIMIT).await else {
        let nobody = "no member of the convention that can be reached knows who leads";
        let rumour = membership.peers.rumours().any();
        return Err(rumour.map_or_else(|| nobody.to_owned(), |said| format!("{nobody}; {said}")));
    };
    if leader == membership.me {
        return Err("this node is about to lead".to_owned());
    }
    let connected = timeout(OPEN_LIMIT, async {
        if let Some(live) = membership.peers.live(leader, Alpn::Convention) {
            return Ok(live);
        }
        let dialled = membership.peers.dial(leader, &address, Alpn::Convention);
        match dialled.await {
            Ok(connection) => Ok(connection),
            Err(_elsewhere) => membership.peers.connection(leader, Alpn::Convention).await,
        }
    });
    let mut standing = membership.registry.standing();
    let connected = tokio::select! {
        biased;
        _leads = standing.wait_for(|standing| standing.leads) => {
            return Err("this node leads now".to_owned());
        }
        connected = connected => connected,
    };
    let connection = match connected {
        Ok(Ok(connection)) => connection,
        Ok(Err(fault)) => {
            membership.peers.give_up(leader);
            membership.registry.hear_leader(None, 0);
            return Err(fault.to_string());
        }
        Err(_elapsed) => {
            membership.peers.give_up(leader);
            membership.registry.hear_leader(None, 0);
            return Err(format!(
                "the leader `{leader}` at `{address}` cannot be reached"
            ));
        }
    };
    membership.peers.trust(&connection);
    let opened = timeout(OPEN_LIMIT, connection.open()).await;
    let stream = opened.map_err(|_elapsed| "the leader opens no stream".to_owned());
    let stream = stream.and_then(|opened| opened.map_err(|closed| told(&closed)));
    let ended = match stream {
        Ok(stream) => Session::new(node, leader, address).keep(stream).await,
        Err(reason) => reason,
    };
    membership.session_with.send_replace(None);
    // Whoever is asked next is asked anew; a dead connection is not tried again.
    membership.peers.remove(&connection);
    membership.peers.give_up(leader);
    membership.registry.hear_leader(None, 0);
    Err(ended)
}

/// One session with one leader.
struct Session<'a> {
    node: &'a Arc<Node>,
    leader: NodeId,
    address: String,
    // Heartbeats under way: their numbers and when they were sent. Held for a look-up only.
    sent: Mutex<VecDeque<(u64, Instant)>>,
    heard: watch::Sender<Instant>,
    // The log with which it began, as a voter, which gets no stream.
    log: Option<RaftId>,
    // The part with which it began.
    part: u64,
    renewed: AtomicBool,
    // The newest known before it began; of the leader, once that has taken this node in.
    term: AtomicU64,
    /// Bytes of the registry's stream that have come.
    received: watch::Sender<u64>,
    /// Number of the last wish that the leader knows.
    wished: AtomicU64,
}

impl<'a> Session<'a> {
    fn new(node: &'a Arc<Node>, leader: NodeId, address: String) -> Self {
        let session = Self {
            node,
            leader,
            address,
            sent: Mutex::default(),
            heard: watch::Sender::new(Instant::now()),
            log: None,
            part: *node.membership.registry.parts().borrow(),
            renewed: AtomicBool::new(false),
            term: AtomicU64::new(node.membership.registry.standing().borrow().term),
            received: watch::Sender::new(0),
            wished: AtomicU64::new(0),
        };
        let log = session.own_log();
        Self { log, ..session }
    }

    /// The log that this node votes with now.
    fn own_log(&self) -> Option<RaftId> {
        let consensus = self.node.membership.registry.consensus();
        consensus.map(|consensus| consensus.identity().raft)
    }

    /// Keeps it until it ends, and says why.
    async fn keep(&self, stream: BiStream) -> String {
        let BiStream {
            mut sender,
            mut receiver,
        } = stream;
        let before = self.node.actors.slots();
        let open = PeerRequest::Session(self.open());
        if let Err(fault) = sender.send(&open).await {
            return told(&fault);
        }
        let welcome = timeout(WELCOME_LIMIT, receiver.receive::<SessionDown>());
        let welcome = tokio::select! {
            biased;
            reason = self.moved_on() => return reason,
            welcome = welcome => welcome,
        };
        let (lease, heartbeat) = match welcome {
            Ok(Ok(Some(SessionDown::Welcome {
                term,
                recoveries,
                lease_ms,
                heartbeat_ms,
                was_lost,
            }))) => {
                if let Err(reason) = self.welcomed((recoveries, term), was_lost) {
                    return reason;
                }
                if was_lost {
                    let ending = strays::end(Arc::clone(self.node), before);
                    self.node.tasks.spawn(ending);
                }
                (clamped(lease_ms), clamped(heartbeat_ms))
            }
            Ok(Ok(Some(SessionDown::VotesNot { raft }))) => return self.votes_not(raft).await,
            Ok(Ok(Some(SessionDown::Refused { reason }))) => return self.refused(reason).await,
            Ok(Ok(_)) => return "the node that was asked does not lead".to_owned(),
            Ok(Err(fault)) => return told(&fault),
            Err(_elapsed) => return "the leader gave no answer".to_owned(),
        };
        // Each of these is one future from here on: no half-read frame is ever dropped but at the
        // end of the session.
        tokio::select! {
            biased;
            reason = self.moved_on() => reason,
            reason = self.silence(heartbeat) => reason,
            reason = self.hear(&mut receiver, lease) => reason,
            reason = self.beat(&mut sender, heartbeat) => reason,
        }
    }

    fn open(&self) -> SessionOpen {
        let membership = &self.node.membership;
        self.wish_for_held();
        let wishes = membership.registry.wishes().after(0);
        self.wished.store(wishes.0, Ordering::Relaxed);
        SessionOpen {
            incarnation: membership.incarnation,
            name: membership.name.clone(),
            address: membership.address().to_owned(),
            capabilities: self.node.capabilities(),
            may_vote: membership.may_vote(),
            feature_level: FEATURE_LEVEL,
            recoveries: membership.registry.recoveries(),
            raft: self.log.map(|raft| raft.0),
            wishes: self.log.is_none().then_some(wishes),
        }
    }

    /// Of a package that is held here this node has to know whether it is loaded.
    fn wish_for_held(&self) {
        for hash in self.node.store.hashes() {
            self.node.replica.note(Wish::Source(hash));
        }
    }

    /// The leader has taken this node in, unless it is one of the past.
    fn welcomed(&self, (recoveries, term): (u64, u64), was_lost: bool) -> Result<(), String> {
        let registry = &self.node.membership.registry;
        let known = registry.recoveries();
        if recoveries < known {
            return Err(format!(
                "the leader `{}` does not know that the convention was recovered ({known} times, \
                 it knows of {recoveries}); move its `state/` away and join it anew",
                self.leader
            ));
        }
        if recoveries > known && registry.consensus().is_none() {
            registry.begin_recovery(recoveries, term);
            self.node.membership.endpoint.set_recoveries(recoveries);
        }
        if !registry.admits_term(term) {
            return Err("a leader of an older term".to_owned());
        }
        registry.hear_leader(Some((self.leader, self.address.clone())), term);
        self.term.store(term, Ordering::Relaxed);
        let membership = &self.node.membership;
        membership.session_with.send_replace(Some(self.leader));
        membership.peers.rumours().clear();
        membership.peers.forget_all_told();
        tracing::info!(leader = %self.leader, term, was_lost, "session with the leader");
        if was_lost {
            membership.returned.send_modify(|times| *times += 1);
        }
        membership.lease.serve_offline_no_longer();
        if registry.consensus().is_some() {
            registry.come_back();
            membership.trouble.send_replace(None);
        }
        Ok(())
    }

    /// The leader's log has this node as no voter any more: it drops its own and follows.
    async fn votes_not(&self, raft: u64) -> String {
        if self.own_log() != Some(RaftId(raft)) {
            return format!("the leader speaks of raft id {raft}, which is not this node's");
        }
        tracing::warn!(raft, leader = %self.leader, "this node was replaced as a voter meanwhile");
        let node = Arc::clone(self.node);
        // A task of its own: the session ends in the middle of it.
        let closing = self.node.tasks.spawn(async move {
            let closed = voters::close_log(&node, RaftId(raft)).await;
            closed.map_err(|failure| failure.message)
        });
        match closing.await {
            Ok(Ok(())) => "this node votes no more and follows from now".to_owned(),
            Ok(Err(reason)) => format!("this node cannot drop its log: {reason}"),
            Err(stopped) => stopped.to_string(),
        }
    }

    /// The leader has no session for this node until an operator has acted.
    async fn refused(&self, reason: String) -> String {
        let trouble = &self.node.membership.trouble;
        trouble.send_replace(Some(reason.clone()));
        let _not_at_once = timeout(REFUSED_PAUSE, self.moved_on()).await;
        reason
    }

    /// Sends heartbeats until shutdown. The leader acknowledges none until this node's roles are
    /// as it knew them when the session began: until then it is told often how far they are.
    async fn beat(&self, sender: &mut FrameSender, every: Duration) -> String {
        let mut number = 0;
        let (mut received, mut told_received) = (self.received.subscribe(), 0);
        // What has come before this was looked at first is told as well.
        received.mark_changed();
        let mut wishes = self.node.replica.wishes().last();
        // One that came since the session was opened is new.
        wishes.mark_changed();
        let mut certified = self.node.membership.certified.subscribe();
        loop {
            number += 1;
            certified.borrow_and_update();
            let beat = self.heartbeat(number);
            self.sent().push_back((number, Instant::now()));
            if let Err(fault) = sender.send(&beat).await {
                return told(&fault);
            }
            let renewed = self.renewed.load(Ordering::Relaxed);
            let next = Instant::now() + if renewed { every } else { FIRST_HEARTBEAT };
            // Between two heartbeats the leader is told how much of its stream has come, and what
            // this node wishes to know.
            loop {
                let told_up = tokio::select! {
                    biased;
                    () = sleep_until(next) => break,
                    _changed = certified.changed() => break,
                    _changed = wishes.changed(), if self.log.is_none() => {
                        wishes.borrow_and_update();
                        match self.new_wishes() {
                            Some(wish) => wish,
                            None => continue,
                        }
                    }
                    _changed = received.changed() => {
                        let bytes = *received.borrow_and_update();
                        // The leader waits for no less, and most documents are a few bytes.
                        if bytes < told_received + RECEIVED_TOLD_BYTES {
                            continue;
                        }
                        told_received = bytes;
                        SessionUp::Received { bytes }
                    }
                };
                if let Err(fault) = sender.send(&told_up).await {
                    return told(&fault);
                }
            }
        }
    }

    /// What this node wishes to know since it said so last.
    fn new_wishes(&self) -> Option<SessionUp> {
        let (number, wishes) = {
            let wished = self.wished.load(Ordering::Relaxed);
            self.node.replica.wishes().after(wished)
        };
        self.wished.store(number, Ordering::Relaxed);
        (!wishes.is_empty()).then_some(SessionUp::Wish { number, wishes })
    }

    fn heartbeat(&self, number: u64) -> SessionUp {
        let node = self.node;
        self.wish_for_held();
        let named = node
            .membership
            .registry
            .read(crate::agent::leftovers::named);
        let (held, distrusted) = node.packages.report(&named);
        let (certified_by, authorities) = {
            let identity = node.membership.identity();
            (identity.certified_by(), identity.held_authorities())
        };
        SessionUp::Heartbeat {
            number,
            bound: *node.membership.bound.borrow(),
            raft: self.own_log().map(|raft| raft.0),
            actors: node.actors.all().len() as u64,
            held,
            distrusted,
            certified_by: certified_by.map(|key| KeyDigest(key.0)),
            authorities,
        }
    }

    /// Takes in what the leader sends.
    async fn hear(&self, receiver: &mut FrameReceiver, lease: Duration) -> String {
        let membership = &self.node.membership;
        let mut parts = Parts::default();
        loop {
            let down = match receiver.receive::<SessionDown>().await {
                Ok(Some(down)) => down,
                Ok(None) => return "the leader has ended the session".to_owned(),
                Err(fault) => return told(&fault),
            };
            self.heard.send_replace(Instant::now());
            match down {
                SessionDown::Acknowledged { number } => {
                    if membership.registry.is_offline() {
                        // The next session begins with the whole view.
                        return "this node went on by itself just now".to_owned();
                    }
                    self.acknowledged(number, lease);
                }
                SessionDown::Part { bytes, last } => {
                    let come = bytes.len() as u64;
                    self.received.send_modify(|received| *received += come);
                    match parts.add(&bytes, last) {
                        Ok(None) => {}
                        Ok(Some(streamed)) => {
                            if let Err(reason) = membership.registry.follow(streamed, self.part) {
                                return reason;
                            }
                            membership.trouble.send_replace(None);
                        }
                        Err(reason) => return reason,
                    }
                }
                SessionDown::NotLeader => return "the leader leads no longer".to_owned(),
                SessionDown::VotesNot { raft } => return self.votes_not(raft).await,
                SessionDown::Refused { reason } => return self.refused(reason).await,
                SessionDown::Welcome { .. } => {}
            }
        }
    }

    fn acknowledged(&self, number: u64, lease: Duration) {
        let mut sent = self.sent();
        while let Some((first, at)) = sent.front().copied() {
            if first > number {
                return;
            }
            sent.pop_front();
            if first == number {
                self.renewed.store(true, Ordering::Relaxed);
                self.node.membership.lease.renew(at, lease);
            }
        }
    }

    /// Ends a session in which a heartbeat is not acknowledged: the leader may be gone, and others
    /// know of the next.
    async fn silence(&self, heartbeat: Duration) -> String {
        let mut heard = self.heard.subscribe();
        loop {
            let last = *heard.borrow_and_update();
            let limit = last + heartbeat + ACKNOWLEDGE_LIMIT;
            tokio::select! {
                _more = heard.changed() => {}
                () = sleep_until(limit) => {
                    return "the leader has fallen silent".to_owned();
                }
            }
        }
    }

    /// Ends the session when another node leads, or this one has another part than it began with.
    async fn moved_on(&self) -> String {
        let registry = &self.node.membership.registry;
        let (mut standing, mut removed) = (registry.standing(), registry.removed());
        let mut parts = registry.parts();
        loop {
            parts.borrow_and_update();
            if self.log.is_some() && registry.consensus().is_none() {
                return "this node votes no more and follows from now".to_owned();
            }
            let follows = self.log.is_none() && registry.consensus().is_none();
            if follows && !registry.has_part(self.part) {
                return ANOTHER_PART.to_owned();
            }
            let now = standing.borrow_and_update().clone();
            if now.leader.is_some_and(|(leader, _)| leader != self.leader) {
                return "another node leads now".to_owned();
            }
            // A step of the next leader tells of it before the former one falls silent. Until the
            // session stands it may be this very one's.
            let is_newer = now.term > self.term.load(Ordering::Relaxed);
            if is_newer && !self.node.membership.peers.is_told(self.leader) {
                return "a newer term has begun".to_owned();
            }
            if removed.borrow_and_update().is_some() {
                return "this node was removed".to_owned();
            }
            tokio::select! {
                _moved = standing.changed() => {}
                _moved = removed.changed() => {}
                _moved = parts.changed() => {}
            }
        }
    }

    fn sent(&self) -> std::sync::MutexGuard<'_, VecDeque<(u64, Instant)>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The leader is told of so much that has come: it keeps a window on its way that is several times
/// as large, so that it never waits for what it is not told.
const RECEIVED_TOLD_BYTES: u64 = STREAM_WINDOW_BYTES / 4;

/// A time that a leader names, kept to what makes sense: added to a clock, it must not overflow.
fn clamped(millis: u64) -> Duration {
    Duration::from_millis(millis).clamp(SHORTEST, LONGEST)
}

/// Shortest lease or pause that a leader may name.
const SHORTEST: Duration = Duration::from_millis(10);

/// Longest of them: ten times what leaders of today name.
const LONGEST: Duration = Duration::from_secs(60);

/// Wait before the leader is looked for again, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 100..500;

/// Wait before a session is asked for again that was refused.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);

/// How long the leader is looked for at a time.
const LOOK_LIMIT: Duration = Duration::from_secs(3);

/// How long the way to the leader may take.
const OPEN_LIMIT: Duration = Duration::from_secs(5);

/// How long the leader may take to commit that this node is there.
const WELCOME_LIMIT: Duration = Duration::from_secs(5);

/// How long an acknowledgement may take.
const ACKNOWLEDGE_LIMIT: Duration = Duration::from_millis(1_500);

/// Between two heartbeats until the first one of a session is acknowledged.
const FIRST_HEARTBEAT: Duration = Duration::from_millis(100);
