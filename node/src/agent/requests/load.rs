//! `Load`: the uploaded package is verified here and kept; the leader gets it, verifies it by its
//! own keys and makes it active.

use std::sync::Arc;

use leader::reconcile::LoadOrder;
use package::Verified;
use protocol::control::{ErrorCode, Request, RequestError, Response};
use protocol::{NodeId, SourceHash};
use tokio::sync::oneshot;

use super::{Answer, director, internal, not_done, refused};
use crate::agent::applications::Verdict;
use crate::agent::node::Node;
use crate::authority::AuthorityError;
use crate::cluster::orders;
use crate::store::{Arrived, StoreError};

pub(crate) async fn load(
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
        group, path, by, ..
    } = &request
    else {
        return Err(internal("no load"));
    };
    let (bytes, hash) = (arrived.bytes(), arrived.hash());
    let (authority, store) = (node.authority.clone(), node.store.clone());
    let shown = path.clone();
    let kept = tokio::task::spawn_blocking(move || {
        let keys = authority.mark();
        keep(&authority, &store, arrived, &shown).map(|notes| (notes, keys))
    });
    let kept = kept.await.map_err(|error| internal(&error.to_string()))?;
    let (mut notes, keys) = kept?;
    node.packages.verified(hash, keys);
    consult(node, hash, path).await?;
    tracing::info!(%hash, group, path, by, bytes, "package accepted");
    let answer = orders::give(node, request, Some(hash)).await?;
    let Response::Loaded {
        hash,
        changed,
        notes: told,
    } = answer
    else {
        return Err(internal("a load was answered as something else"));
    };
    notes.extend(told.into_iter().filter(|note| !note.is_empty()));
    notes.dedup();
    Ok(Response::Loaded {
        hash,
        changed,
        notes,
    })
}

/// Makes a package active that the node `origin` holds and trusts, if this node trusts it too.
pub(super) async fn as_leader(
    node: &Arc<Node>,
    origin: NodeId,
    load: Request,
    package: Option<SourceHash>,
) -> Answer {
    let Some(hash) = package else {
        return Err(refused("no package was sent with the request", None));
    };
    let pin = node.pins.pin(hash).await;
    let answer = hold_and_load(node, origin, load, hash).await;
    drop(pin);
    if answer.is_err() && origin != node.id {
        node.clear_away(hash).await;
    }
    answer
}

async fn hold_and_load(
    node: &Arc<Node>,
    origin: NodeId,
    load: Request,
    hash: SourceHash,
) -> Answer {
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
    } = load
    else {
        return Err(internal("no load"));
    };
    let held = node.hold_package(hash, None, &[origin]).await;
    let held = held.map_err(|fault| RequestError {
        code: ErrorCode::Unavailable,
        ..refused(
            format!("the leader could not get `{path}`: {fault}"),
            Some("`director cluster members` shows who is up; then load it again"),
        )
    })?;
    let leader = &node.settings.node_name;
    if let Some(reason) = held.distrust {
        let hint = format!(
            "put the public key (`*_tls.key`) into the Director directory of `{leader}`, which \
             leads"
        );
        let message = format!("`{path}` is refused by the leader `{leader}`: {reason}");
        return Err(refused(message, Some(&hint)));
    }
    let bytes = node.store.length(hash);
    let bytes = bytes.ok_or_else(|| internal("the package was removed meanwhile"))?;
    let order = LoadOrder {
        request,
        hash,
        group,
        version,
        bytes,
        definition,
        by,
        origin,
        reach,
        no_wait,
        upwards_only,
    };
    let loaded = director(node)?.load(&order).await.map_err(not_done)?;
    Ok(Response::Loaded {
        hash,
        changed: loaded.changed,
        notes: loaded.notes,
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
