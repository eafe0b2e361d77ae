//! Who votes: voters that were away, are demoted, recovered or wanted in other numbers.

use std::collections::BTreeSet;
use std::fs;

use leader::RaftId;
use leader::reconcile::Fleet;
use protocol::control::ClusterRequest;
use protocol::{RequestId, SourceHash};
use transport::Alpn;

use super::host::{Host, LONG};
use crate::agent::node::stamp;
use crate::cluster::{operator, recover, voters};
use crate::directory::Directory;

const HOUR_MS: u64 = 3_600_000;

/// A founder and so many others, all of them willing to vote.
async fn convention(names: &[&str]) -> Vec<Host> {
    let mut names = names.iter();
    let founder = Host::found(names.next().unwrap()).await;
    let token = founder.token(9, HOUR_MS).await;
    let mut hosts = vec![founder];
    for name in names {
        let member = Host::join(name, &hosts[0], &token).await;
        hosts.push(member);
    }
    hosts
}

/// The one that leads is put in front.
async fn leader_first(hosts: &mut [Host]) {
    let leads = |host: &Host| host.node.membership.leads();
    let some = async {
        while !hosts.iter().any(leads) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, some).await.unwrap();
    let at = hosts.iter().position(leads).unwrap();
    hosts.swap(0, at);
}

async fn until_voters(host: &Host, wanted: usize) {
    host.until(|host| voters::voters(&host.node).len() == wanted)
        .await;
}

fn raft(host: &Host) -> Option<RaftId> {
    let consensus = host.node.replica.consensus();
    consensus.map(|consensus| consensus.identity().raft)
}

async fn order(leader: &Host, request: ClusterRequest) {
    operator::answer_as_leader(&leader.node, RequestId(rand::random()), request)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voter_that_was_taken_out_while_it_was_away_follows_and_blocks_nothing() {
    let mut hosts = convention(&["a", "b", "c"]).await;
    until_voters(&hosts[0], 3).await;
    leader_first(&mut hosts).await;
    let away = hosts.pop().unwrap().stop().await;
    let (leader, other) = (&hosts[0], &hosts[1]);
    let demote = ClusterRequest::Demote {
        node: other.node.membership.name.clone(),
        by: "ann".to_owned(),
    };
    order(leader, demote).await;
    // As when both were replaced: neither is told by a step.
    let consensus = leader.node.replica.consensus().unwrap();
    let alone = BTreeSet::from([raft(leader).unwrap()]);
    consensus.change_voters(alone).await.unwrap();
    let follows = |host: &Host| {
        let left = ["identity/ca.key", "raft.redb"];
        let left = left.map(|file| host.path().join("state").join(file).exists());
        host.is_member() && raft(host).is_none() && left == [false, false]
    };
    other.until(follows).await;
    let back = Host::start(away, &[]).await;
    back.until(follows).await;

    leader
        .node
        .membership
        .audit
        .note("seen", "by the leader", "");
    leader.until_audit("seen: by the leader").await;
    let noted = *leader.node.replica.applied().borrow();
    back.until(|host| *host.node.replica.applied().borrow() >= noted)
        .await;
    let fleet = leader.node.mutual.fleet.get().unwrap();
    let index = *leader.node.replica.applied().borrow();
    let all = fleet.applied(index);
    tokio::time::timeout(LONG, all).await.unwrap();
    hosts.push(back);
    for host in hosts {
        host.stop().await;
    }
}

fn name(host: &Host) -> String {
    host.node.membership.name.clone()
}

fn is_willing(at: &Host, of: &Host) -> bool {
    at.member_of(of).unwrap().admission.is_willing()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_word_on_a_vote_outlasts_the_return_of_a_member_that_missed_it() {
    let mut hosts = convention(&["a", "b"]).await;
    let (member, leader) = (hosts.pop().unwrap(), hosts.pop().unwrap());
    let (node, by) = (name(&member), "ann".to_owned());
    let away = member.stop().await;
    let demote = ClusterRequest::Demote {
        node: node.clone(),
        by: by.clone(),
    };
    order(&leader, demote).await;
    leader.until_audit("member demoted: b").await;
    // Its own copy of the registry is from before.
    let member = Host::start(away, &[]).await;
    member.until(Host::is_member).await;
    assert!(!is_willing(&leader, &member));
    // Nor does what it says of itself later change it.
    member
        .node
        .update_capability("'colour'", Some("'red'"))
        .unwrap();
    let red = |host: &Host| {
        let known = host.member_of(&member).unwrap();
        known.capabilities.contains("'red'")
    };
    leader.until(red).await;
    assert!(!is_willing(&leader, &member));

    let away = member.stop().await;
    order(&leader, ClusterRequest::Promote { node, by }).await;
    let member = Host::start(away, &[("voter.cfg", "False")]).await;
    member.until(Host::is_member).await;
    assert!(
        !is_willing(&leader, &member),
        "its own settings count as well"
    );
    fs::remove_file(member.path().join("voter.cfg")).unwrap();
    let member = member.restart().await;
    member.until(Host::is_member).await;
    assert!(is_willing(&leader, &member));
    member.stop().await;
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_recovery_a_lost_voter_has_no_session_and_a_follower_goes_on() {
    let hosts = convention(&["a", "b", "c", "d"]).await;
    until_voters(&hosts[0], 3).await;
    let mut folders = Vec::new();
    let mut followers = Vec::new();
    for host in hosts {
        let folders = match raft(&host) {
            Some(_) => &mut folders,
            None => &mut followers,
        };
        folders.push(host.stop().await);
    }
    let (survivor, lost) = (folders.remove(0), folders.remove(0));
    let directory = Directory::at(survivor.path());
    let recovered = recover::recover(&directory, stamp()).unwrap();
    assert_eq!((recovered.recovery, recovered.voters_before), (1, 3));
    let survivor = Host::start(survivor, &[]).await;
    survivor.until(Host::is_member).await;
    let address = survivor.address();
    let listed = [("convleader.cfg", address.as_str())];

    let lost = Host::start(lost, &listed).await;
    let told = |host: &Host| host.trouble().contains("was recovered without it");
    lost.until(told).await;
    survivor
        .until_audit(&format!("session refused: {}", name(&lost)))
        .await;
    assert!(!lost.node.membership.lease.state().borrow().serves());
    assert!(raft(&lost).is_some(), "what it holds is its operator's");

    let follower = Host::start(followers.remove(0), &listed).await;
    follower.until(Host::is_member).await;
    let epoch = |host: &Host| host.node.membership.registry.recoveries() == 1;
    follower.until(epoch).await;
    let live = |host: &Host| {
        let peers = &host.node.membership.peers;
        let live = peers.live(survivor.node.id, Alpn::Convention);
        live.is_some_and(|live| live.about().recoveries == 1)
    };
    follower.until(live).await;
    // Nor is the survivor itself told otherwise by whoever is of the old history.
    assert!(survivor.node.membership.leads());
    for host in [follower, lost, survivor] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_order_to_drop_a_log_leaves_the_next_one_alone() {
    let mut hosts = convention(&["a", "b", "c"]).await;
    until_voters(&hosts[0], 3).await;
    leader_first(&mut hosts).await;
    let voter = &hosts[1];
    voter.until(|host| raft(host).is_some()).await;
    let now = raft(voter).unwrap();
    let earlier = RaftId(now.0 - 1);
    voters::close_log(&voter.node, earlier).await.unwrap();
    assert_eq!(raft(voter), Some(now));
    assert!(voter.path().join("state/raft.redb").exists());
    for host in hosts {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packages_majority_is_counted_among_those_that_vote_by_then() {
    let mut hosts = convention(&["a", "b", "c"]).await;
    until_voters(&hosts[0], 3).await;
    leader_first(&mut hosts).await;
    let leader = &hosts[0];
    // As if it had been held before the others became voters.
    let bytes = b"bytes that the leader holds";
    let hash = SourceHash::of(bytes);
    let arrived = leader.node.store.take(bytes).unwrap();
    leader.node.store.keep(arrived).unwrap();
    let holdings = &leader.node.mutual.holdings;
    holdings.holds(leader.node.id, hash, None);
    let fleet = leader.node.mutual.fleet.get().unwrap();
    let secured = fleet.secure(hash, bytes.len() as u64);
    let secured = tokio::time::timeout(LONG, secured).await;
    secured.unwrap().unwrap();
    let holds = |host: &&Host| host.node.store.length(hash).is_some();
    assert!(hosts.iter().filter(holds).count() >= 2);
    for host in hosts {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_vote_as_the_founder_was_told_and_as_an_operator_says_later() {
    let settings = [("nodename.cfg", "a"), ("convvoters.cfg", "5")];
    let founder = Host::start(tempfile::tempdir().unwrap(), &settings).await;
    let token = founder.token(9, HOUR_MS).await;
    let mut hosts = vec![founder];
    for name in ["b", "c", "d", "e"] {
        let member = Host::join(name, &hosts[0], &token).await;
        hosts.push(member);
    }
    until_voters(&hosts[0], 5).await;
    let wanted = |wanted| ClusterRequest::Voters {
        wanted,
        by: "ann".to_owned(),
    };
    leader_first(&mut hosts).await;
    let refused = operator::answer_as_leader(&hosts[0].node, RequestId([4; 16]), wanted(4)).await;
    let refused = refused.unwrap_err();
    assert!(refused.message.contains("not 4"), "{refused:?}");
    order(&hosts[0], wanted(3)).await;
    until_voters(&hosts[0], 3).await;
    // What the founder's file says is not read again.
    let at = hosts.iter().position(|host| name(host) == "a").unwrap();
    let founder = hosts.remove(at).restart().await;
    founder.until(Host::is_member).await;
    let kept = founder.node.replica.read(|state| state.roll.voters_wanted);
    assert_eq!(kept, 3);
    hosts.push(founder);
    for host in hosts {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_whose_log_was_deleted_begins_anew() {
    let founder = Host::found("a").await;
    let want = async |wanted| {
        let by = "ann".to_owned();
        order(&founder, ClusterRequest::Voters { wanted, by }).await;
    };
    want(1).await;
    let token = founder.token(2, HOUR_MS).await;
    let other = Host::join("b", &founder, &token).await;
    let third = Host::join("c", &founder, &token).await;
    // The third takes its time, so that the other learns until then.
    let slow = third.node.mutual.log_changes.lock().await;
    want(3).await;
    let learns = |founder: &Host, id| {
        let consensus = founder.node.replica.consensus().unwrap();
        let standing = consensus.standing().borrow().clone();
        let mut learners = standing.learners.iter();
        let found = learners.find(|(_, voter)| voter.node == id);
        found.map(|(raft, _)| *raft)
    };
    let id = other.node.id;
    founder.until(|founder| learns(founder, id).is_some()).await;
    let lost = learns(&founder, id);
    let folder = other.stop().await;
    fs::remove_file(folder.path().join("state/raft.redb")).unwrap();
    let other = Host::start(folder, &[]).await;
    other.until(Host::is_member).await;
    drop(slow);
    until_voters(&founder, 3).await;
    other.until(|other| raft(other).is_some()).await;
    assert_ne!(raft(&other), lost, "nobody votes twice under one id");
    for host in [third, other, founder] {
        host.stop().await;
    }
}
