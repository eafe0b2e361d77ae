//! What an endpoint is told when it is bound, and the kinds of its connections.

use std::fmt;
use std::time::Duration;

use protocol::wire::{About, WIRE_VERSION, WIRE_VERSION_OLDEST};

/// Kind of a connection, agreed in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alpn {
    /// `convention/1`: control, with heartbeats, raft and requests.
    Convention,
    /// `lane/1`: messages of actors.
    Lane,
    /// `bulk/1`: packages.
    Bulk,
    /// `join/1`: the only one without a client certificate, or with an expired one (renewal).
    Join,
}

impl Alpn {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Convention, Self::Lane, Self::Bulk, Self::Join];

    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Convention => "convention/1",
            Self::Lane => "lane/1",
            Self::Bulk => "bulk/1",
            Self::Join => "join/1",
        }
    }

    pub(crate) fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|alpn| alpn.name().as_bytes() == name)
    }
}

impl fmt::Display for Alpn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Protocol versions that a node speaks, oldest to newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// The oldest.
    pub oldest: u16,
    /// The newest.
    pub newest: u16,
}

impl Default for Versions {
    /// Those of this build: its own and the one before.
    fn default() -> Self {
        Self {
            oldest: WIRE_VERSION_OLDEST,
            newest: WIRE_VERSION,
        }
    }
}

/// What an endpoint is told when it is bound.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the node says of itself on each connection.
    pub about: About,
    /// Protocol versions that it speaks.
    pub versions: Versions,
    /// Silence after which a connection counts as lost.
    pub idle: Duration,
    /// How often a dialler keeps its control connections and lanes alive.
    pub keep_alive: Duration,
    /// From the first packet to the end of the first exchange.
    pub handshake_within: Duration,
    /// Whether the kernel cuts large sends into packets: faster, broken on some network cards.
    pub segmentation_offload: bool,
}

impl Settings {
    /// The defaults, with what the node says of itself.
    #[must_use]
    pub fn new(about: About) -> Self {
        Self {
            about,
            versions: Versions::default(),
            idle: Duration::from_secs(20),
            keep_alive: Duration::from_secs(5),
            handshake_within: Duration::from_secs(10),
            segmentation_offload: true,
        }
    }
}
