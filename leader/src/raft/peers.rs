//! How this node reaches the other voters: whoever runs the node carries the bytes.
//!
//! Not here: what the bytes mean (`message`), when a voter is asked what (openraft, `election`),
//! and QUIC; the node implements [`Peers`] over its connections.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::types::Voter;

/// Carries a message to another voter's `Consensus::answer` and brings its answer back.
pub trait Peers: Clone + Send + Sync + 'static {
    /// Asks `voter`. A call may be repeated and may arrive twice; the caller stops waiting after
    /// `within`.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the message sent.
    fn call(
        &self,
        voter: &Voter,
        message: Vec<u8>,
        within: Duration,
    ) -> impl Future<Output = Result<Vec<u8>, CallFault>> + Send;
}

/// Why a call brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallFault {
    /// The voter cannot be reached; it has not got the message.
    #[error("{} cannot be reached", named(.0))]
    Unreachable(Voter),
    /// It may have got the message.
    #[error("{} gave no answer in time", named(.0))]
    Unknown(Voter),
    /// It refuses the message; the text is its `AnswerFault`.
    #[error("refused by the other voter: {0}")]
    Refused(String),
}

fn named(voter: &Voter) -> String {
    format!("voter `{}` at `{}`", voter.node, voter.address)
}

/// Reaches nobody: for a voter that is alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unconnected;

impl Peers for Unconnected {
    async fn call(
        &self,
        voter: &Voter,
        _message: Vec<u8>,
        _within: Duration,
    ) -> Result<Vec<u8>, CallFault> {
        Err(CallFault::Unreachable(voter.clone()))
    }
}

type Called = Pin<Box<dyn Future<Output = Result<Vec<u8>, CallFault>> + Send>>;
type Caller = dyn Fn(Voter, Vec<u8>, Duration) -> Called + Send + Sync;

/// Some [`Peers`], whatever their type: consensus is generic over enough already.
#[derive(Clone)]
pub(crate) struct Calls(Arc<Caller>);

impl Calls {
    pub(crate) fn over<P: Peers>(peers: P) -> Self {
        Self(Arc::new(move |voter, message, within| {
            let peers = peers.clone();
            Box::pin(async move { peers.call(&voter, message, within).await })
        }))
    }

    pub(crate) async fn call(
        &self,
        voter: &Voter,
        message: Vec<u8>,
        within: Duration,
    ) -> Result<Vec<u8>, CallFault> {
        (self.0)(voter.clone(), message, within).await
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Calls")
    }
}
