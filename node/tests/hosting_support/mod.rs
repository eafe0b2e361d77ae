//! A node for tests of hosting: a worker socket, real Python, and what workers say.
//!
//! Not here: routing; the tests look at processes, not at messages.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use node::hosting::{
    Ends, Hosting, HostingConfig, OriginSetup, PrepareRequest, PythonPolicy, WorkerEnded,
    WorkerEnvironment, resolve,
};
use protocol::control::{
    ActorFailure, ConnectionRole, Hello, Notice, Origin, SystemMessage, Welcome, WorkerSpec,
};
use protocol::{
    ActorId, Flags, Frame, FrameKind, FrameReader, Header, Incarnation, NodeId, PayloadKind,
    SourceHash, TargetKind,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

/// Longer than anything here takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);

pub(crate) struct TestNode {
    pub(crate) hosting: Hosting,
    pub(crate) ends: Ends,
    folder: TempDir,
    interpreter: PathBuf,
    workers: Arc<Mutex<HashMap<String, oneshot::Sender<TestWorker>>>>,
    serial: u64,
}

/// The router's side of a worker's connection.
pub(crate) struct TestWorker {
    pub(crate) actor: ActorId,
    stream: UnixStream,
    frames: FrameReader,
}

pub(crate) fn python() -> PathBuf {
    let policy = PythonPolicy::of_process(None, None);
    let program = policy.choose(None).unwrap();
    let state = tempfile::tempdir().unwrap();
    resolve(&program, state.path()).unwrap().executable
}

impl TestNode {
    pub(crate) fn start() -> Self {
        Self::start_with(|_config| {})
    }

    pub(crate) fn start_with(change: impl FnOnce(&mut HostingConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let worker_socket = folder.path().join("worker.sock");
        let listener = UnixListener::bind(&worker_socket).unwrap();
        let mut config = HostingConfig {
            state: folder.path().join("state"),
            worker_socket,
            runtime: None,
            environment: WorkerEnvironment::default(),
            import_timeout: PATIENCE,
        };
        std::fs::create_dir(&config.state).unwrap();
        change(&mut config);
        let (hosting, ends) = Hosting::start(config).unwrap();
        let workers = Arc::default();
        tokio::spawn(accept(listener, hosting.clone(), Arc::clone(&workers)));
        Self {
            hosting,
            ends,
            folder,
            interpreter: python(),
            workers,
            serial: 1,
        }
    }

    /// A source with one module `app`.
    pub(crate) fn source(&self, code: &str) -> OriginSetup {
        let hash = SourceHash::of(code.as_bytes());
        let folder = self.folder.path().join(hash.short());
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("app.py"), code).unwrap();
        OriginSetup {
            origin: Origin::Source(hash),
            interpreter: self.interpreter.clone(),
            path: vec![folder],
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) async fn spawn(&mut self, setup: &OriginSetup, class: &str) -> (u32, TestWorker) {
        let spec = self.spec(&setup.origin, class);
        let worker = self.expect(&spec.token);
        let pid = self.hosting.spawn(spec).await.unwrap();
        let worker = tokio::time::timeout(PATIENCE, worker).await;
        (pid, worker.expect("the worker dials").unwrap())
    }

    /// As `spawn`, and waits until the actor stands.
    pub(crate) async fn started(&mut self, setup: &OriginSetup, class: &str) -> (u32, TestWorker) {
        let (pid, mut worker) = self.spawn(setup, class).await;
        assert_eq!(worker.notice().await, Notice::Started);
        (pid, worker)
    }

    pub(crate) fn spec(&mut self, origin: &Origin, class: &str) -> WorkerSpec {
        self.serial += 1;
        WorkerSpec {
            token: format!("token-{}", self.serial),
            actor: ActorId::allot(Incarnation(1), self.serial),
            origin: origin.clone(),
            class: class.to_owned(),
            parent: ActorId::NONE,
            global_name: None,
            requirements: None,
            capabilities: "{}".to_owned(),
            incarnation: Incarnation(1),
            allotment: self.serial << 32,
            environment: Vec::new(),
            user: None,
        }
    }

    fn expect(&self, token: &str) -> oneshot::Receiver<TestWorker> {
        let (sender, worker) = oneshot::channel();
        self.workers
            .lock()
            .unwrap()
            .insert(token.to_owned(), sender);
        worker
    }

    pub(crate) async fn ended(&mut self) -> WorkerEnded {
        let ended = tokio::time::timeout(PATIENCE, self.ends.recv()).await;
        ended.expect("the end of a worker is reported").unwrap()
    }

    pub(crate) async fn prepare_failure(&self, setup: &OriginSetup) -> ActorFailure {
        self.hosting
            .prepare(setup.clone(), classes(&["app.A"]))
            .await
            .unwrap_err()
    }

    /// Ends everything; nothing may be left.
    pub(crate) async fn close(mut self) {
        self.hosting.shutdown(Duration::ZERO).await;
        while self.ends.try_recv().is_ok() {}
        assert_eq!(left_of(self.folder.path()), Vec::<u32>::new());
    }
}

pub(crate) fn classes(names: &[&str]) -> PrepareRequest {
    PrepareRequest {
        classes: names.iter().map(|&name| name.to_owned()).collect(),
        capability_sets: vec!["{'Python Version': (3, 8)}".to_owned()],
        requirements: vec![None; names.len()],
        preload: true,
    }
}

impl TestWorker {
    pub(crate) async fn notice(&mut self) -> Notice {
        loop {
            let frame = next(&mut self.stream, &mut self.frames).await;
            let frame = frame.expect("the worker's connection holds");
            if frame.header.kind == FrameKind::Notice {
                return serde_json::from_slice(&frame.payload).unwrap();
            }
        }
    }

    /// Sends an actor system's message.
    pub(crate) async fn system(&mut self, message: &SystemMessage) {
        let header = Header {
            flags: Flags::SYSTEM,
            target_kind: TargetKind::Actor,
            target: self.actor.0,
            sender: ActorId::allot(Incarnation(1), 1),
            sequence: 1,
            ..Header::control(FrameKind::Message, 1)
        };
        self.send(header, serde_json::to_vec(message).unwrap())
            .await;
    }

    /// Sends a text.
    pub(crate) async fn tell(&mut self, literal: &str) {
        let header = Header {
            payload_kind: PayloadKind::Literal,
            target_kind: TargetKind::Actor,
            target: self.actor.0,
            sender: ActorId::allot(Incarnation(1), 1),
            ..Header::control(FrameKind::Message, 1)
        };
        self.send(header, literal.as_bytes().to_vec()).await;
    }

    async fn send(&mut self, header: Header, payload: Vec<u8>) {
        let mut bytes = Vec::new();
        Frame::new(header, payload).write_to(&mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
    }
}

async fn accept(
    listener: UnixListener,
    hosting: Hosting,
    workers: Arc<Mutex<HashMap<String, oneshot::Sender<TestWorker>>>>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(greet(stream, hosting.clone(), Arc::clone(&workers)));
    }
}

async fn greet(
    mut stream: UnixStream,
    hosting: Hosting,
    workers: Arc<Mutex<HashMap<String, oneshot::Sender<TestWorker>>>>,
) {
    let (hello, read_ahead) = read_hello(&mut stream).await;
    if hello.role != ConnectionRole::Stdio {
        stream.write_all(&welcome()).await.unwrap();
    }
    let pid = hello.pid;
    match hello.role {
        ConnectionRole::Forkserver => {
            hosting.forkserver_connected(&hello, pid, stream.into_std().unwrap(), read_ahead);
        }
        ConnectionRole::Stdio => {
            hosting.stdio_connected(&hello, pid, stream.into_std().unwrap(), read_ahead);
        }
        _ => {
            let token = hello.token.unwrap();
            let serial = token.strip_prefix("token-").unwrap().parse().unwrap();
            let mut frames = FrameReader::default();
            frames.extend(&read_ahead);
            let worker = TestWorker {
                actor: ActorId::allot(Incarnation(1), serial),
                stream,
                frames,
            };
            let waiting = workers.lock().unwrap().remove(&token).unwrap();
            drop(waiting.send(worker));
        }
    }
}

async fn read_hello(stream: &mut UnixStream) -> (Hello, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        let mut frames = FrameReader::default();
        frames.extend(&bytes);
        if let Some(frame) = frames.next_frame().unwrap() {
            let hello = serde_json::from_slice(&frame.payload).unwrap();
            return (hello, bytes.split_off(frame.bytes()));
        }
        assert_ne!(
            stream.read_buf(&mut bytes).await.unwrap(),
            0,
            "hello was cut off"
        );
    }
}

fn welcome() -> Vec<u8> {
    let welcome = Welcome {
        protocol: 1,
        address: ActorId::allot(Incarnation(1), 1),
        incarnation: Incarnation(1),
        node: NodeId(1),
        node_name: "test".to_owned(),
        capabilities: "{}".to_owned(),
        version: "0".to_owned(),
    };
    let mut bytes = Vec::new();
    let payload = serde_json::to_vec(&welcome).unwrap();
    Frame::new(Header::control(FrameKind::Welcome, 0), payload).write_to(&mut bytes);
    bytes
}

async fn next(stream: &mut UnixStream, frames: &mut FrameReader) -> Option<Frame> {
    let mut bytes = Vec::new();
    loop {
        if let Some(frame) = frames.next_frame().unwrap() {
            return Some(frame);
        }
        bytes.clear();
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut bytes)).await;
        if read.expect("the worker says something").ok()? == 0 {
            return None;
        }
        frames.extend(&bytes);
    }
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A process's state letter and parent, if it is there; `Z` is a zombie.
pub(crate) fn process(pid: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

/// Processes whose command line names this folder, as those of forkservers and workers do.
fn left_of(folder: &Path) -> Vec<u32> {
    let folder = folder.to_str().unwrap();
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(folder)
        })
        .collect()
}

/// The processes below this one.
pub(crate) fn descendants(of: u32) -> Vec<u32> {
    let all: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, process(pid)?.1)))
        .collect();
    let mut found = vec![of];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        found.extend(
            all.iter()
                .filter(|(_, above)| *above == parent)
                .map(|(pid, _)| *pid),
        );
        at += 1;
    }
    found.split_off(1)
}

pub(crate) fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

pub(crate) fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path)
        .ok()
        .filter(|text| !text.is_empty())
}
