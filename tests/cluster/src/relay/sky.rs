//! The sky: the weather of every direction, and what has passed there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::Weather;
use crate::name::Node;

/// Weather, shelters and counts, shared by all fronts.
#[derive(Debug)]
pub struct Sky {
    // Held for a few comparisons, never across an await.
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    weather: BTreeMap<(Node, Node), Weather>,
    sheltered: BTreeSet<Node>,
    passed: BTreeMap<(Node, Node), Passed>,
    random: StdRng,
}

/// What passed in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// Packets handed to the other side.
    pub packets: u64,
    /// Their payload.
    pub bytes: u64,
    /// Packets that were lost on purpose.
    pub lost: u64,
}

impl Sky {
    /// Fine weather everywhere.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            inner: Mutex::new(Inner {
                weather: BTreeMap::new(),
                sheltered: BTreeSet::new(),
                passed: BTreeMap::new(),
                random: StdRng::seed_from_u64(seed),
            }),
        }
    }

    /// Sets the weather of one direction.
    pub fn set(&self, from: Node, to: Node, weather: Weather) {
        self.inner().weather.insert((from, to), weather);
    }

    /// Fine weather everywhere again; shelters stay.
    pub fn clear(&self) {
        self.inner().weather.clear();
    }

    /// From now nobody reaches the node by its front: it can only dial out.
    pub fn shelter(&self, node: Node) {
        self.inner().sheltered.insert(node);
    }

    /// What has passed in one direction so far.
    #[must_use]
    pub fn passed(&self, from: Node, to: Node) -> Passed {
        let inner = self.inner();
        inner.passed.get(&(from, to)).copied().unwrap_or_default()
    }

    /// Bytes that a node has sent to all others so far.
    #[must_use]
    pub fn sent_bytes(&self, from: Node) -> u64 {
        let inner = self.inner();
        let sent = inner.passed.iter().filter(|((by, _), _)| *by == from);
        sent.map(|(_, passed)| passed.bytes).sum()
    }

    /// When the copies of a packet arrive; counts it.
    pub(super) fn judge(&self, from: Node, to: Node, bytes: usize) -> Vec<Duration> {
        let inner = &mut *self.inner();
        let weather = inner.weather.get(&(from, to)).copied().unwrap_or_default();
        let arrivals = weather.arrivals(bytes, &mut inner.random);
        let passed = inner.passed.entry((from, to)).or_default();
        passed.packets += arrivals.len() as u64;
        passed.bytes += (arrivals.len() * bytes) as u64;
        passed.lost += u64::from(arrivals.is_empty());
        arrivals
    }

    pub(super) fn is_sheltered(&self, node: Node) -> bool {
        self.inner().sheltered.contains(&node)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each change is a single insertion: what a panicked holder left is whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
