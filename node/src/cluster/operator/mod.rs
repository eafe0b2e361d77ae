//! The answers to what an operator asks about the convention, or wants changed in it.
//!
//! Not here: how a request comes to the node that answers it (`orders`), loads (`fleet`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use leader::reconcile::Replica;
use protocol::control::{ClusterRequest, ClusterResponse, ErrorCode, RequestError};
use protocol::registry::{Change, Command, MemberCommand, Outcome};
use protocol::{NodeId, RequestId};

use crate::agent::node::{Node, stamp};
use crate::agent::requests::{hint_of_refusal, internal, not_done, refused};
use crate::cluster::directories;

mod archive;
mod authority;
mod backup;
mod explain;
mod moves;
mod show;
mod tokens;

pub(crate) use show::Age;
use show::{Heard, Parts};

/// Longest time that a request for events may wait for one.
const EVENTS_WAIT: Duration = Duration::from_secs(60);

type Answered = Result<ClusterResponse, RequestError>;

/// Whether only the leader can answer.
pub(crate) fn needs_leader(request: &ClusterRequest) -> bool {
    match request {
        ClusterRequest::Status { stale } | ClusterRequest::Members { stale } => !stale,
        ClusterRequest::Events { .. }
        | ClusterRequest::Directories
        | ClusterRequest::Directory
        | ClusterRequest::Offer { .. }
        // The node that is asked draws the token.
        | ClusterRequest::Invite { .. }
        | ClusterRequest::Leave { .. }
        | ClusterRequest::Backup { .. }
        | ClusterRequest::Restore { .. } => false,
        ClusterRequest::Tokens
        | ClusterRequest::Authority
        | ClusterRequest::Rotate { .. }
        | ClusterRequest::Retire { .. }
        | ClusterRequest::Remember { .. }
        | ClusterRequest::Confirm
        | ClusterRequest::Revoke { .. }
        | ClusterRequest::Approve { .. }
        | ClusterRequest::Remove { .. }
        | ClusterRequest::Drain { .. }
        | ClusterRequest::Promote { .. }
        | ClusterRequest::Demote { .. }
        | ClusterRequest::Voters { .. }
        | ClusterRequest::Explain { .. }
        | ClusterRequest::Progress { .. } => true,
    }
}

/// Whether it changes nothing, however often it is asked.
fn only_looks(request: &ClusterRequest) -> bool {
    match request {
        ClusterRequest::Status { .. }
        | ClusterRequest::Members { .. }
        | ClusterRequest::Tokens
        | ClusterRequest::Authority
        | ClusterRequest::Confirm
        | ClusterRequest::Explain { .. }
        | ClusterRequest::Directories
        | ClusterRequest::Directory
        | ClusterRequest::Offer { .. }
        | ClusterRequest::Events { .. }
        | ClusterRequest::Progress { .. } => true,
        ClusterRequest::Invite { .. }
        | ClusterRequest::Revoke { .. }
        | ClusterRequest::Approve { .. }
        | ClusterRequest::Leave { .. }
        | ClusterRequest::Remove { .. }
        | ClusterRequest::Drain { .. }
        | ClusterRequest::Promote { .. }
        | ClusterRequest::Demote { .. }
        | ClusterRequest::Voters { .. }
        | ClusterRequest::Rotate { .. }
        | ClusterRequest::Retire { .. }
        | ClusterRequest::Backup { .. }
        | ClusterRequest::Remember { .. }
        | ClusterRequest::Restore { .. } => false,
    }
}

/// Answers, at the node that was asked, what needs no leader.
pub(crate) async fn answer_here(node: &Arc<Node>, request: ClusterRequest) -> Answered {
    match request {
        ClusterRequest::Status { .. } => Ok(status(node)),
        ClusterRequest::Members { .. } => Ok(members(node)),
        ClusterRequest::Events { after, wait_ms } => Ok(events(node, after, wait_ms).await),
        ClusterRequest::Directories => Ok(directories::others(node).await),
        ClusterRequest::Directory => Ok(directories::own(node).await),
        ClusterRequest::Offer { file, hash } => directories::offer(node, &file, hash).await,
        ClusterRequest::Invite {
            uses, ttl_s, by, ..
        } => tokens::invite(node, uses, ttl_s, by).await,
        ClusterRequest::Leave { by } => moves::leave(node, by).await,
        ClusterRequest::Backup {
            path,
            passphrase,
            by,
        } => backup::backup(node, path.into(), passphrase, &by).await,
        ClusterRequest::Restore { path, by } => backup::restore(node, path.into(), &by).await,
        _ => Err(internal("only the leader answers this")),
    }
}

/// Answers what needs the leader, as the leader; what changes something is done once for its id.
pub(crate) async fn answer_as_leader(
    node: &Arc<Node>,
    id: RequestId,
    request: ClusterRequest,
) -> Answered {
    if !only_looks(&request) {
        // An earlier leader may have done it, and what it names may be gone since.
        fresh(node).await?;
        if let Some(told) = told(node, id) {
            return Ok(tokens::answered_before(node, &request).unwrap_or_else(|| done(told)));
        }
    }
    match request {
        ClusterRequest::Status { .. } => {
            fresh(node).await?;
            Ok(status(node))
        }
        ClusterRequest::Members { .. } => {
            fresh(node).await?;
            Ok(members(node))
        }
        ClusterRequest::Confirm => {
            fresh(node).await?;
            let index = *node.replica.applied().borrow();
            Ok(ClusterResponse::Confirmed { index })
        }
        ClusterRequest::Invite {
            uses,
            ttl_s,
            by,
            drawn: Some(drawn),
        } => tokens::issue(node, id, drawn, (uses, ttl_s), by).await,
        ClusterRequest::Authority => {
            fresh(node).await?;
            Ok(authority::show(node))
        }
        ClusterRequest::Rotate { by } => authority::rotate(node, id, by).await,
        ClusterRequest::Retire { by } => authority::retire(node, id, by).await,
        ClusterRequest::Tokens => Ok(tokens::list(node)),
        ClusterRequest::Revoke { id: token, by } => tokens::revoke(node, id, &token, by).await,
        ClusterRequest::Approve { node: who, by } => tokens::approve(node, id, &who, by).await,
        ClusterRequest::Remove { node: who, by } => moves::remove(node, id, &who, by).await,
        ClusterRequest::Drain { node: who, on, by } => moves::drain(node, id, &who, on, by).await,
        ClusterRequest::Promote { node: who, by } => {
            moves::may_vote(node, id, &who, true, by).await
        }
        ClusterRequest::Demote { node: who, by } => {
            moves::may_vote(node, id, &who, false, by).await
        }
        ClusterRequest::Voters { wanted, by } => moves::want_voters(node, id, wanted, by).await,
        ClusterRequest::Remember {
            group,
            history,
            withdrawn,
        } => backup::remember(node, group, history, withdrawn).await,
        ClusterRequest::Explain { what, group } => {
            explain::explain(node, &what, group.as_deref()).await
        }
        ClusterRequest::Events { after, wait_ms } => Ok(events(node, after, wait_ms).await),
        ClusterRequest::Progress { request } => Ok(ClusterResponse::Progress {
            members: node.mutual.holdings.progress(request),
        }),
        _ => Err(internal("the node that was asked answers this")),
    }
}

/// Makes what is read next cover everything that was acknowledged before.
pub(crate) async fn fresh(node: &Node) -> Result<(), RequestError> {
    let Some(consensus) = node.replica.consensus() else {
        return Ok(());
    };
    let read = consensus.linearizable().await;
    read.map(|_index| ()).map_err(|error| RequestError {
        code: ErrorCode::Unavailable,
        hint: Some("`--stale` shows what this node knows by itself".to_owned()),
        ..refused(error.to_string(), None)
    })
}

fn status(node: &Node) -> ClusterResponse {
    let authority = node.membership.identity().authority_key();
    let authority = authority.map(|key| key.to_string()).unwrap_or_default();
    let (parts, age) = (parts(node), age(node));
    let status = node
        .replica
        .read(|state| show::status(state, &parts, authority, age));
    ClusterResponse::Status(status)
}

fn members(node: &Node) -> ClusterResponse {
    let (parts, age, heard) = (parts(node), age(node), heard(node));
    let members = node
        .replica
        .read(|state| show::members(state, &parts, &heard));
    ClusterResponse::Members {
        members,
        index: age.index,
        age_ms: age.age_ms,
    }
}

/// Who has which part, as this node knows it.
fn parts(node: &Node) -> Parts {
    let standing = node.replica.standing().borrow().clone();
    let mut parts = Parts {
        leader: standing.leader.map(|(leader, _)| leader),
        term: standing.term,
        ..Parts::default()
    };
    if let Some(consensus) = node.replica.consensus() {
        let standing = consensus.standing().borrow().clone();
        parts.voters = standing.voters.values().map(|voter| voter.node).collect();
        parts.learners = standing.learners.values().map(|voter| voter.node).collect();
    }
    parts
}

/// Up to which index this node knows the registry, and since when it has heard of no leader.
pub(crate) fn age(node: &Node) -> Age {
    let leaderless = node.mutual.leaderless();
    let since = leaderless.map(|since| since.elapsed().as_millis());
    Age {
        index: *node.replica.applied().borrow(),
        age_ms: since
            .and_then(|ms| u64::try_from(ms).ok())
            .unwrap_or_default(),
    }
}

/// What this node has heard of the members; all there is to know at the leader.
fn heard(node: &Node) -> BTreeMap<NodeId, Heard> {
    let reports = node.membership.sessions.reports().into_iter();
    let mut heard: BTreeMap<_, _> = reports
        .filter(|(_, report)| report.heard.is_some())
        .map(|(member, report)| {
            let heard = Heard {
                bound: report.bound,
                actors: report.actors,
                distrusted: report.distrusted,
            };
            (member, heard)
        })
        .collect();
    let named = node
        .replica
        .read(|state| state.sources.keys().copied().collect());
    let (_held, distrusted) = node.packages.report(&named);
    let own = Heard {
        bound: *node.membership.bound.borrow(),
        actors: node.actors.all().len() as u64,
        distrusted,
    };
    heard.insert(node.id, own);
    heard
}

async fn events(node: &Node, after: u64, wait_ms: u64) -> ClusterResponse {
    let mut applied = node.replica.applied();
    let limit = Duration::from_millis(wait_ms).min(EVENTS_WAIT);
    let until = tokio::time::Instant::now() + limit;
    loop {
        applied.borrow_and_update();
        let events = node.replica.read(|state| show::events(state, after));
        if !events.is_empty() {
            return ClusterResponse::Events { events };
        }
        let changed = tokio::time::timeout_at(until, applied.changed()).await;
        if !matches!(changed, Ok(Ok(()))) {
            return ClusterResponse::Events { events };
        }
    }
}

/// What an order answered, if it was carried out before; `id` is that of its last step.
pub(crate) fn told(node: &Node, id: RequestId) -> Option<Vec<String>> {
    node.replica.read(|state| {
        let recorded = state.requests.get(&id)?;
        Some(recorded.told.clone())
    })
}

/// Commits a step of an order, once for its id; says what that did, now or the first time.
async fn step(
    node: &Node,
    id: RequestId,
    change: MemberCommand,
    told: &[String],
) -> Result<Outcome, RequestError> {
    let command = Command::Ordered {
        request: id,
        told: told.to_vec(),
        change: Change::Member(change),
        stamp: stamp(),
    };
    match Replica::propose(&*node.replica, command).await {
        Ok((_, Outcome::Refused(refusal))) => {
            let hint = hint_of_refusal(&refusal)
                .unwrap_or("`director cluster members` shows the members as they are now");
            Err(refused(refusal.to_string(), Some(hint)))
        }
        Ok((_, outcome)) => Ok(outcome),
        Err(failure) => Err(not_done(failure.into())),
    }
}

/// Commits the last step of an order, or its only one; gives the order's answer.
async fn last(
    node: &Node,
    id: RequestId,
    change: MemberCommand,
    answer: Vec<String>,
) -> Result<Vec<String>, RequestError> {
    step(node, id, change, &answer).await?;
    // It may have been given twice at once.
    Ok(told(node, id).unwrap_or(answer))
}

fn done(notes: Vec<String>) -> ClusterResponse {
    ClusterResponse::Done { notes }
}
