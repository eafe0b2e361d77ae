//! The side of a node that is invited: it goes into the convention of another node of its user, and
//! out of it again, while its actors and clients go on.
//!
//! Only a node that a program has started is fetched, by one that the kernel says to be of the same
//! user and that shows to know the user's secret; the convention shows the same when it lets it in.
//! Until that has happened nothing is given up. What is given up then is a convention of which
//! nobody else is: its log, its authority and its registry, never an actor, a name or a source of
//! an application.
//! An invited node does not vote. When its convention lets it go, or has no leader any more, it
//! founds one of its own again.
//! Not here: who invites (`invitations`), how it is let in (`join`, `admission`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use leader::reconcile::Replica;
use protocol::control::{NodeAnswer, NodeCall, NodeWish};
use protocol::registry::{Command, Member, MemberCommand, MemberState};
use protocol::{ConventionId, Incarnation, NodeId};
use tokio::time::timeout;
use transport::Credentials;
use transport::identity::KeyHash;
use transport::token::SecretHash;

use super::peers::told;
use super::{follow, founding, join, reachable, same_user, start, voters};
use crate::agent::node::{Node, stamp};

/// Answers another node of this user, which has said hello at the control socket.
pub(super) async fn answer(node: &Arc<Node>, from: NodeId, call: &NodeCall) -> NodeAnswer {
    if !is_proven(node, call) {
        return refused(
            "the caller does not show that it knows the secret of this node's user",
            "both nodes read `user.secret` in the user's runtime folder: start them alike",
        );
    }
    // A task of its own: a caller that goes away leaves no node between two conventions.
    let (node, tracker) = (Arc::clone(node), node.tasks.clone());
    let wish = call.wish.clone();
    let answering = tracker.spawn(async move {
        let shutdown = node.shutdown.clone();
        let answering = async {
            match wish {
                NodeWish::Come { address, authority } => {
                    come(&node, from, &address, &authority).await
                }
                NodeWish::Go { convention } => go(&node, convention).await,
            }
        };
        shutdown.run_until_cancelled(answering).await
    });
    match answering.await {
        Ok(Some(answer)) => answer,
        Ok(None) | Err(_) => later("this node stops"),
    }
}

/// What a caller shows to a run of a node, for a wish that concerns the convention with this
/// authority.
pub(super) fn proof(node: &Node, wish: &NodeWish, asked: Incarnation) -> Option<String> {
    let identity = node.membership.identity();
    let authority = match wish {
        NodeWish::Come { authority, .. } => authority.parse().ok()?,
        NodeWish::Go { .. } => identity.authority_key()?,
    };
    let secret = identity.user_secret()?;
    let shown = same_user::callers(secret, authority, wish.digest(asked));
    Some(hex::encode(shown))
}

fn is_proven(node: &Node, call: &NodeCall) -> bool {
    let bytes = |text: &str| {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok().map(|()| bytes)
    };
    let wanted = proof(node, &call.wish, node.incarnation);
    let wanted = wanted.as_deref().and_then(bytes).map(SecretHash);
    // Compared in the same time for all.
    wanted.is_some_and(|wanted| bytes(&call.proof).map(SecretHash) == Some(wanted))
}

/// Goes into the convention of a node that invites this one.
async fn come(node: &Arc<Node>, from: NodeId, address: &str, authority: &str) -> NodeAnswer {
    let Ok(authority) = authority.parse::<KeyHash>() else {
        return later("the invitation names no authority");
    };
    // Nobody is let into the convention that this node leaves.
    let Ok(_turn) = node.mutual.moving.try_write() else {
        return later("it lets a node in just now, or is on its way into another convention");
    };
    let membership = &node.membership;
    if membership.identity().authority_key() == Some(authority) {
        return NodeAnswer::Done;
    }
    // Two that invite each other: the one with the smaller id is the inviter.
    if node.id < from && node.mutual.invitations.names(address) {
        return later("it invites the caller as well, and is the one whose invitation counts");
    }
    if let Err(stays) = may_go(node, address) {
        return stays;
    }
    let admitted = match join::by_invitation(membership, address, authority).await {
        Ok(admitted) => admitted,
        Err((reason, true)) => return later(&reason),
        Err((reason, false)) => {
            return refused(
                &reason,
                "its own program may start it anew with a token of that convention",
            );
        }
    };
    // Somebody may have been let in here at the same time.
    if let Err(stays) = may_go(node, address) {
        return stays;
    }
    let moved = membership
        .identity()
        .moved(&admitted.response, authority, stamp());
    let credentials = match moved {
        Ok(credentials) => credentials,
        Err(error) => return later(&told(&error)),
    };
    membership.set_invited(Some(address.to_owned()));
    let hints = std::iter::once(address.to_owned()).chain(admitted.known);
    begin_anew(node, credentials, hints.collect()).await;
    let convention = admitted.response.convention;
    tracing::info!(%convention, %from, address, "this node came by invitation");
    NodeAnswer::Done
}

/// Whether this node may give up the convention that it is of for that of a node at `address`.
fn may_go(node: &Node, address: &str) -> Result<(), NodeAnswer> {
    let membership = &node.membership;
    if membership.identity().convention().is_none() {
        return Err(later(
            "it has yet to join the convention that its `Convention Address.IPv4` names",
        ));
    }
    let now = stamp();
    let (others, has_sources) = node.replica.read(|state| {
        let others = state.members.iter().filter(|(id, _)| **id != node.id);
        // One that was just let in has not begun its first session.
        let comes = |member: &Member| {
            let since = now.0.saturating_sub(member.admission.joined.0);
            member.incarnation == Incarnation(0) && since < JUST_LET_IN_MS
        };
        let up = others.filter(|(_, it)| it.state == MemberState::Up || comes(it));
        let names: BTreeSet<_> = up.map(|(_, member)| member.address.clone()).collect();
        (names, !state.sources.is_empty())
    });
    if has_sources {
        return Err(refused(
            "packages are loaded in its convention (`director load`), which it would give up",
            "`director unload` them there first",
        ));
    }
    if others.is_empty() {
        return Ok(());
    }
    // Its inviter is back as another, or has left it without a leader.
    let by = membership.invited_by();
    let is_back = by.as_deref() == Some(address);
    // One that joined by itself gives its convention as much time as it would give its inviter.
    let limit = if by.is_some() { ORPHANED } else { DESERTED };
    if is_back || node.replica.consensus().is_none() && is_leaderless(node, limit) {
        return Ok(());
    }
    let others: Vec<_> = others.into_iter().collect();
    Err(refused(
        &format!(
            "it is of a convention with other systems (at {})",
            others.join(", ")
        ),
        "deregister it there first (`deRegisterRemoteSystem`), or shut the others down",
    ))
}

/// Goes out of the convention by which this node was invited.
async fn go(node: &Arc<Node>, convention: ConventionId) -> NodeAnswer {
    let membership = &node.membership;
    let is_in = || membership.identity().convention() == Some(convention);
    if !is_in() {
        return NodeAnswer::Done;
    }
    if membership.invited_by().is_none() {
        return refused(
            "it is in this convention by itself, not by an invitation",
            "shut that system down, or use `director cluster remove`",
        );
    }
    let leave = Command::Member(MemberCommand::Remove {
        node: node.id,
        left: true,
        by: "deRegisterRemoteSystem".to_owned(),
        stamp: stamp(),
    });
    let mut removed = membership.registry.removed();
    tokio::select! {
        // The removal may close the connection on which the answer would come.
        _removed = removed.wait_for(Option::is_some) => {}
        left = timeout(LEAVE_LIMIT, Replica::propose(&*node.replica, leave)) => match left {
            Ok(Ok(_)) => {}
            Ok(Err(failure)) => tracing::info!(%failure, "this node leaves without a word"),
            Err(_elapsed) => tracing::info!("this node leaves without a word: no answer"),
        },
    }
    if let Err(reason) = alone(node, convention).await {
        return later(&reason);
    }
    NodeAnswer::Done
}

/// Whether this node goes on alone when its convention has let it go: a program uses it, and
/// nobody could bring it back.
pub(super) fn goes_on_alone(node: &Node) -> bool {
    let leaves = node.mutual.leaves.load(Ordering::Acquire);
    !leaves && node.membership.identity().user_secret().is_some()
}

/// Whether the convention that this node was invited into is gone, as far as it can see.
pub(super) fn is_deserted(node: &Node) -> bool {
    if node.membership.invited_by().is_none() {
        return false;
    }
    let stopped = node.replica.read(|state| {
        // Nothing is known before the first session.
        let runs = |member: &Member| member.state == MemberState::Up;
        let mut others = state.members.iter().filter(|(id, _)| **id != node.id);
        state.members.len() > 1 && !others.any(|(_, member)| runs(member))
    });
    is_leaderless(node, if stopped { Duration::ZERO } else { DESERTED })
}

fn is_leaderless(node: &Node, so_long: Duration) -> bool {
    let since = node.mutual.leaderless();
    since.is_some_and(|since| since.elapsed() >= so_long)
}

/// Founds a convention of this node's own, unless it has left this one already.
///
/// # Errors
/// Why it has none, for people.
pub(super) async fn alone(node: &Arc<Node>, left: ConventionId) -> Result<(), String> {
    // A task of its own: whoever waits may be ended in the middle of it.
    let (node, tracker) = (Arc::clone(node), node.tasks.clone());
    let founding = tracker.spawn(async move {
        let _turn = node.mutual.moving.write().await;
        if node.membership.identity().convention() != Some(left) {
            return Ok(());
        }
        found(&node).await
    });
    founding.await.map_err(|stopping| stopping.to_string())?
}

async fn found(node: &Arc<Node>) -> Result<(), String> {
    let membership = &node.membership;
    let founded = membership.identity().found_anew(stamp());
    let credentials = founded.map_err(|error| told(&error))?;
    membership.set_invited(None);
    begin_anew(node, credentials, Vec::new()).await;
    let opened = start::found(membership, &node.directory.state()).await;
    opened.map_err(|error| told(&error))?;
    let mut standing = membership.registry.standing();
    let leads = timeout(LEAD_LIMIT, standing.wait_for(|standing| standing.leads)).await;
    if !leads.is_ok_and(|leads| leads.is_ok()) {
        return Err("its own log has no leader".to_owned());
    }
    let announced = founding::announce(node).await;
    announced.map_err(|failure| failure.to_string())?;
    tracing::info!("this node is a convention of its own again");
    Ok(())
}

/// From now on this node is of the convention that its identity names.
async fn begin_anew(node: &Arc<Node>, credentials: Credentials, hints: Vec<String>) {
    let membership = &node.membership;
    let _alone = node.mutual.log_changes.lock().await;
    voters::let_learner_go(node).await;
    membership.credentials.swap(credentials);
    membership.peers.begin_anew(hints);
    membership.sessions.clear();
    let log = membership.registry.begin_anew();
    node.mutual.seek_leader_anew();
    membership.endpoint.set_recoveries(0);
    if let Some(log) = log {
        log.shutdown().await;
    }
    let state = node.directory.state();
    for gone in [state.raft(), follow::path(&state)] {
        if let Err(cause) = std::fs::remove_file(&gone)
            && cause.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %gone.display(), %cause, "a file of the convention before stays");
        }
    }
}

/// The port of an address of this host.
pub(super) async fn port_here(address: &str) -> Option<u16> {
    let remotes = super::peers::resolve(address).await;
    let here = remotes.iter().all(|remote| reachable::is_here(remote.ip()));
    remotes
        .first()
        .filter(|_| here)
        .map(std::net::SocketAddr::port)
}

fn later(reason: &str) -> NodeAnswer {
    NodeAnswer::Later {
        reason: reason.to_owned(),
    }
}

fn refused(reason: &str, hint: &str) -> NodeAnswer {
    NodeAnswer::Refused {
        reason: reason.to_owned(),
        hint: hint.to_owned(),
    }
}

/// How long a convention may take to hear that this node leaves.
const LEAVE_LIMIT: Duration = Duration::from_secs(3);

/// How long a node that was let in may take to its first session.
const JUST_LET_IN_MS: u64 = 30_000;

/// Longer than an own log of one takes to elect its only voter.
const LEAD_LIMIT: Duration = Duration::from_secs(10);

/// After so long without a leader another may invite this node.
const ORPHANED: Duration = Duration::from_secs(2);

/// After so long without a leader the convention counts as gone: longer than a lease and its
/// margin, so that the leader has given this node up as well, if it lives.
const DESERTED: Duration = Duration::from_secs(10);
