//! `List` and `Status`: what is loaded and running, read off the applied registry.

use std::sync::Arc;

use convention::registry::ranked;
use protocol::SourceHash;
use protocol::control::{ListedActor, ListedGroup, ListedSource, NodeStatus, Request, Response};
use protocol::registry::{Group, Slot, SlotState, Source, SourceState, State};

use super::{Answer, refused};
use crate::agent::node::Node;
use crate::cluster::operator::{Age, age};
use crate::cluster::reading;

/// The groups that have loaded sources, or the one that is named.
pub(super) fn list(node: &Node, only: Option<&str>) -> Response {
    let Age { index, age_ms } = age(node);
    let note = |hash| node.sources.note(hash);
    let groups = node.replica.read(|state| {
        let wanted = state
            .groups
            .iter()
            .filter(|(name, _)| only.is_none_or(|g| g == *name));
        let listed = wanted.map(|(name, group)| ListedGroup {
            group: name.clone(),
            sources: ranked(state, name)
                .into_iter()
                .map(|(hash, source)| listed_source(state, group, hash, source, note(hash)))
                .collect(),
        });
        listed.filter(|group| !group.sources.is_empty()).collect()
    });
    Response::Listed {
        groups,
        index,
        age_ms,
    }
}

/// As [`list`], where this node has only a part of what is loaded.
pub(super) async fn of_leader(node: &Arc<Node>, group: Option<String>) -> Answer {
    let request = Request::List {
        group,
        stale: false,
    };
    let mut response = reading::of_leader(node, "what is loaded", request).await?;
    if let Response::Listed { groups, .. } = &mut response {
        for source in groups.iter_mut().flat_map(|group| &mut group.sources) {
            let here = node.sources.note(source.hash);
            source.per_actor_import = here.or_else(|| source.per_actor_import.take());
        }
    }
    Ok(response)
}

fn listed_source(
    state: &State,
    group: &Group,
    hash: SourceHash,
    source: &Source,
    per_actor_import: Option<String>,
) -> ListedSource {
    let shown = match source.state {
        SourceState::Loading => "loading",
        SourceState::Draining { .. } => "draining",
        SourceState::Loaded if group.active == Some(hash) => "active",
        SourceState::Loaded if group.withdrawn.contains(&hash) => "withdrawn",
        SourceState::Loaded => "loaded",
    };
    let slots = state.slots.values().filter(|slot| slot.source == hash);
    let mut slots: Vec<_> = slots.collect();
    slots.sort_by_key(|slot| slot.position);
    ListedSource {
        hash,
        version: source.version.clone(),
        state: shown.to_owned(),
        bytes: source.bytes,
        loaded: source.loaded,
        by: source.by.clone(),
        per_actor_import,
        actors: slots
            .into_iter()
            .map(|slot| listed_actor(state, source, slot))
            .collect(),
    }
}

fn listed_actor(state: &State, source: &Source, slot: &Slot) -> ListedActor {
    let definition = source.actor(slot);
    let (shown, failed) = match &slot.state {
        SlotState::Running => ("running", None),
        SlotState::Starting | SlotState::Standing => ("starting", None),
        SlotState::Waiting { reason, .. } => ("restarting", Some(reason.clone())),
        SlotState::Failed { reason } => ("failed", Some(reason.clone())),
        SlotState::Stopped => ("stopped", None),
        SlotState::Gone => ("gone", None),
    };
    let node = state
        .members
        .get(&slot.node)
        .map(|member| member.name.clone());
    ListedActor {
        actor: slot.started.map(|_| slot.actor),
        class: slot.class.clone(),
        role: definition.and_then(|actor| actor.role.clone()),
        global_name: definition.and_then(|actor| actor.global_name.clone()),
        node: node.unwrap_or_else(|| slot.node.to_string()),
        started: slot.started,
        restarts: slot.restarts,
        failed,
        state: shown.to_owned(),
    }
}

/// What happened to a group.
pub(super) fn history(node: &Node, group: &str) -> Answer {
    let Age { index, age_ms } = age(node);
    let entries = node
        .replica
        .read(|state| Some(state.groups.get(group)?.history.clone()));
    let hint = Some("`director list` shows the groups");
    let unknown = || {
        refused(
            format!("nothing was ever loaded for the group `{group}`"),
            hint,
        )
    };
    Ok(Response::History {
        entries: entries.ok_or_else(unknown)?,
        index,
        age_ms,
    })
}

/// Who and what this node is.
pub(super) async fn status(node: &Arc<Node>) -> Response {
    let stats = node.router.stats().await;
    let python = node.sources.interpreter(None);
    let mut warnings = node.warnings.clone();
    warnings.extend(node.membership.trouble.borrow().clone());
    let python = match python {
        Ok(python) => Some(python.to_string()),
        Err(error) => {
            warnings.push(error);
            None
        }
    };
    Response::Status(NodeStatus {
        node: node.id,
        name: node.settings.node_name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        port: node.port,
        directory: node.directory.path().display().to_string(),
        python,
        actors: stats.actors,
        clients: stats.clients,
        messages: stats.messages,
        dead_letters: stats.dead_letters,
        index: *node.replica.applied().borrow(),
        warnings,
    })
}
