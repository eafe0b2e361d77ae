//! `Load`: the uploaded package is verified here and kept; the leader gets it, verifies it by its
//! own keys and makes it active.

use std::sync::Arc;
use std::time::Duration;

use leader::reconcile::LoadOrder;
use package::Verified;
use protocol::control::{ErrorCode, Lies, Request, RequestError, Response};
use protocol::view::Wish;
use protocol::{NodeId, SourceHash};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Answer, director, internal, not_done, refused};
use crate::agent::applications::Verdict;
use crate::agent::node::Node;
use crate::authority::AuthorityError;
use crate::cluster::packages::{Held, HoldFault};
use crate::cluster::{directories, orders};
use crate::store::{Arrived, StoreError};

pub(crate) async fn load(
    node: &Arc<Node>,
    mut request: Request,
    upload: Option<oneshot::Receiver<Result<Arrived, StoreError>>>,
) -> Answer {
    let Request::Load { lies, .. } = &mut request else {
        return Err(internal("no load"));
    };
    let (hash, pin, answer) = match (upload, lies.take()) {
        (Some(upload), None) => {
            let arrived = upload
                .await
                .map_err(|_closed| internal("the upload was given up"))??;
            let hash = arrived.hash();
            let pin = node.pins.pin(hash).await;
            (hash, pin, carry_out(node, request, arrived).await)
        }
        (None, Some(lies)) => {
            let pin = node.pins.pin(lies.hash).await;
            (lies.hash, pin, from_member(node, request, &lies).await)
        }
        (None, None) => return Err(refused("no package was sent with the request", None)),
        (Some(_), Some(_)) => {
            let text = "a package was sent, and the request names another";
            return Err(refused(text, None));
        }
    };
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
    let (notes, keys) = kept?;
    node.packages.verified(hash, keys);
    consult(node, hash, path).await?;
    tracing::info!(%hash, group, path, by, bytes, "package accepted");
    give(node, request, hash, notes).await
}

/// Loads what lies in another member's Director directory: it is pulled from there, and this
/// node's own keys decide as they do of what is uploaded.
async fn from_member(node: &Arc<Node>, request: Request, lies: &Lies) -> Answer {
    let Request::Load {
        group, path, by, ..
    } = &request
    else {
        return Err(internal("no load"));
    };
    let hash = lies.hash;
    if let Some(reason) = directories::fetch(node, lies).await? {
        let hint = "put the public key (`*_tls.key`) into the Director directory of this node, \
                    or take the package away there";
        return Err(refused(
            format!("`{path}` is refused: {reason}"),
            Some(hint),
        ));
    }
    consult(node, hash, path).await?;
    tracing::info!(%hash, group, path, by, member = %lies.node, "package accepted");
    give(node, request, hash, Vec::new()).await
}

/// Has the leader load a package that is held and trusted here.
async fn give(
    node: &Arc<Node>,
    request: Request,
    hash: SourceHash,
    mut notes: Vec<String>,
) -> Answer {
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
        lies: _,
    } = load
    else {
        return Err(internal("no load"));
    };
    let leader = &node.settings.node_name;
    // Not `Unavailable`: it would be asked for at the next leader, and there is none.
    let held = hold(node, hash, origin).await.map_err(|fault| RequestError {
        code: ErrorCode::TimedOut,
        ..refused(
            format!(
                "nothing was loaded: the leader `{leader}` could not get `{path}` from the node \
                 where it was given: {fault}"
            ),
            Some(
                "the two have to reach each other on their admin ports (UDP), or the leader has \
                 to be reached from here; then load it again",
            ),
        )
    })?;
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

/// Holds, as the leader, what a member holds; tries on for a while, as links break.
async fn hold(node: &Node, hash: SourceHash, origin: NodeId) -> Result<Held, HoldFault> {
    let until = Instant::now() + HOLD_LIMIT;
    loop {
        match node.hold_package(hash, None, &[origin]).await {
            Err(HoldFault::Pull { .. }) if Instant::now() < until => {
                tokio::time::sleep(HOLD_AGAIN).await;
            }
            held => return held,
        }
    }
}

/// How long the leader tries to get a package from where it was given, after which it is told.
const HOLD_LIMIT: Duration = Duration::from_secs(10);

/// Between two such attempts.
const HOLD_AGAIN: Duration = Duration::from_millis(250);

/// Asks the authority that an application has registered on this node, if there is one: it may
/// refuse what the node's own keys validate, and never the other way round.
async fn consult(node: &Node, hash: SourceHash, path: &str) -> Result<(), RequestError> {
    // Without one there is nothing to ask the leader for, who may just have been lost.
    if !node.has_authority() {
        return Ok(());
    }
    let _not_told = node.replica.want(Wish::Source(hash)).await;
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
