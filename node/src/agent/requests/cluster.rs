//! Requests about the convention as a whole that the leader answers.

use std::sync::Arc;
use std::time::Duration;

use protocol::Stamp;
use protocol::control::{
    ClusterRequest, ClusterResponse, ConventionStatus, ErrorCode, Request, RequestError, Response,
};
use protocol::registry::{MemberState, Slot, SlotState};
use protocol::wire::{Refusal, RefusalCode};

use super::{Answer, not_known, refused};
use crate::agent::node::{Node, stamp};
use crate::cluster::fleet::name_of;
use crate::cluster::{admission, voters};

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
        ClusterRequest::Status { .. } => {
            let status = status(node);
            Ok(Response::Cluster(ClusterResponse::Status(status)))
        }
        ClusterRequest::Progress { request } => {
            let members = node.mutual.holdings.progress(request);
            Ok(Response::Cluster(ClusterResponse::Progress { members }))
        }
        other => Err(not_known(&Request::Cluster(other))),
    }
}

/// How the convention stands, as this node knows it.
pub(super) fn status(node: &Node) -> ConventionStatus {
    let standing = node.membership.registry.standing().borrow().clone();
    let authority = node.membership.identity().authority_key();
    let voters = voters::voters(node);
    node.replica.read_at(|index, state| {
        let members = state.members.values();
        let running = |slot: &&Slot| slot.state == SlotState::Running;
        let leader = standing.leader.as_ref().map(|(id, _)| name_of(state, *id));
        let wanted = state.roll.voters_wanted;
        let lost = members.clone().filter(|m| m.state == MemberState::Lost);
        let mut warnings: Vec<_> = lost
            .map(|member| format!("member `{}` is lost", member.name))
            .collect();
        if voters.len() == 1 {
            let only = "one voter only: losing its disk loses the convention";
            warnings.push(only.to_owned());
        }
        ConventionStatus {
            convention: state.convention.unwrap_or_default().to_string(),
            authority: authority.map(|key| key.to_string()).unwrap_or_default(),
            leader,
            term: standing.term,
            voters: voters.iter().map(|id| name_of(state, *id)).collect(),
            voters_wanted: if wanted == 0 { 3 } else { wanted },
            up: members
                .clone()
                .filter(|m| m.state == MemberState::Up)
                .count() as u64,
            members: state.members.len() as u64,
            sources: state.sources.len() as u64,
            running: state.slots.values().filter(running).count() as u64,
            actors: state.slots.len() as u64,
            index,
            age_ms: 0,
            feature_level: state.feature_level,
            warnings,
        }
    })
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
