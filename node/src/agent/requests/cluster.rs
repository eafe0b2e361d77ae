//! Requests about the convention as a whole that the leader answers.

use std::sync::Arc;
use std::time::Duration;

use protocol::Stamp;
use protocol::control::{
    ClusterRequest, ClusterResponse, ErrorCode, Request, RequestError, Response,
};
use protocol::wire::{Refusal, RefusalCode};

use super::{Answer, not_known, refused};
use crate::agent::node::{Node, stamp};
use crate::cluster::admission;

/// Answers one, as the leader.
pub(super) async fn as_leader(node: &Arc<Node>, request: ClusterRequest) -> Answer {
    match request {
        ClusterRequest::Invite { uses, ttl_s, by } => {
            let ttl = Duration::from_secs(ttl_s);
            let expires = Stamp(stamp().0.saturating_add(ttl_s.saturating_mul(1_000)));
            let invited = admission::invite(node, uses, ttl, &by).await;
            let (token, made) = invited.map_err(|refusal| not_done(&refusal))?;
            let id = made.id.to_string();
            let invited = ClusterResponse::Invited { token, id, expires };
            Ok(Response::Cluster(invited))
        }
        ClusterRequest::Progress { request } => {
            let members = node.mutual.holdings.progress(request);
            Ok(Response::Cluster(ClusterResponse::Progress { members }))
        }
        other => Err(not_known(&Request::Cluster(other))),
    }
}

/// A refusal among members, as the caller is told.
fn not_done(refusal: &Refusal) -> RequestError {
    let code = match refusal.code {
        RefusalCode::NotLeader | RefusalCode::Busy | RefusalCode::Stopping => {
            ErrorCode::Unavailable
        }
        RefusalCode::Unknown => ErrorCode::TimedOut,
        _ => ErrorCode::Refused,
    };
    RequestError {
        code,
        ..refused(refusal.text.clone(), None)
    }
}
