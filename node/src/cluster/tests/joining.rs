//! Who is let into a convention, and what everybody else is told.

use std::sync::Arc;

use protocol::control::{
    ClusterRequest, ClusterResponse, DrawnToken, ErrorCode, Request, RequestError, Response,
};
use protocol::peer::PeerResponse;
use protocol::registry::{KeyDigest, MemberState};
use protocol::view::Wish;
use protocol::wire::{About, RefusalCode};
use protocol::{ConventionId, NodeId, RequestId};
use transport::endpoint::{DialFault, JoinTrust, Versions};
use transport::identity::{Authority, KeyHash, NodeKey, PeerIdentity};
use transport::token::JoinToken;
use transport::{Alpn, Credentials, CredentialsCell, Endpoint, Settings};

use super::host::Host;
use crate::agent::node::stamp;
use crate::cluster::{operator, orders};

const HOUR_MS: u64 = 3_600_000;

/// A node that is not let in, for the audit and for its own log.
async fn refused(leader: &Host, name: &str, token: &str) -> String {
    let address = leader.address();
    let settings = [
        ("nodename.cfg", name),
        ("convleader.cfg", address.as_str()),
        ("convtoken.cfg", token),
    ];
    let starting = Host::start(tempfile::tempdir().unwrap(), &settings);
    let entry = format!("join refused: {name}");
    let told = leader.until_audit(&entry);
    let (host, ()) = tokio::join!(starting, told);
    let trouble = host.trouble();
    assert!(!host.is_member());
    host.stop().await;
    trouble
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_token_joins_and_is_told_what_it_asks_for() {
    let founder = Host::found("a").await;
    let token = founder.token(2, HOUR_MS).await;
    let member = Host::join("b", &founder, &token).await;
    let known = founder.member_of(&member).unwrap();
    assert_eq!((known.name.as_str(), known.state), ("b", MemberState::Up));
    assert_eq!(known.address, member.address());
    assert!(
        known.admission.by.starts_with("token "),
        "{}",
        known.admission.by
    );
    let leader = member
        .node
        .membership
        .registry
        .standing()
        .borrow()
        .leader
        .clone();
    assert_eq!(leader.unwrap().0, founder.node.id);

    // What a member proposes is carried out by the leader and comes back.
    member.node.membership.audit.note("seen", "by b", "x");
    founder.until_audit("seen: by b").await;
    assert!(member.audit().is_empty(), "the audit is for who asks");

    // A third one that only knows the second is passed on to the leader.
    let third = Host::join("c", &member, &token).await;
    assert!(founder.member_of(&third).is_some());
    // Nobody is told of members that are nothing to him, until he asks.
    assert!(member.member_of(&third).is_none());
    let want = member.node.replica.want(Wish::Node(third.node.id));
    want.await.unwrap();
    assert!(member.member_of(&third).is_some());

    let member = member.restart().await;
    member.until(Host::is_member).await;
    for host in [third, member, founder] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_its_own_message_and_an_entry_in_the_audit() {
    let founder = Host::found("a").await;
    let authority = founder.node.membership.identity().authority_key().unwrap();
    let unknown = JoinToken::draw(authority).unwrap().reveal();
    let used = founder.token(1, HOUR_MS).await;
    let member = Host::join("first", &founder, &used).await;
    let expired = founder.token(1, 1).await;

    let (unknown, used, expired) = tokio::join!(
        refused(&founder, "unknown", &unknown),
        refused(&founder, "second", &used),
        refused(&founder, "late", &expired),
    );
    assert!(
        unknown.contains("is not known; copy the whole token"),
        "{unknown}"
    );
    assert!(
        used.contains("has been used as often as it may; make another"),
        "{used}"
    );
    assert!(expired.contains("has expired; make another"), "{expired}");

    // A token of another convention: the joiner itself refuses.
    let foreign = JoinToken::draw(KeyHash([7; 32])).unwrap().reveal();
    let address = founder.address();
    let settings = [
        ("convleader.cfg", address.as_str()),
        ("convtoken.cfg", foreign.as_str()),
    ];
    let stranger = Host::start(tempfile::tempdir().unwrap(), &settings).await;
    let trouble = stranger.trouble();
    assert!(
        trouble.contains("is not the convention that the token is for"),
        "{trouble}"
    );
    for host in [stranger, member, founder] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_token_waits_until_its_key_is_approved() {
    let founder = Host::found("a").await;
    let address = founder.address();
    let settings = [("nodename.cfg", "b"), ("convleader.cfg", address.as_str())];
    let starting = Host::start(tempfile::tempdir().unwrap(), &settings);
    let approving = async {
        founder
            .until(|host| !host.node.membership.admission.waiting().is_empty())
            .await;
        let waiting = founder.node.membership.admission.waiting();
        let joiner = waiting.first().unwrap();
        assert_eq!(
            (joiner.name.as_str(), joiner.address.as_str()),
            ("b", "127.0.0.1")
        );
        let mut key = KeyDigest::default();
        hex::decode_to_slice(&joiner.key, &mut key.0).unwrap();
        (approve(&founder, RequestId([1; 16])).await.unwrap(), key)
    };
    let (member, (told, key)) = tokio::join!(starting, approving);
    member.until(Host::is_member).await;
    assert_eq!(member.node.membership.identity().key().hash().0, key.0);
    let known = founder.member_of(&member).unwrap();
    assert_eq!(known.admission.by, "approved by ann");
    assert!(founder.node.membership.admission.waiting().is_empty());
    // Given again after an election, the order is answered as before; nobody waits any more.
    assert_eq!(approve(&founder, RequestId([1; 16])).await.unwrap(), told);
    member.stop().await;
    founder.stop().await;
}

async fn approve(leader: &Host, id: RequestId) -> Result<ClusterResponse, RequestError> {
    let (node, by) = ("b".to_owned(), "ann".to_owned());
    let approve = ClusterRequest::Approve { node, by };
    operator::answer_as_leader(&leader.node, id, approve).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_one_user_without_director_directories_need_no_token() {
    let private = [("private", "made for a test")];
    let founder = Host::start(tempfile::tempdir().unwrap(), &private).await;
    let address = founder.address();
    let settings = [private[0], ("convleader.cfg", address.as_str())];
    let member = Host::start(tempfile::tempdir().unwrap(), &settings).await;
    member.until(Host::is_member).await;
    let known = founder.member_of(&member).unwrap();
    assert_eq!(known.admission.by, "approved by being of the same user");

    // A convention with a Director directory has its operator decide.
    let with_directory = Host::found("a").await;
    let address = with_directory.address();
    let settings = [private[0], ("convleader.cfg", address.as_str())];
    let other = Host::start(tempfile::tempdir().unwrap(), &settings).await;
    assert!(
        other.trouble().starts_with("waiting for approval"),
        "{}",
        other.trouble()
    );
    for host in [other, with_directory, member, founder] {
        host.stop().await;
    }
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> u16 {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_listed_nodes_of_programs_the_first_to_start_founds() {
    let ports = [free_port(), free_port(), free_port()];
    let listed = ports.map(|port| format!("'127.0.0.1:{port}'")).join(", ");
    let listed = format!("[{listed}]");
    let mut hosts = Vec::new();
    // The first in the list comes last.
    for port in ports.iter().rev() {
        let port = port.to_string();
        let settings = [
            ("private", "made for a test"),
            ("adminport.cfg", port.as_str()),
            ("convleader.cfg", listed.as_str()),
        ];
        let host = Host::start(tempfile::tempdir().unwrap(), &settings).await;
        host.until(Host::is_member).await;
        hosts.push(host);
    }
    let conventions = hosts
        .iter()
        .map(|host| host.node.membership.identity().convention());
    let conventions: std::collections::BTreeSet<_> = conventions.collect();
    assert_eq!(conventions.len(), 1);
    assert!(hosts[0].node.membership.leads());
    for host in hosts.into_iter().rev() {
        host.stop().await;
    }
}

/// An endpoint of a stranger that trusts our authority, with a certificate of its own making.
fn stranger(ours: &Host, convention: ConventionId) -> Endpoint {
    let identity = ours.node.membership.credentials.current().unwrap();
    let forger = Authority::found(convention, stamp()).unwrap();
    let key = NodeKey::generate().unwrap();
    let forged = forger.issue(&key.request().unwrap(), NodeId(5), stamp());
    let trusted = identity.trusted().to_vec();
    let credentials = Credentials::new(&key, &forged.unwrap(), trusted).unwrap();
    let anybody = Arc::new(|_peer: &PeerIdentity, _alpn| Ok(()));
    Endpoint::bind(
        "127.0.0.1:0".parse().unwrap(),
        Arc::new(CredentialsCell::new(credentials)),
        anybody,
        Settings::new(About::default()),
    )
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_certificate_opens_nothing_and_is_in_the_audit() {
    let ours = Host::found("ours").await;
    let convention = ours.node.membership.identity().convention().unwrap();
    let remote = ours.address().parse().unwrap();
    let forger = stranger(&ours, convention);
    for alpn in [Alpn::Convention, Alpn::Lane, Alpn::Bulk, Alpn::Join] {
        forger.dial(remote, None, alpn).await.unwrap_err();
    }
    ours.until_audit("forged certificate: 127.0.0.1").await;
    ours.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_protocol_is_refused_and_is_in_the_audit() {
    let ours = Host::found("ours").await;
    let remote = ours.address().parse().unwrap();
    let mut old = Settings::new(About::default());
    old.versions = Versions {
        oldest: 0,
        newest: 0,
    };
    let joiner = Endpoint::bind(
        "127.0.0.1:0".parse().unwrap(),
        Arc::new(CredentialsCell::empty()),
        Arc::new(|_peer: &PeerIdentity, _alpn| Ok(())),
        old,
    );
    let dialled = joiner
        .unwrap()
        .dial_to_join(remote, JoinTrust::Compared)
        .await;
    let Err(DialFault::Refused { refusal, .. }) = dialled else {
        panic!("{dialled:?}");
    };
    assert_eq!(refusal.code, RefusalCode::VersionTooOld);
    ours.until_audit("protocol refused: 127.0.0.1").await;
    ours.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_gives_out_no_token_beyond_the_limits_whoever_asks() {
    let founder = Host::found("a").await;
    let authority = founder.node.membership.identity().authority_key().unwrap();
    let invite = async |uses, ttl_s| {
        // As from another member, which has not looked at what it was asked.
        let drawn = DrawnToken {
            id: "00ff".to_owned(),
            secret: KeyDigest([1; 32]),
            authority: KeyDigest(authority.0),
        };
        let request = Request::Cluster(ClusterRequest::Invite {
            uses,
            ttl_s,
            by: "ann".to_owned(),
            drawn: Some(drawn),
        });
        let id = RequestId(rand::random());
        let json = serde_json::to_vec(&request).unwrap();
        let answer = orders::answer(&founder.node, NodeId(7), id, &json, None).await;
        let PeerResponse::Control { response } = answer.unwrap() else {
            panic!("another kind of answer");
        };
        serde_json::from_slice::<Response>(&response).unwrap()
    };
    for (uses, ttl_s) in [(100_001, 60), (0, 60), (1, 0), (1, 366 * 24 * 3_600)] {
        let response = invite(uses, ttl_s).await;
        let Response::Failed(error) = response else {
            panic!("{response:?}");
        };
        assert_eq!(error.code, ErrorCode::Refused);
        assert!(error.message.contains("a token"), "{}", error.message);
    }
    let none = founder
        .node
        .replica
        .read(|state| state.roll.tokens.is_empty());
    assert!(none);
    assert!(matches!(invite(1, 60).await, Response::Cluster(_)));
    founder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_counts_for_the_member_that_gave_it_whatever_its_id_says() {
    let founder = Host::found("a").await;
    let wanted = Request::Cluster(ClusterRequest::Voters {
        wanted: 5,
        by: "ann".to_owned(),
    });
    let json = serde_json::to_vec(&wanted).unwrap();
    let of_another = RequestId([3; 16]).of(NodeId(8));
    let answer = orders::answer(&founder.node, NodeId(7), of_another, &json, None);
    answer.await.unwrap();
    let ids: Vec<_> = founder
        .node
        .replica
        .read(|state| state.requests.keys().copied().collect());
    assert!(ids.contains(&of_another.of(NodeId(7))), "{ids:?}");
    assert!(!ids.contains(&of_another), "{ids:?}");
    founder.stop().await;
}
