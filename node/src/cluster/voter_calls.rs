//! The consensus' way to the other voters: its messages as requests between members.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use leader::{CallFault, Peers as Calls, Voter};
use protocol::NodeId;
use protocol::peer::{PeerRequest, PeerResponse};
use protocol::wire::RefusalCode;

use super::peers::{PeerFault, Peers, WeakPeers};

/// Carries messages of the consensus; does not keep the connections alive.
#[derive(Debug, Clone)]
pub(crate) struct VoterCalls(Arc<WeakPeers>);

impl VoterCalls {
    /// Over these members' connections.
    pub(crate) fn new(peers: &Peers) -> Self {
        Self(Arc::new(peers.downgrade()))
    }
}

impl Calls for VoterCalls {
    async fn call(
        &self,
        voter: &Voter,
        message: Vec<u8>,
        within: Duration,
    ) -> Result<Vec<u8>, CallFault> {
        let unreachable = || CallFault::Unreachable(voter.clone());
        let peers = self.0.upgrade().ok_or_else(unreachable)?;
        let request = PeerRequest::Raft { message };
        match peers.ask_at(voter, &request, within).await {
            Ok(PeerResponse::Raft { message }) => {
                peers.logless().forget(voter.node);
                Ok(message)
            }
            Ok(_) => Err(CallFault::Refused("an answer of another kind".to_owned())),
            Err(PeerFault::Refused(refusal))
                if refusal.code == RefusalCode::NotAllowed && refusal.text == NO_VOTER =>
            {
                peers.logless().note(voter.node);
                Err(CallFault::Refused(refusal.text))
            }
            Err(PeerFault::Refused(refusal)) => Err(CallFault::Refused(refusal.text)),
            Err(PeerFault::Unknown { .. }) => Err(CallFault::Unknown(voter.clone())),
            Err(PeerFault::Unavailable { .. } | PeerFault::Leads) => Err(unreachable()),
        }
    }
}

/// Voters and learners that say that they have no log, as after somebody has deleted it. What their
/// raft ids have promised is gone with it: they are to begin under fresh ones.
#[derive(Debug, Default)]
pub(crate) struct Logless(Mutex<BTreeMap<NodeId, Instant>>);

impl Logless {
    fn note(&self, node: NodeId) {
        self.table().entry(node).or_insert_with(Instant::now);
    }

    fn forget(&self, node: NodeId) {
        self.table().remove(&node);
    }

    /// Whether it has said so for longer than a message is under way.
    pub(super) fn has(&self, node: NodeId) -> bool {
        let since = self.table().get(&node).copied();
        since.is_some_and(|since| since.elapsed() >= LOGLESS)
    }

    /// Forgets all but these, which are sent a log.
    pub(super) fn keep(&self, is_sent: impl Fn(NodeId) -> bool) {
        self.table().retain(|node, _| is_sent(*node));
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<NodeId, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a node answers that is sent a message for a log and has none.
pub(super) const NO_VOTER: &str = "this node is no voter";

/// A member opens its log before it is sent any of it, and answers when it is open.
const LOGLESS: Duration = Duration::from_secs(3);
