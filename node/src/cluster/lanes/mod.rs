//! Lanes: the router's links to other nodes, carried over `lane/1` connections.
//!
//! # Protocol
//! The dialler opens a stream and sends its greeting; the acceptor answers with a stream of its own
//! and a greeting; from then on batches of whole frames flow on both. Of two nodes that greet each
//! other at the same time the one with the smaller id turns the other's connection away, before
//! anything was sent on it, so that no message is lost to the choice. Before its dial has come
//! through it takes the other's: it may be the one that cannot come through.
//! A batch goes as one frame; one longer than `PART_BYTES` as an empty frame, its length, parts.
//! What a lost connection had not handed over waits in the router; it asks for the lane again.
//! A greeting shows that its node knows the user's secret, if it does (`programs`).
//! Not here: what flows (`router`), which node an actor is on (`map`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::view::Wish;
use protocol::wire::{Refusal, RefusalCode};
use protocol::{Incarnation, NodeId};
use rand::Rng;
use tokio::sync::watch;
use tokio::time::timeout;
use transport::streams::{FrameReceiver, FrameSender};
use transport::{Alpn, Connection};

use super::peers::first_of;
use super::{neighbours, programs};
use crate::agent::node::Node;
use crate::router::Link;

pub(crate) mod map;

mod pump;
pub(super) use pump::BATCH_BYTES_MAX;

/// How long the other side may take to answer a greeting.
const GREETING_LIMIT: Duration = Duration::from_secs(5);

/// How long the other side may take to bring a lane up that it was told to dial.
const CALLED_LIMIT: Duration = Duration::from_secs(5);

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
    settled: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Lane {
    /// Somebody here tries to bring it up.
    wanted: bool,
    /// Our dial has come through, and our greeting goes out on it.
    greets: bool,
    /// Greetings of the other that we answer just now.
    n_answered: u32,
    up: Option<Connection>,
}

/// Our greeting on a connection; when it is over, another may be taken.
#[derive(Debug)]
struct Greets<'a>(&'a Lanes, NodeId);

impl Drop for Greets<'_> {
    fn drop(&mut self) {
        self.0.with(self.1, |lane| lane.greets = false);
    }
}

/// The other's greeting that we answer.
#[derive(Debug)]
struct Answers<'a>(&'a Lanes, NodeId);

impl Drop for Answers<'_> {
    fn drop(&mut self) {
        self.0.with(self.1, |lane| lane.n_answered -= 1);
    }
}

impl Lanes {
    fn with<T>(&self, node: NodeId, look: impl FnOnce(&mut Lane) -> T) -> T {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        look(lanes.entry(node).or_default())
    }

    /// Begins to greet on a connection that we dialled, unless another is taken or there already.
    fn greet(&self, node: NodeId) -> Option<Greets<'_>> {
        let begins = self.with(node, |lane| {
            let begins = lane.up.is_none() && lane.n_answered == 0;
            lane.greets |= begins;
            begins
        });
        // Not `then_some`: what it throws away would be dropped, and end another's greeting.
        begins.then(|| Greets(self, node))
    }

    /// Begins to answer a greeting, unless our own is the one to keep.
    fn answer(&self, node: NodeId, me: NodeId) -> Option<Answers<'_>> {
        let begins = self.with(node, |lane| {
            let begins = !(lane.greets && me < node);
            lane.n_answered += u32::from(begins);
            begins
        });
        begins.then(|| Answers(self, node))
    }

    /// Waits until there is a lane to a node.
    async fn up(&self, node: NodeId) {
        let mut settled = self.settled.subscribe();
        while self.with(node, |lane| lane.up.is_none()) && settled.changed().await.is_ok() {}
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
    // Whether it is lost concerns who has a lane to it.
    node.replica.note(Wish::Node(whom));
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
        node.mutual.lanes.with(whom, |lane| lane.wanted = false);
    });
}

/// The other side broke a rule of the router's.
pub(crate) fn broken(node: &Node, whom: NodeId, reason: &str) {
    tracing::warn!(node = %whom, reason, "a lane is let go");
    let refusal = Refusal::new(RefusalCode::BadRequest, reason);
    node.mutual.lanes.close(whom, &refusal);
}

async fn bring_up(node: &Arc<Node>, whom: NodeId) {
    let mut wait_ms = AGAIN_MS;
    while node.mutual.lanes.with(whom, |lane| lane.up.is_none()) {
        let is_member = neighbours::is_member(node, whom);
        if !is_member && node.mutual.neighbours.knows(whom) {
            return neighbours::bring_up(node, whom).await;
        }
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

/// Dials, and has the other side dial when it does not answer soon.
async fn dial(node: &Arc<Node>, whom: NodeId) -> Result<(), String> {
    let (lanes, peers) = (&node.mutual.lanes, &node.membership.peers);
    let called_back = async {
        peers.head_start(whom).await;
        peers.have_dial(whom, Alpn::Lane).await?;
        // Told to, the other side dials, and `accept` takes it.
        let up = timeout(CALLED_LIMIT, lanes.up(whom)).await.ok();
        up.inspect(|()| peers.dial_succeeds(whom, false))
    };
    first_of(dial_and_greet(node, whom), called_back, |_| false).await
}

async fn dial_and_greet(node: &Arc<Node>, whom: NodeId) -> Result<(), String> {
    let (lanes, peers) = (&node.mutual.lanes, &node.membership.peers);
    let _not_told = node.replica.want(Wish::Node(whom)).await;
    let address = node.replica.read(|state| {
        let member = state.members.get(&whom)?;
        Some(member.address.clone()).filter(|address| !address.is_empty())
    });
    let address = address.ok_or_else(|| "it has no address".to_owned())?;
    let dialled = peers.dial(whom, &address, Alpn::Lane).await;
    let connection = dialled.map_err(|fault| fault.to_string())?;
    peers.dial_succeeds(whom, true);
    let Some(_greets) = lanes.greet(whom) else {
        let text = "the other's lane is being taken";
        connection.close(&Refusal::new(RefusalCode::Busy, text));
        let up = timeout(GREETING_LIMIT, lanes.up(whom)).await;
        return up.map_err(|_elapsed| "the other's lane was not taken".to_owned());
    };
    let greeted = greet(node, whom, connection.clone()).await;
    if let Err(reason) = &greeted {
        connection.close(&Refusal::new(RefusalCode::Busy, reason.as_str()));
        if lanes.with(whom, |lane| lane.up.is_some()) {
            return Ok(());
        }
    }
    greeted
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
        let Some(answers) = node.mutual.lanes.answer(whom, node.id) else {
            let text = "two lanes at once: the one of the smaller id is kept";
            connection.close(&Refusal::new(RefusalCode::Busy, text));
            return Err(text.to_owned());
        };
        let sender = send_greeting(node, &connection).await?;
        let greeted = Greeted {
            sender,
            receiver,
            same_user,
        };
        Ok((greeted, answers))
    };
    match timeout(GREETING_LIMIT, greeting).await {
        Ok(Ok((greeted, _until_settled))) => settle(node, whom, connection, greeted),
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
    node.replica.note(Wish::Node(whom));
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
    node.mutual
        .lanes
        .settled
        .send_modify(|settled| *settled += 1);
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

#[cfg(test)]
mod tests {
    use super::*;

    const ME: NodeId = NodeId(1);
    const OTHER: NodeId = NodeId(2);

    #[test]
    fn a_greeting_that_does_not_begin_ends_none_that_has_begun() {
        let lanes = Lanes::default();
        let state = || lanes.with(OTHER, |lane| (lane.greets, lane.n_answered));
        let ours = lanes.greet(OTHER);
        assert!(lanes.answer(OTHER, ME).is_none(), "ours is the one to keep");
        assert_eq!(state(), (true, 0));
        let theirs = lanes.answer(OTHER, NodeId(3));
        assert!(theirs.is_some() && lanes.greet(OTHER).is_none());
        assert_eq!(state(), (true, 1));
        drop((ours, theirs));
        assert_eq!(state(), (false, 0));
    }
}
