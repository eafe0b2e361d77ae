//! A convention for tests: its authority, and hosts that accept in the background.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::wire::{About, Refusal, RefusalCode};
use protocol::{ConventionId, NodeId, Stamp};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use transport::endpoint::{Authorise, DialFault, Rejected};
use transport::identity::{Authority, NodeCertificate, NodeKey};
use transport::{Alpn, Connection, Credentials, CredentialsCell, Endpoint, Settings};

pub(crate) const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// How long anything on loopback may take before a test fails.
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) fn now() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Stamp(since.as_millis() as u64)
}

/// An error with all its causes, as a person would read it.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// A convention of tests.
pub(crate) struct World {
    pub(crate) authority: Authority,
}

impl World {
    pub(crate) fn new(id: u8) -> Self {
        let authority = Authority::found(ConventionId([id; 16]), now()).unwrap();
        Self { authority }
    }

    pub(crate) fn certificate(&self, key: &NodeKey, node: u64, at: Stamp) -> NodeCertificate {
        let request = key.request().unwrap();
        self.authority.issue(&request, NodeId(node), at).unwrap()
    }

    pub(crate) fn credentials(&self, node: u64, at: Stamp) -> Credentials {
        let key = NodeKey::generate().unwrap();
        let certificate = self.certificate(&key, node, at);
        let trusted = vec![self.authority.certificate().clone()];
        Credentials::new(&key, &certificate, trusted).unwrap()
    }

    pub(crate) fn host(&self, node: u64) -> Host {
        Host::start(self.credentials(node, now()), settings())
    }
}

pub(crate) fn settings() -> Settings {
    Settings::new(About {
        release: "test".to_owned(),
        ..About::default()
    })
}

/// Nodes that a host turns away, with the reason.
pub(crate) type Banned = Arc<Mutex<BTreeMap<NodeId, Refusal>>>;

/// A running endpoint whose arrivals are established in the background.
pub(crate) struct Host {
    pub(crate) endpoint: Endpoint,
    pub(crate) cell: Arc<CredentialsCell>,
    pub(crate) address: SocketAddr,
    pub(crate) banned: Banned,
    admitted: mpsc::UnboundedReceiver<Connection>,
    rejected: mpsc::UnboundedReceiver<Rejected>,
    accepting: JoinHandle<()>,
}

impl Host {
    pub(crate) fn start(credentials: Credentials, settings: Settings) -> Self {
        Self::with_cell(CredentialsCell::new(credentials), settings)
    }

    pub(crate) fn with_cell(cell: CredentialsCell, settings: Settings) -> Self {
        let cell = Arc::new(cell);
        let banned = Banned::default();
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let authorise = authorise(Arc::clone(&banned));
        let endpoint = Endpoint::bind(loopback, Arc::clone(&cell), authorise, settings).unwrap();
        let (admit, admitted) = mpsc::unbounded_channel();
        let (reject, rejected) = mpsc::unbounded_channel();
        let accepting = tokio::spawn(accept(endpoint.clone(), admit, reject));
        Self {
            address: endpoint.local_address().unwrap(),
            endpoint,
            cell,
            banned,
            admitted,
            rejected,
            accepting,
        }
    }

    pub(crate) async fn dial(&self, other: &Self, alpn: Alpn) -> Result<Connection, DialFault> {
        self.endpoint.dial(other.address, None, alpn).await
    }

    /// The next connection that was admitted here.
    pub(crate) async fn admitted(&mut self) -> Connection {
        let next = tokio::time::timeout(SOON, self.admitted.recv()).await;
        next.expect("nobody was admitted in time").unwrap()
    }

    /// The next connection that was turned away here.
    pub(crate) async fn rejected(&mut self) -> Rejected {
        let next = tokio::time::timeout(SOON, self.rejected.recv()).await;
        next.expect("nobody was turned away in time").unwrap()
    }

    pub(crate) fn ban(&self, node: u64, code: RefusalCode) -> Refusal {
        let refusal = Refusal::new(code, format!("node `{node}` was removed by an operator"));
        let mut banned = self.banned.lock().unwrap();
        banned.insert(NodeId(node), refusal.clone());
        refusal
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Both ends of a connection from `dialler` to `acceptor`.
pub(crate) async fn connected(
    dialler: &Host,
    acceptor: &mut Host,
    alpn: Alpn,
) -> (Connection, Connection) {
    let here = dialler.dial(acceptor, alpn).await.unwrap();
    let there = acceptor.admitted().await;
    (here, there)
}

fn authorise(banned: Banned) -> Arc<Authorise> {
    Arc::new(move |peer, _alpn| {
        let banned = banned.lock().unwrap();
        banned
            .get(&peer.node)
            .map_or(Ok(()), |refusal| Err(refusal.clone()))
    })
}

async fn accept(
    endpoint: Endpoint,
    admit: mpsc::UnboundedSender<Connection>,
    reject: mpsc::UnboundedSender<Rejected>,
) {
    let mut arrivals = JoinSet::new();
    while let Some(arrival) = endpoint.accept().await {
        let (admit, reject) = (admit.clone(), reject.clone());
        arrivals.spawn(async move {
            // The test may have ended: then nobody listens.
            let _unheard = match arrival.establish().await {
                Ok(connection) => admit.send(connection).is_ok(),
                Err(rejected) => reject.send(rejected).is_ok(),
            };
        });
    }
}
