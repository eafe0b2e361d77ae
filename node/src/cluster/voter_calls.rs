//! The consensus' way to the other voters: its messages as requests between members.

use std::sync::Arc;
use std::time::Duration;

use leader::{CallFault, Peers as Calls, Voter};
use protocol::peer::{PeerRequest, PeerResponse};

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
            Ok(PeerResponse::Raft { message }) => Ok(message),
            Ok(_) => Err(CallFault::Refused("an answer of another kind".to_owned())),
            Err(PeerFault::Refused(refusal)) => Err(CallFault::Refused(refusal.text)),
            Err(PeerFault::Unknown { .. }) => Err(CallFault::Unknown(voter.clone())),
            Err(PeerFault::Unavailable { .. } | PeerFault::Leads) => Err(unreachable()),
        }
    }
}
