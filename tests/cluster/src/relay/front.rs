//! One front of the relay: the address under which others reach one node.
//!
//! A packet to a front goes on from a socket that is the sender's alone; what comes back there
//! leaves by the front. A node that listens elsewhere after a restart is found anew.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::{Sky, Whereabouts};
use crate::block::Block;
use crate::name::Node;

/// The front of one node.
pub(super) struct Front {
    address: SocketAddr,
    paths: Arc<Mutex<Paths>>,
}

/// Senders by their address.
type Paths = BTreeMap<SocketAddr, Path>;

/// The way of one sender through the front.
#[derive(Clone)]
struct Path {
    from: Node,
    back: Arc<UdpSocket>,
    gone: CancellationToken,
}

/// Which way a packet goes.
enum Way {
    /// To the node behind the front.
    In(Path, SocketAddr),
    /// From it to one sender.
    Out(SocketAddr),
}

/// What the tasks of one front share.
#[derive(Clone)]
struct Post {
    node: Node,
    block: Block,
    front: Arc<UdpSocket>,
    paths: Arc<Mutex<Paths>>,
    sky: Arc<Sky>,
    find: Whereabouts,
}

/// The largest payload of a UDP packet.
const PACKET_BYTES_MAX: usize = 65_535;

impl Front {
    /// Binds it and forwards from now on.
    pub(super) async fn open(
        block: Block,
        node: Node,
        sky: Arc<Sky>,
        find: Whereabouts,
    ) -> io::Result<Self> {
        let front = Arc::new(UdpSocket::bind((block.front(node), 0)).await?);
        let address = front.local_addr()?;
        let paths = Arc::new(Mutex::new(Paths::new()));
        let post = Post {
            node,
            block,
            front,
            paths: Arc::clone(&paths),
            sky,
            find,
        };
        tokio::spawn(post.forward());
        Ok(Self { address, paths })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the paths of a sender: its next packet comes from another address.
    pub(super) fn forget(&self, from: Node) {
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        paths.retain(|_, path| {
            if path.from == from {
                path.gone.cancel();
            }
            path.from != from
        });
    }
}

impl Post {
    /// Takes what is sent to the front, until the relay ends.
    async fn forward(self) {
        let mut packet = vec![0; PACKET_BYTES_MAX];
        loop {
            // An error here is about an earlier packet to somebody who has gone.
            let Ok((length, sender)) = self.front.recv_from(&mut packet).await else {
                continue;
            };
            if self.sky.is_sheltered(self.node) {
                continue;
            }
            let Some(path) = self.path(sender).await else {
                continue;
            };
            let bytes = &packet[..length];
            for after in self.sky.judge(path.from, self.node, length) {
                let way = Way::In(path.clone(), sender);
                self.deliver(after, way, bytes).await;
            }
        }
    }

    /// The sender's way to the node, made if it is not there.
    async fn path(&self, sender: SocketAddr) -> Option<Path> {
        let known = self.paths().get(&sender).cloned();
        if known.is_some() {
            return known;
        }
        let from = self.block.node_at(sender.ip())?;
        let to = (self.find)(self.node)?;
        let back = UdpSocket::bind((self.block.front(from), 0)).await.ok()?;
        back.connect(to).await.ok()?;
        let path = Path {
            from,
            back: Arc::new(back),
            gone: CancellationToken::new(),
        };
        self.paths().insert(sender, path.clone());
        tokio::spawn(self.clone().answer(sender, path.clone()));
        Some(path)
    }

    /// Takes what the node sends back to one sender.
    async fn answer(self, sender: SocketAddr, path: Path) {
        let mut packet = vec![0; PACKET_BYTES_MAX];
        loop {
            let received = tokio::select! {
                () = path.gone.cancelled() => return,
                received = path.back.recv(&mut packet) => received,
            };
            let Ok(length) = received else {
                return self.end(sender, &path);
            };
            let bytes = &packet[..length];
            for after in self.sky.judge(self.node, path.from, length) {
                self.deliver(after, Way::Out(sender), bytes).await;
            }
        }
    }

    /// Sends now, or later without keeping others waiting.
    async fn deliver(&self, after: Duration, way: Way, bytes: &[u8]) {
        if after.is_zero() {
            return self.send(way, bytes).await;
        }
        let (post, bytes) = (self.clone(), bytes.to_vec());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            post.send(way, &bytes).await;
        });
    }

    async fn send(&self, way: Way, bytes: &[u8]) {
        match way {
            Way::In(path, sender) => {
                if path.back.send(bytes).await.is_err() {
                    // Nobody listens there any more: look anew at the next packet.
                    self.end(sender, &path);
                }
            }
            Way::Out(sender) => {
                let _gone = self.front.send_to(bytes, sender).await;
            }
        }
    }

    fn end(&self, sender: SocketAddr, path: &Path) {
        path.gone.cancel();
        let mut paths = self.paths();
        let is_it = |known: &Path| Arc::ptr_eq(&known.back, &path.back);
        if paths.get(&sender).is_some_and(is_it) {
            paths.remove(&sender);
        }
    }

    fn paths(&self) -> MutexGuard<'_, Paths> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
