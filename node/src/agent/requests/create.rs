//! `CreateActor`: an actor of a loaded source, or of a client's own modules, starts on this node.
//!
//! Its address is known to the router before anything else of its creator is read, so that no
//! message to it can come too early. A failure reaches an actor as ChildActorExited, a client as
//! the answer.

use std::sync::Arc;
use std::time::Duration;

use convention::{Standing, find_name, name_standing};
use protocol::control::{
    ActorFailure, ErrorCode, FailureCode, Origin, Request, RequestError, Response,
};
use protocol::registry::{SourceState, State};
use protocol::view::Wish;
use protocol::{ActorId, SourceHash};

use super::{Answer, refused};
use crate::agent::actors::Birth;
use crate::agent::director_actor;
use crate::agent::node::Node;
use crate::agent::sources::has_module;
use crate::cluster::creation::{self, Place};
use crate::router::{Caller, CallerKind, Rights};

/// An actor that was announced, or why it cannot be.
#[derive(Debug)]
pub(super) enum Announced {
    Birth(Box<Birth>, String),
    Existing(ActorId),
    /// The holder of a name of a `.tli`.
    Named(String),
    Impossible(ActorFailure),
}

/// Announces the actor of a `CreateActor`; `None` for any other request.
pub(super) fn announce(node: &Arc<Node>, from: &Caller, request: &Request) -> Option<Announced> {
    let Request::CreateActor {
        actor,
        class,
        source,
        client,
        requirements,
        global_name,
    } = request
    else {
        return None;
    };
    if let Some(name) = global_name {
        if let Some(existing) = node.actors.named(name) {
            return Some(Announced::Existing(existing));
        }
        if is_of_definition(node, name) {
            return Some(Announced::Named(name.clone()));
        }
        if director_actor::is_meant(request) {
            return Some(director(node));
        }
    }
    let is_actor = from.kind == CallerKind::Actor;
    // A client could name the address of somebody else.
    let allotted = actor.filter(|_| is_actor);
    let id = allotted.unwrap_or_else(|| node.fresh_actor());
    let origin = match unqualified(class) {
        None => origin(node, from, class, *source, client.clone()),
        Some(failure) => Err(failure),
    };
    let birth = Birth {
        actor: id,
        parent: if is_actor {
            from.address
        } else {
            ActorId::NONE
        },
        origin: match &origin {
            Ok(origin) => origin.clone(),
            Err(_) => Origin::Source(SourceHash::default()),
        },
        class: class.clone(),
        global_name: global_name.clone(),
        requirements: requirements.clone(),
        slot: None,
    };
    let failure = origin.err();
    let failure = failure.or_else(|| outside(node, from, class, &birth.origin));
    let token = hex::encode(rand::random::<[u8; 16]>());
    match failure {
        None if node.announce(&birth, &token) => Some(Announced::Birth(Box::new(birth), token)),
        None => Some(Announced::Existing(id)),
        Some(failure) => {
            if is_actor {
                // The router must know the address to give back what was sent to it.
                node.router.expect(birth.record(token));
                node.router.failed_creation(id, failure.message.clone());
            }
            Some(Announced::Impossible(failure))
        }
    }
}

/// Announces the Director when it is looked for and does not run.
pub(super) fn announce_director(node: &Arc<Node>, request: &Request) -> Option<Announced> {
    let sought = matches!(request, Request::Resolve { .. }) && director_actor::is_meant(request);
    let named = || {
        let name = director_actor::NAME;
        node.actors.named(name).is_some() || is_of_definition(node, name)
    };
    (sought && !named()).then(|| director(node))
}

/// Whether a name is one of a `.tli`: every node has those names, if not the groups that own them.
fn is_of_definition(node: &Node, name: &str) -> bool {
    // Who does not vote has the names of all groups, also on its own, and not all groups.
    let partial = node.replica.consensus().is_none();
    node.replica.read(|state| {
        let owned = partial && state.names.contains_key(name);
        owned || find_name(state, name, None).is_some()
    })
}

fn director(node: &Arc<Node>) -> Announced {
    let birth = match director_actor::birth(node) {
        Ok(birth) => birth,
        Err(failure) => return Announced::Impossible(failure),
    };
    let token = hex::encode(rand::random::<[u8; 16]>());
    node.announce(&birth, &token);
    Announced::Birth(Box::new(birth), token)
}

/// Brings an announced actor up; answers when it stands.
pub(super) async fn bring_up(node: &Arc<Node>, announced: Announced) -> Answer {
    match announced {
        Announced::Existing(actor) => {
            // One that has gone since was there.
            let stands = node.actors.stands(actor);
            if node.actors.stage(actor).is_some() {
                stands.await.map_err(not_created)?;
            }
            Ok(Response::Created { actor })
        }
        Announced::Named(name) => {
            let actor = holder(node, &name).await.map_err(not_created)?;
            Ok(Response::Created { actor })
        }
        Announced::Impossible(failure) => Err(not_created(failure)),
        Announced::Birth(birth, token) => {
            let actor = birth.actor;
            if let Some(failure) = not_loaded(node, &birth).await {
                node.never_started(actor, &failure);
                return Err(not_created(failure));
            }
            let stands = match creation::place(node, &birth).await {
                Place::Here => node.bring_up(*birth, token).await.map(|()| actor),
                Place::There(members) => {
                    let sent = creation::send(node, &birth, &members).await;
                    sent.inspect_err(|failure| node.never_started(actor, failure))
                }
                Place::Nowhere(failure) => {
                    node.never_started(actor, &failure);
                    Err(failure)
                }
            };
            let actor = stands.map_err(not_created)?;
            Ok(Response::Created { actor })
        }
    }
}

/// Why an actor cannot be of the source that was named for it, where this node had to ask.
async fn not_loaded(node: &Node, birth: &Birth) -> Option<ActorFailure> {
    let Origin::Source(hash) = birth.origin else {
        return None;
    };
    let own = node.actors.source_of(birth.parent) == Some(hash);
    let known = || node.replica.read(|s| s.sources.get(&hash).map(|s| s.state));
    if known().is_some() || node.applications.offers(hash, own) {
        return None;
    }
    let told = node.replica.want(Wish::Source(hash)).await;
    let message = match (known(), told) {
        (Some(SourceState::Draining { .. }), _) if !own => {
            format!("source hash {hash} is being unloaded")
        }
        (Some(_), _) => return None,
        (None, Ok(())) => format!("source hash {hash} does not match any loaded source"),
        (None, Err(not_told)) => format!("source hash {hash}: {not_told}"),
    };
    Some(failure(FailureCode::InvalidSourceHash, message))
}

/// The actor that holds a name of a `.tli`; waits while it restarts or is replaced.
async fn holder(node: &Node, name: &str) -> Result<ActorId, ActorFailure> {
    let told = node.replica.want(Wish::Called(name.to_owned())).await;
    let mut applied = node.replica.applied();
    let waiting = async {
        loop {
            match node
                .replica
                .read(|state| name_standing(state, name, Some(node.id)))
            {
                Some(Standing::Bound(actor)) => return Ok(actor),
                Some(Standing::Held) if applied.changed().await.is_ok() => {}
                Some(Standing::Unbound(reason)) => {
                    return Err(failure(FailureCode::Failure, reason));
                }
                _ => {
                    let message = match told {
                        Ok(()) => format!("no active source has the name `{name}` any more"),
                        Err(not_told) => format!("the actor named `{name}`: {not_told}"),
                    };
                    return Err(failure(FailureCode::Failure, message));
                }
            }
        }
    };
    let waited = tokio::time::timeout(HOLDER_LIMIT, waiting).await;
    waited.unwrap_or_else(|_elapsed| {
        let message = format!(
            "the actor named `{name}` did not stand within {} s",
            HOLDER_LIMIT.as_secs()
        );
        Err(failure(FailureCode::TimedOut, message))
    })
}

/// How long the holder of a name is waited for.
const HOLDER_LIMIT: Duration = Duration::from_secs(40);

/// The code of a class: the source named, the creator's own, the client's own, or the active
/// source of the one group that has the module.
fn origin(
    node: &Node,
    from: &Caller,
    class: &str,
    source: Option<SourceHash>,
    client: Option<protocol::control::ClientEnvironment>,
) -> Result<Origin, ActorFailure> {
    if let Some(hash) = source {
        let state = node.replica.read(|s| s.sources.get(&hash).map(|s| s.state));
        // What drains may go on with its own work.
        let own = node.actors.source_of(from.address) == Some(hash);
        let message = match state {
            Some(SourceState::Draining { .. }) if !own => {
                format!("source hash {hash} is being unloaded")
            }
            Some(_) => return Ok(Origin::Source(hash)),
            None if node.applications.offers(hash, own) => return Ok(Origin::Source(hash)),
            // Whether it is loaded is asked before the actor is brought up.
            None if node.replica.is_partial() => return Ok(Origin::Source(hash)),
            None => format!("source hash {hash} does not match any loaded source"),
        };
        return Err(failure(FailureCode::InvalidSourceHash, message));
    }
    if let Some(hash) = node.actors.source_of(from.address) {
        return Ok(Origin::Source(hash));
    }
    if let Some(client) = client {
        return Ok(Origin::Client(client));
    }
    let module = class.rsplit_once('.').map_or("", |(module, _)| module);
    let actives = node.replica.read(actives);
    let holding: Vec<_> = actives
        .iter()
        .filter(|(_, hash)| node.sources.has_module(*hash, module))
        .collect();
    match holding.as_slice() {
        [(_, hash)] => Ok(Origin::Source(*hash)),
        [] => {
            let message = format!("no active source has a module `{module}` (for `{class}`)");
            Err(failure(FailureCode::ImportError, message))
        }
        several => {
            let groups: Vec<_> = several
                .iter()
                .map(|(group, _)| format!("`{group}`"))
                .collect();
            let message = format!(
                "`{class}` is in the active sources of several groups ({}); name one by its \
                 source hash",
                groups.join(", ")
            );
            Err(failure(FailureCode::InvalidSpecification, message))
        }
    }
}

fn actives(state: &State) -> Vec<(String, SourceHash)> {
    let groups = state.groups.iter();
    groups
        .filter_map(|(name, group)| Some((name.clone(), group.active?)))
        .collect()
}

/// Refuses a stranger the modules that the interpreter has besides the source's own.
fn outside(node: &Node, from: &Caller, class: &str, origin: &Origin) -> Option<ActorFailure> {
    let Origin::Source(hash) = origin else {
        return None;
    };
    if from.kind == CallerKind::Actor || from.rights == Rights::Operate {
        return None;
    }
    let dots = class.match_indices('.').map(|(at, _)| at);
    let mut modules = dots.chain([class.len()]).filter_map(|end| class.get(..end));
    let unpacked = node.applications.unpacked(*hash);
    if modules.any(|name| node.sources.has_module(*hash, name) || has_module(&unpacked, name)) {
        return None;
    }
    let source = hash.short();
    let message = format!("source {source} has no module for `{class}`: name a class of its own");
    Some(failure(FailureCode::InvalidSpecification, message))
}

fn unqualified(class: &str) -> Option<ActorFailure> {
    let is_name = |part: &str| {
        let mut letters = part.chars();
        letters
            .next()
            .is_some_and(|c| c.is_alphabetic() || c == '_')
            && letters.all(|c| c.is_alphanumeric() || c == '_')
    };
    if class.contains('.') && class.split('.').all(is_name) {
        return None;
    }
    let message = format!("`{class}` is no qualified class name (`module.Class`)");
    Some(failure(FailureCode::InvalidSpecification, message))
}

fn failure(code: FailureCode, message: String) -> ActorFailure {
    ActorFailure {
        code,
        message,
        traceback: None,
    }
}

fn not_created(failure: ActorFailure) -> RequestError {
    let code = match failure.code {
        FailureCode::TimedOut => ErrorCode::TimedOut,
        _ => ErrorCode::Refused,
    };
    RequestError {
        code,
        traceback: failure.traceback.clone(),
        failure: Some(failure.code),
        ..refused(failure.message, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dotted_names_are_class_names() {
        for name in ["pkg.mod.Class", "foo.fooactor", "_a.B1", "m\u{f6}bel.Tisch"] {
            assert!(unqualified(name).is_none(), "{name}");
        }
        let others = [
            "Class", "", ".", "a.", ".a", "a..b", "1a.b", "../a.b", "/tmp/a.b", "a.b c",
        ];
        for name in others {
            let failure = unqualified(name).unwrap();
            assert_eq!(failure.code, FailureCode::InvalidSpecification, "{name}");
        }
    }
}
