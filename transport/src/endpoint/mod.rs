//! Endpoint: one UDP port of a node, for dialling and for being dialled.
//!
//! Mutual TLS on every connection but `join/1`; nothing resumes a session and nothing is sent
//! before the handshake is done. A connection exists for its owner only after its peer's
//! certificate, the owner's callback and the first exchange have all agreed.
//! Not here: reconnecting with jitter, leases, which node to dial (`node`).

use std::collections::BTreeMap;
use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use protocol::wire::{About, Refusal};
use protocol::{ConventionId, NodeId};
use quinn::{EndpointConfig, TokioRuntime, VarInt};

mod settings;
pub use settings::{Alpn, Settings, Versions};

mod configs;

mod live;
pub(crate) use live::Live;

mod arrival;
pub use arrival::{Arrival, Rejected, RejectedBy};

mod dial;
pub use dial::{DialFault, JoinTrust};

use crate::connection::close_code;
use crate::credentials::CredentialsCell;

/// Asked for every connection and every accepted stream: may this node do this, now?
///
/// It is called on the runtime's threads and must answer from memory.
pub type Authorise =
    dyn Fn(NodeId, ConventionId, Alpn) -> Result<(), Refusal> + Send + Sync + 'static;

/// A bound endpoint; clones are the same endpoint.
#[derive(Clone)]
pub struct Endpoint {
    quic: quinn::Endpoint,
    shared: Arc<Shared>,
}

/// What the endpoint's connections have in common.
pub(crate) struct Shared {
    pub(crate) credentials: Arc<CredentialsCell>,
    pub(crate) authorise: Arc<Authorise>,
    pub(crate) settings: Settings,
    pub(crate) live: Arc<Live>,
    arriving: AtomicUsize,
    // As `settings.about` has it at first; it is known for sure only once the port is bound.
    recoveries: AtomicU64,
}

impl Shared {
    /// What this node says of itself on connections that begin now.
    pub(crate) fn about(&self) -> About {
        let recoveries = self.recoveries.load(Ordering::Relaxed);
        About {
            recoveries,
            ..self.settings.about.clone()
        }
    }
}

/// The endpoint cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot bind UDP port `{address}`; is another node running there?")]
pub struct BindFault {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

impl Endpoint {
    /// Binds a UDP port; port 0 takes a free one. Needs a running tokio runtime.
    ///
    /// # Errors
    /// [`BindFault`].
    pub fn bind(
        address: SocketAddr,
        credentials: Arc<CredentialsCell>,
        authorise: Arc<Authorise>,
        settings: Settings,
    ) -> Result<Self, BindFault> {
        let fault = |source| BindFault { address, source };
        let socket = UdpSocket::bind(address).map_err(fault)?;
        let runtime = Arc::new(TokioRuntime);
        // The acceptor's side is chosen per connection, on arrival; this only opens the door.
        let door = configs::door().map_err(|cause| fault(std::io::Error::other(cause)))?;
        let quic = quinn::Endpoint::new(EndpointConfig::default(), Some(door), socket, runtime)
            .map_err(fault)?;
        let shared = Arc::new(Shared {
            credentials,
            authorise,
            recoveries: AtomicU64::new(settings.about.recoveries),
            settings,
            live: Arc::default(),
            arriving: AtomicUsize::new(0),
        });
        Ok(Self { quic, shared })
    }

    /// From now on connections say that the convention was recovered so often.
    pub fn set_recoveries(&self, recoveries: u64) {
        self.shared.recoveries.store(recoveries, Ordering::Relaxed);
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.quic.local_addr()
    }

    /// The next connection that somebody dials; `None` once the endpoint is closed.
    ///
    /// The owner runs [`Arrival::establish`] in a task of its own: a slow dialler delays nobody.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped.
    pub async fn accept(&self) -> Option<Arrival> {
        loop {
            let incoming = self.quic.accept().await?;
            let crowded = self.shared.arriving.load(Ordering::Relaxed) >= ARRIVING_UNPROVEN_MAX;
            if crowded && !incoming.remote_address_validated() {
                // A forged sender address costs one packet; an honest dialler comes back.
                let _cannot_fail_unvalidated = incoming.retry();
                continue;
            }
            return Some(Arrival::new(incoming, Arc::clone(&self.shared)));
        }
    }

    /// Closes every live connection of a node and answers how many there were.
    ///
    /// The peer learns the reason at once; its streams end on both sides.
    pub fn close_node(&self, node: NodeId, refusal: &Refusal) -> usize {
        let connections = self.shared.live.of_node(node);
        for connection in &connections {
            close(connection, refusal);
        }
        connections.len()
    }

    /// Live connections per node.
    #[must_use]
    pub fn live_nodes(&self) -> BTreeMap<NodeId, usize> {
        self.shared.live.count()
    }

    /// Closes all connections, accepts none any more, and waits until the peers can know.
    pub async fn close(&self, refusal: &Refusal) {
        self.quic.close(code_of(refusal), reason_of(refusal));
        self.quic.wait_idle().await;
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("address", &self.quic.local_addr().ok())
            .field("live", &self.live_nodes())
            .finish_non_exhaustive()
    }
}

/// Closes a connection for this reason, which the peer reads.
pub(crate) fn close(connection: &quinn::Connection, refusal: &Refusal) {
    connection.close(code_of(refusal), reason_of(refusal));
}

fn code_of(refusal: &Refusal) -> VarInt {
    close_code(refusal.code)
}

/// The text, cut so that it fits into one packet with its frame.
fn reason_of(refusal: &Refusal) -> &[u8] {
    let bytes = refusal.text.as_bytes();
    bytes.get(..REASON_BYTES_MAX).unwrap_or(bytes)
}

/// A close is one packet of at least 1200 bytes; longer reasons would be cut by quinn.
const REASON_BYTES_MAX: usize = 900;

/// Handshakes under way above which a dialler first proves its address.
const ARRIVING_UNPROVEN_MAX: usize = 64;
