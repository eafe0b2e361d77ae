//! Who has said that it leads, and proven that it may, while this node held to another.

use protocol::NodeId;

use super::Peers;

impl Peers {
    /// A node that may lead says that it does: it is asked first once this one's session is over.
    pub(in crate::cluster) fn be_told(&self, leader: NodeId, address: String) {
        self.0.told.send_replace(Some((leader, address)));
    }

    /// Whether this one has said so last.
    pub(in crate::cluster) fn is_told(&self, leader: NodeId) -> bool {
        let told = self.0.told.borrow();
        told.as_ref().is_some_and(|(named, _)| *named == leader)
    }

    /// What this one has said came to nothing.
    pub(in crate::cluster) fn forget_told(&self, leader: NodeId) {
        let told = &self.0.told;
        told.send_if_modified(|told| told.take_if(|(named, _)| *named == leader).is_some());
    }

    /// A session has begun: what anybody said before is of the past.
    pub(in crate::cluster) fn forget_all_told(&self) {
        self.0.told.send_replace(None);
    }

    /// Who has said so, as soon as anybody has.
    pub(super) async fn told(&self) -> Option<(NodeId, String)> {
        let mut told = self.0.told.subscribe();
        let named = told.wait_for(Option::is_some).await;
        named.ok().and_then(|named| named.clone())
    }
}
