//! The convention's authority: how it stands, its key replaced, the one before it retired.

use std::collections::BTreeSet;

use protocol::control::{AuthorityStatus, ClusterResponse, ListedAuthority};
use protocol::registry::{
    Authorities, AuthorityCommand, KeyDigest, MemberCommand, MemberState, RotationStep,
};
use protocol::{NodeId, RequestId};

use super::{Answered, done, last};
use crate::agent::node::{Node, stamp};
use crate::agent::requests::refused;
use crate::cluster::{rotation, voters};

/// How the authority stands, and who has what of it.
pub(super) fn show(node: &Node) -> ClusterResponse {
    let authorities = node.replica.read(|state| state.roll.authorities.clone());
    let own = node.membership.identity().authority_key();
    let issues = own.map(|key| KeyDigest(key.0)).unwrap_or_default();
    let next = match authorities.rotation.as_ref().map(|it| &it.step) {
        Some(RotationStep::Drawn { root, .. }) => Some(root.key),
        _ => None,
    };
    let holders = rotation::holders(node, next.unwrap_or(issues));
    let (renewed, voters) = (rotation::renewed(node, issues), voters::voters(node));
    let waits_for = waits_for(node, &authorities);
    let members = node.replica.read(|state| {
        let mut members: Vec<_> = state
            .members
            .iter()
            .map(|(id, member)| ListedAuthority {
                node: *id,
                name: member.name.clone(),
                is_up: member.state == MemberState::Up,
                renewed: renewed.contains(id),
                holds_key: voters.contains(id).then(|| holders.contains(id)),
            })
            .collect();
        members.sort_by(|a, b| (&a.name, a.node).cmp(&(&b.name, b.node)));
        members
    });
    let rotation = authorities.rotation.as_ref();
    let shown = |key: &KeyDigest| key.to_string();
    ClusterResponse::Authority(AuthorityStatus {
        issues: shown(&issues),
        next: next.as_ref().map(shown),
        before: authorities
            .roots
            .iter()
            .skip(1)
            .map(|it| shown(&it.key))
            .collect(),
        retired: authorities
            .retired
            .iter()
            .map(|it| shown(&it.key))
            .collect(),
        step: rotation.map(|rotation| step_name(&rotation.step).to_owned()),
        by: rotation.map(|rotation| rotation.by.clone()),
        since: rotation.map(|rotation| rotation.since),
        waits_for,
        members,
    })
}

fn step_name(step: &RotationStep) -> &'static str {
    match step {
        RotationStep::Wanted => "wanted",
        RotationStep::Drawn { .. } => "drawn",
        RotationStep::Issues => "issues",
    }
}

/// Whom a rotation waits for, by name.
fn waits_for(node: &Node, authorities: &Authorities) -> Vec<String> {
    let nodes: BTreeSet<NodeId> = match authorities.rotation.as_ref().map(|it| &it.step) {
        Some(RotationStep::Drawn { root, .. }) => match rotation::lacking_voters(node, root.key) {
            Ok(lacking) | Err(lacking) => lacking,
        },
        Some(RotationStep::Issues) => {
            let issues = authorities.roots.first().map(|root| root.key);
            rotation::unrenewed(node, issues.unwrap_or_default())
        }
        Some(RotationStep::Wanted) | None => return Vec::new(),
    };
    names(node, &nodes)
}

fn names(node: &Node, nodes: &BTreeSet<NodeId>) -> Vec<String> {
    node.replica.read(|state| {
        let named = nodes.iter();
        named
            .map(|id| crate::cluster::fleet::name_of(state, *id))
            .collect()
    })
}

/// The key is to be replaced: the leader goes through it by itself, and so does the next one.
pub(super) async fn rotate(node: &Node, id: RequestId, by: String) -> Answered {
    if let Some(by) = node.replica.read(|state| {
        let rotation = state.roll.authorities.rotation.as_ref();
        rotation.map(|rotation| rotation.by.clone())
    }) {
        return Err(refused(
            format!("the authority's key is being replaced already, as `{by}` asked"),
            Some("`director cluster authority` shows how far it is and whom it waits for"),
        ));
    }
    if node.membership.identity().authority().is_none() {
        return Err(refused(
            "the leader does not hold the key of the authority and cannot hand over".to_owned(),
            Some("`director cluster authority` shows which voters do; demote those that do not"),
        ));
    }
    let rotate = MemberCommand::Authority(AuthorityCommand::Rotate { by, stamp: stamp() });
    let told = vec![
        "the voters get a new key, then all members new certificates; nothing is cut".to_owned(),
        "join tokens from before are good until the old key retires; `director cluster authority` \
         shows how far it is"
            .to_owned(),
    ];
    last(node, id, rotate, told).await.map(done)
}

/// The authority from before counts no more, whoever has not renewed yet.
pub(super) async fn retire(node: &Node, id: RequestId, by: String) -> Answered {
    let authorities = node.replica.read(|state| state.roll.authorities.clone());
    let issues = authorities.roots.first().map(|root| root.key);
    let step = authorities.rotation.as_ref().map(|it| &it.step);
    let (Some(key), Some(RotationStep::Issues)) = (issues, step) else {
        return Err(refused(
            "no key of the authority has taken over from another: none can retire".to_owned(),
            Some("`director cluster authority` shows how far a rotation is"),
        ));
    };
    let late = names(node, &rotation::unrenewed(node, key));
    let retire = MemberCommand::Authority(AuthorityCommand::Retire {
        key,
        by,
        stamp: stamp(),
    });
    let mut told = vec!["what the key from before has signed counts no more".to_owned()];
    if !late.is_empty() {
        told.push(format!(
            "{} had not renewed: the next time that they connect they get new certificates",
            late.join(", ")
        ));
    }
    last(node, id, retire, told).await.map(done)
}
