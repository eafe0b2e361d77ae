//! What a member is sent in its session: acknowledgements, the registry's stream, and why it ends.

use protocol::peer::{SessionDown, SessionOpen};
use tokio::sync::{mpsc, watch};
use transport::streams::FrameSender;

use crate::agent::node::Node;
use crate::cluster::peers::told;
use crate::cluster::voters;

/// Sends acknowledgements, and the registry's stream to who follows it.
pub(super) async fn feed(
    node: &Node,
    open: &SessionOpen,
    sender: &mut FrameSender,
    (mut acknowledged, logs): (mpsc::Receiver<u64>, watch::Receiver<Option<u64>>),
) -> String {
    let registry = &node.membership.registry;
    let (mut applied, mut standing) = (registry.applied(), registry.standing());
    let mut at = open.follow_from;
    if open.recoveries < registry.recoveries() {
        // What it knows may be of the history that was given up.
        at = at.map(|_index| 0);
    }
    let mut first = true;
    let out = voters::until_one_is_out(node, logs);
    tokio::pin!(out);
    let over = async {
        let _stands = standing.wait_for(|standing| !standing.leads).await;
    };
    tokio::pin!(over);
    loop {
        applied.borrow_and_update();
        if let Some(index) = at {
            match next_of_stream(node, index, first) {
                Some((reached, down)) => {
                    if let Err(fault) = sender.send(&down).await {
                        return told(&fault);
                    }
                    at = Some(reached);
                    first = false;
                    applied.mark_changed();
                }
                None => first = false,
            }
        }
        tokio::select! {
            biased;
            number = acknowledged.recv() => {
                let Some(number) = number else {
                    return "the member is not heard any more".to_owned();
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
            changed = applied.changed(), if at.is_some() => if changed.is_err() {
                return "this node stops".to_owned();
            },
        }
    }
}

/// What a follower at `index` gets next; the first time something in any case.
fn next_of_stream(node: &Node, index: u64, first: bool) -> Option<(u64, SessionDown)> {
    let registry = &node.membership.registry;
    // Index 0: it knows nothing, or nothing that counts.
    let entries = (index > 0).then(|| registry.entries_after(index, BATCH));
    match entries.flatten() {
        Some(entries) if entries.is_empty() && !first => None,
        Some(entries) => {
            let reached = entries.last().map_or(index, |(index, _)| *index);
            let entries = entries.into_iter();
            let entries = entries.map(|(index, commands)| (index, commands.as_ref().clone()));
            let entries = entries.collect();
            Some((reached, SessionDown::Applied { entries }))
        }
        None => {
            let (index, state) = registry.read_at(|index, state| (index, state.clone()));
            let state = Box::new(state);
            Some((index, SessionDown::Snapshot { index, state }))
        }
    }
}

/// Entries in one document of the stream.
const BATCH: usize = 64;
