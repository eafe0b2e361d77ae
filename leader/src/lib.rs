#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod raft;
pub use raft::{
    AnswerFault, CallFault, ChangeError, Config, Consensus, FatalError, FileOpenError, Identity,
    Index, OpenError, Peers, ProposeError, RaftId, ReadError, Recovered, RestoreError, Sender,
    Standing, Start, Timing, Unavailable, Unconnected, Voter, found_from, recover,
};

pub mod reconcile;
