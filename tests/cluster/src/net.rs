//! What lies between the nodes of a scenario: the relay on loopback, or cables between hosts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::block::Block;
use crate::hosts::Hosts;
use crate::name::Node;
use crate::process::{Place, listens_at};
use crate::relay::{Relay, Weather};

/// The net of a scenario.
#[derive(Debug)]
pub(crate) enum Net {
    /// All on loopback, with weather in each direction.
    Relay { relay: Relay, block: Block },
    /// Each node on a host of its own.
    Hosts(Hosts),
}

impl Net {
    /// A relay for so many nodes.
    pub(crate) fn relayed(nodes: usize, seed: u64) -> Self {
        let block = Block::take().expect("Linux, with all of 127.0.0.0/8 on its loopback");
        let addresses: Vec<_> = (0..nodes).map(|index| block.node(Node(index))).collect();
        let find = move |node: Node| listens_at(*addresses.get(node.0)?);
        let relay = Relay::open(block.clone(), nodes, seed, Arc::new(find));
        let relay = relay.expect("the relay binds its addresses");
        Self::Relay { relay, block }
    }

    /// Where a node lives, for its process.
    pub(crate) fn place(&self, node: Node) -> Place {
        match self {
            Self::Relay { block, .. } => Place {
                port: 0,
                listen: Some(IpAddr::V4(block.node(node))),
                advertise: Some(self.address(node)),
                namespace: None,
            },
            Self::Hosts(hosts) => Place {
                port: hosts.port(node),
                listen: None,
                advertise: None,
                namespace: Some(hosts.name(node)),
            },
        }
    }

    /// Where others reach a node.
    pub(crate) fn address(&self, node: Node) -> SocketAddr {
        match self {
            Self::Relay { relay, .. } => relay.front(node),
            Self::Hosts(hosts) => address(hosts.address(node), hosts.port(node)),
        }
    }

    /// The relay.
    ///
    /// # Panics
    /// Between hosts, where there is none.
    pub(crate) fn relay(&self) -> &Relay {
        match self {
            Self::Relay { relay, .. } => relay,
            Self::Hosts(_) => panic!("cables between hosts are whole or cut, nothing else"),
        }
    }

    /// Nothing passes between a node and the others.
    pub(crate) fn isolate(&self, node: Node, others: impl Iterator<Item = Node>) {
        match self {
            Self::Hosts(hosts) => hosts.set_link(node, false),
            Self::Relay { relay, .. } => {
                for other in others {
                    relay.sky().set(node, other, Weather::CUT);
                    relay.sky().set(other, node, Weather::CUT);
                }
            }
        }
    }

    /// What one node sends another comes from another address from now on; between hosts: what
    /// it sends anybody.
    pub(crate) fn rebind(&self, from: Node, to: Node) {
        match self {
            Self::Hosts(hosts) => hosts.forget(from),
            Self::Relay { relay, .. } => relay.rebind(from, to),
        }
    }

    /// All passes again.
    pub(crate) fn heal(&self) {
        match self {
            Self::Hosts(hosts) => hosts.heal(),
            Self::Relay { relay, .. } => relay.sky().clear(),
        }
    }
}

fn address(ip: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(ip), port)
}
