//! Taking up this node's part in its convention, and the tasks that keep it.
//!
//! A founder, or a voter, opens its log; a member follows from the last copy that it kept; a node
//! that has joined nothing yet asks to be let in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use leader::reconcile::{Fleet, Reconciler};
use leader::{Config, Consensus, FileOpenError, OpenError, Start, Voter};
use protocol::definition::OnLostLease;
use protocol::registry::{Slot, SlotState, State};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::membership::Membership;
use super::peers::resolve;
use super::registry::RegistryHandle;
use super::voter_calls::VoterCalls;
use super::{
    endpoint, follow, join, reachable, renew, rotation, session, sessions, strays, warnings,
};
use crate::agent::node::Node;
use crate::directory::{Settings, StateFolder};

/// Whether a node that belongs to no convention yet founds one: nobody else is listed, or it is
/// told to.
pub(crate) async fn founds(settings: &Settings, told_to: bool) -> bool {
    if told_to {
        return true;
    }
    let advertised = reachable::address(settings, settings.listen, settings.admin_port);
    for leader in &settings.convention_leaders {
        let remotes = resolve(&reachable::dialled(leader)).await;
        let own = |remote| reachable::is_own(remote, &advertised, settings.admin_port);
        if remotes.is_empty() || !remotes.into_iter().any(own) {
            return false;
        }
    }
    true
}

/// Whether a node that a program starts is listed, and the first of those listed to run: it founds
/// the convention that the others then join. Nodes of one user are started one at a time
/// (`python/thespian/system/starting.py`), and all that are listed have to be on this host.
pub(crate) async fn is_first(settings: &Settings, is_served: impl Fn(u16) -> bool) -> bool {
    let advertised = reachable::address(settings, settings.listen, settings.admin_port);
    let mut is_listed = false;
    for leader in &settings.convention_leaders {
        let remotes = resolve(&reachable::dialled(leader)).await;
        let own =
            |remote: &SocketAddr| reachable::is_own(*remote, &advertised, settings.admin_port);
        if remotes.iter().any(own) {
            is_listed = true;
            continue;
        }
        let is_here = |remote: &SocketAddr| reachable::is_here(remote.ip());
        let port = remotes.first().map_or(0, SocketAddr::port);
        if remotes.is_empty() || !remotes.iter().all(is_here) || is_served(port) {
            return false;
        }
    }
    is_listed
}

/// Opens this node's log or its last copy, whichever its part needs.
///
/// Gives the log of a voter to be, which is not read from yet: it is for `voters::go_on`.
pub(crate) async fn take_part(
    membership: &Membership,
    state: &StateFolder,
) -> Result<Option<Arc<Consensus>>, OpenError> {
    let to_be = open_part(membership, state).await?;
    let recoveries = membership.registry.recoveries();
    membership.endpoint.set_recoveries(recoveries);
    Ok(to_be)
}

async fn open_part(
    membership: &Membership,
    state: &StateFolder,
) -> Result<Option<Arc<Consensus>>, OpenError> {
    let (convention, founder) = {
        let identity = membership.identity();
        (identity.convention(), identity.is_founder())
    };
    let Some(convention) = convention else {
        return Ok(None);
    };
    let path = state.raft();
    if !founder && !path.exists() {
        if let Some(copy) = follow::last_good(state) {
            membership.registry.become_follower(copy);
        }
        return Ok(None);
    }
    let start = if founder {
        Start::Found(convention)
    } else {
        Start::Resume
    };
    let voter = Voter {
        node: membership.me,
        address: membership.address().to_owned(),
    };
    let config = Config::single(path, start, voter);
    let consensus = Arc::new(open_log(&config, membership).await?);
    if !founder {
        let own = consensus.identity().raft;
        let votes = consensus.standing().borrow().voters.contains_key(&own);
        let copy = follow::last_good(state).unwrap_or_default();
        // Killed before the log was filled: it knows nobody, the copy does.
        if !votes && *consensus.applied().borrow() <= copy.index {
            membership.registry.become_follower(copy);
            return Ok(Some(consensus));
        }
    }
    lead_or_vote(membership, consensus).await;
    Ok(None)
}

/// Opens the empty log of a convention that this node has just founded anew.
pub(super) async fn found(membership: &Membership, state: &StateFolder) -> Result<(), OpenError> {
    let convention = membership.identity().convention().unwrap_or_default();
    let voter = Voter {
        node: membership.me,
        address: membership.address().to_owned(),
    };
    let config = Config::single(state.raft(), Start::Found(convention), voter);
    let consensus = Arc::new(open_log(&config, membership).await?);
    lead_or_vote(membership, consensus).await;
    Ok(())
}

/// Reads the registry from this node's log from now on; waits a moment for one that leads.
async fn lead_or_vote(membership: &Membership, consensus: Arc<Consensus>) {
    // Among others, one that led when it ended holds itself for the leader until it hears of the
    // next: only its majority's answers give it a lease (`session`).
    let leads = consensus.is_leader();
    let voters = consensus.standing();
    let _nothing_was_followed = membership.registry.become_voter(consensus);
    if leads {
        let mut standing = membership.registry.standing();
        let led = timeout(DYING_LIMIT, standing.wait_for(|standing| standing.leads)).await;
        if led.is_ok_and(|led| led.is_ok()) && voters.borrow().voters.len() == 1 {
            membership.lease.lead_alone();
        }
    }
}

/// Opens the log; one that a process in its last throes still holds is waited for.
async fn open_log(config: &Config, membership: &Membership) -> Result<Consensus, OpenError> {
    let until = Instant::now() + DYING_LIMIT;
    loop {
        let calls = VoterCalls::new(&membership.peers);
        match Consensus::open(config.clone(), calls).await {
            Err(OpenError::File(FileOpenError::Locked { .. })) if Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            opened => return opened,
        }
    }
}

/// Starts the tasks of a member.
pub(crate) fn run(node: &Arc<Node>) {
    let membership = &node.membership;
    node.tasks.spawn(endpoint::accept(Arc::clone(node)));
    node.tasks.spawn(endpoint::close_removed(Arc::clone(node)));
    node.tasks.spawn(serve_dialled(Arc::clone(node)));
    node.tasks.spawn(sessions::watch_leases(Arc::clone(node)));
    node.tasks.spawn(renew::run(Arc::clone(node)));
    node.tasks.spawn(rotation::run(Arc::clone(node)));
    node.tasks.spawn(warnings::send(Arc::clone(node)));
    node.tasks.spawn(Arc::clone(node).propose_capabilities());
    node.tasks.spawn(follow::keep(
        node.directory.state(),
        Arc::clone(&membership.registry),
        node.shutdown.clone(),
    ));
    let leasing = Arc::clone(node);
    node.tasks.spawn(async move {
        leasing.membership.lease.run(leasing.shutdown.clone()).await;
    });
    node.tasks.spawn(bound_service(Arc::clone(node)));
    node.tasks
        .spawn(strays::stop_on_lost_lease(Arc::clone(node)));
    node.tasks
        .spawn(strays::end_after_offline(Arc::clone(node)));
    let member = Arc::clone(node);
    node.tasks.spawn(async move {
        let joined = member.membership.identity().convention().is_some();
        if !joined {
            join::run(&member).await;
        }
        tokio::join!(
            session::run(Arc::clone(&member)),
            go_offline(Arc::clone(&member)),
        );
    });
}

/// Has the router know when the lease ends: it stops delivering by role by itself then, also when
/// the whole process was stopped meanwhile.
async fn bound_service(node: Arc<Node>) {
    let mut term = node.membership.lease.term();
    loop {
        let end = term.borrow_and_update().end();
        node.router.serve_until(end.map(Instant::into_std));
        tokio::select! {
            biased;
            () = node.shutdown.cancelled() => return,
            changed = term.changed() => if changed.is_err() { return },
        }
    }
}

/// Waits until this node is a member with a live session, but no longer than a start may take.
/// Says what is amiss otherwise.
pub(crate) async fn ready(node: &Node) -> Option<String> {
    let membership = &node.membership;
    if membership.leads() {
        return None;
    }
    let mut lease = membership.lease.state();
    let mut trouble = membership.trouble.subscribe();
    let served = async {
        // What these give is a lock on what they look at: it is not kept.
        drop(lease.wait_for(|lease| lease.serves()).await);
        drop(trouble.wait_for(Option::is_none).await);
    };
    // A program that starts a node uses it at once, and its convention when that is there.
    let limit = if membership.identity().user_secret().is_some() {
        PROGRAM_READY_LIMIT
    } else {
        READY_LIMIT
    };
    let waited = timeout(limit, served).await;
    waited.err()?;
    let trouble = membership.trouble.borrow().clone();
    trouble.or_else(|| Some("the convention is not reached yet".to_owned()))
}

/// Carries out the registry's work on this node alone while it is on its own.
pub(crate) async fn reconcile<F: Fleet>(
    node: Arc<Node>,
    reconciler: Reconciler<RegistryHandle, F>,
) {
    let registry = &node.membership.registry;
    let mut offline = registry.offline();
    let mut working: Option<CancellationToken> = None;
    let tasks = node.tasks.clone();
    loop {
        let works = *offline.borrow_and_update();
        match (&working, works) {
            (None, true) => {
                let until = node.shutdown.child_token();
                tasks.spawn(reconciler.clone().run(until.clone()));
                working = Some(until);
            }
            (Some(until), false) => {
                until.cancel();
                working = None;
            }
            _ => {}
        }
        tokio::select! {
            biased;
            () = node.shutdown.cancelled() => return,
            changed = offline.changed() => if changed.is_err() { return },
        }
    }
}

/// A member that cannot reach its convention after its start goes on with what it has.
async fn go_offline(node: Arc<Node>) {
    let membership = &node.membership;
    let registry = &membership.registry;
    let mut lease = membership.lease.state();
    let reached = async { drop(lease.wait_for(|lease| lease.serves()).await) };
    let waiting = timeout(OFFLINE_AFTER, reached);
    if !matches!(
        node.shutdown.run_until_cancelled(waiting).await,
        Some(Err(_))
    ) {
        return;
    }
    let is_removed = registry.removed().borrow().is_some();
    if is_removed || !registry.read(|state| state.members.contains_key(&membership.me)) {
        return;
    }
    tracing::warn!(
        "the convention cannot be reached: the Director actors last placed here start from the \
         last known good copy; others may run elsewhere as well"
    );
    registry.go_offline(|state| alone(state, membership));
    if let Err(failure) = session::announce(&node).await {
        tracing::warn!(%failure, "the node did not go on by itself");
    }
    if node.settings.offline {
        tracing::warn!("`offline.cfg`: local clients are served; two of an actor may exist");
        membership.lease.serve_offline();
    }
}

/// What others have under way is not for this node to go on with; nor does an actor start here
/// that may not live without a lease.
fn alone(state: &mut State, membership: &Membership) {
    state.rollouts.clear();
    let sources = &state.sources;
    let stops = |slot: &Slot| {
        let definition = sources.get(&slot.source).and_then(|it| it.actor(slot));
        definition.is_some_and(|actor| actor.on_lost_lease == OnLostLease::Stop)
    };
    for slot in state.slots.values_mut() {
        let others = slot.node != membership.me && slot.state != SlotState::Running;
        if others || (slot.node == membership.me && stops(slot)) {
            slot.state = SlotState::Gone;
        }
    }
}

/// Serves the connections that this node dials, as it does those that come.
async fn serve_dialled(node: Arc<Node>) {
    let Some(mut dialled) = node.membership.take_dialled() else {
        return;
    };
    let tasks = node.tasks.clone();
    while let Some(Some(connection)) = node.shutdown.run_until_cancelled(dialled.recv()).await {
        tasks.spawn(endpoint::serve(Arc::clone(&node), connection));
    }
}

/// How long a start waits for the convention.
const READY_LIMIT: Duration = Duration::from_secs(15);

/// The same where a program has started the node.
const PROGRAM_READY_LIMIT: Duration = Duration::from_secs(1);

/// Without a convention for so long after the start, a member goes on alone.
const OFFLINE_AFTER: Duration = Duration::from_secs(12);

/// How long a killed process may take to be gone.
const DYING_LIMIT: Duration = Duration::from_secs(1);
