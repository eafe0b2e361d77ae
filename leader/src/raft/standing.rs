//! What a node knows of the lead, as it is published.

use std::collections::BTreeMap;

use openraft::metrics::RaftServerMetrics;
use openraft::{AsyncRuntime, ServerState};

use super::presence::Presence;
use super::types::{RaftId, Voter};

/// What a node knows of the lead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The leader; none while none is heard.
    pub leader: Option<Voter>,
    /// Whether this node leads, and a majority of the voters has answered it within the election
    /// time-out: an old leader may still say so for that long while a new one leads already.
    pub leads: bool,
    /// The term, which never falls. Only together with the leader it names a leadership: openraft
    /// lets one leader follow another in the same term.
    pub term: u64,
    /// The voters; while they are being changed those of both sides.
    pub voters: BTreeMap<RaftId, Voter>,
    /// Voters to be: they get the log and do not vote.
    pub learners: BTreeMap<RaftId, Voter>,
    /// Another voter said that this one was removed: its file is of no more use.
    pub removed: bool,
}

type Metrics = RaftServerMetrics<RaftId, Voter>;

impl Standing {
    pub(crate) fn of<R: AsyncRuntime>(
        me: RaftId,
        metrics: &Metrics,
        presence: &Presence<R>,
        (hears, removed): (bool, bool),
    ) -> Self {
        let membership = metrics.membership_config.membership();
        let (mut voters, mut learners) = (BTreeMap::new(), BTreeMap::new());
        for (raft, voter) in membership.nodes() {
            let is_voter = membership.voter_ids().any(|it| it == *raft);
            let side = if is_voter { &mut voters } else { &mut learners };
            side.insert(*raft, voter.clone());
        }
        let leads = metrics.state == ServerState::Leader
            && voters.contains_key(&me)
            && !presence.is_yielding()
            && presence.quorum_answers(me, &metrics.membership_config);
        let leader = match metrics.current_leader {
            Some(leader) if leader == me => leads.then_some(me),
            Some(leader) => hears.then_some(leader),
            None => None,
        };
        let named = |leader| membership.get_node(&leader).cloned();
        Self {
            leader: leader.and_then(named),
            leads,
            term: metrics.vote.leader_id().term,
            removed: removed && leader.is_none(),
            voters,
            learners,
        }
    }
}
