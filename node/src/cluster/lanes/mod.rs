//! Lanes: the router's links to other nodes, carried over `lane/1` connections.
//!
//! # Protocol
//! The dialler opens a stream and sends its greeting; the acceptor answers with a stream of its own
//! and a greeting; from then on batches of whole frames flow on both. Two nodes that dial each
//! other at the same time keep the connection of the one with the smaller id: the acceptor turns
//! the other away before anything was sent on it, so that no message is lost to the choice.
//! A batch goes as one frame; one longer than `PART_BYTES` as an empty frame, its length, parts.
//! What a lost connection had not handed over waits in the router; it asks for the lane again.
//! A greeting shows that its node knows the user's secret, if it does (`programs`).
//! Not here: what flows (`router`), which node an actor is on (`map`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::wire::{Refusal, RefusalCode};
use protocol::{Incarnation, NodeId};
use rand::Rng;
use tokio::time::timeout;
use transport::streams::{FrameReceiver, FrameSender};
use transport::{Alpn, Connection};

use super::{neighbours, programs};
use crate::agent::node::Node;
use crate::router::Link;

pub(crate) mod map;

mod pump;
pub(super) use pump::BATCH_BYTES_MAX;

/// How long the other side may take to answer a greeting.
const GREETING_LIMIT: Duration = Duration::from_secs(5);

/// How long a wanted lane is tried before the router is left to ask again.
const WANT_LIMIT: Duration = Duration::from_secs(30);

/// First wait before a lane is dialled again; it doubles, with jitter.
const AGAIN_MS: u64 = 50;

/// Longest such wait.
const AGAIN_MAX_MS: u64 = 2_000;

/// Whom the router wants lanes to, and those that there are.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    // Held for look-ups and insertions only.
    lanes: Mutex<BTreeMap<NodeId, Lane>>,
}

#[derive(Debug, Default)]
struct Lane {
    /// Somebody here tries to bring it up.
    wanted: bool,
    /// We have sent our greeting, or are about to dial.
    dialling: bool,
    up: Option<Connection>,
}

impl Lanes {
    fn with<T>(&self, node: NodeId, look: impl FnOnce(&mut Lane) -> T) -> T {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        look(lanes.entry(node).or_default())
    }

    /// Lets the lane to a run of a node go; the one to its next run may be up before this node's
    /// registry knows of it.
    fn close_run(&self, node: NodeId, run: Incarnation, refusal: &Refusal) {
        let of_run = |lane: &Connection| lane.about().incarnation == run;
        if let Some(connection) = self.with(node, |lane| lane.up.take_if(|up| of_run(up))) {
            connection.close(refusal);
        }
    }

    /// Lets the lane to a node go, if there is one.
    fn close(&self, node: NodeId, refusal: &Refusal) {
        if let Some(connection) = self.with(node, |lane| lane.up.take()) {
            connection.close(refusal);
        }
    }
}

/// Takes the lanes that others dial, until shutdown.
pub(crate) async fn run(node: Arc<Node>) {
    let Some(mut came) = node.membership.take_lanes() else {
        return;
    };
    while let Some(Some(connection)) = node.shutdown.run_until_cancelled(came.recv()).await {
        // What this node dials comes here as well; who dialled it knows it.
        if connection.is_dialler() {
            continue;
        }
        let (node, tracker) = (Arc::clone(&node), node.tasks.clone());
        tracker.spawn(async move {
            let shutdown = node.shutdown.clone();
            shutdown
                .run_until_cancelled(accept(&node, connection))
                .await;
        });
    }
}

/// The router wants a lane to this node.
pub(crate) fn want(node: &Arc<Node>, whom: NodeId) {
    let begins = node.mutual.lanes.with(whom, |lane| {
        !std::mem::replace(&mut lane.wanted, true) && lane.up.is_none()
    });
    if !begins {
        return;
    }
    let (node, tracker) = (Arc::clone(node), node.tasks.clone());
    tracker.spawn(async move {
        let shutdown = node.shutdown.clone();
        let trying = timeout(WANT_LIMIT, bring_up(&node, whom));
        let _given_up = shutdown.run_until_cancelled(trying).await;
        node.mutual.lanes.with(whom, |lane| {
            lane.wanted = false;
            lane.dialling = false;
        });
    });
}

/// The other side broke a rule of the router's.
pub(crate) fn broken(node: &Node, whom: NodeId, reason: &str) {
    tracing::warn!(node = %whom, reason, "a lane is let go");
    let refusal = Refusal::new(RefusalCode::BadRequest, reason);
    node.mutual.lanes.close(whom, &refusal);
}

async fn bring_up(node: &Arc<Node>, whom: NodeId) {
    if node.mutual.neighbours.knows(whom) {
        return neighbours::bring_up(node, whom).await;
    }
    let mut wait_ms = AGAIN_MS;
    while node.mutual.lanes.with(whom, |lane| lane.up.is_none()) {
        if let Err(reason) = dial(node, whom).await {
            tracing::info!(node = %whom, reason, "no lane yet");
        }
        if node.mutual.lanes.with(whom, |lane| lane.up.is_some()) {
            return;
        }
        let jittered = rand::rng().random_range(wait_ms / 2..=wait_ms);
        tokio::time::sleep(Duration::from_millis(jittered)).await;
        wait_ms = (wait_ms * 2).min(AGAIN_MAX_MS);
    }
}

/// Dials, or has the other side dial where this one cannot.
async fn dial(node: &Arc<Node>, whom: NodeId) -> Result<(), String> {
    let lanes = &node.mutual.lanes;
    let address = node.replica.read(|state| {
        let member = state.members.get(&whom)?;
        Some(member.address.clone()).filter(|address| !address.is_empty())
    });
    let peers = &node.membership.peers;
    let dialled = match address {
        Some(address) => {
            lanes.with(whom, |lane| lane.dialling = true);
            let dialled = peers.dial(whom, &address, Alpn::Lane).await;
            match dialled {
                Ok(connection) => greet(node, whom, connection).await,
                Err(fault) => Err(fault.to_string()),
            }
        }
        None => Err("it has no address".to_owned()),
    };
    lanes.with(whom, |lane| lane.dialling = false);
    let Err(reason) = dialled else {
        return Ok(());
    };
    if lanes.with(whom, |lane| lane.up.is_some()) {
        return Ok(());
    }
    // Asked to call back, the other side dials, and `accept` takes it.
    match peers.connection(whom, Alpn::Lane).await {
        Ok(connection) if connection.is_dialler() => greet(node, whom, connection).await,
        Ok(_) => Ok(()),
        Err(_) => Err(reason),
    }
}

/// As the dialler: greets, waits for the other's greeting, and lets the router use the lane.
async fn greet(node: &Arc<Node>, whom: NodeId, connection: Connection) -> Result<(), String> {
    let greeting = async {
        let sender = send_greeting(node, &connection).await?;
        let (receiver, same_user) = receive_greeting(node, &connection).await?;
        Ok(Greeted {
            sender,
            receiver,
            same_user,
        })
    };
    match timeout(GREETING_LIMIT, greeting).await {
        Ok(Ok(greeted)) => {
            settle(node, whom, connection, greeted);
            Ok(())
        }
        Ok(Err(reason)) => Err(reason),
        Err(_elapsed) => Err("no greeting came".to_owned()),
    }
}

/// As the acceptor: turns the other away if this node's own dial is the one to keep.
async fn accept(node: &Arc<Node>, connection: Connection) {
    let Some(whom) = connection.peer().map(|peer| peer.node) else {
        return;
    };
    let greeting = async {
        let (receiver, same_user) = receive_greeting(node, &connection).await?;
        let ours = node
            .mutual
            .lanes
            .with(whom, |lane| lane.dialling && node.id < whom);
        if ours {
            let text = "two lanes at once: the one of the smaller id is kept";
            connection.close(&Refusal::new(RefusalCode::Busy, text));
            return Err(text.to_owned());
        }
        let sender = send_greeting(node, &connection).await?;
        Ok(Greeted {
            sender,
            receiver,
            same_user,
        })
    };
    match timeout(GREETING_LIMIT, greeting).await {
        Ok(Ok(greeted)) => settle(node, whom, connection, greeted),
        Ok(Err(reason)) => tracing::debug!(node = %whom, reason, "a lane was not taken"),
        Err(_elapsed) => tracing::debug!(node = %whom, "no greeting came on a lane"),
    }
}

/// A lane that both sides have greeted on.
struct Greeted {
    sender: FrameSender,
    receiver: FrameReceiver,
    /// Whether the other side has proven to run as this node's user.
    same_user: bool,
}

async fn send_greeting(node: &Node, connection: &Connection) -> Result<FrameSender, String> {
    let mut sender = connection.open_one_way().await.map_err(|e| e.to_string())?;
    let proof = programs::shows(node, connection);
    let greeting = [GREETING, proof.as_ref().map_or(&[], |proof| &proof[..])].concat();
    let sent = sender.send_frame(&greeting).await;
    sent.map_err(|fault| fault.to_string())?;
    Ok(sender)
}

async fn receive_greeting(
    node: &Node,
    connection: &Connection,
) -> Result<(FrameReceiver, bool), String> {
    let mut receiver = connection
        .accept_one_way()
        .await
        .map_err(|e| e.to_string())?;
    let greeting = receiver.receive_frame(GREETING.len() + PROOF_BYTES).await;
    match greeting {
        Ok(Some(bytes)) => match bytes.strip_prefix(GREETING) {
            Some(proof) => Ok((receiver, programs::is_shown(node, connection, proof))),
            None => Err("it does not begin as a lane does".to_owned()),
        },
        Ok(None) => Err("it does not begin as a lane does".to_owned()),
        Err(fault) => Err(fault.to_string()),
    }
}

/// Both sides agree on this connection: the router uses it from here.
fn settle(node: &Arc<Node>, whom: NodeId, connection: Connection, greeted: Greeted) {
    let incarnation = connection.about().incarnation;
    if !is_current(node, whom, incarnation) {
        let text = "the registry knows another run of this node";
        return connection.close(&Refusal::new(RefusalCode::NotAllowed, text));
    }
    let before = node
        .mutual
        .lanes
        .with(whom, |lane| lane.up.replace(connection.clone()));
    if let Some(before) = before {
        before.close(&Refusal::new(
            RefusalCode::Busy,
            "another lane is used from now",
        ));
    }
    let Greeted {
        sender,
        receiver,
        same_user,
    } = greeted;
    let link: Link = node.router.link_up(whom, incarnation, same_user);
    tracing::debug!(node = %whom, same_user, "lane up");
    let (node, tracker) = (Arc::clone(node), node.tasks.clone());
    tracker.spawn(async move {
        let shutdown = node.shutdown.clone();
        let reason = shutdown
            .run_until_cancelled(pump::run(link, sender, receiver))
            .await;
        let reason = reason.map_or_else(|| "this node stops".to_owned(), |end| end.to_string());
        tracing::debug!(node = %whom, reason, "lane down");
        node.mutual.lanes.with(whom, |lane| {
            if lane.up.as_ref().is_some_and(|up| up.is_same(&connection)) {
                lane.up = None;
            }
        });
        let refusal = Refusal::new(RefusalCode::Stopping, "the lane has ended");
        connection.close(&refusal);
    });
}

/// Whether this run of a node is the one that counts, or newer than what is known here.
fn is_current(node: &Node, whom: NodeId, incarnation: Incarnation) -> bool {
    node.replica.read(|state| {
        let past = &state.roll.removed;
        !past.contains_key(&whom) && incarnation != Incarnation(0)
    })
}

/// First frame of each direction: kind and version; behind it the proof, if there is one.
const GREETING: &[u8] = b"lane 1";

/// Length of a proof.
const PROOF_BYTES: usize = 32;
