//! What an operator does to the actor of a role: restart, stop, resume, dump.

use std::sync::Arc;

use convention::find_role;
use leader::reconcile::RoleOrder;
use protocol::control::{Request, RequestError, Response, RoleAction};
use protocol::view::Wish;
use protocol::{ActorId, NodeId, SlotId};

use super::{Answer, director, not_done, refused};
use crate::agent::node::Node;
use crate::cluster::orders;

/// Carries out, as the leader, what changes a role's actor.
pub(super) async fn operate(
    node: &Arc<Node>,
    action: RoleAction,
    role: &str,
    group: Option<&str>,
) -> Answer {
    let Played { slot, .. } = find(node, role, group)?;
    director(node)?
        .operate(RoleOrder { slot, action })
        .await
        .map_err(not_done)?;
    Ok(Response::Done {
        text: String::new(),
    })
}

/// Shows where the threads of a role's actor are, on whatever member it runs.
pub(super) async fn dump(
    node: &Arc<Node>,
    role: String,
    group: Option<String>,
    by: String,
) -> Answer {
    let _not_told = node.replica.want(Wish::Called(role.clone())).await;
    let played = find(node, &role, group.as_deref())?;
    if played.node != node.id {
        let request = Request::Role {
            action: RoleAction::Dump,
            role,
            group,
            by,
        };
        return orders::ask_member(node, played.node, &request).await;
    }
    let text = node.hosting.dump(played.actor).await;
    text.map(|text| Response::Done { text }).map_err(|error| {
        let hint = Some("`director list` shows whether it runs");
        refused(format!("`{role}`: {error}"), hint)
    })
}

/// Who plays a role.
struct Played {
    slot: SlotId,
    actor: ActorId,
    node: NodeId,
}

fn find(node: &Node, role: &str, group: Option<&str>) -> Result<Played, RequestError> {
    let own = Some(node.id);
    let found = node.replica.read(|state| {
        let groups = state
            .groups
            .keys()
            .filter(|name| group.is_none_or(|g| g == *name));
        let slots =
            groups.filter_map(|name| Some((name.clone(), find_role(state, name, role, own)?)));
        slots
            .map(|(name, (slot, it))| {
                let (actor, node) = (it.actor, it.node);
                (name, Played { slot, actor, node })
            })
            .collect::<Vec<_>>()
    });
    let groups: Vec<_> = found.iter().map(|(g, _)| format!("`{g}`")).collect();
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some((_, only)), None) => Ok(only),
        (None, _) => {
            let hint = Some("`director list` shows the roles");
            Err(refused(
                format!("no active source has the role `{role}`"),
                hint,
            ))
        }
        _ => {
            let message = format!("the role `{role}` is in the groups {}", groups.join(", "));
            Err(refused(message, Some("name one with `--group`")))
        }
    }
}
