//! Changing who votes: learners, voters, addresses, and handing over the lead.
//!
//! One change at a time; the leader carries it out. What is wanted is decided elsewhere
//! (`convention::voters`).

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use openraft::error::{ChangeMembershipError, ClientWriteError, Fatal, RaftError};
use openraft::raft::ClientWriteResponse;
use openraft::{AsyncRuntime, ChangeMembers, Instant as _, LogIdOptionExt, ServerState};

use super::consensus::Consensus;
use super::error::{FatalError, Unavailable};
use super::message::{self, Rpc};
use super::types::{Index, RaftId, TypeConfig, Voter};

/// Why the voters were not (or perhaps not) changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// This node does not lead, or another change is under way; try again, or elsewhere.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The change makes no sense.
    #[error("the voters cannot be changed so: {reason}; ask for the current voters and try again")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The change may still happen; look at the standing before you try again.
    #[error(
        "the change of the voters was not confirmed within `{waited_ms}` ms; look who votes \
         before you try again"
    )]
    Unknown {
        /// How long it was waited for.
        waited_ms: u64,
    },
    /// Consensus has stopped for good.
    #[error(transparent)]
    Fatal(#[from] FatalError),
}

type Written<R> =
    Result<ClientWriteResponse<TypeConfig<R>>, RaftError<RaftId, ClientWriteError<RaftId, Voter>>>;

impl<R: AsyncRuntime> Consensus<R> {
    /// Has `voter` get the log, without a vote. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn add_learner(&self, raft: RaftId, voter: Voter) -> Result<Index, ChangeError> {
        self.change(self.raft.add_learner(raft, voter, false)).await
    }

    /// How many log entries `raft` lacks; none when this node does not lead, or does not know yet.
    #[must_use]
    pub fn lag(&self, raft: RaftId) -> Option<u64> {
        let metrics = self.raft.data_metrics().borrow().clone();
        let matched = metrics.replication?.get(&raft).copied()?;
        Some(
            metrics
                .last_log
                .next_index()
                .saturating_sub(matched.next_index()),
        )
    }

    /// Whether `raft` neither votes nor learns any more, for good: this node leads, and that it
    /// does not is committed.
    #[must_use]
    pub fn is_out(&self, raft: RaftId) -> bool {
        let metrics = self.raft.server_metrics().borrow().clone();
        let membership = &metrics.membership_config;
        let named = membership.nodes().any(|(known, _)| *known == raft);
        let applied = self.raft.data_metrics().borrow().last_applied;
        metrics.state == ServerState::Leader && !named && applied >= *membership.log_id()
    }

    /// Waits until [`is_out`](Self::is_out) holds; for ever where this node stops before.
    pub async fn until_out(&self, raft: RaftId) {
        let (mut server, mut data) = (self.raft.server_metrics(), self.raft.data_metrics());
        loop {
            server.borrow_and_update();
            data.borrow_and_update();
            if self.is_out(raft) {
                return;
            }
            let moved = tokio::select! {
                moved = server.changed() => moved.is_ok(),
                moved = data.changed() => moved.is_ok(),
            };
            if !moved {
                return std::future::pending().await;
            }
        }
    }

    /// Whether `raft` answers and has the whole log, but for what is on its way.
    #[must_use]
    pub fn caught_up(&self, raft: RaftId) -> bool {
        let near = self.lag(raft).is_some_and(|lag| lag <= CAUGHT_UP_ENTRIES);
        near && (raft == self.identity().raft || self.presence.answers(raft))
    }

    /// Makes exactly `voters` vote, in one joint change. Who comes in must be a learner; who goes
    /// out gets the log no more. A change that a leader left half done is ended by the next one.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn change_voters(&self, voters: BTreeSet<RaftId>) -> Result<Index, ChangeError> {
        self.change(self.raft.change_membership(voters, false))
            .await
    }

    /// Sends a learner no more of the log.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn remove_learner(&self, raft: RaftId) -> Result<Index, ChangeError> {
        let gone = ChangeMembers::RemoveNodes(BTreeSet::from([raft]));
        self.change(self.raft.change_membership(gone, false)).await
    }

    /// Tells all where `raft` can be reached now. The node behind a raft id never changes.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn update_voter_address(
        &self,
        raft: RaftId,
        address: String,
    ) -> Result<Index, ChangeError> {
        let metrics = self.raft.server_metrics().borrow().clone();
        let known = metrics
            .membership_config
            .membership()
            .get_node(&raft)
            .cloned();
        let Some(voter) = known else {
            return Err(ChangeError::Refused {
                reason: format!("raft id `{raft}` is neither voter nor learner"),
            });
        };
        let nodes = BTreeMap::from([(raft, Voter { address, ..voter })]);
        let changed = ChangeMembers::SetNodes(nodes);
        self.change(self.raft.change_membership(changed, true))
            .await
    }

    /// Hands the lead over to the voter whose log is the longest. This node refuses proposals
    /// meanwhile; when nobody takes over it leads on.
    ///
    /// # Errors
    /// [`Unavailable`] when this node does not lead, or nobody took over.
    pub async fn step_down(&self) -> Result<(), Unavailable> {
        self.presence.set_yielding(true);
        let done = R::timeout(HAND_OVER_LIMIT, self.hand_over()).await;
        self.presence.set_yielding(false);
        done.unwrap_or(Err(NOBODY))
    }

    async fn hand_over(&self) -> Result<(), Unavailable> {
        let me = self.identity().raft;
        let metrics = self.raft.server_metrics().borrow().clone();
        if !self.is_leader() {
            return Err(Unavailable::because("this node is not the leader"));
        }
        let membership = metrics.membership_config.membership();
        let mut others: Vec<_> = membership.voter_ids().filter(|it| *it != me).collect();
        others.retain(|raft| self.presence.answers(*raft));
        others.sort_by_key(|raft| self.lag(*raft).unwrap_or(u64::MAX));
        let target = others.first().copied().ok_or(NOBODY)?;
        let voter = membership.get_node(&target).cloned().ok_or(NOBODY)?;
        let mut data = self.raft.data_metrics();
        while self.lag(target) != Some(0) {
            data.changed().await.map_err(|_stopped| NOBODY)?;
        }
        // Until then the others, and this node, hold to the present leader.
        let lease = Duration::from_millis(self.timing.election_min_ms);
        R::sleep_until(R::Instant::now() + lease + lease / 4).await;
        let rpc = Rpc::<R>::Campaign { vote: metrics.vote };
        let message = message::ask(self.identity(), target, &rpc).map_err(|_codec| NOBODY)?;
        if self.is_leader() {
            // Whatever it answers: who leads then is what counts.
            let called = self.calls.call(&voter, message, lease);
            let _ = R::timeout(lease, called).await;
        }
        let other = |leader: Option<RaftId>| leader.is_some_and(|leader| leader != me);
        let mut changes = self.raft.server_metrics();
        while !other(changes.borrow_and_update().current_leader) {
            changes.changed().await.map_err(|_stopped| NOBODY)?;
        }
        // Who asks this node next is not to be told that it still leads.
        let mut standing = self.standing();
        let over = standing.wait_for(|standing| !standing.leads).await;
        over.map(drop).map_err(|_stopped| NOBODY)
    }

    async fn change<F>(&self, write: F) -> Result<Index, ChangeError>
    where
        F: Future<Output = Written<R>> + Send,
    {
        self.check_lead()?;
        let begun = R::Instant::now();
        let Ok(written) = R::timeout(self.propose_limit, write).await else {
            let waited_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            return Err(ChangeError::Unknown { waited_ms });
        };
        let refused = |error: &dyn std::error::Error| ChangeError::Refused {
            reason: error.to_string(),
        };
        match written {
            Ok(response) => Ok(Index(response.log_id.index)),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                Err(Unavailable::from(forward).into())
            }
            Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error))) => match error
            {
                ChangeMembershipError::InProgress(_) => {
                    Err(Unavailable::because("the voters are being changed").into())
                }
                other => Err(refused(&other)),
            },
            Err(RaftError::Fatal(Fatal::Stopped)) => Err(super::consensus::STOPPED.into()),
            Err(RaftError::Fatal(fatal)) => Err(FatalError::from(fatal).into()),
        }
    }
}

/// Entries that may be on their way while a candidate counts as caught up.
const CAUGHT_UP_ENTRIES: u64 = 100;

/// How long a leader that hands over refuses proposals at most.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(3);

const NOBODY: Unavailable = Unavailable {
    reason: "no other voter took over the lead",
    not_leader: None,
};
