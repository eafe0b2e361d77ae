#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod raft;
pub use raft::{
    AppliedEntry, Config, Consensus, FatalError, FileOpenError, Identity, Index, OpenError,
    ProposeError, RaftId, ReadError, Start, Timing, Unavailable, Unconnected, Voter,
};

pub mod reconcile;
