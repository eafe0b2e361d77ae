//! Why a role or class runs where it does, and why not elsewhere.

use std::sync::Arc;

use protocol::control::{Candidate, ClusterResponse, Explanation};
use protocol::registry::{Slot, SlotState, State};
use protocol::{NodeId, SourceHash};

use super::Answered;
use crate::agent::node::Node;
use crate::agent::requests::refused;
use crate::cluster::fleet::name_of;
use crate::cluster::placement;

/// One actor of a definition that was meant.
struct Meant {
    group: String,
    source: SourceHash,
    position: u32,
    class: String,
    role: Option<String>,
    requirements: Option<String>,
    placed: Vec<String>,
}

/// Explains each role and class of that name in active sources.
pub(super) async fn explain(node: &Arc<Node>, what: &str, group: Option<&str>) -> Answered {
    let meant = node.replica.read(|state| meant(state, what, group));
    if meant.is_empty() {
        return Err(refused(
            format!("no active source has the role or class `{what}`"),
            Some("`director list` shows roles and classes"),
        ));
    }
    let mut found = Vec::new();
    for meant in meant {
        let fitting = match node.mutual.fleet.get() {
            Some(fleet) => {
                let looked_at = fleet.fitting_members(meant.source, meant.position).await;
                looked_at.map_err(|failure| failure.message)
            }
            None => Err("this node has not finished starting".to_owned()),
        };
        let members = node
            .replica
            .read(|state| candidates(node, state, &meant, &fitting));
        found.push(Explanation {
            group: meant.group,
            class: meant.class,
            role: meant.role,
            source: meant.source,
            placed: meant.placed,
            members,
        });
    }
    Ok(ClusterResponse::Explained { found })
}

fn meant(state: &State, what: &str, only: Option<&str>) -> Vec<Meant> {
    let groups = state.groups.iter();
    let wanted = groups.filter(|(name, _)| only.is_none_or(|only| only == *name));
    let actives = wanted.filter_map(|(name, group)| Some((name, group.active?)));
    let mut found = Vec::new();
    for (group, hash) in actives {
        let Some(source) = state.sources.get(&hash) else {
            continue;
        };
        for (position, actor) in source.definition.actors.iter().enumerate() {
            let position = position as u32;
            let slots: Vec<_> = state
                .slots
                .values()
                .filter(|slot| slot.source == hash && slot.position == position)
                .collect();
            let resolved = slots.first().map_or(&actor.class, |slot| &slot.class);
            if actor.role.as_deref() != Some(what) && actor.class != what && resolved != what {
                continue;
            }
            found.push(Meant {
                group: group.clone(),
                source: hash,
                position,
                class: resolved.clone(),
                role: actor.role.clone(),
                requirements: actor.requirements.clone(),
                placed: slots.into_iter().map(|slot| placed(state, slot)).collect(),
            });
        }
    }
    found
}

fn placed(state: &State, slot: &Slot) -> String {
    let name = name_of(state, slot.node);
    match &slot.state {
        SlotState::Running => format!("runs on `{name}` as {}", slot.actor),
        SlotState::Starting | SlotState::Standing => format!("starts on `{name}`"),
        SlotState::Waiting { reason, .. } => format!("waits, last on `{name}`: {reason}"),
        SlotState::Failed { reason } => format!("failed on `{name}`: {reason}"),
        SlotState::Stopped => format!("was stopped by an operator, last on `{name}`"),
        SlotState::Gone => format!("has ended, last on `{name}`"),
    }
}

fn candidates(
    node: &Node,
    state: &State,
    meant: &Meant,
    fitting: &Result<Vec<NodeId>, String>,
) -> Vec<Candidate> {
    let members = state.members.iter().map(|(member, known)| {
        let distrust = node.mutual.holdings.judgement(*member, meant.source);
        let reason = if let Some(unfit) = placement::unfit(known) {
            Err(unfit)
        } else if let Some(Some(distrust)) = distrust {
            Err(format!("the package is not trusted there: {distrust}"))
        } else if let Some(missing) =
            placement::missing(meant.requirements.as_deref(), &known.capabilities)
        {
            Err(missing)
        } else {
            match fitting {
                Err(unknown) => Err(format!("its classes cannot be looked at: {unknown}")),
                Ok(fitting) => match fitting.iter().position(|fitting| fitting == member) {
                    Some(place) => Ok(format!("choice {} by load", place + 1)),
                    None => {
                        Err("its capability check refuses that member's capabilities".to_owned())
                    }
                },
            }
        };
        Candidate {
            name: known.name.clone(),
            eligible: reason.is_ok(),
            reason: reason.unwrap_or_else(|reason| reason),
        }
    });
    let mut candidates: Vec<_> = members.collect();
    candidates.sort_by(|a, b| (!a.eligible, &a.name).cmp(&(!b.eligible, &b.name)));
    candidates
}
