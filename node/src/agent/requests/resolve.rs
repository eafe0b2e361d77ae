//! What a role, a global name or an address stands for.

use convention::find_role;
use protocol::control::{ErrorCode, Match, RequestError, Response};
use protocol::registry::{Slot, State};
use protocol::view::Wish;
use protocol::{ActorId, NodeId, RoleId};

use super::{Answer, refused};
use crate::agent::binder;
use crate::agent::node::Node;
use crate::cluster::operator::{Age, age};

/// All that `target` may mean, as far as this node knows or is told.
pub(super) async fn answer(node: &Node, target: &str, group: Option<&str>) -> Answer {
    let is_here = group.is_none() && node.actors.named(target).is_some();
    let told = match is_here || address(target).is_some() {
        true => Ok(()),
        false => node.replica.want(Wish::Called(target.to_owned())).await,
    };
    if told.is_ok() && !is_here && node.replica.is_partial() {
        // What is answered may be written to at once.
        binder::settled(node).await;
    }
    let response = resolve(node, target, group);
    match (told, &response) {
        (Err(not_told), Response::Resolved { matches, .. }) if matches.is_empty() => {
            Err(RequestError {
                code: ErrorCode::Unavailable,
                ..refused(format!("`{target}`: {not_told}"), Some(REPEAT))
            })
        }
        _ => Ok(response),
    }
}

const REPEAT: &str = "`director cluster status --stale` shows whether a leader is known; repeat it";

/// All that `target` may mean: roles of active sources, names, an address.
fn resolve(node: &Node, target: &str, group: Option<&str>) -> Response {
    let Age { index, age_ms } = age(node);
    let mut matches = node
        .replica
        .read(|state| roles(state, node.id, target, group));
    if group.is_none() {
        if let Some(actor) = node.actors.named(target) {
            matches.push(of_actor(node, "name", actor));
        } else if let Some(found) = node.replica.read(|state| of_name(state, node.id, target)) {
            matches.push(found);
        }
        if let Some(actor) = address(target) {
            matches.push(of_actor(node, "address", actor));
        }
    }
    Response::Resolved {
        matches,
        index,
        age_ms,
    }
}

fn roles(state: &State, own: NodeId, role: &str, group: Option<&str>) -> Vec<Match> {
    let groups = state
        .groups
        .keys()
        .filter(|name| group.is_none_or(|wanted| wanted == *name));
    let found = groups.filter_map(|name| {
        let (_, slot) = find_role(state, name, role, Some(own))?;
        Some(of_slot("role", name, Some(role), slot))
    });
    found.collect()
}

fn of_name(state: &State, own: NodeId, name: &str) -> Option<Match> {
    let (_, slot) = convention::find_name(state, name, Some(own))?;
    let source = state.sources.get(&slot.source)?;
    let role = source.actor(slot)?.role.clone();
    Some(of_slot("name", &slot.group, role.as_deref(), slot))
}

fn of_slot(kind: &str, group: &str, role: Option<&str>, slot: &Slot) -> Match {
    Match {
        kind: kind.to_owned(),
        group: Some(group.to_owned()),
        role: role.map(str::to_owned),
        role_address: role.map(|role| RoleId::of(group, role)),
        actor: slot.started.map(|_| slot.actor),
        class: Some(slot.class.clone()),
        source: Some(slot.source),
        started: slot.started,
    }
}

fn of_actor(node: &Node, kind: &str, actor: ActorId) -> Match {
    Match {
        kind: kind.to_owned(),
        group: None,
        role: None,
        role_address: None,
        actor: Some(actor),
        class: node.actors.class_of(actor),
        source: node.actors.source_of(actor),
        started: None,
    }
}

/// `32 digits`, or as Python shows it: `ActorAddr-(D|32 digits)`.
fn address(text: &str) -> Option<ActorId> {
    let inner = text
        .strip_prefix("ActorAddr-(D|")
        .and_then(|rest| rest.strip_suffix(')'));
    inner.unwrap_or(text).parse().ok()
}
