//! The registry as this node has it: one handle, whether the node is a voter or a follower.
//!
//! A voter reads the state that consensus applies; a follower has a view of it, which the leader
//! streams to it. A change of part swaps the source underneath.
//! Not here: a follower's view (`view`), what it wishes to know (`wishes`), the stream (`feed`),
//! becoming a voter (`voters`).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use convention::Registry;
use leader::reconcile::{ProposeFailure, Replica};
use leader::{Consensus, FatalError};
use protocol::NodeId;
use protocol::peer::{PeerRequest, PeerResponse};
use protocol::registry::{Command, Outcome, State};
use protocol::wire::RefusalCode;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::peers::{PeerFault, Peers, WeakPeers};
use super::proposals;
use super::standing::Standing;
use super::wishes::Wishes;

mod anew;

/// The registry of this node, and the right to propose.
#[derive(Debug)]
pub(crate) struct RegistryHandle {
    // Locks because reads come from any task; held for one read or one batch, never across an
    // await. A voter's own lock lies in the consensus.
    pub(super) consensus: RwLock<Option<Arc<Consensus>>>,
    pub(super) followed: RwLock<Followed>,
    pub(super) applied: watch::Sender<u64>,
    pub(super) standing: watch::Sender<Standing>,
    // How often the part has changed: ends what followed the part before.
    parts: watch::Sender<u64>,
    // Weak: the peers look into the registry as well.
    peers: OnceLock<WeakPeers>,
    // Why this node is no member any more, once others have said so.
    removed: watch::Sender<Option<String>>,
    // While this node is on its own, its copy is what counts here, also for a voter.
    offline: watch::Sender<bool>,
    // The recovery of the convention that a leader told of.
    recovery: AtomicU64,
    pub(super) wishes: Wishes,
    tasks: TaskTracker,
}

/// A follower's view.
#[derive(Debug, Default)]
pub(super) struct Followed {
    pub(super) registry: Registry,
    pub(super) index: u64,
    /// Who votes, as the leader has told last.
    pub(super) voters: BTreeSet<NodeId>,
}

impl RegistryHandle {
    /// A follower that knows nothing yet; its tasks run on `tasks`.
    pub(crate) fn new(tasks: TaskTracker) -> Self {
        Self {
            consensus: RwLock::default(),
            followed: RwLock::default(),
            applied: watch::Sender::new(0),
            standing: watch::Sender::default(),
            parts: watch::Sender::new(0),
            peers: OnceLock::new(),
            removed: watch::Sender::new(None),
            offline: watch::Sender::new(false),
            recovery: AtomicU64::new(0),
            wishes: Wishes::default(),
            tasks,
        }
    }

    /// Says how others are reached; before that, only a leader proposes.
    pub(crate) fn reach(&self, peers: &Peers) {
        let _set_once = self.peers.set(peers.downgrade());
    }

    /// Reads the registry as this node has applied it. Keep it short: applying waits meanwhile.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        match self.source() {
            Some(consensus) => consensus.read(look),
            None => look(self.followed().registry.state()),
        }
    }

    /// As [`read`](Self::read), with the index that the registry stands at.
    pub(crate) fn read_at<T>(&self, look: impl FnOnce(u64, &State) -> T) -> T {
        match self.source() {
            Some(consensus) => consensus.read_at(look),
            None => {
                let followed = self.followed();
                look(followed.index, followed.registry.state())
            }
        }
    }

    /// The last applied index, as it moves, over all changes of part.
    pub(crate) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Who leads, as it changes, over all changes of part.
    pub(crate) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// How often this node's part has changed, as it changes.
    pub(crate) fn parts(&self) -> watch::Receiver<u64> {
        self.parts.subscribe()
    }

    /// This node's consensus, if it is a voter.
    pub(crate) fn consensus(&self) -> Option<Arc<Consensus>> {
        let held = self.consensus.read();
        held.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The consensus, where the registry is read from it.
    fn source(&self) -> Option<Arc<Consensus>> {
        if self.is_offline() {
            return None;
        }
        self.consensus()
    }

    /// Has consensus bring the registry from now on.
    ///
    /// False, and nothing changed, where that would be a step back from what was followed.
    pub(crate) fn become_voter(self: &Arc<Self>, consensus: Arc<Consensus>) -> bool {
        // Held until the watch says so too: the stream may still bring entries.
        let mut held = self
            .consensus
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let index = *consensus.applied().borrow();
        if index < self.followed().index {
            return false;
        }
        *held = Some(Arc::clone(&consensus));
        let followed = self.followed_mut();
        self.back();
        drop(followed);
        self.applied.send_replace(index);
        drop(held);
        self.parts.send_modify(|parts| *parts += 1);
        let part = *self.parts.borrow();
        self.take_standing(&consensus.standing().borrow(), part);
        self.pump(&consensus);
        true
    }

    /// What this node wishes to know.
    pub(super) fn wishes(&self) -> &Wishes {
        &self.wishes
    }

    /// A voter's convention is there again; what was done offline is forgotten.
    pub(super) fn come_back(&self) {
        let Some(consensus) = self.consensus().filter(|_| self.is_offline()) else {
            return;
        };
        let followed = self.followed_mut();
        self.back();
        drop(followed);
        self.applied.send_replace(*consensus.applied().borrow());
    }

    pub(super) fn back(&self) {
        self.offline
            .send_if_modified(|offline| std::mem::replace(offline, false));
    }

    /// Whether this node is on its own: proposals change only its own copy, until the convention
    /// is back.
    pub(crate) fn is_offline(&self) -> bool {
        *self.offline.borrow()
    }

    /// Whether this node is on its own, as it changes.
    pub(crate) fn offline(&self) -> watch::Receiver<bool> {
        self.offline.subscribe()
    }

    /// A member that has not reached its convention since it started goes on by itself.
    ///
    /// The index stays what it was: what is done offline counts for nobody, and no lease is given
    /// for roles that came of it.
    pub(super) fn go_offline(&self, change: impl FnOnce(&mut State)) {
        let consensus = self.consensus();
        let mut followed = self.followed_mut();
        let (index, mut state) = match &consensus {
            Some(consensus) => consensus.read_at(|index, state| (index, state.clone())),
            None => (followed.index, followed.registry.state().clone()),
        };
        change(&mut state);
        followed.registry = Registry::from_state(state);
        followed.index = index;
        self.offline.send_replace(true);
        drop(followed);
        self.applied.send_replace(index);
    }

    /// Applies a command to this node's own copy, if the node is on its own; looked at with the
    /// copy in hand, for the convention may come back at any moment.
    pub(super) fn apply_offline(&self, command: &Command) -> Option<(u64, Outcome)> {
        let mut followed = self.followed_mut();
        if !self.is_offline() {
            return None;
        }
        let outcome = followed.registry.apply(command);
        let index = followed.index;
        drop(followed);
        self.applied.send_replace(index);
        Some((index, outcome))
    }

    pub(super) fn replace(&self, state: State, index: u64, voters: Option<BTreeSet<NodeId>>) {
        let mut followed = self.followed_mut();
        followed.registry = Registry::from_state(state);
        followed.index = index;
        if let Some(voters) = voters {
            followed.voters = voters;
        }
        drop(followed);
        self.applied.send_replace(index);
    }

    /// What a follower heard of the lead.
    pub(super) fn hear_leader(&self, leader: Option<(NodeId, String)>, term: u64) {
        // Held to the end: what a log says that is opened meanwhile comes after this.
        let part = self.consensus.read();
        let part = part.unwrap_or_else(PoisonError::into_inner);
        if part.is_some() {
            return;
        }
        self.standing.send_if_modified(|standing| {
            let heard = Standing {
                leader,
                leads: false,
                term: term.max(standing.term),
            };
            let changed = *standing != heard;
            *standing = heard;
            changed
        });
    }

    /// Remembers the term of a step or welcome; `false` if a newer one is known, or it is so far
    /// ahead that no elections can have led there: it would shut every later leader out.
    pub(crate) fn admits_term(&self, term: u64) -> bool {
        let mut admitted = true;
        self.standing.send_if_modified(|standing| {
            let latest = standing.term.saturating_add(TERM_LEAP);
            admitted = (standing.term..=latest).contains(&term);
            let newer = admitted && term > standing.term;
            if newer {
                standing.term = term;
            }
            newer
        });
        admitted
    }

    /// How often this node knows the convention to have been recovered from a lost quorum.
    pub(crate) fn recoveries(&self) -> u64 {
        let log = self.consensus().map(|log| log.identity().recovery_epoch);
        let applied = self.read(|state| state.roll.recoveries);
        let told = self.recovery.load(Ordering::Acquire);
        applied.max(told).max(log.unwrap_or_default())
    }

    /// A leader of a convention that was recovered since has taken this follower in: terms count
    /// anew from its own.
    pub(super) fn begin_recovery(&self, recoveries: u64, term: u64) {
        self.recovery.fetch_max(recoveries, Ordering::AcqRel);
        self.standing.send_modify(|standing| standing.term = term);
    }

    /// Others say that this node was removed.
    pub(super) fn note_removed(&self, reason: &str) {
        self.removed.send_if_modified(|removed| {
            let first = removed.is_none();
            removed.get_or_insert_with(|| reason.to_owned());
            first
        });
    }

    /// Why this node is no member any more, once that is known.
    pub(crate) fn removed(&self) -> watch::Receiver<Option<String>> {
        self.removed.subscribe()
    }

    /// Waits until consensus on this node fails for good; a follower waits for ever.
    pub(crate) async fn failed(&self) -> FatalError {
        let mut parts = self.parts();
        loop {
            parts.borrow_and_update();
            let consensus = self.consensus();
            let failing = async {
                match &consensus {
                    Some(consensus) => consensus.failed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                // A log that was let go before it was shut down has not failed.
                changed = parts.changed() => if changed.is_err() {
                    return std::future::pending().await;
                },
                fatal = failing => return fatal,
            }
        }
    }

    /// Ends what follows the consensus here: the node stops.
    pub(crate) fn let_go(&self) {
        self.parts.send_modify(|parts| *parts += 1);
    }

    /// Stops consensus, if this node has a part in it.
    pub(crate) async fn shutdown(&self) {
        if let Some(consensus) = self.consensus() {
            consensus.shutdown().await;
        }
        self.parts.send_modify(|parts| *parts += 1);
    }

    async fn propose_here_or_there(
        &self,
        command: Command,
    ) -> Result<(u64, Outcome), ProposeFailure> {
        let until = tokio::time::Instant::now() + PROPOSE_LIMIT;
        let me = self.peers.get().and_then(WeakPeers::upgrade);
        let me = me.map(|peers| peers.me()).unwrap_or_default();
        let command = proposals::identified(command, me);
        let meant = self.read(|state| state.convention);
        let mut unknown = None;
        loop {
            if let Some(done) = self.apply_offline(&command) {
                return Ok(done);
            }
            let leading = self.consensus().filter(|consensus| consensus.is_leader());
            // Looked at after the log, which may be another convention's by now: what this node
            // has proposed in the one before, its own removal even, is nothing to this one.
            if meant.is_some() && meant != self.read(|state| state.convention) {
                return Err(ProposeFailure::Unavailable {
                    reason: "this node is of another convention now".to_owned(),
                });
            }
            let done = match &leading {
                Some(consensus) => Replica::propose(&**consensus, command.clone()).await,
                None => self.forward(&command, until).await,
            };
            let leads = leading.is_some_and(|consensus| consensus.is_leader());
            let reason = match done {
                Err(ProposeFailure::Unavailable { reason }) if !leads => reason,
                Err(ProposeFailure::Unknown { reason })
                    if !leads && proposals::is_repeatable(&command) =>
                {
                    unknown.get_or_insert(reason).clone()
                }
                done => return done,
            };
            let is_member = self.removed.borrow().is_none();
            if !is_member || tokio::time::Instant::now() + RETRY >= until {
                return Err(match unknown {
                    Some(reason) => ProposeFailure::Unknown { reason },
                    None => ProposeFailure::Unavailable { reason },
                });
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn forward(
        &self,
        command: &Command,
        until: tokio::time::Instant,
    ) -> Result<(u64, Outcome), ProposeFailure> {
        let unavailable = |reason: &str| ProposeFailure::Unavailable {
            reason: reason.to_owned(),
        };
        let peers = self.peers.get().and_then(WeakPeers::upgrade);
        let peers = peers.ok_or_else(|| unavailable("this node is stopping"))?;
        let request = PeerRequest::Propose {
            command: command.clone(),
        };
        let within = until.saturating_duration_since(tokio::time::Instant::now());
        match peers.ask_leader(&request, within).await {
            Ok(PeerResponse::Proposed { index, outcome }) => {
                let (mut applied, mut removed) = (self.applied(), self.removed());
                let reached = async {
                    tokio::select! {
                        _there = applied.wait_for(|applied| *applied >= index) => {}
                        _never = removed.wait_for(Option::is_some) => {}
                    }
                };
                // What the leader did may be read here, unless the stream is cut just now.
                let _cut = tokio::time::timeout(READ_OWN_LIMIT, reached).await;
                Ok((index, outcome))
            }
            Ok(_) => Err(unavailable("the leader's answer is of another kind")),
            Err(PeerFault::Unknown { reason }) => Err(ProposeFailure::Unknown { reason }),
            Err(PeerFault::Refused(refusal)) if refusal.code == RefusalCode::Unknown => {
                Err(ProposeFailure::Unknown {
                    reason: refusal.text,
                })
            }
            Err(fault) => Err(unavailable(&fault.to_string())),
        }
    }

    /// Keeps the stable watches as the consensus moves, as long as it is this node's.
    fn pump(self: &Arc<Self>, consensus: &Consensus) {
        let (handle, mut parts) = (Arc::clone(self), self.parts());
        let part = *parts.borrow_and_update();
        let (mut applied, mut standing) = (consensus.applied(), consensus.standing());
        self.tasks.spawn(async move {
            loop {
                let index = *applied.borrow_and_update();
                if !handle.is_offline() {
                    handle.applied.send_if_modified(|it| {
                        handle.has_part(part) && std::mem::replace(it, index) != index
                    });
                }
                let now = standing.borrow_and_update().clone();
                handle.take_standing(&now, part);
                tokio::select! {
                    biased;
                    _changed = parts.changed() => return,
                    changed = applied.changed() => if changed.is_err() { return },
                    changed = standing.changed() => if changed.is_err() { return },
                }
            }
        });
    }

    fn take_standing(&self, heard: &leader::Standing, part: u64) {
        let mut now = Standing::from(heard);
        if now.leads && self.has_part(part) {
            // Before anybody leads by what was done offline.
            self.come_back();
        }
        self.standing.send_if_modified(|standing| {
            now.term = now.term.max(standing.term);
            let changed = self.has_part(part) && *standing != now;
            if changed {
                *standing = now.clone();
            }
            changed
        });
    }

    pub(super) fn swap(&self, consensus: Option<Arc<Consensus>>) {
        let mut held = self
            .consensus
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *held = consensus;
        drop(held);
        self.parts.send_modify(|parts| *parts += 1);
    }

    pub(super) fn followed_mut(&self) -> std::sync::RwLockWriteGuard<'_, Followed> {
        let followed = self.followed.write();
        followed.unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn followed(&self) -> std::sync::RwLockReadGuard<'_, Followed> {
        self.followed.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Replica for RegistryHandle {
    async fn propose(&self, command: Command) -> Result<(u64, Outcome), ProposeFailure> {
        self.propose_here_or_there(command).await
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        Self::read(self, look)
    }

    fn applied(&self) -> watch::Receiver<u64> {
        Self::applied(self)
    }

    fn leads(&self) -> bool {
        self.standing.borrow().leads
    }

    async fn confirm(&self) -> Result<(), ProposeFailure> {
        let Some(consensus) = self.consensus() else {
            return Err(ProposeFailure::Unavailable {
                reason: "this node is not the leader".to_owned(),
            });
        };
        Replica::confirm(&*consensus).await
    }
}

/// How far a term may be ahead of the last one known here: more elections than there can be.
const TERM_LEAP: u64 = 1 << 32;

/// How long a command may look for a leader.
const PROPOSE_LIMIT: Duration = Duration::from_secs(10);

/// Between two attempts.
const RETRY: Duration = Duration::from_millis(100);

/// How long a proposal that is done waits for this node to have applied it.
const READ_OWN_LIMIT: Duration = Duration::from_secs(2);
