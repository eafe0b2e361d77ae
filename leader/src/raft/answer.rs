//! The receiving side: what a voter answers the others.
//!
//! A message says by itself who sent it, and openraft believes it; so the raft id that it claims
//! must be the sender's by the membership here, or by what the node knows otherwise.
//! Not here: how a message got here (the node), what openraft makes of it.

use openraft::raft::AppendEntriesResponse;
use openraft::{AsyncRuntime, ServerState};

use super::consensus::Consensus;
use super::error::FatalError;
use super::message::{self, AnswerFault, Opinion, Reply, Rpc, Sender};
use super::types::{LogId, RaftId, Vote};

impl<R: AsyncRuntime> Consensus<R> {
    /// Answers a message of another voter, which came through its `Peers`.
    ///
    /// # Errors
    /// [`AnswerFault`]: the message is not for this voter, not the sender's own, cannot be read, or
    /// this node stops. Its text belongs into the other side's `CallFault::Refused`.
    pub async fn answer(&self, sender: Sender, message: &[u8]) -> Result<Vec<u8>, AnswerFault> {
        let (from, rpc) = message::read::<R>(self.identity(), message)?;
        self.check_sender(sender, from, &rpc)?;
        let reply = match rpc {
            Rpc::Append(rpc) => {
                let vote = rpc.vote;
                self.hear_known(vote);
                let answer = self.raft.append_entries(rpc).await;
                let answer = answer.map_err(|error| FatalError::of(&error))?;
                if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
                    self.presence.hear();
                }
                Reply::Append(answer)
            }
            Rpc::Vote(rpc) => {
                let answer = self.raft.vote(rpc).await;
                Reply::Vote(answer.map_err(|error| FatalError::of(&error))?)
            }
            Rpc::Snapshot(rpc) => {
                self.hear_known(rpc.vote);
                let answer = self.raft.install_snapshot(rpc).await;
                Reply::Snapshot(match answer {
                    Ok(answer) => Ok(answer),
                    Err(error) => match error.into_api_error() {
                        Some(mismatch) => Err(mismatch),
                        None => return Err(self.stopped().into()),
                    },
                })
            }
            Rpc::Poll { last } => Reply::Poll(self.opinion(from, last)),
            Rpc::Campaign { vote } => Reply::Campaign(self.campaign(vote).await?),
        };
        Ok(message::answer(&reply)?)
    }

    /// Whether the sender may say this: it speaks for itself, and votes as far as is known. Anybody
    /// may ask for an opinion, which changes nothing: that is how a former voter learns what it is.
    fn check_sender(&self, sender: Sender, from: RaftId, rpc: &Rpc<R>) -> Result<(), AnswerFault> {
        let node = sender.node;
        let not_its_own = |claimed| Err(AnswerFault::NotItsOwn { node, claimed });
        let vote = match rpc {
            Rpc::Append(rpc) => rpc.vote,
            Rpc::Vote(rpc) => rpc.vote,
            Rpc::Snapshot(rpc) => rpc.vote,
            Rpc::Campaign { vote } => *vote,
            Rpc::Poll { .. } => return Ok(()),
        };
        if vote.leader_id.node_id != from {
            return not_its_own(vote.leader_id.node_id);
        }
        let metrics = self.raft.server_metrics().borrow().clone();
        let membership = metrics.membership_config.membership();
        match membership.get_node(&from) {
            Some(voter) if voter.node != node => not_its_own(from),
            None if !sender.is_trusted => Err(AnswerFault::Stranger {
                node,
                claimed: from,
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// The leader that this voter follows has spoken, though its message may take a while.
    fn hear_known(&self, vote: Vote) {
        let known = self.raft.server_metrics().borrow().vote;
        if known == vote && vote.is_committed() {
            self.presence.hear();
        }
    }

    fn opinion(&self, candidate: RaftId, last: Option<LogId>) -> Opinion {
        let metrics = self.raft.server_metrics().borrow().clone();
        let membership = &metrics.membership_config;
        let known = membership.voter_ids().any(|voter| voter == candidate);
        if !known && *membership.log_id() > last {
            return Opinion::Removed;
        }
        let leads = metrics.state == ServerState::Leader
            && !self.presence.is_yielding()
            && self.quorum_answers(membership);
        if leads || self.timing.hears(self.presence.heard()) {
            return Opinion::LeaderLives;
        }
        let ours = self.raft.data_metrics().borrow().last_log;
        if last >= ours {
            Opinion::For
        } else {
            Opinion::StaleLog
        }
    }

    /// The leader hands over to this voter.
    async fn campaign(&self, vote: Vote) -> Result<bool, FatalError> {
        let metrics = self.raft.server_metrics().borrow().clone();
        let me = self.identity().raft;
        let asked =
            metrics.vote == vote && metrics.membership_config.voter_ids().any(|it| it == me);
        if asked {
            self.raft.trigger().elect().await?;
        }
        Ok(asked)
    }
}
