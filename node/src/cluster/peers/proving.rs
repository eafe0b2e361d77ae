//! What `vouching`, `removal` and `voters` need of the peers: whom they met, and what is remembered
//! of them.

use std::sync::Arc;

use protocol::NodeId;
use transport::{Alpn, Connection, Endpoint};

use super::{Peers, lock};
use crate::cluster::registry::RegistryHandle;
use crate::cluster::removal::Rumours;
use crate::cluster::voter_calls::Logless;
use crate::cluster::vouching::Vouched;

impl Peers {
    /// A connection with a member at this address, unless there is one already.
    pub(in crate::cluster) async fn met(&self, node: NodeId, address: &str) -> Option<Connection> {
        let turn = Arc::clone(
            lock(&self.0.dialling)
                .entry((node, Alpn::Convention))
                .or_default(),
        );
        let _turn = turn.lock().await;
        match self.live(node, Alpn::Convention) {
            Some(live) => Some(live),
            None => self.dial(node, address, Alpn::Convention).await.ok(),
        }
    }

    pub(in crate::cluster) fn me(&self) -> NodeId {
        self.0.me
    }

    pub(in crate::cluster) fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    pub(in crate::cluster) fn registry(&self) -> &RegistryHandle {
        &self.0.registry
    }

    /// Who has proven in this run that it may lead.
    pub(in crate::cluster) fn vouched(&self) -> &Vouched {
        &self.0.vouched
    }

    /// Who is sent a log and has none.
    pub(in crate::cluster) fn logless(&self) -> &Logless {
        &self.0.logless
    }

    /// What members have said alone.
    pub(in crate::cluster) fn rumours(&self) -> &Rumours {
        &self.0.rumours
    }
}
