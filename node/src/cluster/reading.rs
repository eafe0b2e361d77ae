//! Reads of the registry's copy on this node that cover everything acknowledged before.
//!
//! The leader says how far the log was when it was asked, confirmed by a majority; what is read
//! here once that index is applied is at least as new. Without a leader there is no such read.
//! Not here: reads of what this node knows (`RegistryHandle::read`).

use std::sync::Arc;
use std::time::Duration;

use protocol::control::{
    ClusterRequest, ClusterResponse, ErrorCode, Request, RequestError, Response,
};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::orders;
use crate::agent::node::Node;
use crate::agent::requests::internal;

/// How long a leader is looked for: an election takes less, and a person waits no longer.
const CONFIRM_LIMIT: Duration = Duration::from_secs(6);

/// Waits until this node's copy has all that was acknowledged when this was called; a node that is
/// offline, or that belongs to no convention yet, goes by its own.
///
/// # Errors
/// `Unavailable`, naming `what` was to be read: no leader confirms it.
pub(crate) async fn confirmed(node: &Arc<Node>, what: &str) -> Result<(), RequestError> {
    let joined = node.replica.read(|state| state.convention.is_some());
    if !joined || node.replica.is_offline() {
        return Ok(());
    }
    let caught_up = timeout(CONFIRM_LIMIT, catch_up(node)).await;
    let caught_up = caught_up.map(|done| done.map_err(|error| error.message));
    unconfirmed(node, what, caught_up)
}

/// Has the leader answer what this node has only a part of.
///
/// # Errors
/// `Unavailable`, naming `what` was to be read: no leader confirms it; and what the leader refuses.
pub(crate) async fn of_leader(
    node: &Arc<Node>,
    what: &str,
    request: Request,
) -> Result<Response, RequestError> {
    let asked = timeout(CONFIRM_LIMIT, orders::give(node, request, None)).await;
    let asked = asked.map(|answer| match answer {
        Err(error) if error.code == ErrorCode::Unavailable => Err(error.message),
        answer => Ok(answer),
    });
    unconfirmed(node, what, asked)?
}

fn unconfirmed<T>(
    node: &Node,
    what: &str,
    answer: Result<Result<T, String>, Elapsed>,
) -> Result<T, RequestError> {
    let reason = match answer {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(reason)) => reason,
        Err(_elapsed) => {
            let seconds = CONFIRM_LIMIT.as_secs();
            let leaderless = node.mutual.leaderless();
            match leaderless.map(|since| since.elapsed().as_secs()) {
                Some(since) => format!("this node knows no leader since {since} s"),
                None => format!("no leader confirmed it within {seconds} s"),
            }
        }
    };
    Err(RequestError {
        code: ErrorCode::Unavailable,
        message: format!("{what} cannot be confirmed: {reason}"),
        hint: Some(
            "`--stale` shows what this node knows by itself, with its index and age".to_owned(),
        ),
        traceback: None,
        failure: None,
    })
}

async fn catch_up(node: &Arc<Node>) -> Result<(), RequestError> {
    let request = Request::Cluster(ClusterRequest::Confirm);
    let Response::Cluster(ClusterResponse::Confirmed { index }) =
        orders::give(node, request, None).await?
    else {
        return Err(internal("a read was confirmed with another answer"));
    };
    let mut applied = node.replica.applied();
    let reached = applied.wait_for(|applied| *applied >= index).await;
    reached
        .map(drop)
        .map_err(|_closed| internal("the registry here has stopped"))
}
