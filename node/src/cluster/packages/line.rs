//! Who is asked for a package, in which order, and how long it is tried.
//!
//! A holder that is busy is asked again after a moment, and everybody else first. One that
//! cannot be reached, breaks off or sends next to nothing gets a few chances; one that sent wrong
//! bytes, and that is proven, none.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::PoisonError;
use std::time::Duration;

use protocol::NodeId;
use protocol::wire::RefusalCode;
use rand::Rng;
use tokio::time::{Instant, timeout};
use transport::bulk::{Providers, PullFault};
use transport::{Alpn, Connection};

use super::super::peers::Peers;
use super::Pull;

/// Failures after which a holder is not asked again.
const STRIKES_MAX: u32 = 3;

/// How long a holder may take to be reached before another is asked: it may be dead.
const DIAL_LIMIT: Duration = Duration::from_secs(2);

/// How long only busy holders are waited for.
const BUSY_LIMIT: Duration = Duration::from_secs(120);

/// Shortest wait before a busy holder is asked again; the longest is three times that.
const BUSY_WAIT_MS: u64 = 100;

/// Connects to members for bulk transfers.
pub(crate) trait Dial: Send + Sync {
    /// A `bulk/1` connection to this member, or why there is none.
    fn dial(&self, node: NodeId) -> impl Future<Output = Result<Connection, String>> + Send;

    /// Nobody is to be given this connection again: its other end may be gone.
    fn forget(&self, connection: &Connection);
}

impl Dial for Peers {
    async fn dial(&self, node: NodeId) -> Result<Connection, String> {
        let connection = self.connection(node, Alpn::Bulk).await;
        connection.map_err(|fault| fault.to_string())
    }

    fn forget(&self, connection: &Connection) {
        self.remove(connection);
    }
}

/// Members that hold a package, with what is remembered of each.
#[derive(Debug, Default)]
pub(super) struct Holders {
    known: BTreeMap<NodeId, Standing>,
    added: usize,
}

#[derive(Debug, Clone, Copy)]
struct Standing {
    place: usize,
    strikes: u32,
    busy_until: Option<Instant>,
}

impl Holders {
    /// Adds holders behind those known; earlier in the list is asked earlier.
    pub(super) fn add(&mut self, holders: &[NodeId]) {
        for node in holders {
            let place = self.added;
            self.known.entry(*node).or_insert(Standing {
                place,
                strikes: 0,
                busy_until: None,
            });
            self.added += 1;
        }
    }

    /// The next to be asked, or how long until one is; `None`: nobody is left.
    fn next(&self, now: Instant) -> Option<Result<NodeId, Duration>> {
        let left = self.known.iter().filter(|(_, s)| s.strikes < STRIKES_MAX);
        let free = left
            .clone()
            .filter(|(_, standing)| standing.busy_until.is_none_or(|until| until <= now));
        if let Some((node, _)) = free.min_by_key(|(_, s)| (s.strikes, s.place)) {
            return Some(Ok(*node));
        }
        let soonest = left.filter_map(|(_, standing)| standing.busy_until).min()?;
        Some(Err(soonest.saturating_duration_since(now)))
    }

    fn strike(&mut self, node: NodeId, strikes: u32) {
        if let Some(standing) = self.known.get_mut(&node) {
            standing.strikes += strikes;
        }
    }

    fn busy(&mut self, node: NodeId, now: Instant) {
        let wait_ms = rand::rng().random_range(BUSY_WAIT_MS..=3 * BUSY_WAIT_MS);
        if let Some(standing) = self.known.get_mut(&node) {
            standing.busy_until = Some(now + Duration::from_millis(wait_ms));
        }
    }
}

/// The providers of one pull.
pub(super) struct Line<'a, D> {
    dial: &'a D,
    pull: &'a Pull,
    asked: Option<(NodeId, Connection)>,
    busy_since: Option<Instant>,
}

impl<'a, D: Dial> Line<'a, D> {
    pub(super) fn new(dial: &'a D, pull: &'a Pull) -> Self {
        Self {
            dial,
            pull,
            asked: None,
            busy_since: None,
        }
    }

    fn choose(&mut self) -> Option<Result<NodeId, Duration>> {
        let now = Instant::now();
        let holders = self
            .pull
            .holders
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let next = holders.next(now)?;
        let since = self.busy_since;
        match next {
            Err(_) if since.is_some_and(|since| now - since > BUSY_LIMIT) => None,
            next => Some(next),
        }
    }
}

impl<D: Dial> Providers for Line<'_, D> {
    async fn next(&mut self) -> Option<Connection> {
        loop {
            let node = match self.choose()? {
                Ok(node) => node,
                Err(wait) => {
                    tokio::time::sleep(wait).await;
                    continue;
                }
            };
            let dialled = timeout(DIAL_LIMIT, self.dial.dial(node)).await;
            match dialled.unwrap_or_else(|_elapsed| Err("it does not answer".to_owned())) {
                Ok(connection) => {
                    self.asked = Some((node, connection.clone()));
                    return Some(connection);
                }
                Err(reason) => {
                    tracing::info!(%node, reason, "a holder of a package cannot be reached");
                    self.pull.lock_holders().strike(node, 1);
                }
            }
        }
    }

    fn failed(&mut self, fault: &PullFault, proven: bool) {
        let Some((node, connection)) = self.asked.take() else {
            return;
        };
        tracing::info!(%node, %fault, proven, "a holder did not bring a package");
        let now = Instant::now();
        let mut holders = self.pull.lock_holders();
        match fault {
            PullFault::Refused(refusal) if refusal.code == RefusalCode::Busy => {
                holders.busy(node, now);
                self.busy_since.get_or_insert(now);
                return;
            }
            PullFault::Interrupted { .. } | PullFault::Stalled { .. } => {
                self.dial.forget(&connection);
                holders.strike(node, 1);
            }
            PullFault::Slow { .. } => holders.strike(node, 1),
            PullFault::Corrupt { .. } if !proven => holders.strike(node, 1),
            _ => holders.strike(node, STRIKES_MAX),
        }
        self.busy_since = None;
    }
}

/// A fault with its causes, on one line.
pub(super) fn told(fault: &dyn std::error::Error) -> String {
    let mut text = fault.to_string();
    let mut cause = fault.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
