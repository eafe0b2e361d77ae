//! Requests of clients, commands and actors: who may ask what, and who answers it.

use std::sync::Arc;

use leader::reconcile::{Director, OrderError, ProposeFailure};
use protocol::control::{
    ClusterRequest, ErrorCode, FailureCode, Request, RequestError, Response, RoleAction,
};
use protocol::registry::Refusal;
use protocol::{NodeId, RequestId, SourceHash};
use tokio::sync::oneshot;

use super::director_actor;
use super::node::Node;
use crate::cluster::fleet::ClusterFleet;
use crate::cluster::leadership::LeaderReplica;
use crate::cluster::{operator, orders, reading};
use crate::router::{Caller, CallerKind, Responder, Rights};
use crate::store::{Arrived, StoreError};

mod application;
use application::Begun;
pub(super) use application::delivered;

mod create;
mod list;
pub(crate) mod load;
mod operate;
mod resolve;
mod system_status;

/// One request with all that is needed to answer it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) from: Caller,
    pub(super) request: Request,
    pub(super) respond: Responder,
    pub(super) upload: Option<oneshot::Receiver<Result<Arrived, StoreError>>>,
}

/// Begins to answer a request: what concerns order at once, the rest in a task of its own.
pub(super) fn begin(node: &Arc<Node>, asked: Asked) {
    if let Err(error) = allowed(&asked) {
        return asked.respond.respond(Response::Failed(error));
    }
    let Asked {
        from,
        request,
        respond,
        upload,
    } = asked;
    // What an actor asks for holds for all that it sends afterwards.
    match application::at_once(node, &from, &request) {
        Some(Begun::Answered(answer)) => {
            return respond.respond(answer.unwrap_or_else(Response::Failed));
        }
        Some(Begun::Spreading(spreading)) => {
            let shutdown = node.shutdown.clone();
            node.answering.spawn(async move {
                let _stopped = shutdown.run_until_cancelled(spreading).await;
                respond.respond(application::done());
            });
            return;
        }
        None => {}
    }
    // An announced actor must be known before the next frame of its creator is routed.
    let birth = create::announce(node, &from, &request);
    let sought = create::announce_director(node, &request);
    let node = Arc::clone(node);
    let tracker = node.answering.clone();
    tracker.spawn(async move {
        let answering = async {
            if let Some(sought) = sought
                && let Err(failure) = create::bring_up(&node, sought).await
            {
                tracing::warn!(%failure, "the Director does not start");
            }
            match birth {
                Some(birth) => create::bring_up(&node, birth).await,
                None => answer(&node, &from, request, upload).await,
            }
        };
        let answered = node.shutdown.run_until_cancelled(answering).await;
        let response = answered.unwrap_or_else(|| Err(stopping()));
        respond.respond(response.unwrap_or_else(Response::Failed));
    });
}

type Answer = Result<Response, RequestError>;

async fn answer(
    node: &Arc<Node>,
    from: &Caller,
    request: Request,
    upload: Option<oneshot::Receiver<Result<Arrived, StoreError>>>,
) -> Answer {
    match request {
        Request::CreateActor { .. } => Err(internal("an actor was not announced")),
        Request::Resolve {
            target,
            group,
            confirmed,
        } => {
            if confirmed {
                reading::confirmed(node, &format!("who plays `{target}`")).await?;
            }
            resolve::answer(node, &target, group.as_deref()).await
        }
        Request::Status => Ok(list::status(node).await),
        Request::List { group, stale } => {
            if !stale && node.replica.is_partial() {
                return list::of_leader(node, group).await;
            }
            if !stale {
                reading::confirmed(node, "what is loaded").await?;
            }
            Ok(list::list(node, group.as_deref()))
        }
        Request::History { group, stale } => {
            let what = format!("the history of `{group}`");
            if node.replica.is_partial() {
                // It is in no view.
                let request = Request::History { group, stale };
                return reading::of_leader(node, &what, request).await;
            }
            if !stale {
                reading::confirmed(node, &what).await?;
            }
            list::history(node, &group)
        }
        Request::DeadLetters => {
            let (total, kept) = node.router.dead_letters().await;
            Ok(Response::DeadLetters { total, kept })
        }
        Request::ReadDefinition { group, text } => director_actor::read_definition(&group, &text),
        Request::AwaitExits { actors } => {
            node.await_exits(&actors).await;
            Ok(Response::Done {
                text: String::new(),
            })
        }
        Request::AwaitActivation { known } => {
            Ok(director_actor::await_activation(node, known.as_deref()).await)
        }
        Request::Shutdown => {
            tracing::info!(pid = from.pid, uid = from.uid, "shutdown was asked for");
            node.stop.cancel();
            Ok(Response::Done {
                text: String::new(),
            })
        }
        load @ Request::Load { .. } => load::load(node, load, upload).await,
        Request::Application(request) => application::answer(node, request, upload).await,
        Request::Role {
            action: RoleAction::Dump,
            role,
            group,
            by,
        } => operate::dump(node, role, group, by).await,
        Request::Cluster(cluster @ ClusterRequest::Events { .. }) if node.replica.is_partial() => {
            // The audit is in no view.
            orders::give(node, Request::Cluster(cluster), None).await
        }
        Request::Cluster(cluster) if !operator::needs_leader(&cluster) => {
            operator::answer_here(node, cluster)
                .await
                .map(Response::Cluster)
        }
        order @ (Request::Cluster(_)
        | Request::Unload { .. }
        | Request::Rollback { .. }
        | Request::Role { .. }) => orders::give(node, order, None).await,
        #[allow(
            unreachable_patterns,
            reason = "requests that others add meet a clear answer"
        )]
        other => Err(not_known(&other)),
    }
}

/// Carries out, as the leader, an order that was given at the node `origin`, once for its id.
pub(crate) async fn as_leader(
    node: &Arc<Node>,
    origin: NodeId,
    id: RequestId,
    order: Request,
    package: Option<SourceHash>,
) -> Answer {
    match order {
        load @ Request::Load { .. } => load::as_leader(node, origin, load, package).await,
        Request::Unload {
            request,
            hash,
            now,
            by,
        } => {
            let unloaded = director(node)?
                .unload(&hash, request, now, &by)
                .await
                .map_err(not_done)?;
            Ok(Response::Unloaded { hash: unloaded.0 })
        }
        Request::Rollback { request, group, by } => {
            let left = director(node)?
                .rollback(&group, request, &by)
                .await
                .map_err(not_done)?;
            Ok(Response::RolledBack {
                from: left.from,
                to: left.to,
            })
        }
        Request::Role {
            action,
            role,
            group,
            ..
        } => operate::operate(node, id, action, &role, group.as_deref()).await,
        Request::Cluster(cluster) => operator::answer_as_leader(node, id, cluster)
            .await
            .map(Response::Cluster),
        Request::List { group, .. } => {
            operator::fresh(node).await?;
            Ok(list::list(node, group.as_deref()))
        }
        Request::History { group, .. } => {
            operator::fresh(node).await?;
            list::history(node, &group)
        }
        other => Err(not_known(&other)),
    }
}

/// Answers, for another member, what only this one can.
pub(crate) async fn for_member(node: &Arc<Node>, request: Request) -> Answer {
    match request {
        Request::Role {
            action: RoleAction::Dump,
            role,
            group,
            by,
        } => operate::dump(node, role, group, by).await,
        Request::Status => Ok(list::status(node).await),
        Request::DeadLetters => {
            let (total, kept) = node.router.dead_letters().await;
            Ok(Response::DeadLetters { total, kept })
        }
        Request::Cluster(cluster @ (ClusterRequest::Directory | ClusterRequest::Offer { .. })) => {
            operator::answer_here(node, cluster)
                .await
                .map(Response::Cluster)
        }
        other => Err(not_known(&other)),
    }
}

fn not_known(request: &Request) -> RequestError {
    RequestError {
        code: ErrorCode::Usage,
        message: format!("this node does not know the request {request:?}"),
        hint: Some("run the same version of `director` on both sides".to_owned()),
        traceback: None,
        failure: None,
    }
}

fn allowed(asked: &Asked) -> Result<(), RequestError> {
    let open = matches!(
        asked.request,
        Request::CreateActor { .. }
            | Request::Resolve { .. }
            | Request::Status
            | Request::List { .. }
            | Request::History { .. }
            | Request::DeadLetters
            | Request::AwaitExits { .. }
    );
    let own_classes = matches!(
        &asked.request,
        Request::CreateActor {
            client: Some(_),
            ..
        }
    ) && !director_actor::is_meant(&asked.request);
    if asked.from.rights == Rights::Operate || (open && !own_classes) {
        return Ok(());
    }
    let for_actors = matches!(asked.request, Request::Shutdown | Request::Application(_));
    if asked.from.kind == CallerKind::Actor && (open || for_actors) {
        return Ok(());
    }
    Err(RequestError {
        code: ErrorCode::Forbidden,
        message: format!("user {} may not do this on this node", asked.from.uid),
        hint: Some("run it as the node's own user or as root".to_owned()),
        traceback: None,
        failure: None,
    })
}

fn director(node: &Node) -> Result<&Director<LeaderReplica, ClusterFleet>, RequestError> {
    node.mutual
        .director
        .get()
        .ok_or_else(|| internal("the node has not finished starting"))
}

fn stopping() -> RequestError {
    RequestError {
        code: ErrorCode::TimedOut,
        message: "the node stops: whether this was done is not known".to_owned(),
        hint: Some("look with `director list` once it has started again".to_owned()),
        traceback: None,
        failure: None,
    }
}

pub(crate) fn internal(message: &str) -> RequestError {
    RequestError {
        code: ErrorCode::Internal,
        message: message.to_owned(),
        hint: None,
        traceback: None,
        failure: None,
    }
}

pub(crate) fn refused(message: impl Into<String>, hint: Option<&str>) -> RequestError {
    RequestError {
        code: ErrorCode::Refused,
        message: message.into(),
        hint: hint.map(str::to_owned),
        traceback: None,
        failure: None,
    }
}

/// What the caller is told of an order that was not carried out.
pub(crate) fn not_done(error: OrderError) -> RequestError {
    let mut message = error.to_string();
    let (code, mut traceback, failure) = match &error {
        OrderError::Refused(_) | OrderError::Failed { .. } | OrderError::Hash { .. } => {
            (ErrorCode::Refused, None, None)
        }
        OrderError::Code(failure) => (
            ErrorCode::Refused,
            failure.traceback.clone(),
            Some(failure.code),
        ),
        OrderError::Propose(ProposeFailure::Unknown { .. }) => (ErrorCode::TimedOut, None, None),
        OrderError::Propose(_) => (ErrorCode::Unavailable, None, None),
    };
    if let OrderError::Failed { reason } = &error
        && let Some((line, rest)) = reason.split_once('\n')
    {
        message = line.to_owned();
        traceback = Some(rest.to_owned());
    }
    let hint = hint_for(&error, failure);
    RequestError {
        code,
        message,
        hint,
        traceback,
        failure,
    }
}

/// The next step after a refusal that is not about what was named.
pub(crate) fn hint_of_refusal(refusal: &Refusal) -> Option<&'static str> {
    match refusal {
        Refusal::TooManyOrders { .. } => Some(
            "nothing was done; give it at another member, or later: an order is remembered for an \
             hour so that it is not done twice",
        ),
        Refusal::TokenTooGood { .. } => Some("give another `--uses` or `--ttl`"),
        _ => None,
    }
}

fn hint_for(error: &OrderError, failure: Option<FailureCode>) -> Option<String> {
    let hint = match (error, failure) {
        (_, Some(FailureCode::ImportError)) => {
            "mend the source (or pack what it imports with `deps:`) and build it again"
        }
        (_, Some(FailureCode::InvalidSpecification)) => {
            "correct the class name in the `.tli`, then load again"
        }
        (_, Some(FailureCode::NoCompatibleSystem)) => {
            "set the capability in `othercaps.cfg` and restart the node, or relax the requirement"
        }
        (OrderError::Hash { .. }, _) => "`director list` shows the hashes of what is loaded",
        (OrderError::Propose(ProposeFailure::Unknown { .. }), _) => {
            "look with `director list` whether it was done before repeating it"
        }
        (OrderError::Code(_), _) => {
            "the active version goes on; `director config` shows the Python in use, the node's \
             log tells more"
        }
        (OrderError::Failed { .. }, _) => {
            "`director list` shows what is active, `director history GROUP` what happened"
        }
        (OrderError::Refused(refusal), _) => {
            hint_of_refusal(refusal).unwrap_or("`director list` shows what is loaded and active")
        }
        (OrderError::Propose(_), _) => "repeat it; the node's log tells why if it fails again",
    };
    Some(hint.to_owned())
}
