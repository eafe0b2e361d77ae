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

mod snapshot;

mod log;

mod file;
pub use file::{FileOpenError, Identity};

mod members;
pub use members::ChangeError;

mod restore;
pub use restore::{Recovered, RestoreError, found_from, recover};

mod standing;
pub use standing::Standing;

mod election;

mod presence;

mod peers;
pub use peers::{CallFault, Peers, Unconnected};

mod message;
pub use message::{AnswerFault, MESSAGE_VERSION, Sender};

mod answer;

mod network;

#[cfg(test)]
mod suite;

#[cfg(test)]
mod stored;
