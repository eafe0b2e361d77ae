//! What all parts of a running agent share.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use leader::Consensus;
use leader::reconcile::Director;
use protocol::{ActorId, Incarnation, NodeId, Stamp};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::actors::Actors;
use super::fleet::LocalFleet;
use super::leftovers::Pins;
use super::sources::Sources;
use crate::authority::SourceAuthority;
use crate::directory::{Directory, Settings};
use crate::hosting::Hosting;
use crate::router::{RouterHandle, Serials};
use crate::store::PackageStore;

/// The parts of a node; one per process, shared by its tasks.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) port: u16,
    pub(super) directory: Directory,
    pub(super) settings: Settings,
    pub(super) warnings: Vec<String>,
    pub(super) authority: SourceAuthority,
    pub(super) store: PackageStore,
    pub(super) sources: Sources,
    pub(super) hosting: Hosting,
    pub(super) router: RouterHandle,
    pub(super) serials: Arc<Serials>,
    pub(super) actors: Actors,
    pub(super) pins: Pins,
    pub(super) replica: Arc<Consensus>,
    /// Set once, right after the fleet has been built over this node.
    pub(super) director: OnceLock<Director<Consensus, LocalFleet>>,
    pub(super) tasks: TaskTracker,
    pub(super) patience: Patience,
    pub(super) shutdown: CancellationToken,
}

/// How long a node waits for actors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For the actors of an old version, while a rollout holds its group's messages.
    pub hold: Duration,
    /// For an actor to handle its exit request, before it is killed.
    pub exit: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(30),
            exit: Duration::from_secs(10),
        }
    }
}

impl Node {
    /// A fresh address for a top-level actor.
    pub(super) fn fresh_actor(&self) -> ActorId {
        ActorId::allot(self.incarnation, self.serials.single())
    }

    /// The capabilities of this node, a dictionary literal.
    pub(super) fn capabilities(&self) -> String {
        self.sources.capabilities()
    }
}

/// The wall clock.
pub(super) fn stamp() -> Stamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Stamp(since.as_millis() as u64)
}
