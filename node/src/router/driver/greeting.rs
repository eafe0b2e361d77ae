//! The first seconds of a connection: who it is, whether it may stay, and where it goes.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use protocol::control::{ConnectionRole, ErrorCode, Hello, RequestError, Response, Welcome};
use protocol::limits::{HEADER_BYTES, PROTOCOL_VERSION, PROTOCOL_VERSION_OLDEST};
use protocol::{ActorId, Frame, FrameKind, Header};
use tokio::net::UnixStream;

use super::line;
use super::shared::Shared;
use crate::router::agent::{AgentEvent, Caller, CallerKind, Handover};
use crate::router::config::{Peer, Rights};
use crate::router::core::PartyId;

/// Which of the two sockets a connection came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    Control,
    Workers,
}

/// Longest payload of a Hello.
const HELLO_BYTES_MAX: usize = 16 << 10;

/// Time for the refusal of a connection to leave.
const REFUSAL_MS: u64 = 1_000;

/// Why a connection does not stay.
#[derive(Debug, thiserror::Error)]
enum GreetingError {
    #[error("it ended before its hello")]
    Ended(#[source] io::Error),
    #[error("its first bytes are no hello: {0}")]
    NoHello(String),
    #[error("{0}")]
    Refused(String, ErrorCode, &'static str),
}

/// Reads the hello within its time, and welcomes or refuses.
pub(super) async fn greet(shared: Rc<Shared>, stream: UnixStream, door: Door) {
    let limit = Duration::from_millis(shared.limits.greeting_ms);
    let peer = stream.peer_cred().map(|credentials| Peer {
        uid: credentials.uid(),
        gid: credentials.gid(),
        pid: credentials.pid().and_then(|pid| u32::try_from(pid).ok()),
    });
    let hello = tokio::time::timeout(limit, read_hello(&stream)).await;
    shared.greeted();
    let Ok(peer) = peer else { return };
    let outcome = match hello {
        Err(_elapsed) => {
            tracing::warn!(?peer, ?door, "connection said no hello in time");
            return;
        }
        Ok(Ok((hello, read_ahead))) => {
            admit(&shared, door, peer, &hello).map(|admitted| (admitted, hello, read_ahead))
        }
        Ok(Err(error)) => Err(error),
    };
    match outcome {
        Ok((admitted, hello, read_ahead)) => {
            enter(shared, stream, peer, admitted, hello, read_ahead).await;
        }
        Err(error) => {
            tracing::warn!(?peer, ?door, %error, "connection refused");
            if let GreetingError::Refused(message, code, hint) = error {
                refuse(&stream, message, code, hint).await;
            }
        }
    }
}

/// What a connection is let in as.
enum Admitted {
    Client(Rights),
    Worker(PartyId, ActorId),
    Forkserver,
    Stdio,
    Node,
}

fn admit(
    shared: &Shared,
    door: Door,
    peer: Peer,
    hello: &Hello,
) -> Result<Admitted, GreetingError> {
    if hello.common_version().is_none() {
        let (own, found) = (PROTOCOL_VERSION, hello.protocol);
        let before = PROTOCOL_VERSION_OLDEST;
        let message = format!("this node speaks protocol {before} to {own}, not `{found}`");
        let hint = "use the program and the Python package of the node's own version";
        return Err(GreetingError::Refused(message, ErrorCode::Refused, hint));
    }
    match (door, hello.role) {
        (Door::Control, ConnectionRole::Client) => {
            let rights = (shared.authorize)(peer).ok_or_else(|| {
                let message = format!("user `{}` may not use this node", peer.uid);
                let hint = "name a group of that user in clientgroup.cfg of the node's directory";
                GreetingError::Refused(message, ErrorCode::Forbidden, hint)
            })?;
            Ok(Admitted::Client(rights))
        }
        (Door::Control, ConnectionRole::Node) if is_neighbour(shared, peer, hello) => {
            Ok(Admitted::Node)
        }
        // The socket's mode keeps other users out as well, but only once it has been set; and the
        // root forkserver's token is in its command line, which everybody may read.
        (Door::Workers, _) if (shared.authorize)(peer) != Some(Rights::Operate) => {
            let message = format!("user `{}` runs no process of this node", peer.uid);
            let hint = "workers are started by the node only";
            Err(GreetingError::Refused(message, ErrorCode::Forbidden, hint))
        }
        (Door::Workers, ConnectionRole::Worker) => {
            let token = hello.token.as_deref().unwrap_or_default();
            let pid = peer.pid.unwrap_or(hello.pid);
            let known = shared.core.borrow_mut().connect_worker(token, peer, pid);
            known
                .map(|(id, actor)| Admitted::Worker(id, actor))
                .ok_or_else(|| {
                    let message = format!("the node expects no worker as process `{pid}` is");
                    let hint = "workers are started by the node only";
                    GreetingError::Refused(message, ErrorCode::Forbidden, hint)
                })
        }
        (Door::Workers, ConnectionRole::Forkserver) => Ok(Admitted::Forkserver),
        (Door::Workers, ConnectionRole::Stdio) => Ok(Admitted::Stdio),
        (_, role) => {
            let message = format!("a `{role:?}` may not connect to this socket");
            let hint = "clients use the control socket, processes of the node the other one";
            Err(GreetingError::Refused(message, ErrorCode::Refused, hint))
        }
    }
}

/// Whether a node is let in that shares no convention: of this very user, root included, where
/// programs start nodes.
fn is_neighbour(shared: &Shared, peer: Peer, hello: &Hello) -> bool {
    let me = rustix::process::geteuid().as_raw();
    shared.neighbours && peer.uid == me && hello.node.is_some()
}

async fn enter(
    shared: Rc<Shared>,
    stream: UnixStream,
    peer: Peer,
    admitted: Admitted,
    hello: Hello,
    read_ahead: Vec<u8>,
) {
    let pid = peer.pid.unwrap_or(hello.pid);
    match admitted {
        Admitted::Client(rights) => {
            let address = ActorId::allot(shared.incarnation, shared.serials.single());
            let caller = Caller {
                address,
                kind: CallerKind::Client,
                pid,
                uid: peer.uid,
                gid: peer.gid,
                rights,
            };
            let program = hello.program.unwrap_or_default();
            let id = shared.core.borrow_mut().connect_client(caller, program);
            let welcome = shared.welcome(address, &hello);
            line::serve(shared, stream, id, welcome, read_ahead, rights).await;
        }
        Admitted::Worker(id, address) => {
            let welcome = shared.welcome(address, &hello);
            line::serve(shared, stream, id, welcome, read_ahead, Rights::Use).await;
        }
        Admitted::Forkserver | Admitted::Node => {
            let event = match admitted {
                Admitted::Node => AgentEvent::Neighbour,
                _ => AgentEvent::Forkserver,
            };
            let welcome = control_bytes(FrameKind::Welcome, &shared.welcome(ActorId::NONE, &hello));
            let limit = Duration::from_millis(shared.limits.greeting_ms);
            let written = tokio::time::timeout(limit, write_all(&stream, &welcome)).await;
            if matches!(written, Ok(Ok(()))) {
                hand_over(&shared, stream, pid, hello, read_ahead, event);
            }
        }
        Admitted::Stdio => {
            hand_over(&shared, stream, pid, hello, read_ahead, AgentEvent::Stdio);
        }
    }
}

fn hand_over(
    shared: &Shared,
    stream: UnixStream,
    pid: u32,
    hello: Hello,
    read_ahead: Vec<u8>,
    event: impl FnOnce(Handover) -> AgentEvent,
) {
    match stream.into_std() {
        Ok(stream) => shared.tell(event(Handover {
            hello,
            pid,
            stream,
            read_ahead,
        })),
        Err(error) => tracing::warn!(%error, pid, "connection could not be handed over"),
    }
}

async fn read_hello(stream: &UnixStream) -> Result<(Hello, Vec<u8>), GreetingError> {
    let mut buffer = Vec::with_capacity(4 << 10);
    loop {
        if let Some((head, rest)) = buffer.split_first_chunk::<HEADER_BYTES>() {
            let header = Header::from_bytes(head).map_err(no_hello)?;
            if header.kind != FrameKind::Hello || header.payload_bytes > HELLO_BYTES_MAX {
                let (kind, n_bytes) = (header.kind, header.payload_bytes);
                return Err(no_hello(format!("a `{kind:?}` of {n_bytes} bytes")));
            }
            if let Some((json, behind)) = rest.split_at_checked(header.payload_bytes) {
                let hello = serde_json::from_slice(json).map_err(no_hello)?;
                return Ok((hello, behind.to_vec()));
            }
        }
        stream.readable().await.map_err(GreetingError::Ended)?;
        match stream.try_read_buf(&mut buffer) {
            Ok(0) => return Err(GreetingError::Ended(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(GreetingError::Ended(error)),
        }
    }
}

fn no_hello(what: impl ToString) -> GreetingError {
    GreetingError::NoHello(what.to_string())
}

async fn refuse(stream: &UnixStream, message: String, code: ErrorCode, hint: &str) {
    let response = Response::Failed(RequestError {
        code,
        message,
        hint: Some(hint.to_owned()),
        traceback: None,
        failure: None,
    });
    let bytes = control_bytes(FrameKind::Response, &response);
    let limit = Duration::from_millis(REFUSAL_MS);
    // Whether it still listens is its own affair: the connection ends either way.
    drop(tokio::time::timeout(limit, write_all(stream, &bytes)).await);
}

fn control_bytes<T: serde::Serialize>(kind: FrameKind, document: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(json) = serde_json::to_vec(document) {
        Frame::new(Header::control(kind, 0), json).write_to(&mut bytes);
    }
    bytes
}

async fn write_all(stream: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(n_bytes) => bytes = bytes.get(n_bytes..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Shared {
    fn welcome(&self, address: ActorId, hello: &Hello) -> Welcome {
        Welcome {
            protocol: hello.common_version().unwrap_or(PROTOCOL_VERSION),
            address,
            incarnation: self.incarnation,
            node: self.node,
            node_name: self.node_name.clone(),
            capabilities: self.capabilities.borrow().clone(),
            version: self.version.clone(),
        }
    }
}
