//! The reconciler: carries out what the registry says is to be done.
//!
//! It asks `convention::work` after every applied index and starts a task for each thing that is
//! not under way. Each is a function of the registry's state, so a new leader, or this one after
//! a restart, goes on where the last one stopped.
//! Not here: what is to be done (`convention`), how a node does its part (`Fleet`).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use convention::{Work, next_moment, work};
use protocol::registry::{Command, Outcome};
use protocol::{SlotId, SourceHash};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

mod fleet;
pub use fleet::{Construct, Fleet, Lost, Preflight, StepKey, StepName};

mod replica;
pub use replica::{ProposeFailure, Replica};

mod director;
pub use director::{Director, LoadOrder, Loaded, OrderError};

mod leave;
pub use leave::{Left, Unloaded};

mod placing;

mod roles;
pub use roles::RoleOrder;

mod rollout;

/// Wait before something that failed for want of a leader is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// Carries out the registry's work on a fleet.
#[derive(Debug)]
pub struct Reconciler<R, F> {
    replica: Arc<R>,
    fleet: Arc<F>,
    hold_limit: Duration,
}

impl<R, F> Clone for Reconciler<R, F> {
    fn clone(&self) -> Self {
        Self {
            replica: Arc::clone(&self.replica),
            fleet: Arc::clone(&self.fleet),
            hold_limit: self.hold_limit,
        }
    }
}

impl<R: Replica, F: Fleet> Reconciler<R, F> {
    /// A reconciler; a rollout's hold may last `hold_limit`.
    #[must_use]
    pub fn new(replica: Arc<R>, fleet: Arc<F>, hold_limit: Duration) -> Self {
        Self {
            replica,
            fleet,
            hold_limit,
        }
    }

    /// Works until it is cancelled.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut applied = self.replica.applied();
        let mut under_way = BTreeSet::new();
        let mut tasks = JoinSet::new();
        let mut items = HashMap::new();
        loop {
            applied.borrow_and_update();
            let now = self.fleet.stamp();
            let (due, next) = self
                .replica
                .read(|state| (work(state, now), next_moment(state, now)));
            for item in due {
                if under_way.insert(item) {
                    let task = tasks.spawn(self.clone().carry_out(item));
                    items.insert(task.id(), item);
                }
            }
            let until_next = next.map_or(Duration::from_secs(3600), |at| {
                Duration::from_millis(at.0.saturating_sub(now.0))
            });
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Some(ended) = tasks.join_next_with_id(), if !tasks.is_empty() => {
                    // One that panicked has its turn again as well.
                    let id = ended.map_or_else(|failed| failed.id(), |(id, ())| id);
                    if let Some(item) = items.remove(&id) {
                        under_way.remove(&item);
                    }
                }
                changed = applied.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(until_next) => {}
            }
        }
    }

    async fn carry_out(self, item: Work) {
        let done = match item {
            Work::Rollout(id) => self.rollout(id).await,
            Work::Restart(slot) => self.restart(slot).await,
            Work::Construct(slot) => self.construct(slot).await,
            Work::Evict(slot) => self.evict(slot).await,
            Work::Extend(hash, position) => self.extend(hash, position).await,
            Work::Drain(hash) => self.drain(hash).await,
        };
        if let Err(failure) = done {
            tracing::warn!(?item, %failure, "work was put off");
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Starts an actor outside of a rollout: constructs it and sends its OnLoad.
    async fn construct(&self, id: SlotId) -> Result<(), ProposeFailure> {
        let Some(order) = self.replica.read(|state| Construct::of(state, id)) else {
            return Ok(());
        };
        let stamp = || self.fleet.stamp();
        let actor = order.actor;
        let command = match self.fleet.construct(&order).await {
            Ok(()) => {
                if let Some(literal) = &order.on_load {
                    let key = StepKey {
                        rollout: None,
                        step: StepName::OnLoad,
                        actor,
                    };
                    // An actor that ended meanwhile is reported by its node.
                    let _ended = self.fleet.deliver(order.node, key, literal).await;
                }
                Command::Started {
                    slot: id,
                    actor,
                    stamp: stamp(),
                }
            }
            Err(failure) => {
                let reason = failure.message.clone();
                tracing::warn!(
                    slot = id.0,
                    class = order.class,
                    reason,
                    "actor did not start"
                );
                Command::Ended {
                    slot: id,
                    actor,
                    reason,
                    stamp: stamp(),
                }
            }
        };
        let (_, outcome) = self.replica.propose(command).await?;
        if outcome == Outcome::Stale {
            // Stopped, or its version was left, while it was constructed.
            self.fleet.discard(order.node, actor).await;
        }
        Ok(())
    }

    async fn drain(&self, hash: SourceHash) -> Result<(), ProposeFailure> {
        use protocol::registry::SourceState::Draining;
        let state = self
            .replica
            .read(|state| state.sources.get(&hash).map(|s| s.state));
        let Some(Draining { now }) = state else {
            return Ok(());
        };
        self.fleet.drain(hash, now).await;
        let stamp = self.fleet.stamp();
        self.replica
            .propose(Command::Forget { hash, stamp })
            .await
            .map(|_| ())
    }
}
