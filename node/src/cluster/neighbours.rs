//! Nodes that programs of the same user have started on this host, and that share no convention
//! with this one: messages between their actors go by a Unix socket.
//!
//! Who an address belongs to is asked of each node that has a control socket in the user's folder.
//! The kernel says that a process of the same user is at the other end; a node with a Director
//! directory has no neighbours, and is nobody's. Nothing is created over such a link.
//! After the welcome the dialler sends a byte if it wants a link, and the acceptor one if it takes
//! it; two nodes that dial each other at once keep the link of the one with the smaller id. Another
//! byte begins a call (`invitations`, `invited`).
//! A member that goes out of the convention is a neighbour from then on, and one that comes stays
//! on the link that there is: what is between the actors of both goes on.
//! Not here: what flows (`router`), members of the own convention (`lanes`).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::control::{ConnectionRole, Hello, NodeAnswer, NodeCall, Welcome};
use protocol::limits::{PROTOCOL_VERSION, PROTOCOL_VERSION_OLDEST};
use protocol::view::Wish;
use protocol::{Frame, FrameKind, FrameReader, Header, Incarnation, NodeId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::invited;
use super::lanes::BATCH_BYTES_MAX;
use crate::agent::node::Node;
use crate::directory::{runtime_folder, socket_path};
use crate::router::{Handover, Link};

/// How long a neighbour may take to greet.
const GREETING_LIMIT: Duration = Duration::from_secs(2);

/// Sent by the dialler when it wants a link, and by the acceptor when it is to be used.
const GO: u8 = 1;

/// Sent by the dialler before a call.
const CALL: u8 = 2;

/// Longest document of a call or its answer.
const CALL_BYTES_MAX: u32 = 64 << 10;

/// Read at once of a batch, so that a length costs no memory before its bytes come.
const PART_BYTES: usize = 1 << 20;

/// The neighbours of a node, as far as it had to do with them.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    // Held for look-ups and insertions only.
    known: Mutex<BTreeMap<NodeId, Neighbour>>,
    /// One look at the folder at a time.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Neighbour {
    run: Incarnation,
    /// `None`: it has dialled, and was never looked for.
    socket: Option<PathBuf>,
    dialling: bool,
    /// Links that are up: the last one counts.
    n_links: u64,
    up: bool,
}

impl Neighbours {
    /// Whether a node is a neighbour.
    pub(crate) fn knows(&self, node: NodeId) -> bool {
        self.with(|known| known.contains_key(&node))
    }

    /// Whether a link to it is up.
    #[cfg(test)]
    pub(crate) fn is_up(&self, node: NodeId) -> bool {
        self.with(|known| known.get(&node).is_some_and(|neighbour| neighbour.up))
    }

    fn with<T>(&self, look: impl FnOnce(&mut BTreeMap<NodeId, Neighbour>) -> T) -> T {
        look(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn of_run(&self, run: Incarnation) -> Option<NodeId> {
        self.with(|known| {
            let mut known = known.iter();
            known.find(|(_, n)| n.run == run).map(|(node, _)| *node)
        })
    }

    fn learn(&self, node: NodeId, run: Incarnation, socket: Option<PathBuf>) {
        self.with(|known| {
            let neighbour = known.entry(node).or_insert_with(|| Neighbour {
                run,
                socket: None,
                dialling: false,
                n_links: 0,
                up: false,
            });
            neighbour.run = run;
            if socket.is_some() {
                neighbour.socket = socket;
            }
        });
    }

    fn dialling(&self, node: NodeId, on: bool) {
        self.with(|known| {
            if let Some(neighbour) = known.get_mut(&node) {
                neighbour.dialling = on;
            }
        });
    }

    /// A link is up; its number.
    fn rise(&self, node: NodeId) -> u64 {
        self.with(|known| {
            let Some(neighbour) = known.get_mut(&node) else {
                return 0;
            };
            neighbour.n_links += 1;
            neighbour.up = true;
            neighbour.n_links
        })
    }

    /// A link has ended; whether it was the one that counts.
    fn fall(&self, node: NodeId, number: u64) -> bool {
        self.with(|known| {
            let last = known.get_mut(&node).filter(|n| n.n_links == number);
            last.map(|neighbour| neighbour.up = false).is_some()
        })
    }
}

/// The neighbour whose run this is, if there is one.
pub(crate) async fn find(node: &Node, run: Incarnation) -> Option<NodeId> {
    if !node.directory.is_private() {
        return None;
    }
    let neighbours = &node.mutual.neighbours;
    let _turn = neighbours.looking.lock().await;
    if let Some(known) = neighbours.of_run(run) {
        return Some(known);
    }
    let folder = runtime_folder().ok()?;
    let own = socket_path(&folder, node.port);
    let sockets = std::fs::read_dir(&folder).ok()?.filter_map(Result::ok);
    let mut asking = JoinSet::new();
    for path in sockets.map(|entry| entry.path()) {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        if path == own || !name.ends_with(".sock") || name.ends_with(".workers.sock") {
            continue;
        }
        let me = (node.id, node.incarnation);
        asking.spawn(async move {
            let greeted = timeout(GREETING_LIMIT, greet(me, &path)).await;
            let (_stream, welcome) = greeted.ok()?.ok()?;
            (welcome.incarnation == run).then_some((welcome.node, path))
        });
    }
    while let Some(asked) = asking.join_next().await {
        if let Ok(Some((found, path))) = asked {
            neighbours.learn(found, run, Some(path));
            return Some(found);
        }
    }
    None
}

/// Says hello to the node behind a socket.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] where a node is that has no neighbours.
pub(super) async fn greet(
    me: (NodeId, Incarnation),
    path: &Path,
) -> io::Result<(UnixStream, Welcome)> {
    let mut stream = UnixStream::connect(path).await?;
    if stream.peer_cred()?.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        oldest: Some(PROTOCOL_VERSION_OLDEST),
        role: ConnectionRole::Node,
        token: None,
        pid: std::process::id(),
        program: None,
        node: Some(me),
    };
    let mut bytes = Vec::new();
    Frame::new(
        Header::control(FrameKind::Hello, 0),
        serde_json::to_vec(&hello)?,
    )
    .write_to(&mut bytes);
    stream.write_all(&bytes).await?;
    let mut reader = FrameReader::default();
    loop {
        // Byte by byte: what follows the welcome is no frame.
        reader.extend(&[stream.read_u8().await?]);
        let frame = reader.next_frame().map_err(io::Error::other)?;
        if let Some(frame) = frame {
            if frame.header.kind != FrameKind::Welcome {
                let text = "it has no neighbours";
                return Err(io::Error::new(io::ErrorKind::Unsupported, text));
            }
            return Ok((stream, serde_json::from_slice(&frame.payload)?));
        }
    }
}

/// Asks a node that has welcomed this one for something.
pub(super) async fn call(mut stream: UnixStream, call: &NodeCall) -> io::Result<NodeAnswer> {
    stream.write_u8(CALL).await?;
    write_document(&mut stream, call).await?;
    read_document(&mut stream).await
}

async fn write_document(stream: &mut UnixStream, document: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_vec(document)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    stream.write_u32_le(length).await?;
    stream.write_all(&json).await
}

async fn read_document<T: DeserializeOwned>(stream: &mut UnixStream) -> io::Result<T> {
    let length = stream.read_u32_le().await?;
    if length > CALL_BYTES_MAX {
        return Err(io::Error::other("a document is longer than any may be"));
    }
    let mut json = vec![0; length as usize];
    stream.read_exact(&mut json).await?;
    Ok(serde_json::from_slice(&json)?)
}

/// Whether a node is of this one's convention, whatever it was before.
pub(super) fn is_member(node: &Node, whom: NodeId) -> bool {
    let replica = &node.replica;
    whom == node.id || replica.read(|state| state.members.contains_key(&whom))
}

/// A node is no member any more: what is between its actors and those here goes on by its socket,
/// if it is a program's that lives; else it is lost.
pub(super) fn keep(node: &Arc<Node>, whom: NodeId, run: Incarnation, reason: String) {
    let (node, tracker) = (Arc::clone(node), node.tasks.clone());
    tracker.spawn(async move {
        let shutdown = node.shutdown.clone();
        let found = shutdown.run_until_cancelled(find(&node, run)).await;
        if found.flatten() != Some(whom) {
            node.router.link_lost(whom, run, reason);
        }
    });
}

/// Dials a neighbour once; one that is not there any more is lost, with all that waits for it.
pub(crate) async fn bring_up(node: &Arc<Node>, whom: NodeId) {
    let neighbours = &node.mutual.neighbours;
    let known = neighbours.with(|known| {
        let neighbour = known.get_mut(&whom).filter(|neighbour| !neighbour.up)?;
        Some((neighbour.run, neighbour.socket.clone()))
    });
    let Some((run, socket)) = known else { return };
    neighbours.dialling(whom, true);
    let dialled = timeout(GREETING_LIMIT, dial(node, whom, run, socket.as_deref())).await;
    neighbours.dialling(whom, false);
    match dialled {
        Ok(Ok(Some(stream))) => carry(node, whom, run, stream),
        // It dials itself.
        Ok(Ok(None)) => {}
        Ok(Err(cause)) => lost(node, whom, run, &cause),
        Err(_elapsed) => lost(node, whom, run, &io::ErrorKind::TimedOut.into()),
    }
}

/// The link, or nothing where the other side's own dial is the one to keep.
async fn dial(
    node: &Node,
    whom: NodeId,
    run: Incarnation,
    socket: Option<&Path>,
) -> io::Result<Option<UnixStream>> {
    let socket = socket.ok_or_else(|| io::Error::other("it has not said where it is"))?;
    let (mut stream, welcome) = greet((node.id, node.incarnation), socket).await?;
    if welcome.node != whom || welcome.incarnation != run {
        return Err(io::Error::other("another node has its port"));
    }
    stream.write_u8(GO).await?;
    match stream.read_u8().await {
        Ok(GO) => Ok(Some(stream)),
        Ok(_) => Err(io::Error::other("it does not begin as a link does")),
        Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(cause) => Err(cause),
    }
}

fn lost(node: &Node, whom: NodeId, run: Incarnation, cause: &io::Error) {
    tracing::info!(node = %whom, %cause, "a neighbour is gone");
    node.mutual.neighbours.with(|known| known.remove(&whom));
    let reason = "the system that the actor is of does not run any more";
    node.router.link_lost(whom, run, reason);
}

/// A neighbour has dialled.
pub(crate) fn came(node: &Arc<Node>, handover: Handover) {
    let (node, tracker) = (Arc::clone(node), node.tasks.clone());
    tracker.spawn(async move {
        if let Err(cause) = accept(&node, handover).await {
            tracing::debug!(%cause, "a neighbour's link was not taken");
        }
    });
}

async fn accept(node: &Arc<Node>, handover: Handover) -> io::Result<()> {
    let Some((whom, run)) = handover.hello.node else {
        return Ok(());
    };
    let neighbours = &node.mutual.neighbours;
    let ours = neighbours.with(|known| {
        let known = known.get(&whom);
        known.is_some_and(|known| known.dialling && node.id < whom)
    });
    if !handover.read_ahead.is_empty() {
        return Ok(());
    }
    let mut stream = UnixStream::from_std(handover.stream)?;
    // One that only looks for somebody ends here.
    let wish = timeout(GREETING_LIMIT, stream.read_u8()).await;
    let wish = wish.map_err(io::Error::other)??;
    if wish == GO {
        // The dialler waits not much longer; not told, it is a neighbour for now.
        let told = node.replica.want(Wish::Node(whom));
        let _not_told = timeout(GREETING_LIMIT / 2, told).await;
    }
    match wish {
        CALL => answer_call(node, whom, stream).await,
        GO if !is_member(node, whom) && !ours => {
            stream.write_u8(GO).await?;
            neighbours.learn(whom, run, None);
            carry(node, whom, run, stream);
            Ok(())
        }
        _ => Ok(()),
    }
}

async fn answer_call(node: &Arc<Node>, whom: NodeId, mut stream: UnixStream) -> io::Result<()> {
    let call = timeout(GREETING_LIMIT, read_document(&mut stream)).await;
    let call: NodeCall = call.map_err(io::Error::other)??;
    let answer = invited::answer(node, whom, &call).await;
    write_document(&mut stream, &answer).await
}

/// Lets the router use a link until it ends.
fn carry(node: &Arc<Node>, whom: NodeId, run: Incarnation, stream: UnixStream) {
    let Link { outgoing, incoming } = node.router.link_up(whom, run, true);
    let number = node.mutual.neighbours.rise(whom);
    tracing::debug!(node = %whom, "a neighbour's link is up");
    let (node, tracker) = (Arc::clone(node), node.tasks.clone());
    tracker.spawn(async move {
        let (reader, writer) = stream.into_split();
        let carrying = async {
            tokio::select! {
                ended = send(outgoing, writer) => ended,
                ended = receive(incoming, reader) => ended,
            }
        };
        let shutdown = node.shutdown.clone();
        let ended = shutdown.run_until_cancelled(carrying).await;
        tracing::debug!(node = %whom, ?ended, "a neighbour's link has ended");
        node.mutual.neighbours.fall(whom, number);
    });
}

async fn send(
    mut outgoing: tokio::sync::mpsc::Receiver<Vec<u8>>,
    mut writer: OwnedWriteHalf,
) -> io::Result<()> {
    while let Some(batch) = outgoing.recv().await {
        let length = u32::try_from(batch.len()).map_err(io::Error::other)?;
        writer.write_u32_le(length).await?;
        writer.write_all(&batch).await?;
    }
    Ok(())
}

async fn receive(
    incoming: tokio::sync::mpsc::Sender<Vec<u8>>,
    mut reader: OwnedReadHalf,
) -> io::Result<()> {
    loop {
        let length = reader.read_u32_le().await?;
        if u64::from(length) > BATCH_BYTES_MAX {
            return Err(io::Error::other("a batch is longer than any may be"));
        }
        let mut left = length as usize;
        let mut batch = Vec::new();
        while left > 0 {
            let part = left.min(PART_BYTES);
            let begin = batch.len();
            batch.resize(begin + part, 0);
            let place = batch.get_mut(begin..).unwrap_or_default();
            reader.read_exact(place).await?;
            left -= part;
        }
        if incoming.send(batch).await.is_err() {
            return Ok(());
        }
    }
}
