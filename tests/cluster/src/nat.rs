//! A router that translates addresses: who is behind it dials out, and nobody dials in.
//!
//! Two namespaces and this process between them. In the inner one the addresses of all others are
//! local, with a socket on the port of each; what is sent there goes on from a socket in the outer
//! one, which is of that sender and target alone and takes answers of that target only. Forgotten,
//! the next packet comes from another port.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as StdSocket};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sched::{CloneFlags, setns};
use tokio::net::UdpSocket;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

/// The router of one host; dropped, nothing passes any more.
#[derive(Debug)]
pub(crate) struct Nat {
    ways: Arc<Mutex<Ways>>,
    runtime: Option<Runtime>,
}

/// By sender and target.
type Ways = BTreeMap<(SocketAddr, SocketAddr), Way>;

/// A mapping: a port of the router that stands for a sender to one target.
#[derive(Debug, Clone)]
struct Way {
    outer: Arc<UdpSocket>,
    forgotten: CancellationToken,
}

/// One target, as it is seen from inside.
#[derive(Clone)]
struct Door {
    outside: String,
    target: SocketAddr,
    inner: Arc<UdpSocket>,
    ways: Arc<Mutex<Ways>>,
}

const PACKET_BYTES_MAX: usize = 65_535;

impl Nat {
    /// Translates from the namespace `inside` to the namespace `outside`, for these targets.
    pub(crate) fn open(inside: &str, outside: &str, targets: &[SocketAddr]) -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let builder = builder.worker_threads(1).thread_name("nat").enable_all();
        let runtime = builder.build()?;
        let ways = Arc::new(Mutex::new(Ways::new()));
        for target in targets.iter().copied() {
            let bind = move || {
                let socket = StdSocket::bind(target)?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            };
            let inner = within(inside, bind)?;
            let _reactor = runtime.enter();
            let door = Door {
                outside: outside.to_owned(),
                target,
                inner: Arc::new(UdpSocket::from_std(inner)?),
                ways: Arc::clone(&ways),
            };
            runtime.spawn(door.forward());
        }
        let runtime = Some(runtime);
        Ok(Self { ways, runtime })
    }

    /// Forgets all mappings, as one does that was started again.
    pub(crate) fn forget(&self) {
        let mut ways = lock(&self.ways);
        ways.values().for_each(|way| way.forgotten.cancel());
        ways.clear();
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Door {
    async fn forward(self) {
        let mut packet = vec![0; PACKET_BYTES_MAX];
        loop {
            // An error here is about an earlier packet to somebody who has gone.
            let Ok((length, sender)) = self.inner.recv_from(&mut packet).await else {
                continue;
            };
            if let Some(way) = self.way(sender).await {
                let _refused = way.outer.send(&packet[..length]).await;
            }
        }
    }

    /// The sender's mapping, made if it is not there.
    async fn way(&self, sender: SocketAddr) -> Option<Way> {
        let key = (sender, self.target);
        let known = lock(&self.ways).get(&key).cloned();
        if known.is_some() {
            return known;
        }
        let (outside, target) = (self.outside.clone(), self.target);
        let bind = move || {
            within(&outside, move || {
                let socket = StdSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
                socket.connect(target)?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            })
        };
        let outer = tokio::task::spawn_blocking(bind).await.ok()?.ok()?;
        let way = Way {
            outer: Arc::new(UdpSocket::from_std(outer).ok()?),
            forgotten: CancellationToken::new(),
        };
        lock(&self.ways).insert(key, way.clone());
        tokio::spawn(self.clone().answer(sender, way.clone()));
        Some(way)
    }

    async fn answer(self, sender: SocketAddr, way: Way) {
        let mut packet = vec![0; PACKET_BYTES_MAX];
        loop {
            let received = tokio::select! {
                () = way.forgotten.cancelled() => return,
                received = way.outer.recv(&mut packet) => received,
            };
            // An error tells that the target did not listen just then.
            if let Ok(length) = received {
                let _gone = self.inner.send_to(&packet[..length], sender).await;
            }
        }
    }
}

fn lock(ways: &Mutex<Ways>) -> MutexGuard<'_, Ways> {
    ways.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something in a network namespace, on a thread that ends with it.
fn within<T: Send + 'static>(
    namespace: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let path = Path::new("/var/run/netns").join(namespace);
    let doing = std::thread::spawn(move || {
        setns(File::open(path)?, CloneFlags::CLONE_NEWNET)?;
        work()
    });
    let done = doing.join();
    done.unwrap_or_else(|_panic| Err(io::Error::other("the thread has panicked")))
}
