//! `Load`: the uploaded package is verified here, kept, and handed to the leader.

use std::sync::Arc;

use leader::reconcile::LoadOrder;
use package::Verified;
use protocol::SourceHash;
use protocol::control::{ErrorCode, Request, RequestError, Response};
use tokio::sync::oneshot;

use super::{Answer, director, internal, not_done, refused};
use crate::agent::applications::Verdict;
use crate::agent::node::Node;
use crate::authority::AuthorityError;
use crate::store::{Arrived, StoreError};

pub(super) async fn load(
    node: &Arc<Node>,
    request: Request,
    upload: Option<oneshot::Receiver<Result<Arrived, StoreError>>>,
) -> Answer {
    let Some(upload) = upload else {
        return Err(refused("no package was sent with the request", None));
    };
    let arrived = upload
        .await
        .map_err(|_closed| internal("the upload was given up"))??;
    let hash = arrived.hash();
    let pin = node.pins.pin(hash).await;
    let answer = carry_out(node, request, arrived).await;
    drop(pin);
    if answer.is_err() {
        node.clear_away(hash).await;
    }
    answer
}

async fn carry_out(node: &Arc<Node>, request: Request, arrived: Arrived) -> Answer {
    let Request::Load {
        request,
        group,
        version,
        path,
        definition,
        by,
        no_wait,
        upwards_only,
        reach,
    } = request
    else {
        return Err(internal("no load"));
    };
    let (bytes, hash) = (arrived.bytes(), arrived.hash());
    let (authority, store) = (node.authority.clone(), node.store.clone());
    let shown = path.clone();
    let kept = tokio::task::spawn_blocking(move || keep(&authority, &store, arrived, &shown));
    let mut notes = kept.await.map_err(|error| internal(&error.to_string()))??;
    consult(node, hash, &path).await?;
    tracing::info!(%hash, group, path, by, bytes, "package accepted");
    let order = LoadOrder {
        request,
        hash,
        group,
        version,
        bytes,
        definition,
        by,
        origin: node.id,
        reach,
        no_wait,
        upwards_only,
    };
    let loaded = director(node)?.load(&order).await.map_err(not_done)?;
    notes.extend(loaded.notes.into_iter().filter(|note| !note.is_empty()));
    notes.dedup();
    Ok(Response::Loaded {
        hash,
        changed: loaded.changed,
        notes,
    })
}

/// Asks the authority that an application has registered on this node, if there is one: it may
/// refuse what the node's own keys validate, and never the other way round.
async fn consult(node: &Node, hash: SourceHash, path: &str) -> Result<(), RequestError> {
    if node.replica.read(|state| state.sources.contains_key(&hash)) {
        return Ok(());
    }
    let hint = "the actor that has called `registerSourceAuthority` decides; its log tells why";
    let what = match node.ask_authority(hash, &node.store.path(hash), path).await {
        Verdict::Accepted(_) | Verdict::Nobody => return Ok(()),
        Verdict::Rejected => "the application's source authority rejects it",
        Verdict::Silent => "the application's source authority did not answer",
    };
    Err(refused(format!("`{path}` is refused: {what}"), Some(hint)))
}

/// Verifies, then keeps; a package that is refused leaves nothing.
fn keep(
    authority: &crate::authority::SourceAuthority,
    store: &crate::store::PackageStore,
    arrived: Arrived,
    path: &str,
) -> Result<Vec<String>, RequestError> {
    let trusted = authority
        .verify(arrived.path())
        .map_err(|error| untrusted(&error, path))?;
    if Verified::hash(&trusted.verified) != arrived.hash() {
        return Err(refused(
            format!("`{path}` changed while it was read"),
            Some("load it again"),
        ));
    }
    store.keep(arrived)?;
    Ok(trusted.warnings)
}

fn untrusted(error: &AuthorityError, path: &str) -> RequestError {
    refused(format!("`{path}` is refused: {error}"), Some(&error.hint()))
}

impl From<StoreError> for RequestError {
    fn from(error: StoreError) -> Self {
        let hint = match &error {
            StoreError::Io { cause, .. } => format!("{cause}; free room on the disk, then repeat"),
            StoreError::TooLarge { .. } => {
                "unload sources that are no longer needed, or raise `storelimit.cfg`".to_owned()
            }
        };
        Self {
            code: ErrorCode::Refused,
            hint: Some(hint),
            ..refused(error.to_string(), None)
        }
    }
}
