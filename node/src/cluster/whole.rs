//! The whole registry, for what a view is too little for: backup and restore on a member that does
//! not vote.
//!
//! Asked of the leader, which answers as of a confirmed index, in parts on a stream of its own.
//! Not here: what a follower is told of the registry day by day (`feed`, `view`).

use std::sync::Arc;
use std::time::Duration;

use protocol::control::{ErrorCode, RequestError};
use protocol::limits::{STREAM_DOCUMENT_BYTES_MAX, STREAM_PART_BYTES};
use protocol::peer::{PeerRequest, PeerResponse};
use protocol::registry::{REGISTRY_VERSION, State};
use protocol::wire::{Answer, Refusal, RefusalCode};
use protocol::{decode, encode};
use tokio::time::timeout;
use transport::Alpn;
use transport::streams::{BiStream, StreamFault};

use super::operator::fresh;
use super::peers::told;
use super::reading;
use super::serve::must_lead;
use crate::agent::node::Node;

/// The registry with the index that it stands at: this node's own if all of it is here, else the
/// leader's. It covers everything that was acknowledged before.
///
/// # Errors
/// `Unavailable`, naming `what` was to be read: no leader confirms it or tells it.
pub(super) async fn registry(node: &Arc<Node>, what: &str) -> Result<(u64, State), RequestError> {
    reading::confirmed(node, what).await?;
    if !node.replica.is_partial() {
        let whole = |index, state: &State| (index, state.clone());
        return Ok(node.replica.read_at(whole));
    }
    let fetched = timeout(FETCH_LIMIT, fetch(node)).await;
    let fetched = fetched.unwrap_or_else(|_elapsed| {
        let seconds = FETCH_LIMIT.as_secs();
        Err(format!("the leader has not told it within {seconds} s"))
    });
    fetched.map_err(|reason| RequestError {
        code: ErrorCode::Unavailable,
        message: format!("{what} cannot be read from the leader: {reason}"),
        hint: Some("nothing was changed; repeat it, or run it on a voter".to_owned()),
        traceback: None,
        failure: None,
    })
}

async fn fetch(node: &Node) -> Result<(u64, State), String> {
    let peers = &node.membership.peers;
    let leader = peers.leader(FETCH_LIMIT).await;
    let (leader, _) = leader.ok_or_else(|| "no leader is known".to_owned())?;
    let connection = peers.connection(leader, Alpn::Convention).await;
    let connection = connection.map_err(|fault| fault.to_string())?;
    let opened = connection.open().await;
    let mut stream = opened.map_err(|closed| told(&closed))?;
    let asked = stream.sender.send(&PeerRequest::Registry).await;
    asked.map_err(|fault| told(&fault))?;
    stream.sender.finish();
    let mut whole = Vec::new();
    loop {
        let answer = stream.receiver.receive::<Answer<PeerResponse>>().await;
        match answer.map_err(|fault| told(&fault))? {
            Some(Answer::Done(PeerResponse::Registry { bytes, last })) => {
                if whole.len() + bytes.len() > STREAM_DOCUMENT_BYTES_MAX {
                    return Err(format!("it has over {STREAM_DOCUMENT_BYTES_MAX} bytes"));
                }
                whole.extend_from_slice(&bytes);
                if last {
                    let read = decode(SHAPE, REGISTRY_VERSION, &whole);
                    return read.map_err(|error| error.to_string());
                }
            }
            Some(Answer::Refused(refusal)) => return Err(refusal.text),
            Some(Answer::Done(_)) => return Err("an answer of another kind".to_owned()),
            None => return Err("the stream was cut".to_owned()),
        }
    }
}

/// Tells a member the whole registry, as the leader.
pub(super) async fn serve(node: &Node, mut stream: BiStream) -> Result<(), StreamFault> {
    let bytes = match confirmed(node).await {
        Ok(bytes) => bytes,
        Err(refusal) => return stream.answer::<PeerResponse>(Err(refusal)).await,
    };
    let mut parts = bytes.chunks(STREAM_PART_BYTES).peekable();
    while let Some(part) = parts.next() {
        let part = PeerResponse::Registry {
            bytes: part.to_vec(),
            last: parts.peek().is_none(),
        };
        stream.sender.send(&Answer::Done(part)).await?;
    }
    stream.sender.finish_and_wait().await
}

async fn confirmed(node: &Node) -> Result<Vec<u8>, Refusal> {
    must_lead(node)?;
    let confirmed = fresh(node).await;
    confirmed.map_err(|error| Refusal::new(RefusalCode::NotLeader, error.message))?;
    let (index, mut state) = node.replica.read_at(|index, state| (index, state.clone()));
    // Nobody but voters has them, not even as hashes; neither backup nor restore is about them.
    state.roll.tokens.clear();
    let encoded = encode(SHAPE, REGISTRY_VERSION, &(index, state));
    encoded.map_err(|error| Refusal::new(RefusalCode::BadRequest, error.to_string()))
}

/// Name of the document.
const SHAPE: &str = "whole registry";

/// How long it may take: a registry of many thousands of members, over a slow link.
const FETCH_LIMIT: Duration = Duration::from_secs(60);
