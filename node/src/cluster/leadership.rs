//! What runs only while this node leads: the reconciler, and the care for voters and packages.
//!
//! Begun when the lead is won, dropped at once when it is lost or won anew in another term; the
//! registry says to whoever leads next where to go on.

use std::sync::Arc;
use std::time::Duration;

use leader::reconcile::{Director, ProposeFailure, Reconciler, Replica};
use protocol::registry::{Command, MemberState, Outcome, State};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::fleet::ClusterFleet;
use super::registry::RegistryHandle;
use super::{rotation, start, voters};
use crate::agent::fleet::LocalFleet;
use crate::agent::node::Node;

/// The registry as a leader writes it: what it proposes is never forwarded to the next one.
#[derive(Debug, Clone)]
pub(crate) struct LeaderReplica {
    registry: Arc<RegistryHandle>,
}

impl LeaderReplica {
    /// Over this node's registry.
    pub(crate) fn new(registry: Arc<RegistryHandle>) -> Self {
        Self { registry }
    }
}

impl Replica for LeaderReplica {
    async fn propose(&self, command: Command) -> Result<(u64, Outcome), ProposeFailure> {
        match self.registry.consensus() {
            Some(consensus) => Replica::propose(&*consensus, command).await,
            None => Err(ProposeFailure::Unavailable {
                reason: "this node is not the leader".to_owned(),
            }),
        }
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.registry.read(look)
    }

    fn applied(&self) -> watch::Receiver<u64> {
        self.registry.applied()
    }

    fn leads(&self) -> bool {
        self.registry.standing().borrow().leads
    }

    async fn confirm(&self) -> Result<(), ProposeFailure> {
        Replica::confirm(&*self.registry).await
    }
}

/// Builds what gives orders and what carries them out; once, before anything is asked.
pub(crate) fn equip(node: &Arc<Node>) {
    let bound = node.membership.bound.subscribe();
    let local = Arc::new(LocalFleet::new(Arc::clone(node), bound));
    let fleet = Arc::new(ClusterFleet::new(Arc::clone(node), Arc::clone(&local)));
    let replica = LeaderReplica::new(Arc::clone(&node.membership.registry));
    let director = Director::new(Arc::new(replica), Arc::clone(&fleet));
    let first = node.mutual.local.set(local).is_ok()
        && node.mutual.fleet.set(fleet).is_ok()
        && node.mutual.director.set(director).is_ok();
    assert!(first, "a node is equipped once, right after it was made");
}

/// What carries out the registry's work on this node while it is without its convention.
pub(crate) async fn run_offline(node: Arc<Node>) {
    let Some(local) = node.mutual.local.get().cloned() else {
        return;
    };
    let registry = Arc::clone(&node.membership.registry);
    let reconciler = Reconciler::new(registry, local, node.patience.hold);
    start::reconcile(node, reconciler).await;
}

/// Leads whenever this node is the leader, until shutdown.
pub(crate) async fn run(node: Arc<Node>) {
    let mut standing = node.membership.registry.standing();
    loop {
        let now = standing.borrow_and_update().clone();
        let another = now
            .leader
            .as_ref()
            .is_some_and(|(leader, _)| *leader != node.id);
        node.mutual.note_leader(now.leads || another);
        node.mutual.note_lead(now.leads.then_some(now.term));
        if now.leads {
            tracing::info!(term = now.term, "this node leads");
            let lead = node.shutdown.child_token();
            let mut work = begin(&node, &lead);
            let over = standing.wait_for(|s| !s.leads || s.term != now.term);
            let _over = node.shutdown.run_until_cancelled(over).await.map(drop);
            lead.cancel();
            while work.join_next().await.is_some() {}
            if node.shutdown.is_cancelled() {
                return;
            }
            tracing::info!(term = now.term, "this node leads no longer");
            continue;
        }
        let changed = standing.changed();
        match node.shutdown.run_until_cancelled(changed).await {
            Some(Ok(())) => {}
            Some(Err(_)) | None => return,
        }
    }
}

/// Waits until this new leader has applied all that earlier ones had committed. Before that its
/// registry may stand where a rollout, or a member, no longer is.
pub(super) async fn settled(node: &Node) {
    while node.membership.registry.confirm().await.is_err() {
        tokio::time::sleep(SETTLE_AGAIN).await;
    }
}

/// Between two attempts.
const SETTLE_AGAIN: Duration = Duration::from_millis(20);

/// Has this node deliver nothing by role or name any more, as it stops: once the others know that
/// they do not wait for what it has applied. Alone it serves to the end.
pub(crate) async fn serve_no_roles(node: &Node) {
    let others = |state: &State| {
        let mut members = state.members.iter();
        members.any(|(id, member)| *id != node.id && member.state == MemberState::Up)
    };
    if !node.replica.read(others) {
        return;
    }
    let mut serves = node.membership.serves.subscribe();
    node.membership.lease.stop();
    let held = tokio::time::timeout(HOLD_LIMIT, serves.wait_for(|serves| !serves));
    if held.await.is_err() {
        tracing::warn!("roles are served while the node stops: its router is busy");
    }
}

/// Resolves when nobody has led for longer than an election takes, as far as this node knows.
pub(crate) async fn leaderless(node: &Node) {
    let mut standing = node.membership.registry.standing();
    loop {
        let now = standing.borrow_and_update().clone();
        let me = now
            .leader
            .as_ref()
            .is_some_and(|(leader, _)| *leader == node.id);
        let changed = standing.changed();
        if now.leads || (now.leader.is_some() && !me) {
            if changed.await.is_err() {
                return;
            }
            continue;
        }
        let since = node.mutual.leaderless().map(|since| since.elapsed());
        let left = NOBODY_LEADS.saturating_sub(since.unwrap_or_default());
        if tokio::time::timeout(left, changed).await.is_err() {
            return;
        }
    }
}

/// How long the router may take to hold roles back at a stop.
const HOLD_LIMIT: Duration = Duration::from_secs(1);

/// Longer than an election takes.
const NOBODY_LEADS: Duration = Duration::from_millis(1_500);

/// Lets another voter lead, if there is one, so that nobody has to wait for an election.
pub(crate) async fn hand_over(node: &Node) {
    let consensus = node.replica.consensus().filter(|log| log.is_leader());
    let Some(consensus) = consensus else {
        return;
    };
    let alone = consensus.standing().borrow().voters.len() < 2;
    if !alone && let Err(failure) = consensus.step_down().await {
        tracing::info!(%failure, "the lead is not handed over");
    }
}

fn begin(node: &Arc<Node>, lead: &CancellationToken) -> JoinSet<()> {
    let mut work = JoinSet::new();
    let Some(fleet) = node.mutual.fleet.get() else {
        return work;
    };
    let replica = Arc::new(LeaderReplica::new(Arc::clone(&node.membership.registry)));
    let reconciler = Reconciler::new(replica, Arc::clone(fleet), node.patience.hold);
    let (settling, over) = (Arc::clone(node), lead.clone());
    work.spawn(async move {
        if over.run_until_cancelled(settled(&settling)).await.is_some() {
            reconciler.run(over).await;
        }
    });
    let (telling, over) = (Arc::clone(fleet), lead.clone());
    work.spawn(async move {
        let _over = over.run_until_cancelled(telling.tell_of_lead()).await;
    });
    let (rotating, over) = (Arc::clone(node), lead.clone());
    work.spawn(async move {
        let kept = rotation::keep(&rotating);
        let _over = over.run_until_cancelled(kept).await;
    });
    let (keeping, lead) = (Arc::clone(node), lead.clone());
    let fleet = Arc::clone(fleet);
    work.spawn(async move {
        let kept = voters::keep(&keeping, &fleet);
        let _over = lead.run_until_cancelled(kept).await;
    });
    work
}
