//! A block of loopback addresses that is one scenario's alone: nodes below, their fronts above.
//!
//! Linux takes all of `127.0.0.0/8` as its own, so that a node is known by its address whatever
//! port it has. Scenarios of several processes run side by side: a bound socket marks a block.

use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::name::Node;

/// `127.x.y.0/24`, taken until the last copy is dropped.
#[derive(Debug, Clone)]
pub struct Block {
    octets: [u8; 2],
    _mark: Arc<UdpSocket>,
}

/// Nodes that a block has room for.
const NODES_MAX: u8 = 100;
const MARK: (u8, u16) = (250, 4_999);

impl Block {
    /// Takes a free block.
    ///
    /// # Errors
    /// When none of many is free, or the system has only `127.0.0.1`.
    pub fn take() -> io::Result<Self> {
        let mut last = io::Error::other("no block of loopback addresses was tried");
        for _ in 0..TRIES {
            let count = NEXT.fetch_add(1, Ordering::Relaxed);
            let pid = std::process::id() as u16;
            let [high, low] = pid.wrapping_mul(37).wrapping_add(count).to_be_bytes();
            // 127.0 is everybody's.
            let octets = [high.max(1), low];
            match UdpSocket::bind((address(octets, MARK.0), MARK.1)) {
                Ok(mark) => {
                    return Ok(Self {
                        octets,
                        _mark: Arc::new(mark),
                    });
                }
                Err(cause) => last = cause,
            }
        }
        Err(last)
    }

    /// The address that a node listens on.
    ///
    /// # Panics
    /// When the block has no room for it.
    #[must_use]
    pub fn node(&self, node: Node) -> Ipv4Addr {
        address(self.octets, last_octet(node))
    }

    /// The address that a node advertises.
    ///
    /// # Panics
    /// When the block has no room for it.
    #[must_use]
    pub fn front(&self, node: Node) -> Ipv4Addr {
        address(self.octets, NODES_MAX + last_octet(node))
    }

    /// The node that has this address.
    #[must_use]
    pub fn node_at(&self, address: IpAddr) -> Option<Node> {
        let IpAddr::V4(address) = address else {
            return None;
        };
        let [_, x, y, last] = address.octets();
        let is_node = [x, y] == self.octets && (1..=NODES_MAX).contains(&last);
        is_node.then(|| Node(usize::from(last) - 1))
    }
}

fn last_octet(node: Node) -> u8 {
    let last = u8::try_from(node.0 + 1).unwrap_or(u8::MAX);
    assert!(
        last <= NODES_MAX,
        "a scenario has room for {NODES_MAX} nodes"
    );
    last
}

fn address([x, y]: [u8; 2], last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, x, y, last)
}

static NEXT: AtomicU16 = AtomicU16::new(0);
const TRIES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_do_not_overlap_and_know_their_nodes() {
        let (one, other) = (Block::take().unwrap(), Block::take().unwrap());
        assert_ne!(one.octets, other.octets);
        let at = |address: Ipv4Addr| one.node_at(IpAddr::V4(address));
        assert_eq!(at(one.node(Node(3))), Some(Node(3)));
        assert_eq!(at(one.front(Node(3))), None);
        assert_eq!(at(other.node(Node(3))), None);
    }
}
