//! What applications ask besides actors: capabilities, and sources of their own.

use std::pin::Pin;
use std::sync::Arc;

use protocol::control::{
    ActorDelivery, ApplicationRequest, ErrorCode, Request, RequestError, Response,
};
use protocol::view::Wish;
use protocol::{ActorId, Frame, PayloadKind, RequestId, SourceHash};
use tokio::sync::oneshot;

use super::{Answer, internal, refused, system_status};
use crate::agent::node::Node;
use crate::cluster::{orders, reachable};
use crate::router::{Caller, CallerKind, Taken};
use crate::store::{Arrived, StoreError};

/// How far a request is that was carried out at once.
pub(super) enum Begun {
    /// It is done.
    Answered(Answer),
    /// It is done here; whoever waits for the answer hears when it is so everywhere.
    Spreading(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// Carries out what has to hold for all that its asker sends afterwards; `None` for the rest.
pub(super) fn at_once(node: &Arc<Node>, from: &Caller, request: &Request) -> Option<Begun> {
    let Request::Application(request) = request else {
        return None;
    };
    let actor = (from.kind == CallerKind::Actor).then_some(from.address);
    match (request, actor) {
        (ApplicationRequest::UpdateCapability { name, value }, _) => {
            let updated = node.update_capability(name, value.as_deref());
            let refuse = |error| refused(format!("the capability is no literal: {error}"), None);
            return Some(Begun::Answered(updated.map(|()| done()).map_err(refuse)));
        }
        (ApplicationRequest::UnloadSource { hash }, _) => return Some(unload(node, *hash)),
        (ApplicationRequest::RegisterSourceAuthority, Some(actor)) => {
            node.register_authority(actor)
        }
        (ApplicationRequest::NotifySources { on }, Some(actor)) => node.watch_sources(actor, *on),
        (ApplicationRequest::NotifyMembers { on }, Some(actor)) => node.watch_members(actor, *on),
        (ApplicationRequest::LoadSource { .. } | ApplicationRequest::RegisterSystem { .. }, _) => {
            return None;
        }
        (_, None) => return Some(Begun::Answered(Err(only_actors()))),
    }
    Some(Begun::Answered(Ok(done())))
}

/// Answers the requests that may take their time: to load what was uploaded, to look for a system.
pub(super) async fn answer(
    node: &Arc<Node>,
    request: ApplicationRequest,
    upload: Option<oneshot::Receiver<Result<Arrived, StoreError>>>,
) -> Answer {
    let info = match request {
        ApplicationRequest::LoadSource { info } => info,
        ApplicationRequest::RegisterSystem { address, on } => {
            return register(node, &address, on).await;
        }
        _ => return Err(internal("it was to be answered at once")),
    };
    let Some(upload) = upload else {
        return Err(refused("no source was sent with the request", None));
    };
    let package = upload
        .await
        .map_err(|_closed| internal("the upload was given up"))??;
    let hash = package.hash();
    node.take_source(hash, info, std::future::ready(Ok(package)));
    Ok(Response::SourceTaken { hash })
}

/// A system is to be of this convention, or not: only where that is so already nothing is to be
/// done, because systems join by themselves.
async fn register(node: &Node, address: &str, on: bool) -> Answer {
    match (reachable::is_of_convention(node, address).await, on) {
        (true, true) | (false, false) => Ok(done()),
        (false, true) => Err(refused(
            format!("`{address}` is no member of this convention, and systems are not fetched"),
            Some(
                "start it with this one's address as its `Convention Address.IPv4`; a node with a \
                 Director directory joins by `convleader.cfg`",
            ),
        )),
        (true, false) => Err(refused(
            format!("`{address}` is a member of this convention, and members leave by themselves"),
            Some("shut that system down, or use `director cluster remove`"),
        )),
    }
}

/// A message to the node's own address; `taken` goes when its bytes are dealt with.
pub(in crate::agent) fn delivered(node: &Arc<Node>, from: ActorId, frame: Frame, taken: Taken) {
    if system_status::is_asked(&frame) {
        let telling = Arc::clone(node);
        node.tasks.spawn(async move {
            system_status::tell(&telling, from).await;
        });
        return;
    }
    let is_actor = node.actors.stage(from).is_some();
    let raw = frame.header.payload_kind == PayloadKind::Raw;
    let cut = ActorDelivery::cut(&frame.payload).filter(|_| is_actor && raw);
    let Some(delivery) = cut.and_then(|(json, _)| serde_json::from_slice(json).ok()) else {
        tracing::debug!(%from, "message to the node's own address");
        return;
    };
    match delivery {
        ActorDelivery::LoadSource { hash, info } => {
            let package = keep(node, frame, taken);
            node.take_source(hash, info, package);
        }
        ActorDelivery::ValidatedSource { hash, accepted, .. } => {
            let answering = Arc::clone(node);
            node.tasks.spawn(async move {
                let zip = keep(&answering, frame, taken).await;
                let zip = zip.inspect_err(|error| tracing::warn!(%error, "a zip was not kept"));
                let zip = zip.ok().filter(|_| accepted);
                answering.authority_answered(from, hash, zip);
            });
        }
    }
}

/// Writes the bytes behind a delivery's document to a file.
fn keep(
    node: &Node,
    frame: Frame,
    taken: Taken,
) -> impl Future<Output = Result<Arrived, StoreError>> + Send + 'static {
    let store = node.store.clone();
    let lost = store.clone();
    let writing = tokio::task::spawn_blocking(move || {
        let (_, bytes) = ActorDelivery::cut(&frame.payload).unwrap_or_default();
        let kept = store.take(bytes);
        drop(taken);
        kept
    });
    async move {
        let written = writing.await;
        written.unwrap_or_else(|error| Err(lost.interrupted(&error)))
    }
}

/// Unloads a source of an application, or one that the registry has; an unknown hash is ignored.
fn unload(node: &Arc<Node>, hash: SourceHash) -> Begun {
    if let Some(spreading) = node.unload_everywhere(hash) {
        return Begun::Spreading(Box::pin(spreading));
    }
    let named = move |node: &Node| node.replica.read(|state| state.sources.contains_key(&hash));
    if !named(node) && !node.replica.is_partial() {
        return Begun::Answered(Ok(done()));
    }
    let node = Arc::clone(node);
    node.tasks.clone().spawn(async move {
        let request = RequestId(rand::random());
        let unloading = async {
            let _not_told = node.replica.want(Wish::Source(hash)).await;
            if !named(&node) {
                return None;
            }
            let order = Request::Unload {
                request,
                hash: hash.to_string(),
                now: true,
                by: "an application (unloadActorSource)".to_owned(),
            };
            orders::give(&node, order, None).await.err()
        };
        if let Some(Some(error)) = node.shutdown.run_until_cancelled(unloading).await {
            tracing::warn!(hash = %hash.short(), error = error.message, "source not unloaded");
        }
    });
    Begun::Answered(Ok(done()))
}

pub(super) fn done() -> Response {
    Response::Done {
        text: String::new(),
    }
}

fn only_actors() -> RequestError {
    RequestError {
        code: ErrorCode::Usage,
        ..refused("only actors may ask for this", None)
    }
}
