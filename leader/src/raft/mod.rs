//! openraft over one redb file: the map.

mod config;
pub use config::{Config, Start, Timing};

mod consensus;
pub use consensus::Consensus;

mod error;
pub use error::{FatalError, OpenError, ProposeError, ReadError, Unavailable};

mod types;
pub use types::{Index, RaftId, TypeConfig, Voter};

mod batch;

mod machine;

mod recent;
pub use recent::AppliedEntry;

mod snapshot;

mod log;

mod file;
pub use file::{FileOpenError, Identity};

mod network;
pub use network::{NoConnection, Unconnected};

#[cfg(test)]
mod suite;

#[cfg(test)]
mod quorum;

#[cfg(test)]
mod stored;
