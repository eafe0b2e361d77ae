//! Orders that need the leader, given at any node: carried out here if it leads, else sent to
//! whoever does, over elections, under the same idempotency id.
//!
//! The id is made once, where the order comes in. What a leader has done under it is in the log, so
//! that the next one does nothing twice and answers the same: every order here may be repeated.
//! What was refused, what did not happen and what may have happened stay apart all the way back.
//! Not here: what an order does (`agent::requests`, `leader::reconcile`).

use std::sync::Arc;
use std::time::Duration;

use protocol::control::{ClusterRequest, ErrorCode, Request, RequestError, Response};
use protocol::peer::{PeerRequest, PeerResponse};
use protocol::wire::{Refusal, RefusalCode};
use protocol::{NodeId, RequestId, SourceHash};
use tokio::time::Instant;

use super::peers::PeerFault;
use crate::agent::node::Node;
use crate::agent::requests;

/// How long a leader is looked for before an order is given up as not carried out.
const LEADER_LIMIT: Duration = Duration::from_secs(15);

/// How long an order may take at the leader.
const ORDER_LIMIT: Duration = Duration::from_secs(600);

/// One attempt; the next one, under the same id, finds what this one has begun.
const ATTEMPT: Duration = Duration::from_secs(120);

/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(150);

type Answer = Result<Response, RequestError>;

/// Has the leader carry out an order that was given at this node; `package` is held here.
pub(crate) async fn give(
    node: &Arc<Node>,
    request: Request,
    package: Option<SourceHash>,
) -> Answer {
    let (request, id) = given_at(node.id, request);
    let begun = Instant::now();
    let mut looking_since = None;
    let mut unknown = false;
    loop {
        let fault = match attempt(node, id, &request, package).await {
            Attempt::Answered(answer) => return answer,
            Attempt::Elsewhere(reason) => {
                let since = *looking_since.get_or_insert_with(Instant::now);
                // Where nobody has led for long already, nobody will in the next seconds.
                let in_vain = node.mutual.leaderless().map(|since| since.elapsed());
                if since.elapsed().max(in_vain.unwrap_or_default()) >= LEADER_LIMIT {
                    return Err(match unknown {
                        true => uncertain(&reason),
                        false => leaderless(node, &reason),
                    });
                }
                reason
            }
            Attempt::Unknown(reason) => {
                looking_since = None;
                unknown = true;
                if begun.elapsed() >= ORDER_LIMIT {
                    return Err(uncertain(&reason));
                }
                reason
            }
        };
        tracing::info!(%id, reason = fault, "an order is given again");
        let mut standing = node.membership.registry.standing();
        let _moved = tokio::time::timeout(AGAIN, standing.changed()).await;
    }
}

enum Attempt {
    Answered(Answer),
    /// Nobody carried it out: another leader may.
    Elsewhere(String),
    /// It may have been carried out.
    Unknown(String),
}

/// The order with its own id as that of this node, or a fresh one.
fn given_at(node: NodeId, mut order: Request) -> (Request, RequestId) {
    let id = mark(node, &mut order);
    let id = id.unwrap_or_else(|| RequestId(rand::random()).of(node));
    (order, id)
}

/// Makes the id that an order names one of the node where it was given: under it the order counts,
/// and its progress is looked up. The id, where it is the order's own.
fn mark(node: NodeId, order: &mut Request) -> Option<RequestId> {
    match order {
        Request::Load { request, .. }
        | Request::Unload { request, .. }
        | Request::Rollback { request, .. } => {
            *request = request.of(node);
            Some(*request)
        }
        Request::Cluster(ClusterRequest::Progress { request }) => {
            *request = request.of(node);
            None
        }
        _ => None,
    }
}

async fn attempt(
    node: &Arc<Node>,
    id: RequestId,
    request: &Request,
    package: Option<SourceHash>,
) -> Attempt {
    if node.membership.leads() {
        return here(node, node.id, id, request.clone(), package).await;
    }
    let json = match serde_json::to_vec(request) {
        Ok(json) => json,
        Err(error) => return Attempt::Answered(Err(unreadable(&error.to_string()))),
    };
    let order = PeerRequest::Order {
        id,
        request: json,
        package,
    };
    let Some((leader, _)) = node.membership.peers.leader(LEADER_LIMIT).await else {
        return Attempt::Elsewhere("no leader is known".to_owned());
    };
    if leader == node.id {
        return Attempt::Elsewhere("this node is about to lead".to_owned());
    }
    let asking = node.membership.peers.ask(leader, &order, ATTEMPT);
    let answer = tokio::select! {
        biased;
        answer = asking => answer,
        // The next leader is asked at once.
        reason = node.membership.peers.replaced(leader, Duration::ZERO) => {
            return Attempt::Unknown(reason);
        }
    };
    match answer {
        Ok(PeerResponse::Control { response }) => Attempt::Answered(read(&response)),
        Ok(_) => Attempt::Answered(Err(unreadable("an answer of another kind"))),
        Err(PeerFault::Refused(refusal)) => match refusal.code {
            RefusalCode::NotLeader | RefusalCode::Busy | RefusalCode::Stopping => {
                Attempt::Elsewhere(refusal.text)
            }
            RefusalCode::Unknown => Attempt::Unknown(refusal.text),
            _ => Attempt::Answered(Err(refused(&refusal))),
        },
        Err(PeerFault::Unavailable { reason }) => Attempt::Elsewhere(reason),
        Err(PeerFault::Leads) => Attempt::Elsewhere("this node leads now".to_owned()),
        Err(PeerFault::Unknown { reason }) => Attempt::Unknown(reason),
    }
}

/// Carries an order out as the leader of this term; once the lead is lost nobody waits for it.
async fn here(
    node: &Arc<Node>,
    origin: NodeId,
    id: RequestId,
    request: Request,
    package: Option<SourceHash>,
) -> Attempt {
    let mut standing = node.membership.registry.standing();
    let term = standing.borrow_and_update().term;
    let deposed = async {
        let _closed = standing.wait_for(|s| !s.leads || s.term != term).await;
    };
    let answer = tokio::select! {
        biased;
        answer = requests::as_leader(node, origin, id, request, package) => answer,
        () = deposed => return Attempt::Unknown("the lead was lost meanwhile".to_owned()),
    };
    match answer {
        Err(error) if error.code == ErrorCode::Unavailable => {
            // A step of it may have been done.
            let steps = [id, id.step(0), id.step(1)];
            let is_begun = node
                .replica
                .read(|state| steps.iter().any(|step| state.requests.contains_key(step)));
            match is_begun {
                true => Attempt::Unknown(error.message),
                false => Attempt::Elsewhere(error.message),
            }
        }
        Err(error) if error.code == ErrorCode::TimedOut && !node.membership.leads() => {
            Attempt::Unknown(error.message)
        }
        answer => Attempt::Answered(answer),
    }
}

/// Answers an order that was given at `from`.
///
/// # Errors
/// [`Refusal`]: not the leader, or unreadable.
pub(crate) async fn answer(
    node: &Arc<Node>,
    from: NodeId,
    id: RequestId,
    request: &[u8],
    package: Option<SourceHash>,
) -> Result<PeerResponse, Refusal> {
    let mut request: Request = serde_json::from_slice(request)
        .map_err(|error| Refusal::new(RefusalCode::BadRequest, error.to_string()))?;
    // In nobody else's name.
    let id = id.of(from);
    let _own = mark(from, &mut request);
    if !node.membership.leads() {
        let text = "this node does not lead the convention";
        return Err(Refusal::new(RefusalCode::NotLeader, text));
    }
    match here(node, from, id, request, package).await {
        Attempt::Answered(answer) => told(answer),
        Attempt::Elsewhere(reason) => Err(Refusal::new(RefusalCode::NotLeader, reason)),
        Attempt::Unknown(reason) => Err(Refusal::new(RefusalCode::Unknown, reason)),
    }
}

/// Answers a request that only this member can.
///
/// # Errors
/// [`Refusal`]: unreadable, or not for members.
pub(crate) async fn control(node: &Arc<Node>, request: &[u8]) -> Result<PeerResponse, Refusal> {
    let request: Request = serde_json::from_slice(request)
        .map_err(|error| Refusal::new(RefusalCode::BadRequest, error.to_string()))?;
    told(requests::for_member(node, request).await)
}

/// Asks another member what only it can answer.
pub(crate) async fn ask_member(node: &Arc<Node>, member: NodeId, request: &Request) -> Answer {
    let json = serde_json::to_vec(request).map_err(|error| unreadable(&error.to_string()))?;
    let request = PeerRequest::Control { request: json };
    match node
        .membership
        .peers
        .ask(member, &request, MEMBER_LIMIT)
        .await
    {
        Ok(PeerResponse::Control { response }) => read(&response),
        Ok(_) => Err(unreadable("an answer of another kind")),
        Err(PeerFault::Refused(refusal)) => Err(refused(&refusal)),
        Err(PeerFault::Unknown { reason }) => Err(uncertain(&reason)),
        Err(fault) => Err(RequestError {
            code: ErrorCode::Unavailable,
            message: fault.to_string(),
            hint: Some("`director cluster members` shows who is up".to_owned()),
            traceback: None,
            failure: None,
        }),
    }
}

/// How long another member may take to answer.
const MEMBER_LIMIT: Duration = Duration::from_secs(30);

fn told(answer: Answer) -> Result<PeerResponse, Refusal> {
    let response = answer.unwrap_or_else(Response::Failed);
    let response = serde_json::to_vec(&response)
        .map_err(|error| Refusal::new(RefusalCode::BadRequest, error.to_string()))?;
    Ok(PeerResponse::Control { response })
}

fn read(response: &[u8]) -> Answer {
    match serde_json::from_slice(response) {
        Ok(Response::Failed(error)) => Err(error),
        Ok(response) => Ok(response),
        Err(error) => Err(unreadable(&error.to_string())),
    }
}

fn refused(refusal: &Refusal) -> RequestError {
    RequestError {
        code: ErrorCode::Refused,
        message: refusal.text.clone(),
        hint: Some("`director cluster status` shows how the convention stands".to_owned()),
        traceback: None,
        failure: None,
    }
}

fn unreadable(what: &str) -> RequestError {
    RequestError {
        code: ErrorCode::Internal,
        message: format!("nodes do not understand each other: {what}"),
        hint: Some("run the same release on all hosts".to_owned()),
        traceback: None,
        failure: None,
    }
}

fn uncertain(reason: &str) -> RequestError {
    RequestError {
        code: ErrorCode::TimedOut,
        message: format!("whether it was done is not known: {reason}"),
        hint: Some("look with `director list` before repeating it".to_owned()),
        traceback: None,
        failure: None,
    }
}

fn leaderless(node: &Node, reason: &str) -> RequestError {
    let since = node.mutual.leaderless().map(|since| {
        let seconds = since.elapsed().as_secs();
        format!(" for {seconds} s")
    });
    let since = since.unwrap_or_default();
    RequestError {
        code: ErrorCode::Unavailable,
        message: format!(
            "the convention's leader cannot be reached from this node{since}: {reason}"
        ),
        hint: Some(
            "nothing was changed; `director cluster status --stale` shows what this node knows, \
             repeat it on a node that reaches the majority"
                .to_owned(),
        ),
        traceback: None,
        failure: None,
    }
}
