//! A router on two sockets in a temporary directory, and connections that speak the protocol.

use std::collections::HashMap;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use node::router::{
    ActorRecord, AgentEvent, Config, Limits, Listeners, Peer, Rights, Router, RouterHandle,
    Serials, start,
};
use protocol::control::{ConnectionRole, Hello, Notice, Request, Welcome};
use protocol::limits::{PROTOCOL_VERSION, PROTOCOL_VERSION_OLDEST};
use protocol::{
    ActorId, Flags, Frame, FrameKind, FrameReader, Header, Incarnation, NodeId, PayloadKind,
    ProgramId, RoleId, SourceHash, TargetKind, WindowPayload,
};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

pub(crate) const INCARNATION: Incarnation = Incarnation(0xabcd);

/// Longest wait for anything that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Node {
    pub(crate) handle: RouterHandle,
    pub(crate) events: mpsc::UnboundedReceiver<AgentEvent>,
    pub(crate) serials: Arc<Serials>,
    incarnation: Incarnation,
    directory: tempfile::TempDir,
    thread: Option<Router>,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default(), |_| Some(Rights::Operate))
    }

    pub(crate) fn with(
        limits: Limits,
        authorize: impl Fn(Peer) -> Option<Rights> + Send + 'static,
    ) -> Self {
        Self::of(INCARNATION, NodeId(7), limits, authorize)
    }

    pub(crate) fn of(
        incarnation: Incarnation,
        node: NodeId,
        limits: Limits,
        authorize: impl Fn(Peer) -> Option<Rights> + Send + 'static,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bind = |name| UnixListener::bind(directory.path().join(name)).unwrap();
        let listeners = Listeners {
            control: bind("control"),
            workers: bind("workers"),
        };
        let serials = Arc::new(Serials::new());
        let config = Config {
            neighbours: false,
            incarnation,
            node,
            node_name: "here".to_owned(),
            capabilities: "{}".to_owned(),
            version: "0".to_owned(),
            serials: Arc::clone(&serials),
            limits,
            authorize: Box::new(authorize),
        };
        let (sender, events) = mpsc::unbounded_channel();
        let (handle, thread) = start(config, listeners, sender).unwrap();
        Self {
            handle,
            events,
            incarnation,
            serials,
            directory,
            thread: Some(thread),
        }
    }

    pub(crate) fn control(&self) -> PathBuf {
        self.directory.path().join("control")
    }

    pub(crate) fn workers(&self) -> PathBuf {
        self.directory.path().join("workers")
    }

    pub(crate) async fn client(&self) -> Line {
        let hello = hello(ConnectionRole::Client, None);
        Line::open(self.control(), &hello).await
    }

    /// Tells the router of an actor, without its process.
    pub(crate) fn expect(&self, parent: ActorId) -> ActorRecord {
        let actor = ActorId::allot(self.incarnation, self.serials.single());
        self.expect_as(actor, parent)
    }

    pub(crate) fn expect_as(&self, actor: ActorId, parent: ActorId) -> ActorRecord {
        let record = ActorRecord {
            actor,
            token: format!("token of {actor}"),
            parent,
            source: Some(SourceHash([5; 32])),
            program: ProgramId::default(),
            class: "app.Main".to_owned(),
            global_name: None,
        };
        self.handle.expect(record.clone());
        record
    }

    /// Connects the process of an expected actor.
    pub(crate) async fn connect(&self, record: &ActorRecord) -> Line {
        let hello = hello(ConnectionRole::Worker, Some(record.token.clone()));
        // The router hears of the actor by a channel; an answered call is behind it.
        self.handle.stats().await;
        let mut line = Line::open(self.workers(), &hello).await;
        line.source = record.source.unwrap_or_default();
        line
    }

    /// An actor that runs.
    pub(crate) async fn actor(&mut self) -> Line {
        self.child(ActorId::NONE).await
    }

    pub(crate) async fn child(&mut self, parent: ActorId) -> Line {
        let record = self.expect(parent);
        let mut line = self.connect(&record).await;
        line.notice(&Notice::Started).await;
        self.until(
            |event| matches!(event, AgentEvent::Started { actor } if *actor == record.actor),
        )
        .await;
        line
    }

    /// The next event that is looked for.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&AgentEvent) -> bool) -> AgentEvent {
        let search = async {
            loop {
                let event = self.events.recv().await.expect("the router runs");
                if wanted(&event) {
                    return event;
                }
            }
        };
        tokio::time::timeout(PATIENCE, search)
            .await
            .expect("the event comes")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let closing = self.handle.clone();
        let ended = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap()
                .block_on(closing.close());
        });
        ended.join().unwrap();
        if let Some(thread) = self.thread.take() {
            thread.join();
        }
    }
}

pub(crate) fn hello(role: ConnectionRole, token: Option<String>) -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        oldest: Some(PROTOCOL_VERSION_OLDEST),
        role,
        token,
        pid: std::process::id(),
        program: None,
        node: None,
    }
}

/// One connection to the router.
pub(crate) struct Line {
    pub(crate) stream: UnixStream,
    reader: FrameReader,
    pub(crate) address: ActorId,
    pub(crate) source: SourceHash,
    sequences: HashMap<[u8; 16], u64>,
}

impl Line {
    pub(crate) async fn dial(path: PathBuf, hello: &Hello) -> Self {
        let mut line = Self {
            stream: UnixStream::connect(path).await.unwrap(),
            reader: FrameReader::default(),
            address: ActorId::NONE,
            source: SourceHash::default(),
            sequences: HashMap::new(),
        };
        line.control(FrameKind::Hello, 0, hello).await;
        line
    }

    pub(crate) async fn open(path: PathBuf, hello: &Hello) -> Self {
        let mut line = Self::dial(path, hello).await;
        let frame = line.next().await;
        assert_eq!(frame.header.kind, FrameKind::Welcome, "{}", text(&frame));
        let welcome: Welcome = serde_json::from_slice(&frame.payload).unwrap();
        line.address = welcome.address;
        line
    }

    pub(crate) async fn control<T: Serialize>(
        &mut self,
        kind: FrameKind,
        sequence: u64,
        document: &T,
    ) {
        let json = serde_json::to_vec(document).unwrap();
        let header = Header::control(kind, sequence);
        self.frame(&Frame::new(header, json)).await;
    }

    pub(crate) async fn frame(&mut self, frame: &Frame) {
        let mut bytes = Vec::new();
        frame.write_to(&mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
    }

    pub(crate) async fn notice(&mut self, notice: &Notice) {
        self.control(FrameKind::Notice, 0, notice).await;
    }

    pub(crate) async fn request(&mut self, sequence: u64, request: &Request) {
        self.control(FrameKind::Request, sequence, request).await;
    }

    /// A message of this line, with the next sequence of its pair.
    pub(crate) fn message(&mut self, kind: TargetKind, target: [u8; 16], payload: &[u8]) -> Frame {
        let sequence = self.sequences.entry(target).or_default();
        *sequence += 1;
        let header = Header {
            payload_kind: PayloadKind::Pickle,
            target_kind: kind,
            sender: self.address,
            target,
            incarnation: INCARNATION,
            source: self.source,
            ..Header::control(FrameKind::Message, *sequence)
        };
        Frame::new(header, payload.to_vec())
    }

    pub(crate) async fn send(&mut self, target: ActorId, payload: &[u8]) {
        let frame = self.message(TargetKind::Actor, target.0, payload);
        self.frame(&frame).await;
    }

    pub(crate) async fn send_role(&mut self, role: RoleId, payload: &[u8]) {
        let frame = self.message(TargetKind::Role, role.0, payload);
        self.frame(&frame).await;
    }

    /// Asks, and returns the ask's sequence.
    pub(crate) async fn ask(&mut self, target: ActorId, payload: &[u8]) -> u64 {
        let mut frame = self.message(TargetKind::Actor, target.0, payload);
        frame.header.flags = Flags::ASK;
        frame.header.deadline_ms = 600_000;
        self.frame(&frame).await;
        frame.header.sequence
    }

    pub(crate) async fn report(&mut self, n_bytes: u64) {
        let mut header = Header::control(FrameKind::Window, 0);
        header.payload_kind = PayloadKind::Raw;
        let payload = WindowPayload { bytes: n_bytes }.to_bytes();
        self.frame(&Frame::new(header, payload)).await;
    }

    /// The next frame, whatever it is; `None` at the end of the connection.
    pub(crate) async fn try_next(&mut self) -> Option<Frame> {
        let read = async {
            let mut buffer = vec![0; 256 << 10];
            loop {
                if let Some(frame) = self.reader.next_frame().unwrap() {
                    return Some(frame);
                }
                match self.stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => return None,
                    Ok(n_bytes) => self.reader.extend(&buffer[..n_bytes]),
                }
            }
        };
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("a frame comes, or the end")
    }

    pub(crate) async fn next(&mut self) -> Frame {
        self.try_next().await.expect("the connection stands")
    }

    pub(crate) async fn next_of(&mut self, kind: FrameKind) -> Frame {
        loop {
            let frame = self.next().await;
            if frame.header.kind == kind {
                return frame;
            }
        }
    }

    /// The next message; it is reported as handled at once, markers before it are echoed.
    pub(crate) async fn take(&mut self) -> Frame {
        loop {
            let frame = self.next().await;
            match frame.header.kind {
                FrameKind::Message => {
                    self.report(frame.bytes() as u64).await;
                    return frame;
                }
                FrameKind::Marker => self.frame(&frame).await,
                _ => {}
            }
        }
    }

    pub(crate) async fn next_notice(&mut self) -> Notice {
        let frame = self.next_of(FrameKind::Notice).await;
        serde_json::from_slice(&frame.payload).unwrap()
    }

    /// Reads to the end, which must come.
    pub(crate) async fn ends(&mut self) {
        while self.try_next().await.is_some() {}
    }
}

pub(crate) fn text(frame: &Frame) -> String {
    String::from_utf8_lossy(&frame.payload).into_owned()
}
