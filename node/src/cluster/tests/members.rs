//! Members that leave, are removed, fall silent, come back after long, or move.

use std::fs;
use std::time::Instant;

use leader::reconcile::Replica;
use protocol::peer::Step;
use protocol::registry::{Command, HistoryEntry, MemberCommand, MemberState, Outcome};
use protocol::view::Wish;
use protocol::{SourceHash, Stamp};
use transport::Alpn;
use transport::identity::{Authority, NodeKey};

use super::host::{Host, LONG};
use crate::agent::node::stamp;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

async fn two() -> (Host, Host) {
    let founder = Host::found("a").await;
    let token = founder.token(1, HOUR_MS).await;
    let member = Host::join("b", &founder, &token).await;
    (founder, member)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_member_is_cut_off_at_once_and_says_why() {
    let (founder, member) = two().await;
    let remove = MemberCommand::Remove {
        node: member.node.id,
        left: false,
        by: "ann".to_owned(),
        stamp: stamp(),
    };
    let begun = Instant::now();
    assert_eq!(founder.propose(remove).await, Outcome::Done);
    let cut = |host: &Host| host.node.membership.endpoint.live_nodes().is_empty();
    founder.until(cut).await;
    assert!(begun.elapsed().as_millis() < 2_000, "{:?}", begun.elapsed());
    let told = |host: &Host| {
        host.trouble()
            .contains("`b` was removed from the convention")
    };
    member.until(told).await;
    // Its connection may be closed a moment before it reads why.
    let ended = |host: &Host| !host.node.membership.lease.state().borrow().serves();
    member.until(ended).await;

    // Nor does it come back by a new start.
    let member = member.restart().await;
    member.until(told).await;
    founder.until_audit("removed member refused").await;
    member.stop().await;
    founder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_only_dials_out_is_reached_as_long_as_it_has_a_session() {
    let founder = Host::found("a").await;
    let token = founder.token(1, HOUR_MS).await;
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (at, leader) = (nobody.local_addr().unwrap().to_string(), founder.address());
    let settings = [
        ("nodename.cfg", "b"),
        ("convleader.cfg", leader.as_str()),
        ("convtoken.cfg", token.as_str()),
        ("advertise.cfg", at.as_str()),
        ("voter.cfg", "False"),
    ];
    let member = Host::start(tempfile::tempdir().unwrap(), &settings).await;
    member.until(Host::is_member).await;
    // As after an answer that did not come, while its NAT had forgotten it.
    let (peers, id) = (&founder.node.membership.peers, member.node.id);
    let connection = peers.live(id, Alpn::Convention).unwrap();
    peers.remove(&connection);
    drop(connection);
    let fleet = founder.node.mutual.fleet.get().unwrap();
    let step = fleet.step(id, Step::Applied { index: 1 });
    let done = tokio::time::timeout(LONG, step).await;
    assert!(done.expect("it is reached").is_ok());
    for host in [member, founder] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stops_alone_is_heard_to_stop_by_its_members() {
    let (founder, member) = two().await;
    let id = founder.node.id;
    founder.stop().await;
    let stopped = |host: &Host| {
        let known = host
            .node
            .replica
            .read(|state| state.members.get(&id).map(|m| m.state));
        known == Some(MemberState::Down)
    };
    member.until(stopped).await;
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_falls_silent_is_lost_and_one_that_stops_is_not() {
    let (founder, member) = two().await;
    member.node.membership.close().await;
    let begun = Instant::now();
    let lost = |host: &Host| {
        let known = host.member_of(&member);
        known.is_some_and(|known| known.state == MemberState::Lost)
    };
    founder.until(lost).await;
    let after_ms = begun.elapsed().as_millis();
    assert!((4_000..9_000).contains(&after_ms), "{after_ms} ms");
    assert!(!member.node.membership.lease.state().borrow().serves());

    // It comes back under the same id, at another port.
    let member = member.restart().await;
    member.until(Host::is_member).await;
    let known = founder.member_of(&member).unwrap();
    assert_eq!(known.state, MemberState::Up);
    assert_eq!(known.address, member.address());
    let id = member.node.id;
    member.stop().await;
    let state = founder
        .node
        .replica
        .read(|state| state.members.get(&id).map(|member| member.state));
    assert_eq!(state, Some(MemberState::Down));
    founder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_off_for_months_renews_its_certificate_and_is_back() {
    let (founder, member) = two().await;
    let (id, convention) = {
        let identity = member.node.membership.identity();
        (identity.node(), identity.convention().unwrap())
    };
    let folder = member.stop().await;
    let ours = folder.path().join("state/identity");
    let theirs = founder.path().join("state/identity");
    let read = |path: std::path::PathBuf| fs::read_to_string(path).unwrap();
    let (key, ca) = (read(theirs.join("ca.key")), read(theirs.join("ca.crt")));
    let authority = Authority::from_pem(convention, &key, &ca).unwrap();
    let key = NodeKey::from_pem(&read(ours.join("node.key"))).unwrap();
    let long_ago = Stamp(stamp().0 - 90 * DAY_MS);
    let old = authority.issue(&key.request().unwrap(), id, long_ago);
    fs::write(ours.join("node.crt"), old.unwrap().to_pem()).unwrap();

    let member = Host::start(folder, &[]).await;
    member.until(Host::is_member).await;
    let credentials = member.node.membership.credentials.current().unwrap();
    assert!(!credentials.identity().validity.is_over(stamp()));
    assert_eq!(credentials.identity().key, key.hash());
    member.stop().await;
    founder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_its_convention_goes_on_from_what_it_knew() {
    let (founder, member) = two().await;
    let folder = member.stop().await;
    let founder_folder = founder.stop().await;
    let member = Host::start(folder, &[("offline.cfg", "True")]).await;
    assert!(member.node.replica.is_offline(), "{}", member.trouble());
    assert!(member.node.membership.lease.state().borrow().serves());
    // The convention is back, at another port that the member does not know: it is told.
    let address = member.address();
    let founder = Host::start(founder_folder, &[]).await;
    fs::write(member.path().join("convleader.cfg"), founder.address()).unwrap();
    let member = member.restart().await;
    member.until(Host::is_member).await;
    assert!(!member.node.replica.is_offline());
    assert_ne!(founder.member_of(&member).unwrap().address, address);
    member.stop().await;
    founder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_the_only_one_listed_founds_and_one_among_others_waits() {
    let listed = [("adminport.cfg", "0"), ("convleader.cfg", "127.0.0.1:0")];
    let alone = Host::start(tempfile::tempdir().unwrap(), &listed).await;
    assert!(alone.is_member());
    alone.stop().await;
    let others = [("convleader.cfg", "['127.0.0.1:0', '127.0.0.1:9']")];
    let waiting = Host::start(tempfile::tempdir().unwrap(), &others).await;
    assert!(waiting.node.membership.identity().convention().is_none());
    assert!(!waiting.trouble().is_empty());
    waiting.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_capability_is_seen_by_all_members_before_the_next_heartbeat() {
    let (founder, member) = two().await;
    for (changed, other) in [(&member, &founder), (&founder, &member)] {
        let shows = |text: &'static str, shown: bool| {
            move |host: &Host| {
                let known = host.member_of(changed).unwrap();
                known.capabilities.contains(text) == shown
            }
        };
        let may_vote = other.member_of(changed).unwrap().admission.may_vote;
        let begun = Instant::now();
        // The last of several in a row is the one that stays.
        for value in ["'green'", "'blue'", "'red'"] {
            let update = changed.node.update_capability("'colour'", Some(value));
            update.unwrap();
        }
        other.until(shows("'colour': 'red'", true)).await;
        changed.until(shows("'colour': 'red'", true)).await;
        assert!(begun.elapsed().as_millis() < 1_500, "{:?}", begun.elapsed());
        changed.node.update_capability("'colour'", None).unwrap();
        other.until(shows("'colour'", false)).await;
        let known = other.member_of(changed).unwrap();
        assert_eq!(known.admission.may_vote, may_vote);
    }
    member.stop().await;
    founder.stop().await;
}

/// Commits so many further groups, each with 6 MiB that every view of it has.
async fn grow(founder: &Host, names: std::ops::Range<u32>) {
    for name in names {
        let entry = HistoryEntry {
            stamp: stamp(),
            what: "active".to_owned(),
            hash: SourceHash::default(),
            version: None,
            by: "a test".to_owned(),
            detail: "x".repeat(6 << 20),
        };
        let command = Command::Remember {
            group: format!("group{name}"),
            history: vec![entry],
            withdrawn: Default::default(),
            stamp: stamp(),
        };
        let proposed = Replica::propose(&*founder.node.replica, command).await;
        assert_eq!(proposed.unwrap().1, Outcome::Done);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_longer_than_a_frame_reaches_a_follower_whole_and_as_it_grows() {
    let founder = Host::found("a").await;
    grow(&founder, 0..4).await;
    let token = founder.token(1, HOUR_MS).await;
    let member = Host::join("b", &founder, &token).await;
    member.node.replica.note(Wish::Groups);
    let knows = |count| {
        move |host: &Host| {
            host.node.replica.read(|state| state.groups.len()) == count && host.is_member()
        }
    };
    member.until(knows(4)).await;
    // Much at once, as for one that was away for a moment.
    grow(&founder, 4..8).await;
    member.until(knows(8)).await;
    let equal = |host: &Host| {
        let of = |host: &Host| {
            host.node
                .replica
                .read(|state| (state.groups.clone(), state.members.clone()))
        };
        of(host) == of(&founder)
    };
    member.until(equal).await;
    // Tokens are for voters.
    let tokens = |host: &Host| host.node.replica.read(|state| state.roll.tokens.len());
    assert_eq!(tokens(&member), 0);
    assert_eq!(tokens(&founder), 1);
    member.stop().await;
    founder.stop().await;
}
