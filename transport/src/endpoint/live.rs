//! The live connections of an endpoint by node, so that a removed node's can be closed at once.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::NodeId;

/// The live connections; one that is dropped by all its users leaves the list.
#[derive(Debug, Default)]
pub(crate) struct Live {
    // Held for a lookup only, never across an await.
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    last: u64,
    by_number: BTreeMap<u64, (NodeId, quinn::Connection)>,
}

impl Live {
    /// Puts a connection on the list and answers its number there.
    pub(crate) fn enter(&self, node: NodeId, connection: quinn::Connection) -> u64 {
        let mut entries = self.lock();
        entries.last += 1;
        let number = entries.last;
        entries.by_number.insert(number, (node, connection));
        number
    }

    /// Takes it off the list.
    pub(crate) fn leave(&self, number: u64) {
        self.lock().by_number.remove(&number);
    }

    /// The connections of a node.
    pub(crate) fn of_node(&self, node: NodeId) -> Vec<quinn::Connection> {
        let entries = self.lock();
        let wanted = entries.by_number.values().filter(|(of, _)| *of == node);
        wanted.map(|(_, connection)| connection.clone()).collect()
    }

    /// How many connections each node has.
    pub(crate) fn count(&self) -> BTreeMap<NodeId, usize> {
        let mut count = BTreeMap::new();
        for (node, connection) in self.lock().by_number.values() {
            if connection.close_reason().is_none() {
                *count.entry(*node).or_insert(0) += 1;
            }
        }
        count
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
