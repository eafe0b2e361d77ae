//! What the reconciler needs of the replicated log: propose, read, be told of what was applied.

use std::future::Future;

use openraft::AsyncRuntime;
use protocol::registry::{Command, Outcome, State};
use tokio::sync::watch;

use crate::raft::{Consensus, ProposeError, ReadError};

/// A command that was not committed, or of which that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeFailure {
    /// It was not proposed; trying again is safe.
    #[error("the registry cannot be written now: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// The time ran out: it may or may not be committed.
    #[error("whether the command was committed is unknown: {reason}")]
    Unknown {
        /// Why.
        reason: String,
    },
    /// The node has to stop.
    #[error("the registry's log failed: {reason}")]
    Fatal {
        /// Why.
        reason: String,
    },
}

/// A replica of the registry, with the right to propose.
pub trait Replica: Send + Sync + 'static {
    /// Commits and applies a command; gives its index and what it did.
    fn propose(
        &self,
        command: Command,
    ) -> impl Future<Output = Result<(u64, Outcome), ProposeFailure>> + Send;

    /// Reads the applied state.
    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T;

    /// The last applied index, as it moves.
    fn applied(&self) -> watch::Receiver<u64>;

    /// Whether this node leads, as far as it knows.
    fn leads(&self) -> bool;

    /// Makes reads that follow see everything that was acknowledged anywhere before this call;
    /// fails when this node does not lead, or no longer for sure.
    fn confirm(&self) -> impl Future<Output = Result<(), ProposeFailure>> + Send;
}

impl<R: AsyncRuntime> Replica for Consensus<R> {
    async fn propose(&self, command: Command) -> Result<(u64, Outcome), ProposeFailure> {
        match Self::propose(self, command).await {
            Ok((index, outcome)) => Ok((index.0, outcome)),
            Err(ProposeError::Refused(refusal)) => {
                Ok((*Self::applied(self).borrow(), Outcome::Refused(refusal)))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        Self::read(self, look)
    }

    fn applied(&self) -> watch::Receiver<u64> {
        Self::applied(self)
    }

    fn leads(&self) -> bool {
        self.is_leader()
    }

    async fn confirm(&self) -> Result<(), ProposeFailure> {
        self.linearizable().await?;
        Ok(())
    }
}

impl From<ReadError> for ProposeFailure {
    fn from(error: ReadError) -> Self {
        let reason = error.to_string();
        match error {
            ReadError::Unavailable(_) => Self::Unavailable { reason },
            ReadError::Fatal(_) => Self::Fatal { reason },
        }
    }
}

impl From<ProposeError> for ProposeFailure {
    fn from(error: ProposeError) -> Self {
        let reason = error.to_string();
        match error {
            ProposeError::Refused(_) | ProposeError::Unavailable(_) => Self::Unavailable { reason },
            ProposeError::Unknown { .. } => Self::Unknown { reason },
            ProposeError::Fatal(_) => Self::Fatal { reason },
        }
    }
}
