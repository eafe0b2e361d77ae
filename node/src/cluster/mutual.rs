//! What this node keeps for the work that members do for each other.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use leader::Consensus;
use leader::reconcile::Director;
use protocol::{NodeId, SourceHash};

use super::creation::Fits;
use super::fleet::ClusterFleet;
use super::holdings::Holdings;
use super::invitations::Invitations;
use super::lanes::Lanes;
use super::leadership::LeaderReplica;
use super::neighbours::Neighbours;
use super::packages::{Held, HoldFault};
use super::steps::Ledger;
use crate::agent::fleet::LocalFleet;
use crate::agent::node::Node;

/// State of the cooperation of one node with the others.
#[derive(Debug, Default)]
pub(crate) struct Mutual {
    /// What is known of others' packages, and the progress of loads.
    pub(crate) holdings: Holdings,
    /// Which actors were ordered here.
    pub(crate) ledger: Ledger,
    /// Which classes fit which capabilities, as far as asked.
    pub(crate) fits: Fits,
    /// Set once, right after the node is built: what executes steps here, and what gives them.
    pub(crate) local: OnceLock<Arc<LocalFleet>>,
    pub(crate) fleet: OnceLock<Arc<ClusterFleet>>,
    pub(crate) director: OnceLock<Director<LeaderReplica, ClusterFleet>>,
    /// Whom the router wants links to.
    pub(crate) lanes: Lanes,
    /// Held while this node's log is opened or dropped: one after the other.
    pub(crate) log_changes: tokio::sync::Mutex<()>,
    /// Raft id under which this node, as the leader, has a member open its log just now; 0: none.
    pub(crate) beginning: AtomicU64,
    /// Nodes of the same user on this host that share no convention.
    pub(crate) neighbours: Neighbours,
    /// Systems that actors of this node have invited.
    pub(crate) invitations: Invitations,
    /// Written while this node goes from one convention into another, read while it lets a node
    /// into its own: whoever is let in is let into what stays.
    pub(crate) moving: tokio::sync::RwLock<()>,
    /// The log of a voter to be, until it has caught up.
    pub(crate) learner: Mutex<Option<Arc<Consensus>>>,
    /// Whether this node has left for good and is to forget itself at its stop.
    pub(crate) leaves: AtomicBool,
    leaderless: Mutex<Option<Instant>>,
    // The term in which this node leads, and since when.
    lead: Mutex<Option<(u64, Instant)>>,
}

impl Mutual {
    /// Notes whether a leader is known now; answers since when none is.
    pub(crate) fn note_leader(&self, known: bool) -> Option<Instant> {
        let mut since = self
            .leaderless
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if known {
            *since = None;
        } else {
            since.get_or_insert_with(Instant::now);
        }
        *since
    }

    /// This node is of another convention now, and knows no leader of that one yet: how long the
    /// one before had none says nothing of it.
    pub(crate) fn seek_leader_anew(&self) {
        *self
            .leaderless
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Notes that this node leads in this term, or that it does not lead.
    pub(crate) fn note_lead(&self, term: Option<u64>) {
        let mut lead = self.lead.lock().unwrap_or_else(PoisonError::into_inner);
        match (term, *lead) {
            (Some(term), Some((known, _))) if term == known => {}
            (term, _) => *lead = term.map(|term| (term, Instant::now())),
        }
    }

    /// Since when this node leads, if it does.
    pub(crate) fn leads_since(&self) -> Option<Instant> {
        let lead = self.lead.lock().unwrap_or_else(PoisonError::into_inner);
        lead.map(|(_, since)| since)
    }

    /// Since when no leader is known.
    pub(crate) fn leaderless(&self) -> Option<Instant> {
        *self
            .leaderless
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Gets a package from these members unless it is here; says whether it is trusted.
    pub(crate) async fn hold_package(
        &self,
        hash: SourceHash,
        bytes: Option<u64>,
        holders: &[NodeId],
    ) -> Result<Held, HoldFault> {
        let others: Vec<_> = holders.iter().copied().filter(|n| *n != self.id).collect();
        let peers = &self.membership.peers;
        self.packages.hold(peers, hash, bytes, &others).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_without_a_leader_begins_anew_in_another_convention() {
        let mutual = Mutual::default();
        let since = mutual.note_leader(false);
        assert!(since.is_some());
        assert_eq!(mutual.note_leader(false), since, "still none");
        let moved = Instant::now();
        mutual.seek_leader_anew();
        assert!(mutual.leaderless() >= Some(moved));
        let anew = mutual.leaderless();
        assert_eq!(mutual.note_leader(false), anew, "none of the next one yet");
        assert_eq!(mutual.note_leader(true), None);
    }
}
