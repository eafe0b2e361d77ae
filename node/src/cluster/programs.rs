//! Actors of a program's own modules on other nodes of its user and host.
//!
//! Nodes that a user's programs start on one host share the user's secret, and with it what is on
//! the host: each may start actors of any program of that user. A request for one shows, bound to
//! all that it asks for and to who is asked, that its sender knows the secret; to be a member is
//! not enough, as members by token may belong to others. On a lane each side shows the same, bound
//! to the keys of both, and what it then says of programs is believed (`router::core::programs`).
//! Not here: actors of the registry's sources (`creation`), the secret (`same_user`).

use std::sync::Arc;

use protocol::control::Origin;
use protocol::peer::{Creation, PeerRequest};
use protocol::view::Wish;
use protocol::wire::{Refusal, RefusalCode, Shape};
use protocol::{NodeId, encode};
use sha2::{Digest, Sha256};
use transport::Connection;
use transport::token::SecretHash;

use super::creation::{Place, one_class, others};
use super::same_user;
use crate::agent::actors::Birth;
use crate::agent::node::Node;

/// Decides where an actor of a program's own modules, or of a source that an application has
/// loaded here, is to be started: here, unless it fits only elsewhere.
pub(super) async fn place(node: &Arc<Node>, birth: &Birth) -> Place {
    let may = match &birth.origin {
        Origin::Client(_) => node.membership.identity().user_secret().is_some(),
        Origin::Source(hash) => node.may_pass_on(*hash),
    };
    if !may {
        return Place::Here;
    }
    if node.replica.is_partial() {
        let drained = is_drained(node);
        let own = fits(node, birth, vec![node.capabilities()]).await;
        if own.first() == Some(&true) && !drained {
            return Place::Here;
        }
        let _not_told = node.replica.want(Wish::Members).await;
    }
    let (drained, others) = node.replica.read(|state| {
        let member = state.members.get(&node.id);
        let drained = member.is_some_and(|member| member.admission.drained);
        (drained, others(state, node))
    });
    if others.is_empty() {
        return Place::Here;
    }
    let mut sets = vec![node.capabilities()];
    sets.extend(others.iter().map(|(_, set)| set.clone()));
    let fits = fits(node, birth, sets).await;
    if fits.first() == Some(&true) && !drained {
        return Place::Here;
    }
    let fitting = others.iter().zip(fits.into_iter().skip(1));
    let fitting: Vec<NodeId> = fitting
        .filter_map(|((id, _), fits)| fits.then_some(*id))
        .collect();
    if fitting.is_empty() {
        // The attempt here tells what is wrong.
        return Place::Here;
    }
    Place::There(fitting)
}

fn is_drained(node: &Node) -> bool {
    node.replica.read(|state| {
        let member = state.members.get(&node.id);
        member.is_some_and(|member| member.admission.drained)
    })
}

/// Whether each set of capabilities fits; nothing where the class cannot be looked at.
async fn fits(node: &Node, birth: &Birth, sets: Vec<String>) -> Vec<bool> {
    let definition = one_class(
        &protocol::GroupDefinition::default(),
        &birth.class,
        birth.requirements.clone(),
    );
    let looked_at = node
        .sources
        .look_at_program(node, &birth.origin, &definition, sets);
    match looked_at.await {
        Ok(classes) => {
            let class = classes.into_iter().next();
            class.map(|class| class.fits).unwrap_or_default()
        }
        Err(failure) => {
            tracing::debug!(class = birth.class, %failure, "not looked at");
            Vec::new()
        }
    }
}

/// What this node shows to a member with a request: that it knows their user's secret. The request
/// is bare, without the proof.
pub(crate) fn proof_of(node: &Node, member: NodeId, bare: &PeerRequest) -> Option<[u8; 32]> {
    let asked = asked(member, bare)?;
    let identity = node.membership.identity();
    let (secret, authority) = identity.user_secret().zip(identity.authority_key())?;
    Some(same_user::senders(secret, authority, asked))
}

/// Whether the sender of this request has proven to be of this node's user.
pub(crate) fn is_proof(node: &Node, bare: &PeerRequest, shown: Option<[u8; 32]>) -> bool {
    let wanted = proof_of(node, node.id, bare).map(SecretHash);
    // Compared in the same time for all.
    matches!((wanted, shown.map(SecretHash)), (Some(wanted), Some(shown)) if wanted == shown)
}

/// The proof for a creation that a member is asked for.
pub(super) fn proof(node: &Node, member: NodeId, creation: &Creation) -> Option<[u8; 32]> {
    proof_of(node, member, &bare(creation))
}

/// Whether the sender of this creation has proven to be of this node's user.
///
/// # Errors
/// [`Refusal`] otherwise.
pub(super) fn admit(node: &Node, creation: &Creation) -> Result<(), Refusal> {
    if is_proof(node, &bare(creation), creation.proof) {
        Ok(())
    } else {
        Err(not_of_this_user())
    }
}

/// Why a program's own code, and what applications have loaded, stays on the nodes of its user.
pub(crate) fn not_of_this_user() -> Refusal {
    Refusal::new(
        RefusalCode::NotAllowed,
        "a program's own modules and sources are a matter of the nodes of its user on its host; \
         use `director load` for code that runs elsewhere",
    )
}

fn bare(creation: &Creation) -> PeerRequest {
    PeerRequest::Create(Creation {
        proof: None,
        ..creation.clone()
    })
}

/// What this node shows at the beginning of a lane, so that the other side reads the messages of
/// its user's programs as its own. Nothing where no user's secret counts.
pub(super) fn shows(node: &Node, lane: &Connection) -> Option<[u8; 32]> {
    let identity = node.membership.identity();
    let (secret, authority) = identity.user_secret().zip(identity.authority_key())?;
    let (own, other) = (identity.key().hash(), lane.peer()?.key);
    Some(same_user::lanes(secret, authority, own, other))
}

/// Whether the other side of a lane has shown to be of this node's user. Its key is the one that
/// the connection's handshake has proven.
pub(super) fn is_shown(node: &Node, lane: &Connection, shown: &[u8]) -> bool {
    let wanted = || {
        let identity = node.membership.identity();
        let (secret, authority) = identity.user_secret().zip(identity.authority_key())?;
        let (own, other) = (identity.key().hash(), lane.peer()?.key);
        Some(same_user::lanes(secret, authority, other, own))
    };
    // Compared in the same time for all.
    match (wanted(), <[u8; 32]>::try_from(shown)) {
        (Some(wanted), Ok(shown)) => SecretHash(wanted) == SecretHash(shown),
        _ => false,
    }
}

/// The request and who is asked, as a hash.
fn asked(member: NodeId, bare: &PeerRequest) -> Option<[u8; 32]> {
    let bytes = encode(PeerRequest::NAME, PeerRequest::VERSION, bare).ok()?;
    let digest = Sha256::new()
        .chain_update(member.to_string())
        .chain_update([0])
        .chain_update(bytes);
    Some(digest.finalize().into())
}
