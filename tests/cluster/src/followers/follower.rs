//! One simulated member: it joins, keeps a session with the leader, and answers its steps.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protocol::limits::STREAM_WINDOW_BYTES;
use protocol::peer::{
    JoinWishes, PeerRequest, PeerResponse, SessionDown, SessionOpen, SessionUp, Step, StepOutcome,
};
use protocol::registry::{FEATURE_LEVEL, State};
use protocol::view::{Change, Streamed, Wish};
use protocol::wire::{About, JoinRequest, JoinResponse, Refusal, RefusalCode, Shape};
use protocol::{Incarnation, NodeId, SourceHash, Stamp, decode, encode};
use rand::Rng;
use tokio::sync::watch;
use tokio::time::{Instant as Moment, sleep_until, timeout};
use transport::endpoint::JoinTrust;
use transport::identity::{NodeKey, PeerIdentity};
use transport::streams::{BiStream, FrameReceiver, FrameSender};
use transport::token::JoinToken;
use transport::{Alpn, Connection, Credentials, CredentialsCell, Endpoint, Settings};

use super::{Tally, lock};

/// One member.
#[derive(Debug)]
pub(super) struct Follower {
    me: NodeId,
    name: String,
    incarnation: Incarnation,
    capabilities: String,
    key: NodeKey,
    credentials: Arc<CredentialsCell>,
    endpoint: Endpoint,
    // In their order; a wish's number is its place, from 1.
    wishes: Mutex<Vec<Wish>>,
    wished: watch::Sender<usize>,
    held: Mutex<BTreeSet<SourceHash>>,
    view: Mutex<State>,
    /// The index that the view is of.
    applied: watch::Sender<u64>,
    /// Whether a heartbeat of this session was acknowledged.
    renewed: AtomicBool,
    tally: Arc<Tally>,
}

fn now() -> Stamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Stamp(now.as_millis() as u64)
}

/// Ends a session.
type Ended = String;

impl Follower {
    /// A member that has yet to join; needs a running runtime.
    pub(super) fn new(
        number: usize,
        capabilities: &str,
        wishes: Vec<Wish>,
        tally: Arc<Tally>,
    ) -> Self {
        let credentials = Arc::new(CredentialsCell::empty());
        let incarnation = Incarnation(rand::random());
        let about = About {
            incarnation,
            feature_level: FEATURE_LEVEL,
            ..About::default()
        };
        let anybody = Arc::new(|_peer: &PeerIdentity, _alpn| Ok(()));
        let endpoint = Endpoint::bind(
            "127.0.0.1:0".parse().unwrap(),
            Arc::clone(&credentials),
            anybody,
            Settings::new(about),
        );
        Self {
            me: NodeId(rand::random()),
            name: format!("follower-{number}"),
            incarnation,
            capabilities: capabilities.to_owned(),
            key: NodeKey::generate().unwrap(),
            credentials,
            endpoint: endpoint.unwrap(),
            wished: watch::Sender::new(wishes.len()),
            wishes: Mutex::new(wishes),
            held: Mutex::default(),
            view: Mutex::default(),
            applied: watch::Sender::new(0),
            renewed: AtomicBool::new(false),
            tally,
        }
    }

    pub(super) fn me(&self) -> NodeId {
        self.me
    }

    pub(super) fn view(&self) -> State {
        lock(&self.view).clone()
    }

    pub(super) fn wish(&self, wish: Wish) {
        let mut wishes = lock(&self.wishes);
        if wishes.contains(&wish) {
            return;
        }
        wishes.push(wish);
        self.wished.send_replace(wishes.len());
    }

    /// Waits until something holds of its view.
    pub(super) async fn until(&self, holds: impl Fn(u64, &State) -> bool) {
        let mut applied = self.applied.subscribe();
        loop {
            let index = *applied.borrow_and_update();
            if holds(index, &lock(&self.view)) || applied.changed().await.is_err() {
                return;
            }
        }
    }

    fn address(&self) -> String {
        self.endpoint.local_address().unwrap().to_string()
    }

    /// Joins by a token; asks again where the leader is busy.
    pub(super) async fn join(&self, leader: SocketAddr, token: &JoinToken) {
        let wishes = JoinWishes {
            node: self.me,
            name: self.name.clone(),
            address: self.address(),
            may_vote: false,
            asked: now(),
        };
        let request = JoinRequest {
            token_id: Some(token.id.to_string()),
            secret: token.secret.bytes().to_vec(),
            certificate_request: self.key.request().unwrap(),
            document: encode(JoinWishes::NAME, JoinWishes::VERSION, &wishes).unwrap(),
        };
        let response = loop {
            let trust = JoinTrust::Pinned(token.authority);
            let asked = async {
                let connection = self.endpoint.dial_to_join(leader, trust).await;
                let connection = connection.map_err(|fault| fault.to_string())?;
                let answer = connection.ask::<_, JoinResponse>(&request, LIMIT).await;
                answer.map_err(|fault| fault.to_string())
            };
            match asked.await {
                Ok(response) => break response,
                Err(reason) => self.tally.end(format!("join: {reason}")),
            }
            tokio::time::sleep(PAUSE).await;
        };
        let now = now();
        let joined = Credentials::joined(&self.key, &response, token.authority, now);
        self.credentials.swap(joined.unwrap().0);
    }

    /// Keeps sessions with the leader at this address.
    pub(super) async fn run(self: Arc<Self>, leader: SocketAddr) {
        let arriving = Arc::clone(&self);
        tokio::spawn(async move {
            while let Some(arrival) = arriving.endpoint.accept().await {
                let follower = Arc::clone(&arriving);
                tokio::spawn(async move {
                    if let Ok(connection) = arrival.establish().await {
                        follower.answer(&connection).await;
                    }
                });
            }
        });
        loop {
            let reason = self.session(leader).await;
            if self.renewed.swap(false, Ordering::Relaxed) {
                self.tally.serve(false);
            }
            self.tally.end(reason);
            let pause = rand::rng().random_range(100..500);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    async fn session(self: &Arc<Self>, leader: SocketAddr) -> Ended {
        let dialled = self.endpoint.dial(leader, None, Alpn::Convention);
        let connection = match timeout(LIMIT, dialled).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(fault)) => return kind(fault),
            Err(_elapsed) => return "the leader cannot be reached".to_owned(),
        };
        let Ok(Ok(stream)) = timeout(LIMIT, connection.open()).await else {
            return "no stream".to_owned();
        };
        let serving = self.answer(&connection);
        let ended = tokio::select! {
            ended = self.keep(stream) => ended,
            () = serving => "the connection has ended".to_owned(),
        };
        connection.close(&Refusal::new(RefusalCode::Stopping, "the session is over"));
        ended
    }

    async fn keep(&self, stream: BiStream) -> Ended {
        let BiStream {
            mut sender,
            mut receiver,
        } = stream;
        let wishes = lock(&self.wishes).clone();
        let wished = wishes.len();
        let open = SessionOpen {
            incarnation: self.incarnation,
            name: self.name.clone(),
            address: self.address(),
            capabilities: self.capabilities.clone(),
            may_vote: false,
            feature_level: FEATURE_LEVEL,
            recoveries: 0,
            raft: None,
            wishes: Some((wished as u64, wishes)),
        };
        if let Err(fault) = sender.send(&PeerRequest::Session(open)).await {
            return kind(fault);
        }
        let welcome = timeout(LIMIT, receiver.receive::<SessionDown>()).await;
        let every = match welcome {
            Ok(Ok(Some(SessionDown::Welcome {
                heartbeat_ms,
                was_lost,
                ..
            }))) => {
                self.tally.sessions.fetch_add(1, Ordering::Relaxed);
                let lost = u64::from(was_lost);
                self.tally.lost.fetch_add(lost, Ordering::Relaxed);
                Duration::from_millis(heartbeat_ms)
            }
            Ok(Ok(Some(SessionDown::Refused { reason }))) => return reason,
            Ok(Ok(_)) => return "the node that was asked does not lead".to_owned(),
            Ok(Err(fault)) => return kind(fault),
            Err(_elapsed) => return "the leader gave no answer".to_owned(),
        };
        let heard = watch::Sender::new(Moment::now());
        let received = watch::Sender::new(0);
        tokio::select! {
            biased;
            reason = silence(heard.subscribe(), every) => reason,
            reason = self.hear(&mut receiver, &heard, &received) => reason,
            reason = self.beat(&mut sender, every, received.subscribe(), wished) => reason,
        }
    }

    async fn beat(
        &self,
        sender: &mut FrameSender,
        every: Duration,
        mut received: watch::Receiver<u64>,
        mut told: usize,
    ) -> Ended {
        received.mark_changed();
        let mut told_received = 0;
        let mut wished = self.wished.subscribe();
        wished.mark_changed();
        for number in 1.. {
            if let Err(fault) = sender.send(&self.heartbeat(number)).await {
                return kind(fault);
            }
            let renewed = self.renewed.load(Ordering::Relaxed);
            let next = Moment::now() + if renewed { every } else { FIRST_HEARTBEAT };
            loop {
                let told_up = tokio::select! {
                    biased;
                    () = sleep_until(next) => break,
                    _changed = wished.changed() => {
                        wished.borrow_and_update();
                        let wishes = lock(&self.wishes)[told..].to_vec();
                        if wishes.is_empty() {
                            continue;
                        }
                        told += wishes.len();
                        SessionUp::Wish { number: told as u64, wishes }
                    }
                    _changed = received.changed() => {
                        let bytes = *received.borrow_and_update();
                        if bytes < told_received + STREAM_WINDOW_BYTES / 4 {
                            continue;
                        }
                        told_received = bytes;
                        SessionUp::Received { bytes }
                    }
                };
                if let Err(fault) = sender.send(&told_up).await {
                    return kind(fault);
                }
            }
        }
        "no number is left".to_owned()
    }

    fn heartbeat(&self, number: u64) -> SessionUp {
        let held: Vec<_> = lock(&self.held).iter().copied().collect();
        for hash in &held {
            self.wish(Wish::Source(*hash));
        }
        let view = lock(&self.view);
        let named = held.into_iter();
        let named = named.filter(|hash| view.sources.contains_key(hash));
        SessionUp::Heartbeat {
            number,
            bound: *self.applied.borrow(),
            raft: None,
            actors: 0,
            held: named.collect(),
            distrusted: Vec::new(),
            certified_by: None,
            authorities: Vec::new(),
        }
    }

    async fn hear(
        &self,
        receiver: &mut FrameReceiver,
        heard: &watch::Sender<Moment>,
        received: &watch::Sender<u64>,
    ) -> Ended {
        let mut document = Vec::new();
        loop {
            let down = match receiver.receive::<SessionDown>().await {
                Ok(Some(down)) => down,
                Ok(None) => return "the leader has ended the session".to_owned(),
                Err(fault) => return kind(fault),
            };
            heard.send_replace(Moment::now());
            match down {
                SessionDown::Acknowledged { .. } => {
                    if !self.renewed.swap(true, Ordering::Relaxed) {
                        self.tally.serve(true);
                    }
                }
                SessionDown::Part { bytes, last } => {
                    let come = bytes.len() as u64;
                    received.send_modify(|received| *received += come);
                    self.tally.stream_bytes.fetch_add(come, Ordering::Relaxed);
                    document.extend_from_slice(&bytes);
                    if last {
                        let whole = std::mem::take(&mut document);
                        let told = decode(Streamed::NAME, Streamed::VERSION, &whole);
                        self.follow(told.unwrap());
                    }
                }
                SessionDown::NotLeader => return "the leader leads no longer".to_owned(),
                SessionDown::Refused { reason } => return reason,
                SessionDown::VotesNot { .. } | SessionDown::Welcome { .. } => {}
            }
        }
    }

    fn follow(&self, told: Streamed) {
        self.tally.documents.fetch_add(1, Ordering::Relaxed);
        for change in &told.changes {
            if let Change::Group(name, Some(_)) = change {
                self.wish(Wish::Group(name.clone()));
            }
        }
        let mut view = lock(&self.view);
        if told.whole {
            count(&self.tally.whole_views);
            *view = State::default();
        }
        let before = *self.applied.borrow();
        assert!(told.index >= before, "back from {before} to {}", told.index);
        convention::take_in(&mut view, told.changes);
        drop(view);
        self.applied.send_replace(told.index);
    }

    /// Answers what is asked on a connection until it ends.
    async fn answer(self: &Arc<Self>, connection: &Connection) {
        while let Ok(mut stream) = connection.accept().await {
            let follower = Arc::clone(self);
            tokio::spawn(async move {
                let asked = Instant::now();
                let answer = match stream.request::<PeerRequest>().await {
                    Ok(PeerRequest::Step { step, .. }) => {
                        Ok(PeerResponse::Step(follower.carry_out(step, asked).await))
                    }
                    Ok(_) => Err(Refusal::new(RefusalCode::BadRequest, "a step was expected")),
                    Err(_ended) => return,
                };
                let _gone = stream.answer(answer).await;
            });
        }
    }

    async fn carry_out(&self, step: Step, asked: Instant) -> StepOutcome {
        match step {
            Step::Applied { index } => {
                self.until(|applied, _| applied >= index).await;
                self.tally.answered(index, asked);
                StepOutcome::Done
            }
            Step::Hold { hash, .. } => {
                lock(&self.held).insert(hash);
                StepOutcome::Held { distrust: None }
            }
            Step::Drain { .. } => StepOutcome::Done,
            _ => StepOutcome::Lost,
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// As the real member: whoever is silent for longer than this may be gone.
async fn silence(mut heard: watch::Receiver<Moment>, heartbeat: Duration) -> Ended {
    loop {
        let last = *heard.borrow_and_update();
        tokio::select! {
            _more = heard.changed() => {}
            () = sleep_until(last + heartbeat + ACKNOWLEDGE_LIMIT) => {
                return "the leader has fallen silent".to_owned();
            }
        }
    }
}

/// What went wrong, without what differs from one member to the next.
fn kind(fault: impl std::error::Error) -> Ended {
    let source = fault.source().map(|cause| format!(": {cause}"));
    format!("{fault}{}", source.unwrap_or_default())
}

/// As `node`'s `session`.
const LIMIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(300);
const FIRST_HEARTBEAT: Duration = Duration::from_millis(100);
const ACKNOWLEDGE_LIMIT: Duration = Duration::from_millis(1_500);
