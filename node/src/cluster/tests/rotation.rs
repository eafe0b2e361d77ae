//! One key of the authority replaces another, while members go on, are away, or have been.

use std::fs;

use protocol::NodeId;
use protocol::control::{ClusterRequest, ClusterResponse, Request, RequestError, Response};
use protocol::registry::KeyDigest;
use protocol::wire::RefusalCode;
use transport::endpoint::DialFault;
use transport::identity::{Authority, KeyHash, NodeKey, Trust};
use transport::{Alpn, Credentials};

use super::host::{Host, LONG};
use super::intruder::Intruder;
use crate::agent::node::stamp;
use crate::cluster::{operator, orders, recover, rotation, voters};
use crate::directory::Directory;

const HOUR_MS: u64 = 3_600_000;

/// Gives an order at any of the nodes, over elections: the machine may be busy.
async fn order(at: &Host, request: ClusterRequest) -> Result<Response, RequestError> {
    orders::give(&at.node, Request::Cluster(request), None).await
}

async fn rotate(at: &Host) {
    let by = "ann".to_owned();
    order(at, ClusterRequest::Rotate { by }).await.unwrap();
}

/// A token, of whoever is asked.
async fn invite(at: &Host) -> String {
    let invite = ClusterRequest::Invite {
        uses: 1,
        ttl_s: 3_600,
        by: "ann".to_owned(),
        drawn: None,
    };
    match operator::answer_here(&at.node, invite).await.unwrap() {
        ClusterResponse::Invited { token, .. } => token,
        other => panic!("{other:?}"),
    }
}

/// Whoever leads now.
async fn leader<'a>(hosts: &[&'a Host]) -> &'a Host {
    let looking = async {
        loop {
            if let Some(leader) = hosts.iter().find(|host| host.node.membership.leads()) {
                return *leader;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, looking).await.unwrap()
}

fn authority(host: &Host) -> KeyHash {
    host.node.membership.identity().authority_key().unwrap()
}

/// Whether nothing of an earlier authority counts here any more.
fn is_through(host: &Host, before: KeyHash) -> bool {
    let identity = host.node.membership.identity();
    let credentials = host.node.membership.credentials.current().unwrap();
    let trusted = credentials.trusted();
    trusted.iter().all(|root| root.key_hash() != before) && !identity.is_outdated()
}

/// A member that never votes.
async fn follower(name: &str, leader: &Host, token: &str) -> Host {
    let address = leader.address();
    let settings = [
        ("nodename.cfg", name),
        ("convleader.cfg", address.as_str()),
        ("convtoken.cfg", token),
        ("voter.cfg", "False"),
    ];
    let host = Host::start(tempfile::tempdir().unwrap(), &settings).await;
    host.until(Host::is_member).await;
    host
}

/// What a former voter may have kept.
fn kept_key(host: &Host) -> Authority {
    let convention = host.node.membership.identity().convention().unwrap();
    let path = host.path().join("state/identity/ca.key");
    Authority::from_bundle(convention, &fs::read_to_string(path).unwrap()).unwrap()
}

/// A node that a former voter has made, which knows the present authorities as well.
fn forged(by: &Authority, host: &Host, node: NodeId) -> Intruder {
    let key = NodeKey::generate().unwrap();
    let made = by.issue(&key.request().unwrap(), node, stamp()).unwrap();
    let trust: Trust = host
        .node
        .membership
        .credentials
        .current()
        .unwrap()
        .trust()
        .clone();
    Intruder::with(node, Credentials::new(&key, &made, trust).unwrap())
}

fn code(fault: &DialFault) -> Option<RefusalCode> {
    match fault {
        DialFault::Refused { refusal, .. } => Some(refusal.code),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_reaches_voters_and_members_and_the_old_one_is_worth_nothing() {
    let founder = Host::found("a").await;
    let old_token = founder.token(9, HOUR_MS).await;
    let others = [
        Host::join("b", &founder, &old_token).await,
        Host::join("c", &founder, &old_token).await,
    ];
    founder
        .until(|host| voters::voters(&host.node).len() == 3)
        .await;
    let member = follower("d", &founder, &old_token).await;
    let (before, stolen) = (authority(&founder), kept_key(&founder));

    rotate(&founder).await;
    let again = order(&founder, ClusterRequest::Rotate { by: String::new() }).await;
    let again = again.unwrap_err();
    assert!(
        again.message.contains("is being replaced already"),
        "{}",
        again.message
    );
    founder.until_audit("authority retired").await;
    for host in others.iter().chain([&founder, &member]) {
        host.until(|host| is_through(host, before)).await;
        assert_eq!(authority(host), authority(&founder));
        assert_ne!(authority(host), before);
    }
    // The voters hold the new key alone, and nobody else holds any.
    for host in others.iter().chain([&founder]) {
        let held = host.node.membership.identity().held_authorities();
        assert_eq!(held, [KeyDigest(authority(&founder).0)]);
        assert_eq!(kept_key(host).certificate().key_hash(), authority(&founder));
    }
    assert!(
        member
            .node
            .membership
            .identity()
            .held_authorities()
            .is_empty()
    );
    member.until(Host::is_member).await;
    let audit = founder.audit();
    for told in [
        "authority to be replaced",
        "authority drawn",
        "authority took over",
    ] {
        assert!(
            audit.iter().any(|entry| entry.starts_with(told)),
            "{audit:?}"
        );
    }

    // What the old key signs from here on.
    let stranger = forged(&stolen, &founder, NodeId(4_242));
    for host in [&founder, &member] {
        let refused = stranger.dial(host, Alpn::Convention).await.unwrap_err();
        assert_eq!(
            code(&refused),
            Some(RefusalCode::AuthorityRetired),
            "{refused}"
        );
    }
    let leads = leader(&[&founder, &others[0], &others[1]]).await;
    let refused = stranger.dial(leads, Alpn::Join).await.unwrap_err();
    assert_eq!(code(&refused), Some(RefusalCode::UnknownNode), "{refused}");
    let other_key = forged(&stolen, &founder, member.node.id);
    let refused = other_key.dial(&founder, Alpn::Join).await.unwrap_err();
    assert_eq!(code(&refused), Some(RefusalCode::OtherKey), "{refused}");
    let request = member.node.membership.identity().key().request().unwrap();
    let voucher = stolen.vouch(&request, member.node.id, stamp()).unwrap();
    let told = founder.node.membership.credentials.current().unwrap();
    let peer = *member
        .node
        .membership
        .credentials
        .current()
        .unwrap()
        .identity();
    told.check_voucher(voucher, &peer, stamp()).unwrap_err();
    // And a key of the authority goes to voters alone.
    let asked = rotation::answer(
        &founder.node,
        member.node.id,
        KeyDigest(authority(&founder).0),
    );
    assert_eq!(asked.unwrap_err().code, RefusalCode::NotAllowed);

    // A token from before names another key; a new one lets in.
    let address = founder.address();
    let settings = [
        ("convleader.cfg", address.as_str()),
        ("convtoken.cfg", old_token.as_str()),
    ];
    let late = Host::start(tempfile::tempdir().unwrap(), &settings).await;
    late.until(|host| host.trouble().contains("a fresh one of `cluster invite`"))
        .await;
    let token = invite(&founder).await;
    let fresh = follower("e", &founder, &token).await;
    assert!(is_through(&fresh, before));
    let [b, c] = others;
    for host in [late, fresh, member, b, c, founder] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_away_over_two_rotations_renews_and_is_back() {
    let founder = Host::found("a").await;
    let token = founder.token(2, HOUR_MS).await;
    let member = follower("b", &founder, &token).await;
    let before = authority(&founder);
    let folder = member.stop().await;
    for _ in 0..2 {
        let now = authority(&founder);
        rotate(&founder).await;
        founder
            .until(|host| authority(host) != now && is_through(host, now))
            .await;
        founder
            .until(|host| {
                host.node
                    .replica
                    .read(|it| it.roll.authorities.rotation.is_none())
            })
            .await;
    }
    let member = Host::start(folder, &[]).await;
    member.until(Host::is_member).await;
    member.until(|host| is_through(host, before)).await;
    assert_eq!(authority(&member), authority(&founder));
    // The founder's own certificate and key outlast a recovery; the member finds it where it is
    // then, and is as good a member as before.
    let folder = founder.stop().await;
    let recovered = recover::recover(&Directory::at(folder.path()), stamp()).unwrap();
    assert!(recovered.has_authority);
    let founder = Host::start(folder, &[]).await;
    founder.until(|host| host.node.membership.leads()).await;
    let address = founder.address();
    let folder = member.stop().await;
    let member = Host::start(folder, &[("convleader.cfg", address.as_str())]).await;
    let known = |host: &Host| host.node.membership.registry.recoveries() == 1;
    member.until(|host| known(host) && host.is_member()).await;
    assert_eq!(authority(&member), authority(&founder));
    assert!(founder.node.membership.identity().authority().is_some());
    for host in [member, founder] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_leader_goes_on_and_a_voter_that_was_away_gets_the_key() {
    let founder = Host::found("a").await;
    let token = founder.token(9, HOUR_MS).await;
    let mut hosts = vec![
        Host::join("b", &founder, &token).await,
        Host::join("c", &founder, &token).await,
        founder,
    ];
    let three = |host: &Host| voters::voters(&host.node).len() == 3;
    hosts[2].until(three).await;
    let leads = |host: &Host| host.node.membership.leads();
    let at = hosts.iter().position(leads).unwrap_or(2);
    let led = hosts.remove(at);
    let before = authority(&led);
    // Whoever drew the key goes before anybody else holds it, or leads on: both end well.
    rotate(&led).await;
    let folder = led.stop().await;
    let next = leader(&[&hosts[0], &hosts[1]]).await;
    next.until_audit("authority retired").await;
    for host in &hosts {
        host.until(|host| is_through(host, before)).await;
    }
    // It comes back with the old key and certificate, as one that votes.
    let back = Host::start(folder, &[]).await;
    back.until(Host::is_member).await;
    back.until(|host| is_through(host, before)).await;
    let issues = authority(&back);
    let holds = |host: &Host| {
        let identity = host.node.membership.identity();
        identity.held_authorities() == [KeyDigest(issues.0)]
    };
    for host in hosts.iter().chain([&back]) {
        assert_eq!(authority(host), issues);
        host.until(holds).await;
    }
    hosts.push(back);
    for host in hosts {
        host.stop().await;
    }
}
