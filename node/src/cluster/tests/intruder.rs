//! A member that has turned against the others: its certificate is good, what it says is not.

use std::sync::{Arc, Mutex, PoisonError};

use protocol::peer::{JoinWishes, JoinedTo, PeerRequest, PeerResponse, SessionDown, Step};
use protocol::view::{Change, Settings as Shown, Streamed};
use protocol::wire::{About, JoinRequest, JoinResponse, Refusal, RefusalCode, Shape};
use protocol::{ConventionId, NodeId, decode, encode};
use tokio::task::JoinHandle;
use transport::endpoint::DialFault;
use transport::identity::{Authority, NodeKey, PeerIdentity};

use transport::streams::AskFault;
use transport::{Alpn, Connection, Credentials, CredentialsCell, Endpoint, Settings};

use super::host::{Host, LONG};
use crate::agent::node::stamp;

/// One that has a member's credentials, and an endpoint that refuses nobody.
pub(crate) struct Intruder {
    pub(crate) node: NodeId,
    /// The request for a certificate of the member that it was.
    pub(crate) key_request: Option<Vec<u8>>,
    endpoint: Endpoint,
}

impl Intruder {
    /// Stops a member and takes its place: its key and its certificate.
    pub(crate) async fn instead_of(member: Host) -> Self {
        let credentials = member.node.membership.identity().credentials();
        let request = member.node.membership.identity().key().request();
        let node = member.node.id;
        member.stop().await;
        Self {
            key_request: Some(request.unwrap()),
            ..Self::with(node, credentials.unwrap().unwrap())
        }
    }

    /// One with these credentials.
    pub(crate) fn with(node: NodeId, credentials: Credentials) -> Self {
        let cell = Arc::new(CredentialsCell::new(credentials));
        let anybody = Arc::new(|_peer: &PeerIdentity, _alpn| Ok(()));
        let settings = Settings::new(About::default());
        let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), cell, anybody, settings);
        let endpoint = endpoint.unwrap();
        Self {
            node,
            key_request: None,
            endpoint,
        }
    }

    pub(crate) fn address(&self) -> String {
        self.endpoint.local_address().unwrap().to_string()
    }

    pub(crate) async fn dial(&self, host: &Host, alpn: Alpn) -> Result<Connection, DialFault> {
        let remote = host.address().parse().unwrap();
        self.endpoint.dial(remote, Some(host.node.id), alpn).await
    }

    /// Asks a host something; what it answers or how it refuses.
    pub(crate) async fn ask(
        &self,
        host: &Host,
        request: &PeerRequest,
    ) -> Result<PeerResponse, RefusalCode> {
        let connection = self.dial(host, Alpn::Convention).await.unwrap();
        match connection.ask(request, LONG).await {
            Ok(response) => Ok(response),
            Err(AskFault::Refused(refusal)) => Err(refusal.code),
            Err(fault) => panic!("{fault:?}"),
        }
    }

    /// Turns away whoever dials it.
    pub(crate) fn turn_away(&self, refusal: Refusal) -> JoinHandle<()> {
        let endpoint = self.endpoint.clone();
        tokio::spawn(async move {
            while let Some(arrival) = endpoint.accept().await {
                if let Ok(connection) = arrival.establish().await {
                    connection.close(&refusal);
                }
            }
        })
    }

    /// Orders a host about as the leader of a term, with this for its proof; how it refuses.
    pub(crate) async fn order(
        &self,
        host: &Host,
        term: u64,
        voucher: Option<Vec<Vec<u8>>>,
    ) -> RefusalCode {
        let connection = self.dial(host, Alpn::Convention).await.unwrap();
        let (answering, leader) = (connection.clone(), (self.node, self.address()));
        let lie = Lie {
            voucher,
            times_ms: 2_000,
        };
        let noted = Pretence::default();
        let answering = tokio::spawn(async move { tell(&answering, leader, &lie, &noted).await });
        let step = Step::Applied { index: 0 };
        let request = PeerRequest::Step { term, step };
        let asked = connection.ask::<_, PeerResponse>(&request, LONG).await;
        answering.abort();
        match asked {
            Err(AskFault::Refused(refusal)) => refusal.code,
            other => panic!("{other:?}"),
        }
    }

    /// Tells a host that it leads, and hands out an empty registry. What it is asked is noted.
    pub(crate) async fn pretend_to_lead(&self, host: &Host, lie: Lie) -> Pretence {
        let pretence = Pretence::default();
        let noted = pretence.clone();
        let connection = self.dial(host, Alpn::Convention).await.unwrap();
        let leader = (self.node, self.address());
        tokio::spawn(async move { tell(&connection, leader, &lie, &noted).await });
        pretence
    }
}

/// What a false leader says.
#[derive(Clone)]
pub(crate) struct Lie {
    /// What it shows as a voter's proof.
    pub(crate) voucher: Option<Vec<Vec<u8>>>,
    /// The times in its welcome.
    pub(crate) times_ms: u64,
}

/// A convention of somebody else, which lets in whoever asks.
pub(crate) fn lets_everybody_in() -> String {
    let authority = Authority::found(ConventionId([0xee; 16]), stamp()).unwrap();
    let key = NodeKey::generate().unwrap();
    let me = authority.issue(&key.request().unwrap(), NodeId(66), stamp());
    let trusted = vec![authority.certificate().clone()];
    let credentials = Credentials::new(&key, &me.unwrap(), trusted).unwrap();
    let endpoint = Intruder::with(NodeId(66), credentials).endpoint;
    let address = endpoint.local_address().unwrap().to_string();
    tokio::spawn(async move {
        while let Some(arrival) = endpoint.accept().await {
            let Ok(connection) = arrival.establish().await else {
                continue;
            };
            while let Ok(mut stream) = connection.accept().await {
                let Ok(request) = stream.request::<JoinRequest>().await else {
                    break;
                };
                let _gone = stream.answer(Ok(let_in(&authority, &request))).await;
            }
        }
    });
    address
}

fn let_in(authority: &Authority, request: &JoinRequest) -> JoinResponse {
    let wishes: JoinWishes =
        decode(JoinWishes::NAME, JoinWishes::VERSION, &request.document).unwrap();
    let issued = authority.issue(&request.certificate_request, wishes.node, stamp());
    let document = JoinedTo {
        known: Vec::new(),
        proof: vec![7; 32],
    };
    JoinResponse {
        convention: authority.convention(),
        node: wishes.node,
        chain: issued.unwrap().to_der(),
        document: encode(JoinedTo::NAME, JoinedTo::VERSION, &document).unwrap(),
    }
}

/// What a false leader was asked, in order.
#[derive(Clone, Default)]
pub(crate) struct Pretence(Arc<Mutex<Vec<&'static str>>>);

impl Pretence {
    pub(crate) fn times_asked(&self, what: &str) -> usize {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|asked| **asked == what).count()
    }

    fn note(&self, what: &'static str) {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(what);
    }
}

async fn tell(connection: &Connection, leader: (NodeId, String), lie: &Lie, noted: &Pretence) {
    while let Ok(mut stream) = connection.accept().await {
        let answer = match stream.request::<PeerRequest>().await {
            Ok(PeerRequest::Leader) => {
                noted.note("leader");
                Ok(PeerResponse::Leader {
                    leader: Some(leader.clone()),
                    voters: vec![leader.clone()],
                })
            }
            Ok(PeerRequest::Vouch) => {
                noted.note("vouch");
                let chain = lie.voucher.clone();
                let no = Refusal::new(RefusalCode::NotAllowed, "no");
                chain.map(|chain| PeerResponse::Vouched { chain }).ok_or(no)
            }
            Ok(PeerRequest::Session(_)) => {
                noted.note("session");
                for document in welcome(lie.times_ms) {
                    let _gone = stream.sender.send(&document).await;
                }
                continue;
            }
            Ok(_) => Err(Refusal::new(RefusalCode::NotAllowed, "no")),
            Err(_gone) => continue,
        };
        let _gone = stream.answer(answer).await;
    }
}

/// What a false leader begins a session with; then it drops it.
fn welcome(times_ms: u64) -> [SessionDown; 2] {
    let welcome = SessionDown::Welcome {
        term: 1_000,
        recoveries: 0,
        lease_ms: times_ms,
        heartbeat_ms: times_ms,
        was_lost: false,
    };
    let empty = Shown {
        convention: Some(ConventionId([0xee; 16])),
        ..Shown::default()
    };
    let snapshot = Streamed {
        whole: true,
        index: 1_000_000,
        covers: 0,
        voters: None,
        changes: vec![Change::Settings(empty)],
    };
    let bytes = encode(Streamed::NAME, Streamed::VERSION, &snapshot).unwrap();
    let snapshot = SessionDown::Part { bytes, last: true };
    [welcome, snapshot]
}
