//! What a member that has turned against the others can do, and what it cannot.

use std::fs;
use std::time::Duration;

use protocol::peer::{LinkKind, PeerRequest, PeerResponse, SessionOpen, Step};
use protocol::registry::{FEATURE_LEVEL, State};
use protocol::view::Wish;
use protocol::wire::{Refusal, RefusalCode};
use protocol::{ConventionId, Incarnation, NodeId, encode};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use transport::identity::{Authority, NodeKey};
use transport::{Alpn, Credentials};

use super::host::{Host, LONG};
use super::intruder::{Intruder, Lie, lets_everybody_in};
use crate::agent::node::stamp;
use crate::cluster::registry::RegistryHandle;

const HOUR_MS: u64 = 3_600_000;

/// A founder, a follower, and a member that has turned against both.
async fn betrayed() -> (Host, Host, Intruder) {
    let founder = Host::found("a").await;
    let token = founder.token(2, HOUR_MS).await;
    let follower = Host::join("b", &founder, &token).await;
    // It does not vote, so that the founder's vote stays the only one.
    let address = founder.address();
    let settings = [
        ("nodename.cfg", "m"),
        ("convleader.cfg", address.as_str()),
        ("convtoken.cfg", token.as_str()),
        ("voter.cfg", "False"),
    ];
    let third = Host::start(tempfile::tempdir().unwrap(), &settings).await;
    third.until(Host::is_member).await;
    let known = follower.node.replica.want(Wish::Node(third.node.id)).await;
    assert!(known.is_ok() && follower.member_of(&third).is_some());
    let intruder = Intruder::instead_of(third).await;
    (founder, follower, intruder)
}

/// An append of the raft id `from` as the leader of `term`, without entries, for raft id `to`.
fn append(convention: ConventionId, to: u64, from: u64, term: u64) -> Vec<u8> {
    let vote = ((term, from), true);
    let none: Option<((u64, u64), u64)> = None;
    // The first of the rpcs: vote, entry before, entries, what is committed.
    let rpc = (0_u32, vote, none, Vec::<u8>::new(), none);
    let rpc = encode("raft rpc", 1, &rpc).unwrap();
    let message = (convention, 0_u64, to, from, rpc);
    encode("raft message", 1, &message).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_does_not_vote_has_no_word_among_voters() {
    let (founder, follower, intruder) = betrayed().await;
    let convention = founder.node.membership.identity().convention().unwrap();
    let term = founder.node.membership.registry.standing().borrow().term;
    // Under a raft id of its own, and under the founder's.
    for from in [77, 1] {
        let message = append(convention, 1, from, term + 5);
        let answer = intruder.ask(&founder, &PeerRequest::Raft { message }).await;
        assert_eq!(answer, Err(RefusalCode::NotAllowed), "raft id {from}");
    }
    assert!(founder.node.membership.leads());
    let now = founder.node.membership.registry.standing().borrow().term;
    assert_eq!(now, term);
    for host in [follower, founder] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_are_taken_from_the_leader_alone() {
    let (founder, follower, intruder) = betrayed().await;
    for host in [&founder, &follower] {
        for term in [1, u64::MAX] {
            let step = Step::CloseLog { raft: 1 };
            let answer = intruder.ask(host, &PeerRequest::Step { term, step }).await;
            assert_eq!(answer, Err(RefusalCode::Busy), "term {term}");
        }
        let standing = host.node.membership.registry.standing().borrow().clone();
        assert!(standing.term < 1_000, "{standing:?}");
    }
    assert!(founder.node.membership.leads());
    assert!(founder.path().join("state/raft.redb").exists());
    // The leader's own are taken as before.
    let fleet = founder.node.mutual.fleet.get().unwrap();
    let applied = Step::Applied { index: 1 };
    let done = timeout(LONG, fleet.step(follower.node.id, applied)).await;
    assert!(done.unwrap().is_ok());
    for host in [follower, founder] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_leaves_its_leader_for_a_newer_term_of_one_that_may_lead() {
    let (founder, follower, intruder) = betrayed().await;
    let mut session = follower.node.membership.session_with.subscribe();
    let term = follower.node.membership.registry.standing().borrow().term;
    assert_eq!(*session.borrow(), Some(founder.node.id));
    let authority = authority(&founder);
    let told = |host: &Host| host.node.membership.registry.standing().borrow().term;
    // Whatever it says, and whomever it shows the proof of.
    let key = NodeKey::generate().unwrap().request().unwrap();
    let of_another = authority.vouch(&key, intruder.node, stamp()).unwrap();
    for voucher in [None, Some(of_another)] {
        let refused = intruder.order(&follower, term + 1, voucher).await;
        assert_eq!((refused, told(&follower)), (RefusalCode::Busy, term));
    }
    assert_eq!(*session.borrow(), Some(founder.node.id));
    let key = intruder.key_request.as_ref().unwrap();
    let own = || Some(authority.vouch(key, intruder.node, stamp()).unwrap());
    // A term that no elections can have led to would shut every later leader out.
    let refused = intruder.order(&follower, u64::MAX, own()).await;
    assert_eq!((refused, told(&follower)), (RefusalCode::Busy, term));
    assert_eq!(*session.borrow(), Some(founder.node.id));
    assert!(!follower.node.membership.peers.is_told(intruder.node));
    let refused = intruder.order(&follower, term + 1, own()).await;
    assert_eq!((refused, told(&follower)), (RefusalCode::Busy, term + 1));
    // The founder's term is over: there is no way back.
    let ended = timeout(LONG, session.wait_for(Option::is_none));
    assert!(ended.await.unwrap().is_ok());
    for host in [follower, founder] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_says_that_it_leads_is_not_followed() {
    let (founder, follower, intruder) = betrayed().await;
    let convention = founder.node.membership.identity().convention();
    founder.stop().await;
    let lie = Lie {
        voucher: None,
        times_ms: 2_000,
    };
    let pretence = intruder.pretend_to_lead(&follower, lie).await;
    follower.until(|_| pretence.times_asked("leader") > 0).await;
    let convinced = |host: &Host| {
        let trouble = host.trouble();
        pretence.times_asked("session") > 0 || trouble.contains("does not prove that it votes")
    };
    follower.until(convinced).await;
    assert_eq!(pretence.times_asked("session"), 0, "it was believed");
    let known = follower.node.replica.read(|state| state.convention);
    assert_eq!(known, convention, "its registry was replaced");
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_with_absurd_times_and_a_strange_registry_costs_a_session() {
    let (founder, follower, _intruder) = betrayed().await;
    let convention = founder.node.membership.identity().convention();
    let key = founder.node.membership.identity().key().request().unwrap();
    let voucher = authority(&founder).vouch(&key, founder.node.id, stamp());
    let lie = Lie {
        voucher: Some(voucher.unwrap()),
        times_ms: u64::MAX,
    };
    let leader = Intruder::instead_of(founder).await;
    // After the first time it still looks for a leader, and finds this one again.
    for _ in 0..2 {
        let pretence = leader.pretend_to_lead(&follower, lie.clone()).await;
        follower
            .until(|_| pretence.times_asked("session") > 0)
            .await;
    }
    let known = follower.node.replica.read(|state| state.convention);
    assert_eq!(known, convention, "its registry was replaced");
    follower.stop().await;
}

#[test]
fn a_followers_registry_goes_back_only_after_a_recovery() {
    let state = |convention: u8, recoveries| {
        let mut state = State {
            convention: Some(ConventionId([convention; 16])),
            ..State::default()
        };
        state.roll.recoveries = recoveries;
        state
    };
    let registry = RegistryHandle::new(TaskTracker::new());
    registry.take_over(state(1, 0), 10, None, None).unwrap();
    registry.take_over(state(1, 0), 12, None, None).unwrap();
    let older = registry.take_over(state(1, 0), 11, None, None).unwrap_err();
    assert!(older.contains("ends at 11, this node's at 12"), "{older}");
    registry.take_over(state(2, 1), 20, None, None).unwrap_err();
    registry.take_over(state(1, 1), 7, None, None).unwrap();
    registry.go_offline(|_| {});
    // What was done offline is nobody else's history.
    registry.take_over(state(1, 1), 7, None, None).unwrap();
    assert!(!registry.is_offline());
}

#[test]
fn a_term_that_no_elections_can_have_led_to_is_none() {
    let registry = RegistryHandle::new(TaskTracker::new());
    assert!(registry.admits_term(7));
    assert!(!registry.admits_term(u64::MAX));
    assert!(registry.admits_term(8) && !registry.admits_term(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_alone_does_not_end_anothers_part() {
    let (founder, follower, intruder) = betrayed().await;
    let refusal = Refusal::new(RefusalCode::Removed, "`b` was removed from the convention");
    // It closes what it dialled, and what is dialled to it.
    let connection = intruder.dial(&follower, Alpn::Convention).await.unwrap();
    connection.close(&refusal);
    let turning_away = intruder.turn_away(refusal);
    let peers = &follower.node.membership.peers;
    let address = intruder.address();
    let dialled = peers.dial(intruder.node, &address, Alpn::Lane);
    dialled.await.unwrap_err();
    // Whatever it was told, a question to the leader comes after it.
    follower.node.membership.audit.note("still", "a member", "");
    founder.until_audit("still: a member").await;
    let removed = follower.node.membership.registry.removed();
    assert_eq!(*removed.borrow(), None);
    assert!(follower.is_member(), "{}", follower.trouble());
    turning_away.abort();
    for host in [follower, founder] {
        host.stop().await;
    }
}

/// The authority, as a former voter may have kept it.
fn authority(founder: &Host) -> Authority {
    let convention = founder.node.membership.identity().convention().unwrap();
    let folder = founder.path().join("state/identity");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    Authority::from_pem(convention, &read("ca.key"), &read("ca.crt")).unwrap()
}

/// What a former voter can make that kept the authority's key: a certificate for any node.
fn forged(founder: &Host, node: NodeId) -> Intruder {
    let authority = authority(founder);
    let key = NodeKey::generate().unwrap();
    let made = authority.issue(&key.request().unwrap(), node, stamp());
    let trusted = vec![authority.certificate().clone()];
    let credentials = Credentials::new(&key, &made.unwrap(), trusted).unwrap();
    Intruder::with(node, credentials)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_a_member_with_another_key_opens_nothing() {
    let (founder, follower, _intruder) = betrayed().await;
    let as_follower = forged(&founder, follower.node.id);
    let as_leader = forged(&founder, founder.node.id);
    for (forger, host) in [(&as_follower, &founder), (&as_leader, &follower)] {
        for alpn in [Alpn::Convention, Alpn::Lane, Alpn::Bulk, Alpn::Join] {
            let refused = forger.dial(host, alpn).await.unwrap_err();
            assert!(
                format!("{refused:?}").contains("another key"),
                "{refused:?}"
            );
        }
    }
    founder.until_audit("key of another").await;
    for host in [follower, founder] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_the_registry_does_not_know_is_told_who_leads_and_nothing_else() {
    let (founder, follower, _intruder) = betrayed().await;
    let fresh = forged(&founder, NodeId(4_242));
    let answer = fresh.ask(&follower, &PeerRequest::Leader).await.unwrap();
    let PeerResponse::Leader { leader, .. } = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(leader.unwrap().0, founder.node.id);
    let control = PeerRequest::Control {
        request: b"\"Ping\"".to_vec(),
    };
    let step = PeerRequest::Step {
        term: 1,
        step: Step::CloseLog { raft: 1 },
    };
    let open = PeerRequest::Session(SessionOpen {
        incarnation: Incarnation(1),
        name: "x".to_owned(),
        address: String::new(),
        capabilities: "{}".to_owned(),
        may_vote: true,
        feature_level: FEATURE_LEVEL,
        recoveries: 0,
        raft: None,
        wishes: Some((0, Vec::new())),
    });
    for request in [control, step, open] {
        let refused = fresh.ask(&follower, &request).await;
        assert_eq!(refused, Err(RefusalCode::UnknownNode), "{request:?}");
    }
    for alpn in [Alpn::Lane, Alpn::Bulk] {
        let connection = fresh.dial(&follower, alpn).await.unwrap();
        let closed = timeout(LONG, connection.closed()).await.unwrap();
        assert!(format!("{closed:?}").contains("UnknownNode"), "{closed:?}");
    }
    for host in [follower, founder] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_a_program_joins_nobody_that_does_not_prove_to_be_of_its_user() {
    let address = lets_everybody_in();
    let settings = [
        ("private", "made for a test"),
        ("convleader.cfg", address.as_str()),
    ];
    let joiner = Host::start(tempfile::tempdir().unwrap(), &settings).await;
    let decided = |host: &Host| {
        let joined = host.node.membership.identity().convention().is_some();
        joined
            || host
                .trouble()
                .contains("does not prove that it runs as this user")
    };
    joiner.until(decided).await;
    let convention = joiner.node.membership.identity().convention();
    assert_eq!(
        convention, None,
        "it is a member of another user's convention"
    );
    joiner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_does_not_lead_has_nobody_dial_anywhere() {
    let (founder, follower, intruder) = betrayed().await;
    let victim = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let dial = |link| PeerRequest::Dial {
        node: NodeId(4_242),
        address: victim.local_addr().unwrap().to_string(),
        link,
    };
    for link in [LinkKind::Control, LinkKind::Bulk, LinkKind::Lane] {
        let asked = intruder.ask(&follower, &dial(link)).await;
        assert_eq!(asked, Err(RefusalCode::Busy), "it is not the leader");
    }
    victim.set_nonblocking(true).unwrap();
    let nothing = victim.recv(&mut [0; 2_000]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    // The leader knows where a member is, and tells others.
    let peers = &founder.node.membership.peers;
    let control = dial(LinkKind::Control);
    let asked = peers.ask(follower.node.id, &control, LONG);
    assert_eq!(asked.await.unwrap(), PeerResponse::Done);
    let dialled = async {
        while victim.recv(&mut [0; 2_000]).is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, dialled).await.unwrap();
    for host in [follower, founder] {
        host.stop().await;
    }
}
