//! openraft's network over [`Peers`]: its rpcs as messages, with time limits of their own.
//!
//! openraft takes its time limits from the heartbeat interval, and has one ticker for everything
//! that can be slowed, but not stopped; a voter that is alone must be silent. So openraft's
//! interval is an hour, `election` sends the heartbeats, and the limits are here.
//! Not here: the bytes (`message`), who carries them (`peers`).

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{
    InstallSnapshotError, NetworkError, PayloadTooLarge, RPCError, RaftError, RemoteError,
    Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{AsyncRuntime, Instant as _};

use super::config::Timing;
use super::file::Identity;
use super::message::{self, MESSAGE_BYTES_MAX, Reply, Rpc};
use super::peers::{CallFault, Calls};
use super::presence::Presence;
use super::types::{LogId, RaftId, TypeConfig, Vote, Voter};

/// Makes a [`Line`] to each voter.
#[derive(Debug)]
pub(crate) struct Network<R: AsyncRuntime> {
    pub(crate) ours: Identity,
    pub(crate) calls: Calls,
    pub(crate) presence: Arc<Presence<R>>,
    pub(crate) timing: Timing,
}

/// The way to one voter.
#[derive(Debug)]
pub(crate) struct Line<R: AsyncRuntime> {
    ours: Identity,
    calls: Calls,
    presence: Arc<Presence<R>>,
    timing: Timing,
    to: RaftId,
    voter: Voter,
    runtime: PhantomData<fn() -> R>,
}

type CallError<E> = RPCError<RaftId, Voter, E>;

/// The answer to another question than was asked: never seen, since a stream has one of each.
#[derive(Debug, thiserror::Error)]
#[error("voter {0} answers another question")]
struct Astray(RaftId);

/// Its log is shorter than it said before in this very term.
#[derive(Debug, thiserror::Error)]
#[error(
    "voter {0} has lost log entries that it had confirmed; was an old copy of its file restored? \
     Remove it from the voters and let the node join anew"
)]
struct LostLog(RaftId);

impl<R: AsyncRuntime> Line<R> {
    async fn call<E>(&self, rpc: &Rpc<R>, within: Duration) -> Result<Reply, CallError<E>>
    where
        E: std::error::Error,
    {
        let message = message::ask(self.ours, self.to, rpc);
        let message = message.map_err(|error| RPCError::Unreachable(Unreachable::new(&error)))?;
        self.send(message, within).await
    }

    async fn send<E>(&self, message: Vec<u8>, within: Duration) -> Result<Reply, CallError<E>>
    where
        E: std::error::Error,
    {
        let call = self.calls.call(&self.voter, message, within);
        let called = R::timeout(within, call).await;
        match called {
            Ok(Ok(bytes)) => message::read_answer(&bytes)
                .map_err(|error| RPCError::Unreachable(Unreachable::new(&error))),
            // After these openraft waits before it tries again.
            Ok(Err(fault)) => Err(RPCError::Unreachable(Unreachable::new(&fault))),
            // Here it has waited already.
            Err(_elapsed) => Err(RPCError::Network(NetworkError::new(&CallFault::Unknown(
                self.voter.clone(),
            )))),
        }
    }

    fn astray<E: std::error::Error>(&self) -> CallError<E> {
        RPCError::Unreachable(Unreachable::new(&Astray(self.to)))
    }

    /// Notes what the answer says of this leader's lead.
    fn note(
        &self,
        vote: Vote,
        (before, after): (Option<LogId>, Option<LogId>),
        sent: R::Instant,
        answer: &AppendEntriesResponse<RaftId>,
    ) -> Result<(), LostLog> {
        let upto = match answer {
            AppendEntriesResponse::Success => after,
            AppendEntriesResponse::PartialSuccess(upto) => *upto,
            AppendEntriesResponse::Conflict => {
                if self.presence.has_lost(self.to, vote, before) {
                    return Err(LostLog(self.to));
                }
                None
            }
            AppendEntriesResponse::HigherVote(_) => return Ok(()),
        };
        self.presence.matched(self.to, vote, upto);
        self.presence.acknowledge(self.to, vote, sent);
        Ok(())
    }
}

impl<R: AsyncRuntime> RaftNetworkFactory<TypeConfig<R>> for Network<R> {
    type Network = Line<R>;

    async fn new_client(&mut self, target: RaftId, node: &Voter) -> Line<R> {
        Line {
            ours: self.ours,
            calls: self.calls.clone(),
            presence: Arc::clone(&self.presence),
            timing: self.timing,
            to: target,
            voter: node.clone(),
            runtime: PhantomData,
        }
    }
}

impl<R: AsyncRuntime> RaftNetwork<TypeConfig<R>> for Line<R> {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig<R>>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<RaftId>, CallError<RaftError<RaftId>>> {
        let (vote, before, count) = (rpc.vote, rpc.prev_log_id, rpc.entries.len());
        let after = rpc.entries.last().map(|entry| entry.log_id).or(before);
        let message = message::ask(self.ours, self.to, &Rpc::Append(rpc));
        let message = message.map_err(|error| RPCError::Unreachable(Unreachable::new(&error)))?;
        if message.len() > MESSAGE_BYTES_MAX && count > 1 {
            let half = u64::try_from(count / 2).unwrap_or(1);
            return Err(PayloadTooLarge::new_entries_hint(half).into());
        }
        let sent = R::Instant::now();
        let reply = self.send(message, self.timing.append_limit(count)).await?;
        let Reply::Append(answer) = reply else {
            return Err(self.astray());
        };
        match self.note(vote, (before, after), sent, &answer) {
            Ok(()) => Ok(answer),
            Err(lost) => {
                tracing::error!(voter = %self.to, error = %lost, "voter refused");
                Err(RPCError::Unreachable(Unreachable::new(&lost)))
            }
        }
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<TypeConfig<R>>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<RaftId>, CallError<RaftError<RaftId, InstallSnapshotError>>>
    {
        let (vote, upto, done) = (rpc.vote, rpc.meta.last_log_id, rpc.done);
        let sent = R::Instant::now();
        match self.call(&Rpc::Snapshot(rpc), option.hard_ttl()).await? {
            Reply::Snapshot(Ok(answer)) => {
                if answer.vote <= vote {
                    self.presence.acknowledge(self.to, vote, sent);
                    if done {
                        self.presence.matched(self.to, vote, upto);
                    }
                }
                Ok(answer)
            }
            Reply::Snapshot(Err(error)) => Err(RPCError::RemoteError(RemoteError::new(
                self.to,
                RaftError::APIError(error),
            ))),
            _ => Err(self.astray()),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<RaftId>,
        option: RPCOption,
    ) -> Result<VoteResponse<RaftId>, CallError<RaftError<RaftId>>> {
        let vote = rpc.vote;
        let sent = R::Instant::now();
        match self.call(&Rpc::Vote(rpc), option.hard_ttl()).await? {
            Reply::Vote(answer) => {
                if answer.vote_granted && answer.vote == vote {
                    self.presence.acknowledge(self.to, vote, sent);
                }
                Ok(answer)
            }
            _ => Err(self.astray()),
        }
    }

    /// Waits longer with each failure in a row, so that a dead voter costs and logs little.
    fn backoff(&self) -> Backoff {
        let first = Duration::from_millis(self.timing.heartbeat_ms);
        let next = move |wait: &Duration| Some(wait.saturating_mul(2).min(first * 10));
        Backoff::new(std::iter::successors(Some(first), next))
    }
}
