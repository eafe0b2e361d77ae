//! Members that leave, are removed, drained, or may vote or not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use leader::Voter;
use protocol::control::{ErrorCode, RequestError};
use protocol::registry::{Member, MemberCommand, MemberState, Outcome};
use protocol::{NodeId, RequestId};
use tokio::time::timeout;

use super::{Answered, done, last, show, step};
use crate::agent::node::{Node, stamp};
use crate::agent::requests::refused;
use crate::cluster::{self, leadership};

/// This node leaves for good: its state is forgotten and it stops.
pub(super) async fn leave(node: &Arc<Node>, by: String) -> Answered {
    let others = node
        .replica
        .read(|state| state.members.keys().any(|member| *member != node.id));
    if !others {
        return Err(refused(
            "this node is the convention's only member and cannot leave it".to_owned(),
            Some("`director shutdown`, then move `state/` away, forgets the convention"),
        ));
    }
    let id = RequestId(rand::random()).of(node.id);
    retire(node, id, node.id, &by).await?;
    let remove = MemberCommand::Remove {
        node: node.id,
        left: true,
        by,
        stamp: stamp(),
    };
    // From before: one that is let go and does not leave goes on alone.
    node.mutual.leaves.store(true, Ordering::Release);
    match step(node, id, remove, &[]).await {
        // The removal closes the connection on which its answer would come.
        Err(error) if error.code == ErrorCode::TimedOut && has_left(node).await => {}
        Err(error) => {
            node.mutual.leaves.store(false, Ordering::Release);
            return Err(error);
        }
        Ok(_) => {}
    }
    node.stop.cancel();
    Ok(done(vec![
        "this node has left the convention and stops; its packages and identity are forgotten"
            .to_owned(),
    ]))
}

/// A member is removed for good; its connections are closed at once.
pub(super) async fn remove(node: &Node, id: RequestId, who: &str, by: String) -> Answered {
    let (member, known) = find(node, who)?;
    if member == node.id {
        return Err(refused(
            format!("`{}` leads the convention", known.name),
            Some("run `director cluster leave` on that host"),
        ));
    }
    if known.state == MemberState::Up {
        retire(node, id, member, &by).await?;
    }
    let remove = MemberCommand::Remove {
        node: member,
        left: false,
        by,
        stamp: stamp(),
    };
    let told = format!(
        "`{}` ({member}) is removed; to come back it joins as a new node",
        known.name
    );
    last(node, id, remove, vec![told]).await.map(done)
}

/// Actors move away from a member, or may come back.
pub(super) async fn drain(node: &Node, id: RequestId, who: &str, on: bool, by: String) -> Answered {
    let (member, known) = find(node, who)?;
    let drain = MemberCommand::Drain {
        node: member,
        on,
        by,
        stamp: stamp(),
    };
    let told = if on {
        "takes no more actors; those of the Director move to other members"
    } else {
        "takes actors again"
    };
    let told = format!("`{}` {told}", known.name);
    last(node, id, drain, vec![told]).await.map(done)
}

/// A member may be a voter from now on, or no longer.
pub(super) async fn may_vote(
    node: &Arc<Node>,
    id: RequestId,
    who: &str,
    on: bool,
    by: String,
) -> Answered {
    let (member, known) = find(node, who)?;
    let vote = MemberCommand::Vote {
        node: member,
        on,
        by,
        stamp: stamp(),
    };
    let told = match (on, known.admission.may_vote) {
        (true, true) => {
            "may be a voter: it becomes one when the convention needs one and it holds everything"
        }
        (true, false) => "may be a voter once its own `voter.cfg` does not say False any more",
        (false, _) => "is to be no voter: another willing member takes its place",
    };
    let told = vec![format!("`{}` {told}", known.name)];
    let told = last(node, id, vote, told).await?;
    if member == node.id && !on {
        // Beside the answer: once the lead is lost, the next leader gives it.
        let handing = Arc::clone(node);
        node.tasks
            .spawn(async move { leadership::hand_over(&handing).await });
    }
    Ok(done(told))
}

/// How many voters the convention is to have.
pub(super) async fn want_voters(node: &Node, id: RequestId, wanted: u8, by: String) -> Answered {
    let voters = MemberCommand::Voters {
        wanted,
        by,
        stamp: stamp(),
    };
    let willing = node.replica.read(|state| {
        let members = state.members.values();
        let up = members.filter(|member| member.state == MemberState::Up);
        up.filter(|member| member.admission.is_willing()).count()
    });
    let mut notes = vec![format!("the convention is to have {wanted} voters")];
    if willing < usize::from(wanted) {
        let now = willing.saturating_sub(1) / 2 * 2 + 1;
        notes.push(format!(
            "only {willing} members are up and willing to vote, which makes {now}; more become \
             voters as they come"
        ));
    }
    last(node, id, voters, notes).await.map(done)
}

/// Waits until a member votes no longer: one that goes as a voter takes its vote along, and with
/// another one down the rest would be no majority.
async fn retire(node: &Node, id: RequestId, member: NodeId, by: &str) -> Result<(), RequestError> {
    let votes = || match node.replica.consensus() {
        Some(_) => cluster::voters::voters(node).contains(&member),
        None => false,
    };
    if !votes() {
        return Ok(());
    }
    let known = node
        .replica
        .read(|state| state.members.get(&member).cloned());
    let Some(known) = known else { return Ok(()) };
    let vote = |on| MemberCommand::Vote {
        node: member,
        on,
        by: by.to_owned(),
        stamp: stamp(),
    };
    // Under the order's id it says each time whether the first attempt changed something.
    let demoted = step(node, id.step(DEMOTE), vote(false), &[]).await?;
    if member == node.id {
        leadership::hand_over(node).await;
    }
    let retired = async {
        let mut parts = node.replica.parts();
        while votes() {
            parts.borrow_and_update();
            let Some(consensus) = node.replica.consensus() else {
                return;
            };
            let mut standing = consensus.standing();
            let voting = |voters: &BTreeMap<_, Voter>| voters.values().any(|v| v.node == member);
            tokio::select! {
                _moved = standing.wait_for(|standing| !voting(&standing.voters)) => {}
                _changed = parts.changed() => {}
            }
        }
    };
    if timeout(RETIRE_LIMIT, retired).await.is_ok() {
        return Ok(());
    }
    if demoted == Outcome::Done {
        let _stays = step(node, id.step(PROMOTE), vote(true), &[]).await;
    }
    Err(refused(
        format!(
            "`{}` is a voter that the convention cannot spare now",
            known.name
        ),
        Some(
            "another voter is down or not ready: `director cluster members` shows it; bring it \
             back or remove it first",
        ),
    ))
}

/// Whether this node learns that it is no member any more.
async fn has_left(node: &Node) -> bool {
    let mut removed = node.replica.removed();
    let known = removed.wait_for(Option::is_some);
    matches!(timeout(TOLD_LIMIT, known).await, Ok(Ok(_)))
}

/// Numbers of the steps of an order before its last one, which has the order's own id.
const DEMOTE: u8 = 1;
const PROMOTE: u8 = 2;

/// How long the convention may take to do without a voter.
const RETIRE_LIMIT: Duration = Duration::from_secs(20);

/// How long the news of its removal may take to a node whose connections were closed for it.
const TOLD_LIMIT: Duration = Duration::from_secs(2);

fn find(node: &Node, who: &str) -> Result<(NodeId, Member), RequestError> {
    node.replica.read(|state| {
        let member = show::find_member(state, who)?;
        let known = state.members.get(&member).cloned();
        known
            .map(|known| (member, known))
            .ok_or_else(|| refused(format!("no member is called `{who}`"), None))
    })
}
