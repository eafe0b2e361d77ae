//! Who may lead: a node proves that it holds the key of the convention's authority, as voters do.
//!
//! A follower knows neither the voters' log nor, after a while away, any of its voters. So it takes
//! nobody's word for who leads: the one that is named shows a voucher of the authority for its own
//! key, or is not followed. The proof is asked for once in a run, over the node's connection.
//! Not here: who votes (the membership in the log), who is elected (`leader`).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use leader::Consensus;
use protocol::NodeId;
use protocol::peer::{PeerRequest, PeerResponse};
use protocol::registry::KeyDigest;
use protocol::wire::{Refusal, RefusalCode};
use tokio::task::JoinSet;
use transport::identity::{KeyHash, PeerIdentity};
use transport::{Alpn, Connection};

use super::peers::{Peers, told};
use crate::agent::node::{Node, stamp};

/// The nodes that have proven it in this run, by the keys that they have.
#[derive(Debug, Default)]
pub(super) struct Vouched {
    // Held for a look-up or an insertion only.
    known: Mutex<BTreeSet<(NodeId, KeyHash)>>,
}

impl Vouched {
    fn has(&self, peer: &PeerIdentity) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(&(peer.node, peer.key))
    }

    /// Whether this node has proven it, under whatever key.
    pub(super) fn names(&self, node: NodeId) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().any(|(vouched, _)| *vouched == node)
    }

    /// This node is of another convention, or another key of the authority issues: what was proven
    /// was proven of the one before.
    pub(super) fn clear(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.clear();
    }

    fn add(&self, peer: &PeerIdentity) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= VOUCHED_MAX {
            known.pop_first();
        }
        known.insert((peer.node, peer.key));
    }
}

/// This node's own proof, for whoever asks.
pub(super) fn vouch(node: &Node) -> Result<PeerResponse, Refusal> {
    let identity = node.membership.identity();
    let none = |reason: String| Refusal::new(RefusalCode::NotAllowed, reason);
    let chain = identity.vouch(stamp());
    let chain = chain.ok_or_else(|| none("this node does not vote".to_owned()))?;
    let chain = chain.map_err(|error| none(told(&error)))?;
    Ok(PeerResponse::Vouched { chain })
}

/// Whether the registry here has a member of this id and key.
pub(super) fn knows(node: &Node, whom: NodeId, key: KeyDigest) -> PeerResponse {
    let is_member = node.membership.registry.read(|state| {
        let member = state.members.get(&whom);
        member.is_some_and(|member| member.admission.key == key)
    });
    PeerResponse::Known { is_member }
}

/// A follower hears of a lead that its session knows nothing of: once that node has proven that it
/// may lead, the session ends, and that node is asked for the next. A dead leader is left that way
/// long before it has been silent for too long. Terms count anew after a recovery: one of a leader
/// that has another history says nothing.
pub(super) async fn hear_of_lead(node: &Node, from: NodeId, term: u64) {
    let membership = &node.membership;
    let registry = &membership.registry;
    let is_news = || {
        let standing = registry.standing();
        let now = standing.borrow();
        term > now.term || term == now.term && now.leader.is_none()
    };
    if !is_news() || registry.consensus().is_some() {
        return;
    }
    let Some(connection) = membership.peers.live(from, Alpn::Convention) else {
        return;
    };
    if connection.about().recoveries != registry.recoveries()
        || !membership.peers.has_proven(&connection).await
        || !is_news()
    {
        return;
    }
    let address = registry.read(|state| state.members.get(&from).map(|it| it.address.clone()));
    // First whom to ask: the session ends by the term.
    membership.peers.be_told(from, address.unwrap_or_default());
    if registry.admits_term(term) {
        tracing::info!(node = %from, term, "another node leads since");
    } else {
        // So far ahead that no elections can have led there.
        membership.peers.forget_told(from);
    }
}

/// Whether a node that the log here does not know may speak as a voter: it proves to hold the
/// authority's key and is a member. One that came while this node was away is known to others.
pub(super) async fn is_trusted(node: &Node, consensus: &Consensus, peer: &PeerIdentity) -> bool {
    let membership = &node.membership;
    let connected = membership
        .peers
        .connection(peer.node, Alpn::Convention)
        .await;
    let Ok(connection) = connected else {
        return false;
    };
    let same = connection.peer().is_some_and(|met| met.key == peer.key);
    if !same || !membership.peers.has_proven(&connection).await {
        return false;
    }
    let known = membership
        .registry
        .read(|state| state.members.contains_key(&peer.node));
    known || others_know(&membership.peers, consensus, membership.me, peer).await
}

/// Whether another voter, or member that was one, says that it is a member.
async fn others_know(
    peers: &Peers,
    consensus: &Consensus,
    me: NodeId,
    peer: &PeerIdentity,
) -> bool {
    let standing = consensus.standing().borrow().clone();
    let others: BTreeSet<_> = standing
        .voters
        .values()
        .chain(standing.learners.values())
        .map(|voter| voter.node)
        .chain(peers.members())
        .filter(|other| *other != me && *other != peer.node)
        .collect();
    let request = Arc::new(PeerRequest::Knows {
        node: peer.node,
        key: KeyDigest(peer.key.0),
    });
    let mut asking = JoinSet::new();
    for other in others {
        let (peers, request) = (peers.clone(), Arc::clone(&request));
        asking.spawn(async move { peers.ask(other, &request, PROOF_LIMIT).await });
    }
    while let Some(answer) = asking.join_next().await {
        if let Ok(Ok(PeerResponse::Known { is_member: true })) = answer {
            return true;
        }
    }
    false
}

impl Peers {
    /// Whether the node at the other end holds the authority's key.
    pub(super) async fn has_proven(&self, connection: &Connection) -> bool {
        let Some(peer) = connection.peer() else {
            return false;
        };
        if self.vouched().has(peer) {
            return true;
        }
        let answer = self
            .ask_on(connection, &PeerRequest::Vouch, PROOF_LIMIT)
            .await;
        let proof = match answer {
            Ok(PeerResponse::Vouched { chain }) => self.check(chain, peer),
            Ok(_) => Err("an answer of another kind".to_owned()),
            Err(fault) => Err(fault.to_string()),
        };
        match proof {
            Ok(()) => {
                self.vouched().add(peer);
                true
            }
            Err(reason) => {
                tracing::warn!(node = %peer.node, reason, "a node does not prove that it votes");
                false
            }
        }
    }

    /// Remembers whoever is known to lead: the voters' log, or an earlier proof, says so.
    pub(super) fn trust(&self, leader: &Connection) {
        if let Some(peer) = leader.peer() {
            self.vouched().add(peer);
        }
    }

    fn check(&self, chain: Vec<Vec<u8>>, peer: &PeerIdentity) -> Result<(), String> {
        let credentials = self.endpoint().credentials();
        let credentials = credentials.ok_or_else(|| "this node is no member yet".to_owned())?;
        let checked = credentials.check_voucher(chain, peer, stamp());
        checked.map_err(|fault| told(&fault))
    }

    /// Whoever was named as the leader, if it can be reached and may lead.
    pub(super) async fn proven(&self, named: (NodeId, String)) -> Option<(NodeId, String)> {
        let (leader, address) = &named;
        if *leader == self.me() {
            return Some(named);
        }
        let connection = match self.met(*leader, address).await {
            Some(connection) => connection,
            None => self.connection(*leader, Alpn::Convention).await.ok()?,
        };
        if self.has_proven(&connection).await {
            return Some(named);
        }
        self.rumours().doubt(*leader);
        None
    }
}

/// How long a proof, or a word about another, may take.
const PROOF_LIMIT: Duration = Duration::from_secs(2);

/// Proofs remembered: many times the voters that a convention has at once.
const VOUCHED_MAX: usize = 1_000;
