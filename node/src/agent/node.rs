//! What all parts of a running agent share.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::{ActorId, Incarnation, NodeId, Stamp};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::actors::Actors;
use super::applications::Applications;
use super::leftovers::Pins;
use super::sources::Sources;
use crate::authority::SourceAuthority;
use crate::cluster::membership::Membership;
use crate::cluster::mutual::Mutual;
use crate::cluster::packages::Packages;
use crate::cluster::registry::RegistryHandle;
use crate::cluster::warnings::Warnings;
use crate::directory::{Directory, Settings};
use crate::hosting::Hosting;
use crate::router::{RouterHandle, Serials};
use crate::store::PackageStore;

/// The parts of a node; one per process, shared by its tasks.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) port: u16,
    pub(crate) directory: Directory,
    pub(crate) settings: Settings,
    pub(crate) warnings: Vec<String>,
    pub(crate) authority: SourceAuthority,
    pub(crate) store: PackageStore,
    pub(crate) sources: Sources,
    pub(crate) hosting: Hosting,
    pub(crate) router: RouterHandle,
    pub(crate) serials: Arc<Serials>,
    pub(crate) actors: Actors,
    pub(super) applications: Applications,
    pub(crate) pins: Pins,
    pub(crate) packages: Arc<Packages>,
    pub(crate) membership: Arc<Membership>,
    /// The membership's registry.
    pub(crate) replica: Arc<RegistryHandle>,
    pub(crate) mutual: Mutual,
    /// What the leader's log is to have as well.
    pub(crate) for_leader: Warnings,
    pub(crate) tasks: TaskTracker,
    /// Requests that are being answered: whoever asked hears how it ended before the node ends.
    pub(crate) answering: TaskTracker,
    pub(crate) patience: Patience,
    /// It was asked to stop: what it owes the convention comes first, others are answered still.
    pub(crate) stop: CancellationToken,
    /// It stops: no task goes on.
    pub(crate) shutdown: CancellationToken,
}

/// How long a node waits for actors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For the actors of an old version, while a rollout holds its group's messages.
    pub hold: Duration,
    /// For an actor to handle its exit request, before it is killed.
    pub exit: Duration,
    /// For an application's source authority to answer.
    pub authority: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(30),
            exit: Duration::from_secs(10),
            authority: Duration::from_secs(120),
        }
    }
}

impl Node {
    /// A fresh address for a top-level actor.
    pub(crate) fn fresh_actor(&self) -> ActorId {
        ActorId::allot(self.incarnation, self.serials.single())
    }

    /// The capabilities of this node, a dictionary literal.
    pub(crate) fn capabilities(&self) -> String {
        self.sources.capabilities()
    }
}

/// The wall clock.
pub(crate) fn stamp() -> Stamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Stamp(since.as_millis() as u64)
}
