//! The relay: every packet between two nodes passes it, and each direction has its weather.
//!
//! Each node advertises a *front* of the relay. Who sends to a front is known by its address; the
//! packet goes on from a *back* socket of that sender's own, so that the node behind the front can
//! answer the same way. A node that dials is so heard in both directions of the pair.
//! Not here: what the weather does to a packet (`weather`).

mod weather;
pub use weather::Weather;

mod sky;
pub use sky::{Passed, Sky};

mod front;
use front::Front;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};

use crate::block::Block;
use crate::name::Node;

/// Finds where a node listens now.
pub type Whereabouts = Arc<dyn Fn(Node) -> Option<SocketAddr> + Send + Sync>;

/// A relay with one front for each node, on a thread of its own; dropped, it ends.
pub struct Relay {
    sky: Arc<Sky>,
    fronts: Vec<Front>,
    runtime: Option<Runtime>,
}

impl Relay {
    /// Opens a front for each of the first `count` nodes of the block.
    ///
    /// # Errors
    /// The system's, when a socket cannot be bound.
    pub fn open(block: Block, count: usize, seed: u64, find: Whereabouts) -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder
            .worker_threads(1)
            .thread_name("relay")
            .enable_all()
            .build()?;
        let sky = Arc::new(Sky::new(seed));
        let open = |index| {
            let (sky, find) = (Arc::clone(&sky), Arc::clone(&find));
            runtime.block_on(Front::open(block.clone(), Node(index), sky, find))
        };
        let fronts = (0..count).map(open).collect::<io::Result<_>>()?;
        Ok(Self {
            sky,
            fronts,
            runtime: Some(runtime),
        })
    }

    /// The address that a node advertises.
    ///
    /// # Panics
    /// When the relay has no front for it.
    #[must_use]
    pub fn front(&self, node: Node) -> SocketAddr {
        self.fronts[node.0].address()
    }

    /// Weather and counts of all directions.
    #[must_use]
    pub fn sky(&self) -> &Sky {
        &self.sky
    }

    /// Gives everything that `from` sends to `to` another source address, as a NAT that forgot.
    pub fn rebind(&self, from: Node, to: Node) {
        self.fronts[to.0].forget(from);
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").finish_non_exhaustive()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
