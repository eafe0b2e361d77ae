//! What an operator does to the actor of a role: restart, stop, resume, dump.

use std::sync::Arc;

use convention::find_role;
use leader::reconcile::RoleOrder;
use protocol::control::{Response, RoleAction};

use super::{Answer, director, not_done, refused};
use crate::agent::node::Node;

pub(super) async fn operate(
    node: &Arc<Node>,
    action: RoleAction,
    role: &str,
    group: Option<&str>,
) -> Answer {
    let own = Some(node.id);
    let found = node.replica.read(|state| {
        let groups = state
            .groups
            .keys()
            .filter(|name| group.is_none_or(|g| g == *name));
        let slots =
            groups.filter_map(|name| Some((name.clone(), find_role(state, name, role, own)?)));
        slots
            .map(|(name, (id, slot))| (name, id, slot.actor))
            .collect::<Vec<_>>()
    });
    let (slot, actor) = match found.as_slice() {
        [(_, slot, actor)] => (*slot, *actor),
        [] => {
            let hint = Some("`director list` shows the roles");
            return Err(refused(
                format!("no active source has the role `{role}`"),
                hint,
            ));
        }
        several => {
            let groups: Vec<_> = several.iter().map(|(g, _, _)| format!("`{g}`")).collect();
            let message = format!("the role `{role}` is in the groups {}", groups.join(", "));
            return Err(refused(message, Some("name one with `--group`")));
        }
    };
    if action == RoleAction::Dump {
        let text = node.hosting.dump(actor).await;
        return match text {
            Ok(text) => Ok(Response::Done { text }),
            Err(error) => {
                let hint = Some("`director list` shows whether it runs");
                Err(refused(format!("`{role}`: {error}"), hint))
            }
        };
    }
    director(node)?
        .operate(RoleOrder { slot, action })
        .await
        .map_err(not_done)?;
    Ok(Response::Done {
        text: String::new(),
    })
}
