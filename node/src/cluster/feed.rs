//! What a leader sends on a member's session: acknowledgements, and the registry's stream.
//!
//! Not here: leases (`sessions`), what a follower is told (`convention::view`), the member's side
//! (`session`).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use convention::{Ledger, Next, Told};
use protocol::NodeId;
use protocol::limits::{STREAM_WINDOW_BYTES, WISHES_MAX};
use protocol::peer::{SessionDown, SessionOpen};
use protocol::view::{Streamed, Wish};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use transport::streams::FrameSender;

use super::parts::Cut;
use super::peers::told;
use super::voters;
use crate::agent::node::Node;

/// What the member has told, for who sends to it.
#[derive(Debug, Clone)]
pub(super) enum Up {
    /// A heartbeat to be acknowledged.
    Beat(u64),
    /// So much of the registry's stream has come there.
    Received(u64),
    /// It wishes to know more, up to this number.
    Wish(u64, Vec<Wish>),
}

/// The ledger that all sessions share, while there are any.
#[derive(Debug, Default)]
pub(super) struct Ledgers {
    // Held for a look or an insertion; the ledger while one follower's news are looked up.
    shared: Mutex<Weak<Mutex<Ledger>>>,
}

impl Ledgers {
    fn share(&self, node: &Node) -> Arc<Mutex<Ledger>> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ledger) = shared.upgrade() {
            return ledger;
        }
        let ledger = node.membership.registry.read_at(Ledger::new);
        let ledger = Arc::new(Mutex::new(ledger));
        *shared = Arc::downgrade(&ledger);
        ledger
    }
}

/// A follower's part of the registry on its way.
struct Stream<'a> {
    node: &'a Node,
    ledger: Arc<Mutex<Ledger>>,
    told: Told,
    cut: Option<Cut>,
    /// An index that waits for others to come with it, and until when.
    owed: Option<(Instant, Streamed)>,
    /// Whether there may be more to tell.
    look: bool,
    sent: u64,
    received: u64,
}

impl<'a> Stream<'a> {
    fn new(node: &'a Node, member: NodeId, (number, wishes): (u64, Vec<Wish>)) -> Self {
        Self {
            node,
            ledger: node.membership.sessions.ledgers.share(node),
            told: Told::new(member, wishes, number),
            cut: None,
            owed: None,
            look: true,
            sent: 0,
            received: 0,
        }
    }

    /// Finds what is told next, unless something is on its way.
    fn find(&mut self) -> Result<(), String> {
        if self.cut.is_some() {
            return Ok(());
        }
        if std::mem::take(&mut self.look) {
            let voters = voters_and_leader(self.node);
            let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
            let registry = &self.node.membership.registry;
            registry.read_at(|index, state| ledger.advance(index, state));
            let rolling = ledger.is_rolling();
            let next = self.told.next(&ledger, &voters);
            drop(ledger);
            match next {
                Next::News(news) => return self.send(&news),
                // Everybody is waited for.
                Next::Index(index) if rolling => return self.send(&index),
                Next::Index(index) => {
                    let until = self.owed.take().map(|(until, _)| until);
                    let until = until.unwrap_or_else(|| Instant::now() + INDEX_PAUSE);
                    self.owed = Some((until, index));
                }
                Next::Nothing => {}
            }
        }
        match self.owed.take_if(|(until, _)| *until <= Instant::now()) {
            Some((_, index)) => self.send(&index),
            None => Ok(()),
        }
    }

    fn send(&mut self, document: &Streamed) -> Result<(), String> {
        self.owed = None;
        let cut = Cut::new(document);
        self.cut = Some(cut.map_err(|error| format!("the registry cannot be told: {error}"))?);
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.cut.is_some() && self.sent < self.received + STREAM_WINDOW_BYTES
    }

    fn next_part(&mut self) -> Option<SessionDown> {
        let (bytes, part) = self.cut.as_mut().and_then(Cut::next)?;
        self.sent += bytes;
        if self.cut.as_ref().is_some_and(Cut::is_sent) {
            self.cut = None;
        }
        Some(part)
    }
}

/// Sends acknowledgements, and the registry's stream to who follows it: part by part, so that an
/// acknowledgement never waits for all that there is to tell.
pub(super) async fn feed(
    node: &Node,
    (member, open): (NodeId, &SessionOpen),
    sender: &mut FrameSender,
    (mut up, logs): (mpsc::Receiver<Up>, watch::Receiver<Option<u64>>),
) -> String {
    let registry = &node.membership.registry;
    let (mut applied, mut standing) = (registry.applied(), registry.standing());
    let Some(mut votes) = registry.consensus().map(|log| log.standing()) else {
        return "this node votes no more".to_owned();
    };
    let wishes = open.wishes.clone();
    let mut stream = wishes.map(|wishes| Stream::new(node, member, wishes));
    let follows = stream.is_some();
    let out = voters::until_one_is_out(node, logs);
    tokio::pin!(out);
    let over = async {
        let _stands = standing.wait_for(|standing| !standing.leads).await;
    };
    tokio::pin!(over);
    loop {
        if let Some(Err(reason)) = stream.as_mut().map(Stream::find) {
            return reason;
        }
        let has_room = stream.as_ref().is_some_and(Stream::has_room);
        let owed = stream.as_ref().filter(|stream| stream.cut.is_none());
        let owed = owed.and_then(|stream| stream.owed.as_ref());
        let owed = owed.map(|(until, _)| *until);
        tokio::select! {
            biased;
            told_up = up.recv() => {
                let number = match (told_up, &mut stream) {
                    (None, _) => return "the member is not heard any more".to_owned(),
                    (Some(Up::Beat(number)), _) => number,
                    (Some(Up::Received(bytes)), Some(stream)) => {
                        stream.received = bytes.min(stream.sent);
                        continue;
                    }
                    (Some(Up::Wish(number, wishes)), Some(stream)) => {
                        stream.told.wish(wishes, number);
                        if stream.told.n_wishes() > 2 * WISHES_MAX {
                            return "the member wishes to know too much".to_owned();
                        }
                        stream.look = true;
                        continue;
                    }
                    (Some(_), None) => continue,
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
            () = std::future::ready(()), if has_room => {
                if let Some(part) = stream.as_mut().and_then(Stream::next_part)
                    && let Err(fault) = sender.send(&part).await
                {
                    return told(&fault);
                }
            }
            changed = applied.changed(), if follows => {
                if changed.is_err() {
                    return "this node stops".to_owned();
                }
                applied.borrow_and_update();
                stream.iter_mut().for_each(|stream| stream.look = true);
            }
            changed = votes.changed(), if follows => {
                if changed.is_err() {
                    return "this node votes no more".to_owned();
                }
                votes.borrow_and_update();
                stream.iter_mut().for_each(|stream| stream.look = true);
            }
            () = until(owed), if owed.is_some() => {}
        }
    }
}

async fn until(moment: Option<Instant>) {
    if let Some(moment) = moment {
        sleep_until(moment).await;
    }
}

/// Who votes, and this node, which leads.
fn voters_and_leader(node: &Node) -> BTreeSet<NodeId> {
    let mut voters: BTreeSet<_> = voters::voters(node).into_iter().collect();
    voters.insert(node.id);
    voters
}

/// How long an index waits for others that a follower gets with it, where nothing of what it has
/// has changed: much shorter than anything that waits for one, and long enough that a flood of
/// changes costs it little.
const INDEX_PAUSE: Duration = Duration::from_millis(25);
