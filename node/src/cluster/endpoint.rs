//! The node's UDP port: bound on the admin port, and who may do what on it.
//!
//! Every connection and stream passes `gate`. A member is let in with the key that it was admitted
//! with and no other: a former voter may have kept the authority's key and make certificates.
//! Where this node leads, its registry says who is a member; elsewhere a copy of the registry may
//! be older than a certificate, and has only some of the members: a node that it does not know may
//! ask who leads, and has to wait for the rest until the leader has told of it.
//! Not here: what is asked on a connection (`serve`), joining (`admission`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use protocol::registry::{FEATURE_LEVEL, KeyDigest, State};
use protocol::view::Wish;
use protocol::wire::{About, Refusal, RefusalCode};
use protocol::{Incarnation, NodeId};
use transport::endpoint::{Authorise, BindFault, Rejected, RejectedBy};
use transport::identity::PeerIdentity;
use transport::{Alpn, Closed, Connection, CredentialsCell, Endpoint, PeerFault, Settings};

use super::membership::Membership;
use super::registry::RegistryHandle;
use super::{admission, peers, serve};
use crate::agent::node::Node;

/// Binds the port: at the address of `listen.cfg`, else on all interfaces.
pub(crate) fn bind(
    listen: Option<IpAddr>,
    port: u16,
    incarnation: Incarnation,
    credentials: &Arc<CredentialsCell>,
    registry: &Arc<RegistryHandle>,
) -> Result<Endpoint, BindFault> {
    let settings = Settings::new(About {
        incarnation,
        feature_level: FEATURE_LEVEL,
        // The registry is still closed; `set_recoveries` says it once it is open.
        recoveries: 0,
        release: env!("CARGO_PKG_VERSION").to_owned(),
    });
    let at = |ip: IpAddr| {
        let gate = gate(Arc::clone(registry));
        let address = SocketAddr::new(ip, port);
        Endpoint::bind(address, Arc::clone(credentials), gate, settings.clone())
    };
    match listen {
        Some(ip) => at(ip),
        // Both families by one socket, unless the host has no IPv6.
        None => at(Ipv6Addr::UNSPECIFIED.into()).or_else(|_no_v6| at(Ipv4Addr::UNSPECIFIED.into())),
    }
}

/// Asked for every connection and every stream.
fn gate(registry: Arc<RegistryHandle>) -> Arc<Authorise> {
    Arc::new(move |peer, _alpn| {
        let leads = registry.standing().borrow().leads;
        registry.read(|state| admit(state, leads, peer))
    })
}

fn admit(state: &State, leads: bool, peer: &PeerIdentity) -> Result<(), Refusal> {
    let node = peer.node;
    if state.convention.is_some_and(|ours| ours != peer.convention) {
        let text = format!("node `{node}` is of another convention");
        return Err(Refusal::new(RefusalCode::ForeignConvention, text));
    }
    if let Some(removal) = state.roll.removed.get(&node) {
        return Err(removed(&removal.name, removal.left));
    }
    match state.members.get(&node) {
        None if leads => Err(unknown(node)),
        // Zeros: the founder, before anybody else was a member.
        Some(member) if !is_key_of(member.admission.key, peer) => {
            let text = format!(
                "the certificate names `{}` (node `{node}`), which was admitted with another key; \
                 whoever made it holds the key of the convention's authority",
                member.name
            );
            Err(Refusal::new(RefusalCode::OtherKey, text))
        }
        _ => Ok(()),
    }
}

fn is_key_of(admitted: KeyDigest, peer: &PeerIdentity) -> bool {
    admitted == KeyDigest::default() || admitted.0 == peer.key.0
}

fn unknown(node: NodeId) -> Refusal {
    let text = format!(
        "node `{node}` is no member of this convention, as far as is known here; if it never was \
         one, move its `state/` folder away and join it anew"
    );
    Refusal::new(RefusalCode::UnknownNode, text)
}

/// Waits a moment until the registry here knows the peer as a member: the leader has to be asked,
/// or it was admitted just now.
///
/// # Errors
/// [`Refusal`]: it still does not, or knows it by another key.
pub(super) async fn known(membership: &Membership, peer: &PeerIdentity) -> Result<(), Refusal> {
    let node = peer.node;
    let mut applied = membership.registry.applied();
    let knows = || {
        membership
            .registry
            .read(|state| state.members.contains_key(&node))
    };
    if !knows() && membership.registry.want(Wish::Node(node)).await.is_err() {
        return Err(unknown(node));
    }
    let waiting = async {
        loop {
            applied.borrow_and_update();
            if knows() || applied.changed().await.is_err() {
                return;
            }
        }
    };
    let _news = tokio::time::timeout(KNOWN_LIMIT, waiting).await;
    if !knows() {
        return Err(unknown(node));
    }
    let leads = membership.leads();
    // When it came, its key was not known here yet.
    membership.registry.read(|state| admit(state, leads, peer))
}

/// What a former member is told.
pub(super) fn removed(name: &str, left: bool) -> Refusal {
    let how = if left { "has left" } else { "was removed from" };
    let text = format!(
        "`{name}` {how} the convention; to join again under a new id, move its `state/` folder \
         away, write a fresh token into `convtoken.cfg` and start it"
    );
    Refusal::new(RefusalCode::Removed, text)
}

/// Accepts connections until the endpoint is closed, each in a task of its own.
pub(crate) async fn accept(node: Arc<Node>) {
    let membership = Arc::clone(&node.membership);
    while let Some(arrival) = membership.endpoint.accept().await {
        let (node, membership) = (Arc::clone(&node), Arc::clone(&membership));
        let tasks = node.tasks.clone();
        tasks.spawn(async move {
            match arrival.establish().await {
                Ok(connection) => serve(node, connection).await,
                Err(rejected) => turned_away(&membership, &rejected),
            }
        });
    }
}

/// Serves a connection, whoever dialled it, until it ends.
pub(crate) async fn serve(node: Arc<Node>, connection: Connection) {
    let membership = Arc::clone(&node.membership);
    if connection.alpn() == Alpn::Join {
        return admission::serve(&node, connection).await;
    }
    let Some(identity) = connection.peer().copied() else {
        return;
    };
    let peer = identity.node;
    if connection.alpn() != Alpn::Convention
        && let Err(refusal) = known(&membership, &identity).await
    {
        return connection.close(&refusal);
    }
    membership.peers.add(&connection);
    match connection.alpn() {
        Alpn::Convention => serve::requests(&node, &connection).await,
        Alpn::Lane => serve::lane(&node, &connection).await,
        Alpn::Bulk => serve::packages(&node, &connection).await,
        Alpn::Join => {}
    }
    membership.peers.remove(&connection);
    if let Closed::Refused(refusal) = connection.closed().await
        && refusal.code == RefusalCode::Removed
    {
        membership.peers.told_of_removal(peer, &refusal.text);
    }
}

/// Closes the connections of members that are removed, as soon as this node knows of it.
pub(crate) async fn close_removed(node: Arc<Node>) {
    let membership = &node.membership;
    let mut applied = membership.registry.applied();
    loop {
        applied.borrow_and_update();
        let live = membership.endpoint.live_nodes();
        let gone = membership.registry.read(|state| {
            let removed = &state.roll.removed;
            let gone = live
                .keys()
                .filter_map(|node| Some((*node, removed.get(node)?)));
            gone.map(|(node, removal)| (node, self::removed(&removal.name, removal.left)))
                .collect::<Vec<_>>()
        });
        for (node, refusal) in gone {
            membership.endpoint.close_node(node, &refusal);
        }
        tokio::select! {
            biased;
            () = node.shutdown.cancelled() => return,
            changed = applied.changed() => if changed.is_err() { return },
        }
    }
}

/// A dialler that was turned away, for the audit; noise of the network is only logged.
fn turned_away(membership: &Membership, rejected: &Rejected) {
    let told = peers::told(rejected);
    tracing::info!(remote = %rejected.remote, reason = told, "connection turned away");
    let Some(what) = worth_noting(&rejected.by) else {
        return;
    };
    let subject = match &rejected.peer {
        Some(peer) => format!("node {}", peer.node),
        None => rejected.remote.ip().to_string(),
    };
    membership.audit.note(what, &subject, &told);
}

/// What the audit calls it.
fn worth_noting(by: &RejectedBy) -> Option<&'static str> {
    Some(match by {
        RejectedBy::Certificate(fault) => match fault {
            PeerFault::ForeignConvention { .. } => "foreign certificate",
            // A clock that is wrong, or a host that was away for long.
            PeerFault::NotYetValid { .. } | PeerFault::Expired { .. } => {
                "certificate not valid now"
            }
            _ => "forged certificate",
        },
        RejectedBy::Refusal(refusal) => match refusal.code {
            RefusalCode::Removed => "removed member refused",
            RefusalCode::ForeignConvention => "foreign certificate",
            RefusalCode::OtherKey => "certificate with the key of another",
            RefusalCode::AuthorityRetired => "certificate of a retired authority",
            RefusalCode::VersionTooOld | RefusalCode::VersionTooNew => "protocol refused",
            RefusalCode::CertificateExpired => return None,
            _ => "connection refused",
        },
        RejectedBy::Gone(_)
        | RejectedBy::TooSlow { .. }
        | RejectedBy::NoCredentials
        | RejectedBy::Setup(_) => return None,
    })
}

/// How long the news that a node was admitted may take to get here.
const KNOWN_LIMIT: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use protocol::registry::{Admission, Member, MemberState, Removal};
    use protocol::{ConventionId, Stamp};
    use transport::identity::{KeyHash, Validity};

    use super::*;

    fn state() -> State {
        let mut state = State {
            convention: Some(ConventionId([1; 16])),
            ..State::default()
        };
        let removal = Removal {
            name: "old".to_owned(),
            left: false,
            stamp: Stamp(1),
            by: "ann".to_owned(),
        };
        state.roll.removed.insert(NodeId(5), removal);
        state
    }

    fn peer(node: u64, convention: u8, key: u8) -> PeerIdentity {
        let always = Validity {
            not_before: Stamp(0),
            not_after: Stamp(u64::MAX),
        };
        PeerIdentity {
            node: NodeId(node),
            convention: ConventionId([convention; 16]),
            key: KeyHash([key; 32]),
            validity: always,
        }
    }

    fn code(leads: bool, node: u64, convention: u8) -> Option<RefusalCode> {
        let admitted = admit(&state(), leads, &peer(node, convention, 3));
        admitted.err().map(|refusal| refusal.code)
    }

    #[test]
    fn a_member_comes_in_with_its_own_key_and_no_other() {
        let mut state = state();
        let mut member = Member {
            name: "b".to_owned(),
            address: String::new(),
            incarnation: Incarnation(1),
            capabilities: String::new(),
            state: MemberState::Up,
            since: Stamp(0),
            admission: Admission {
                key: KeyDigest([3; 32]),
                ..Admission::default()
            },
        };
        state.members.insert(NodeId(7), member.clone());
        for leads in [true, false] {
            let code = |key| {
                admit(&state, leads, &peer(7, 1, key))
                    .err()
                    .map(|it| it.code)
            };
            assert_eq!(code(3), None);
            assert_eq!(code(4), Some(RefusalCode::OtherKey));
        }
        member.admission.key = KeyDigest::default();
        state.members.insert(NodeId(7), member);
        assert!(
            admit(&state, true, &peer(7, 1, 4)).is_ok(),
            "a founder of old"
        );
    }

    #[test]
    fn a_wrong_clock_is_not_called_a_forgery() {
        let (node, validity) = (NodeId(7), peer(7, 1, 1).validity);
        let early = RejectedBy::Certificate(PeerFault::NotYetValid { node, validity });
        assert_eq!(worth_noting(&early), Some("certificate not valid now"));
        let forged = RejectedBy::Certificate(PeerFault::ForeignAuthority);
        assert_eq!(worth_noting(&forged), Some("forged certificate"));
    }

    #[test]
    fn a_removed_member_is_refused_everywhere() {
        assert_eq!(code(true, 5, 1), Some(RefusalCode::Removed));
        assert_eq!(code(false, 5, 1), Some(RefusalCode::Removed));
    }

    #[test]
    fn the_leader_alone_is_sure_who_is_no_member() {
        assert_eq!(code(true, 6, 1), Some(RefusalCode::UnknownNode));
        assert_eq!(
            code(false, 6, 1),
            None,
            "it may have been admitted just now"
        );
        assert_eq!(code(false, 6, 2), Some(RefusalCode::ForeignConvention));
    }
}
