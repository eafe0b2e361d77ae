//! What a leader sends on a member's session: acknowledgements, and the registry's stream.
//!
//! Not here: leases (`sessions`), the member's side (`session`).

use protocol::limits::STREAM_WINDOW_BYTES;
use protocol::peer::{SessionDown, SessionOpen, Streamed};
use protocol::registry::{Command, KeyDigest, MemberCommand};
use tokio::sync::{mpsc, watch};
use transport::streams::FrameSender;

use super::parts::Cut;
use super::peers::told;
use super::voters;
use crate::agent::node::Node;

/// What the member has told, for who sends to it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Up {
    /// A heartbeat to be acknowledged.
    Beat(u64),
    /// So much of the registry's stream has come there.
    Received(u64),
}

/// Sends acknowledgements, and the registry's stream to who follows it: part by part, so that an
/// acknowledgement never waits for all that there is to tell.
pub(super) async fn feed(
    node: &Node,
    open: &SessionOpen,
    sender: &mut FrameSender,
    (mut acknowledged, logs): (mpsc::Receiver<Up>, watch::Receiver<Option<u64>>),
) -> String {
    let registry = &node.membership.registry;
    let (mut applied, mut standing) = (registry.applied(), registry.standing());
    let mut at = open.follow_from;
    if open.recoveries < registry.recoveries() {
        // What it knows may be of the history that was given up.
        at = at.map(|_index| 0);
    }
    let mut first = true;
    let mut cut: Option<Cut> = None;
    let (mut sent, mut received) = (0, 0);
    let out = voters::until_one_is_out(node, logs);
    tokio::pin!(out);
    let over = async {
        let _stands = standing.wait_for(|standing| !standing.leads).await;
    };
    tokio::pin!(over);
    loop {
        // Read here, it is behind what is told next: what comes later wakes this up again.
        applied.borrow_and_update();
        if let Some(index) = at.filter(|_| cut.is_none()) {
            if let Some((reached, document)) = next_of_stream(node, index, first) {
                match Cut::new(&document) {
                    Ok(whole) => cut = Some(whole),
                    Err(error) => return format!("the registry cannot be told: {error}"),
                }
                at = Some(reached);
            }
            first = false;
        }
        let has_room = sent < received + STREAM_WINDOW_BYTES;
        tokio::select! {
            biased;
            told_up = acknowledged.recv() => {
                let number = match told_up {
                    None => return "the member is not heard any more".to_owned(),
                    Some(Up::Received(bytes)) => {
                        received = bytes.min(sent);
                        continue;
                    }
                    Some(Up::Beat(number)) => number,
                };
                if let Err(fault) = sender.send(&SessionDown::Acknowledged { number }).await {
                    return told(&fault);
                }
            }
            raft = &mut out => {
                let _gone = sender.send(&SessionDown::VotesNot { raft }).await;
                let _gone = sender.finish_and_wait().await;
                return "the member votes no more".to_owned();
            }
            () = &mut over => {
                let _gone = sender.send(&SessionDown::NotLeader).await;
                let _gone = sender.finish_and_wait().await;
                return "this node leads no longer".to_owned();
            }
            () = std::future::ready(()), if cut.is_some() && has_room => {
                if let Some((bytes, part)) = cut.as_mut().and_then(Cut::next) {
                    sent += bytes;
                    if let Err(fault) = sender.send(&part).await {
                        return told(&fault);
                    }
                }
                if cut.as_ref().is_some_and(Cut::is_sent) {
                    cut = None;
                }
            }
            changed = applied.changed(), if at.is_some() && cut.is_none() => if changed.is_err() {
                return "this node stops".to_owned();
            },
        }
    }
}

/// What a follower at `index` gets next; the first time something in any case. It needs no secret
/// of a token: who leads has the log.
fn next_of_stream(node: &Node, index: u64, first: bool) -> Option<(u64, Streamed)> {
    let registry = &node.membership.registry;
    // Index 0: it knows nothing, or nothing that counts.
    let entries = (index > 0).then(|| registry.entries_after(index, BATCH));
    match entries.flatten() {
        Some(entries) if entries.is_empty() && !first => None,
        Some(entries) => {
            let reached = entries.last().map_or(index, |(index, _)| *index);
            let entries = entries.into_iter();
            let entries = entries.map(|(index, commands)| {
                let mut commands = commands.as_ref().clone();
                commands.iter_mut().for_each(without_secret);
                (index, commands)
            });
            let entries = entries.collect();
            Some((reached, Streamed::Applied { entries }))
        }
        None => {
            let (index, mut state) = registry.read_at(|index, state| (index, state.clone()));
            for token in state.roll.tokens.values_mut() {
                token.secret = KeyDigest::default();
            }
            let state = Box::new(state);
            Some((index, Streamed::Snapshot { index, state }))
        }
    }
}

fn without_secret(command: &mut Command) {
    if let Some(MemberCommand::Issue { secret, .. }) = command.member_mut() {
        *secret = KeyDigest::default();
    }
}

/// Entries in one document of the stream.
const BATCH: usize = 64;
