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
    /// When to look for more to tell, if there may be any.
    look: Option<Instant>,
    /// Whether the member is waited for: what it is told next, an index even, goes out at once.
    hurried: bool,
    /// Who votes, unless that has changed since.
    voters: Option<BTreeSet<NodeId>>,
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
            look: Some(Instant::now()),
            hurried: false,
            voters: None,
            sent: 0,
            received: 0,
        }
    }

    /// There may be more to tell; it is looked for after a moment, in which still more may come.
    fn look_soon(&mut self) {
        let pause = look_pause(self.node.membership.sessions.count());
        self.look.get_or_insert_with(|| Instant::now() + pause);
    }

    /// There may be more to tell, and somebody waits for it.
    fn look_now(&mut self) {
        self.look = Some(Instant::now());
    }

    /// When it has something to do, if nobody has said anything meanwhile.
    fn next_at(&self) -> Option<Instant> {
        if self.cut.is_some() {
            return None;
        }
        let owed = self.owed.as_ref().map(|(until, _)| *until);
        self.look.into_iter().chain(owed).min()
    }

    /// Finds what is told next, unless something is on its way.
    fn find(&mut self, applied: &mut watch::Receiver<u64>) -> Result<(), String> {
        if self.cut.is_some() {
            return Ok(());
        }
        let now = Instant::now();
        if self.look.take_if(|at| *at <= now).is_some() {
            // All that has come up to here is looked at now.
            applied.mark_unchanged();
            let node = self.node;
            let voters = self.voters.get_or_insert_with(|| voters_and_leader(node));
            let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
            let registry = &node.membership.registry;
            registry.read_at(|index, state| ledger.advance(index, state));
            let next = self.told.next(&ledger, voters);
            drop(ledger);
            match next {
                Next::News(news) => return self.send(&news),
                Next::Index(index) => {
                    let until = self.owed.take().map(|(until, _)| until);
                    let pause = index_pause(node.membership.sessions.count());
                    let until = until.unwrap_or(now + pause);
                    self.owed = Some((until, index));
                }
                Next::Nothing => {}
            }
        }
        let hurried = std::mem::take(&mut self.hurried);
        match self.owed.take_if(|(until, _)| hurried || *until <= now) {
            Some((_, index)) => self.send(&index),
            None => Ok(()),
        }
    }

    fn send(&mut self, document: &Streamed) -> Result<(), String> {
        (self.owed, self.hurried) = (None, false);
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
    let mut hurry = node.membership.sessions.hurry();
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
        if let Some(Err(reason)) = stream.as_mut().map(|it| it.find(&mut applied)) {
            return reason;
        }
        let has_room = stream.as_ref().is_some_and(Stream::has_room);
        let next_at = stream.as_ref().and_then(Stream::next_at);
        // One that is about to look is not woken for each index until then.
        let listens = stream.as_ref().is_some_and(|stream| stream.look.is_none());
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
                        stream.look_now();
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
            changed = applied.changed(), if listens => {
                if changed.is_err() {
                    return "this node stops".to_owned();
                }
                stream.iter_mut().for_each(Stream::look_soon);
            }
            changed = votes.changed(), if follows => {
                if changed.is_err() {
                    return "this node votes no more".to_owned();
                }
                votes.borrow_and_update();
                if let Some(stream) = &mut stream {
                    stream.voters = None;
                    stream.look_now();
                }
            }
            changed = hurry.changed(), if follows => {
                if changed.is_err() {
                    return "this node stops".to_owned();
                }
                if let Some(stream) = &mut stream {
                    stream.hurried = true;
                    stream.look_now();
                }
            }
            () = until(next_at), if next_at.is_some() => {}
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

/// How long a session waits before it looks at what has changed, where so many have a session:
/// a look takes a few microseconds, and all of them together leave most of a processor to others.
fn look_pause(sessions: usize) -> Duration {
    shared(sessions, Duration::from_micros(50)).min(LOOK_PAUSE_MAX)
}

/// How long an index waits for others that a follower gets with it, where nothing of what it has
/// has changed: much shorter than anything that waits for one, and long enough that a flood of
/// changes costs it little. Whoever waits for all members has them told at once (`hurry`).
fn index_pause(sessions: usize) -> Duration {
    shared(sessions, Duration::from_micros(100)).clamp(INDEX_PAUSE, INDEX_PAUSE_MAX)
}

fn shared(sessions: usize, each: Duration) -> Duration {
    each.saturating_mul(u32::try_from(sessions).unwrap_or(u32::MAX))
}

/// What a change may take longer to come to a member that has it, with ten thousand others.
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(500);

/// What an index waits at least: a handful of members cost nothing.
const INDEX_PAUSE: Duration = Duration::from_millis(25);

/// A read on a follower that is to be of now waits for an index, and a person for the read.
const INDEX_PAUSE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_followers_the_longer_an_index_waits_and_never_for_long() {
        let ms = Duration::from_millis;
        assert_eq!(
            (look_pause(3), index_pause(3)),
            (Duration::from_micros(150), ms(25))
        );
        assert_eq!((look_pause(1_000), index_pause(1_000)), (ms(50), ms(100)));
        assert_eq!(
            (look_pause(10_000), index_pause(10_000)),
            (ms(500), ms(1_000))
        );
        assert_eq!(
            (look_pause(usize::MAX), index_pause(usize::MAX)),
            (ms(500), ms(1_000))
        );
    }
}
