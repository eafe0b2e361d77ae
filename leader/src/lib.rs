#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod raft;
pub use raft::{
    AnswerFault, AppliedEntry, CallFault, ChangeError, Config, Consensus, FatalError,
    FileOpenError, Identity, Index, OpenError, Peers, ProposeError, RaftId, ReadError, Standing,
    Start, Timing, Unavailable, Unconnected, Voter,
};

pub mod reconcile;
