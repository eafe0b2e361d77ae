//! The other members, to be asked: one live connection of each kind a member, whoever dialled it.
//!
//! A member that cannot be dialled (behind NAT) is asked through the leader to dial this node
//! (`called_back`).
//! Failures keep apart what did not happen, what may have, and what was refused.
//! Not here: what a request does (`serve`), who is let in (`endpoint`).

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use protocol::NodeId;
use protocol::peer::{LinkKind, PeerRequest, PeerResponse};
use protocol::view::Wish;
use protocol::wire::{Refusal, RefusalCode};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use transport::endpoint::DialFault;
use transport::streams::AskFault;
use transport::{Alpn, Connection, Endpoint};

use super::registry::RegistryHandle;
use super::removal::Rumours;
use super::voter_calls::Logless;
use super::vouching::Vouched;

mod called_back;
pub(crate) use called_back::first_of;

mod anew;
mod claims;

mod hints;
use hints::Hints;

mod proving;

/// The other members of the convention; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Peers(Arc<Inner>);

/// [`Peers`] that does not keep them alive.
#[derive(Debug, Clone)]
pub(crate) struct WeakPeers(Weak<Inner>);

#[derive(Debug)]
struct Inner {
    me: NodeId,
    address: String,
    endpoint: Endpoint,
    registry: Arc<RegistryHandle>,
    // Where to ask while the registry knows nobody: `convleader.cfg`, what a join told.
    hints: Mutex<Hints>,
    // Held for a look-up or an insertion only.
    live: Mutex<HashMap<(NodeId, Alpn), Connection>>,
    came: watch::Sender<u64>,
    // Members that our dials did not reach when theirs reached us.
    silent: Mutex<BTreeSet<NodeId>>,
    dialling: Mutex<HashMap<(NodeId, Alpn), Turn>>,
    dialled: mpsc::UnboundedSender<Connection>,
    // Who led as far as this node's last session knew. Held for a look only.
    given_up: Mutex<Option<NodeId>>,
    // Who has said, and proven that it may, that it leads since.
    told: watch::Sender<Option<(NodeId, String)>>,
    vouched: Vouched,
    rumours: Rumours,
    logless: Logless,
}

/// Who dials a member first; others wait for what comes of it.
type Turn = Arc<tokio::sync::Mutex<()>>;

/// A request to another member without an answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum PeerFault {
    /// It was not carried out; try again, or another.
    #[error("{reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// It may have been carried out.
    #[error("{reason}")]
    Unknown {
        /// Why.
        reason: String,
    },
    /// The other refuses it: it was not carried out.
    #[error(transparent)]
    Refused(Refusal),
    /// This node leads: it carries the request out itself.
    #[error("this node leads")]
    Leads,
}

impl Peers {
    /// The members reached from this endpoint. What is dialled goes into the channel, to be served.
    pub(crate) fn new(
        me: NodeId,
        address: String,
        endpoint: Endpoint,
        registry: Arc<RegistryHandle>,
        hints: Vec<String>,
    ) -> (Self, mpsc::UnboundedReceiver<Connection>) {
        let (dialled, to_serve) = mpsc::unbounded_channel();
        let inner = Inner {
            me,
            address,
            endpoint,
            registry,
            hints: Mutex::new(Hints::new(hints)),
            live: Mutex::default(),
            came: watch::Sender::new(0),
            silent: Mutex::default(),
            dialling: Mutex::default(),
            dialled,
            given_up: Mutex::default(),
            told: watch::Sender::default(),
            vouched: Vouched::default(),
            rumours: Rumours::default(),
            logless: Logless::default(),
        };
        (Self(Arc::new(inner)), to_serve)
    }

    pub(super) fn downgrade(&self) -> WeakPeers {
        WeakPeers(Arc::downgrade(&self.0))
    }

    /// A live connection of this kind: one that is there already, else a new one.
    ///
    /// # Errors
    /// [`PeerFault::Unavailable`], [`PeerFault::Refused`].
    pub(crate) async fn connection(
        &self,
        node: NodeId,
        alpn: Alpn,
    ) -> Result<Connection, PeerFault> {
        if let Some(live) = self.live(node, alpn) {
            return Ok(live);
        }
        let turn = Arc::clone(lock(&self.0.dialling).entry((node, alpn)).or_default());
        let _turn = turn.lock().await;
        if let Some(live) = self.live(node, alpn) {
            return Ok(live);
        }
        self.reach(node, alpn).await
    }

    /// The live connection of this kind, if there is one.
    pub(crate) fn live(&self, node: NodeId, alpn: Alpn) -> Option<Connection> {
        lock(&self.0.live).get(&(node, alpn)).cloned()
    }

    /// Asks one member.
    ///
    /// # Errors
    /// [`PeerFault`], which tells apart what did not happen from what may have.
    pub(crate) async fn ask(
        &self,
        node: NodeId,
        request: &PeerRequest,
        within: Duration,
    ) -> Result<PeerResponse, PeerFault> {
        let until = Instant::now() + within;
        let mut again = true;
        loop {
            let connected = timeout_at(until, self.connection(node, Alpn::Convention)).await;
            let connection = connected.map_err(|_elapsed| PeerFault::Unavailable {
                reason: format!(
                    "node `{node}` cannot be reached within {} ms",
                    within.as_millis()
                ),
            })??;
            let left = until.saturating_duration_since(Instant::now());
            match self.ask_on(&connection, request, left).await {
                // The connection was dead already: a fresh one tells whether the node is.
                Err(PeerFault::Unavailable { .. }) if again => again = false,
                answer => return answer,
            }
        }
    }

    /// Asks a voter, whose address the consensus knows although the registry here may not.
    pub(super) async fn ask_at(
        &self,
        voter: &leader::Voter,
        request: &PeerRequest,
        within: Duration,
    ) -> Result<PeerResponse, PeerFault> {
        let known = self.live(voter.node, Alpn::Convention).is_some();
        if !known && !voter.address.is_empty() {
            let dialling = self.dial(voter.node, &voter.address, Alpn::Convention);
            let _reached = timeout(within, dialling).await;
        }
        match self.live(voter.node, Alpn::Convention) {
            Some(connection) => self.ask_on(&connection, request, within).await,
            None => Err(PeerFault::Unavailable {
                reason: format!("voter `{}` cannot be reached", voter.node),
            }),
        }
    }

    /// Asks whoever leads, over elections and mistaken hints, until `within` is over. Repeats only
    /// what was not carried out.
    ///
    /// # Errors
    /// [`PeerFault`]; [`PeerFault::Leads`] when this node does.
    pub(crate) async fn ask_leader(
        &self,
        request: &PeerRequest,
        within: Duration,
    ) -> Result<PeerResponse, PeerFault> {
        let until = Instant::now() + within;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let fault = match self.leader(left).await {
                Some((leader, _)) if leader == self.0.me => return Err(PeerFault::Leads),
                None => PeerFault::Unavailable {
                    reason: "nobody leads the convention now, as far as this node can see"
                        .to_owned(),
                },
                Some((leader, _)) => {
                    let left = until.saturating_duration_since(Instant::now());
                    let answer = tokio::select! {
                        biased;
                        answer = self.ask(leader, request, left) => answer,
                        reason = self.replaced(leader, REPLACED_GRACE) => {
                            Err(PeerFault::Unknown { reason })
                        }
                    };
                    match answer {
                        Err(PeerFault::Refused(refusal)) if is_for_another(refusal.code) => {
                            PeerFault::Unavailable {
                                reason: refusal.text,
                            }
                        }
                        Err(fault @ PeerFault::Unavailable { .. }) => fault,
                        answer => return answer,
                    }
                }
            };
            if Instant::now() + AGAIN >= until {
                return Err(fault);
            }
            let mut standing = self.0.registry.standing();
            let _moved = timeout(AGAIN, standing.changed()).await;
        }
    }

    /// Resolves when another node than this one has been known to lead for a while: a dead
    /// leader's connection is silent for long, the next leader is known much earlier.
    pub(super) async fn replaced(&self, leader: NodeId, grace: Duration) -> String {
        let mut standing = self.0.registry.standing();
        let another = |leading: &Option<(NodeId, String)>| {
            leading.as_ref().is_some_and(|(other, _)| *other != leader)
        };
        drop(standing.wait_for(|now| another(&now.leader)).await);
        tokio::time::sleep(grace).await;
        "another node leads by now".to_owned()
    }

    /// Who leads, by what this node knows, else by asking around; one that was named has proven
    /// that it may.
    pub(crate) async fn leader(&self, within: Duration) -> Option<(NodeId, String)> {
        let mut standing = self.0.registry.standing();
        let heard = async {
            let known = standing.wait_for(|standing| standing.leader.is_some());
            known.await.ok().and_then(|known| known.leader.clone())
        };
        tokio::select! {
            biased;
            Some(known) = heard => Some(known),
            Some(told) = self.told() => Some(told),
            looked = timeout(within.min(LOOK_AROUND + PROVE), self.look_around()) => looked.ok()?,
        }
    }

    /// The session with this leader is over: what others may still say of it is taken only when
    /// nobody says better.
    pub(super) fn give_up(&self, leader: NodeId) {
        *lock(&self.0.given_up) = Some(leader);
        self.forget_told(leader);
    }

    /// Asks everybody that may know who leads, and takes the first answer.
    async fn look_around(&self) -> Option<(NodeId, String)> {
        let mut asking = JoinSet::new();
        for node in self.members() {
            let peers = self.clone();
            asking.spawn(async move {
                let answer = peers.ask(node, &PeerRequest::Leader, LOOK_AROUND).await;
                let named = peers.named(node, answer.ok()?)?;
                peers.proven(named).await
            });
        }
        for hint in self.hints() {
            let peers = self.clone();
            asking.spawn(async move {
                let named = peers.ask_stranger(&hint).await?;
                peers.proven(named).await
            });
        }
        let given_up = *lock(&self.0.given_up);
        let (begun, mut last) = (Instant::now(), None);
        loop {
            let next = match last {
                None => asking.join_next().await,
                Some(_) => {
                    let better = timeout_at(begun + BETTER, asking.join_next());
                    better.await.ok().flatten()
                }
            };
            match next {
                Some(Ok(Some(leader))) if Some(leader.0) == given_up => last = Some(leader),
                Some(Ok(Some(leader))) => return Some(leader),
                Some(_) => {}
                None => return last,
            }
        }
    }

    /// Asks whoever is at an address that was written down.
    async fn ask_stranger(&self, address: &str) -> Option<(NodeId, String)> {
        for remote in resolve(address).await {
            let dialled = self.0.endpoint.dial(remote, None, Alpn::Convention).await;
            let connection = match dialled {
                Ok(connection) => connection,
                Err(fault) => {
                    self.note_removal(&fault);
                    continue;
                }
            };
            self.add(&connection);
            let _served = self.0.dialled.send(connection.clone());
            let answer = self
                .ask_on(&connection, &PeerRequest::Leader, LOOK_AROUND)
                .await;
            let Some(teller) = connection.peer().map(|peer| peer.node) else {
                continue;
            };
            if let Some(leader) = answer.ok().and_then(|answer| self.named(teller, answer)) {
                return Some(leader);
            }
        }
        None
    }

    fn named(&self, teller: NodeId, answer: PeerResponse) -> Option<(NodeId, String)> {
        let PeerResponse::Leader { leader, voters } = answer else {
            return None;
        };
        let mut hints = lock(&self.0.hints);
        for (_, address) in voters.into_iter().take(VOTERS_TOLD) {
            if address != self.0.address {
                hints.tell(teller, address);
            }
        }
        leader
    }

    /// Remembers further addresses to ask at, as by whom this node has joined.
    pub(super) fn hint(&self, addresses: impl IntoIterator<Item = String>) {
        let mut hints = lock(&self.0.hints);
        for address in addresses.into_iter().take(VOTERS_TOLD) {
            if address != self.0.address {
                hints.keep(address);
            }
        }
    }

    /// The addresses to ask at while nobody is known.
    pub(super) fn hints(&self) -> Vec<String> {
        lock(&self.0.hints).all()
    }

    /// Dials a member at this address.
    pub(crate) async fn dial(
        &self,
        node: NodeId,
        address: &str,
        alpn: Alpn,
    ) -> Result<Connection, PeerFault> {
        let mut fault = PeerFault::Unavailable {
            reason: format!("node `{node}`: the address `{address}` leads nowhere"),
        };
        for remote in resolve(address).await {
            match self.0.endpoint.dial(remote, Some(node), alpn).await {
                Ok(connection) => {
                    self.add(&connection);
                    let _served = self.0.dialled.send(connection.clone());
                    return Ok(connection);
                }
                Err(cause) => {
                    self.note_removal(&cause);
                    fault = dial_fault(node, cause);
                }
            }
        }
        Err(fault)
    }

    /// Keeps a connection for requests to its peer. Those of an earlier run of the peer are closed:
    /// a killed process says no farewell, and whoever waits on them would wait for long.
    pub(super) fn add(&self, connection: &Connection) {
        let Some(peer) = connection.peer() else {
            return;
        };
        let run = connection.about().incarnation;
        let earlier: Vec<_> = {
            let mut live = lock(&self.0.live);
            let of_earlier_run = |(node, _): &(NodeId, Alpn), held: &mut Connection| {
                *node == peer.node && held.about().incarnation != run
            };
            let earlier = live.extract_if(of_earlier_run).map(|(_, held)| held);
            let earlier = earlier.collect();
            live.insert((peer.node, connection.alpn()), connection.clone());
            earlier
        };
        for held in earlier {
            let text = format!("node `{}` has started again", peer.node);
            held.close(&Refusal::new(RefusalCode::Stopping, text));
        }
        self.0.came.send_modify(|came| *came += 1);
    }

    /// Lets a connection that has ended go.
    pub(super) fn remove(&self, connection: &Connection) {
        let Some(peer) = connection.peer() else {
            return;
        };
        let mut live = lock(&self.0.live);
        let key = (peer.node, connection.alpn());
        if live.get(&key).is_some_and(|held| held.is_same(connection)) {
            live.remove(&key);
        }
    }

    /// Where others reach this node.
    pub(crate) fn address(&self) -> &str {
        &self.0.address
    }

    pub(super) async fn ask_on(
        &self,
        connection: &Connection,
        request: &PeerRequest,
        within: Duration,
    ) -> Result<PeerResponse, PeerFault> {
        let fault = match connection.ask(request, within).await {
            Ok(response) => return Ok(response),
            Err(fault) => fault,
        };
        let reason = told(&fault);
        match fault {
            AskFault::Refused(refusal) if refusal.code == RefusalCode::Unknown => {
                Err(PeerFault::Unknown { reason })
            }
            AskFault::Refused(refusal) => Err(PeerFault::Refused(refusal)),
            AskFault::Unavailable(_) => {
                self.remove(connection);
                Err(PeerFault::Unavailable { reason })
            }
            // It may be dead without a sign: the next request finds out on a fresh one.
            AskFault::Unknown(_) | AskFault::TooSlow { .. } => {
                self.remove(connection);
                Err(PeerFault::Unknown { reason })
            }
        }
    }

    async fn dial_member(&self, node: NodeId, alpn: Alpn) -> Result<Connection, PeerFault> {
        let standing = self.0.registry.standing().borrow().leader.clone();
        let known = || {
            self.0.registry.read(|state| {
                let member = state.members.get(&node)?;
                Some(member.address.clone())
            })
        };
        // Only a leader that has taken this node in tells it of others.
        let asks = standing.as_ref().is_some_and(|(leader, _)| *leader != node);
        if asks && known().is_none() {
            let _not_told = self.0.registry.want(Wish::Node(node)).await;
        }
        let address = known();
        let named = standing.and_then(|(leader, address)| (leader == node).then_some(address));
        let mut addresses: BTreeSet<_> = address.into_iter().chain(named).collect();
        addresses.remove("");
        let mut fault = PeerFault::Unavailable {
            reason: format!("no address of node `{node}` is known"),
        };
        for address in addresses {
            match self.dial(node, &address, alpn).await {
                Err(PeerFault::Unavailable { reason }) => fault = PeerFault::Unavailable { reason },
                dialled => return dialled,
            }
        }
        Err(fault)
    }

    /// Some members that may be asked.
    pub(super) fn members(&self) -> Vec<NodeId> {
        let me = self.0.me;
        self.0.registry.read(|state| {
            let others = state.members.iter().filter(|(node, _)| **node != me);
            let reached = others.filter(|(_, member)| !member.address.is_empty());
            reached.map(|(node, _)| *node).take(ASKED_MAX).collect()
        })
    }
}

impl WeakPeers {
    pub(super) fn upgrade(&self) -> Option<Peers> {
        self.0.upgrade().map(Peers)
    }
}

/// Which kind of connection a member can be asked to dial.
pub(crate) fn link_of(alpn: Alpn) -> Option<LinkKind> {
    match alpn {
        Alpn::Convention => Some(LinkKind::Control),
        Alpn::Lane => Some(LinkKind::Lane),
        Alpn::Bulk => Some(LinkKind::Bulk),
        Alpn::Join => None,
    }
}

/// The socket addresses behind `host:port`.
pub(super) async fn resolve(address: &str) -> Vec<SocketAddr> {
    let found = timeout(RESOLVE, tokio::net::lookup_host(address)).await;
    match found {
        Ok(Ok(found)) => found.collect(),
        _ => Vec::new(),
    }
}

/// An error with all its causes, as one sentence.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text
}

fn dial_fault(node: NodeId, cause: DialFault) -> PeerFault {
    let reason = format!("node `{node}`: {}", told(&cause));
    match cause {
        DialFault::Refused { refusal, .. }
            if !matches!(refusal.code, RefusalCode::Busy | RefusalCode::Stopping) =>
        {
            PeerFault::Refused(refusal)
        }
        _ => PeerFault::Unavailable { reason },
    }
}

/// Refusals after which another node, or the next leader, may do it.
fn is_for_another(code: RefusalCode) -> bool {
    matches!(
        code,
        RefusalCode::NotLeader | RefusalCode::Stopping | RefusalCode::Busy
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a former leader may still take to tell how something ended there.
pub(super) const REPLACED_GRACE: Duration = Duration::from_secs(1);

/// Wait before a leader is looked for again; an election takes a few of these.
const AGAIN: Duration = Duration::from_millis(150);

/// How long a better answer is waited for than the leader that was given up.
const BETTER: Duration = Duration::from_millis(800);

/// How long asking around may take.
const LOOK_AROUND: Duration = Duration::from_secs(3);

/// How long whoever was named may take to be reached and to prove that it may lead.
const PROVE: Duration = Duration::from_secs(2);

/// How long a name may take to be resolved.
const RESOLVE: Duration = Duration::from_secs(3);

/// Members asked at once for the leader.
const ASKED_MAX: usize = 16;

/// Addresses told by whoever is asked who leads.
pub(super) const VOTERS_TOLD: usize = 16;
