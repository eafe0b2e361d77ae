//! Who leads, as this node knows it, whatever its part in the convention.
//!
//! A voter hears it from the consensus, a follower from its session.

use protocol::NodeId;

/// What this node knows of the lead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The leader and its address; none while none is known.
    pub(crate) leader: Option<(NodeId, String)>,
    /// Whether this node leads, and a majority of the voters answers it.
    pub(crate) leads: bool,
    /// The highest term that it knows of.
    pub(crate) term: u64,
}

impl From<&leader::Standing> for Standing {
    fn from(standing: &leader::Standing) -> Self {
        let leader = standing.leader.as_ref();
        Self {
            leader: leader.map(|voter| (voter.node, voter.address.clone())),
            leads: standing.leads,
            term: standing.term,
        }
    }
}
