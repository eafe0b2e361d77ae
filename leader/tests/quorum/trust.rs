//! Who may say what: each voter for itself, and strangers nothing unless somebody vouches for them.

use leader::{RaftId, Sender, Start};
use protocol::NodeId;

use crate::hub::{Group, entry, identity, voter};

fn untrusted(raft: u64) -> Sender {
    Sender {
        node: voter(raft).node,
        is_trusted: false,
    }
}

#[tokio::test(start_paused = true)]
async fn voters_that_the_log_names_need_nobodys_word() {
    let mut group = Group::of(3).await;
    for raft in 1..=3 {
        group.hub.say(raft, untrusted(raft));
    }
    group.open[&1].propose(entry(1)).await.unwrap();
    group.agree(&[1]).await;
    group.open[&1].step_down().await.unwrap();
    let next = group.leader().await;
    assert_ne!(next, 1);
    group.kill(next).await;
    group.propose_anywhere(2).await;
    group.agree(&[1, 2]).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_speaks_for_another_is_refused() {
    let group = Group::of(3).await;
    // What comes from voter 1 comes from another node in truth.
    let false_one = Sender {
        node: NodeId(666),
        is_trusted: true,
    };
    group.hub.say(1, false_one);
    let refusal = group.hub.refusal(1, 2).await;
    assert!(
        refusal.contains("node `666` speaks for raft id 1, which is not its own"),
        "{refusal}"
    );
    group.propose_anywhere(1).await;
    let standing = group.open[&1].standing();
    assert!(!standing.borrow().leads, "nobody hears it");
    group.hub.say(1, untrusted(1));
    group.agree(&[1]).await;
}

#[tokio::test(start_paused = true)]
async fn a_stranger_fills_no_log_until_somebody_vouches_for_it() {
    let mut group = Group::of(1).await;
    group.hub.say(1, untrusted(1));
    group.start(2, Start::Join(identity(2))).await;
    let first = &group.open[&1];
    first.add_learner(RaftId(2), voter(2)).await.unwrap();
    let refusal = group.hub.refusal(1, 2).await;
    assert!(
        refusal.contains("node `101` is no voter that this one knows of"),
        "{refusal}"
    );
    assert_eq!(*group.open[&2].applied().borrow(), 0);
    let trusted = Sender {
        is_trusted: true,
        ..untrusted(1)
    };
    group.hub.say(1, trusted);
    first.propose(entry(1)).await.unwrap();
    group.agree(&[1]).await;
    // From here on its own log says who leads.
    group.hub.say(1, untrusted(1));
    first.propose(entry(2)).await.unwrap();
    group.agree(&[1, 2]).await;
}
