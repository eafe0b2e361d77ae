//! Leases that earlier leads of this run had granted: they may last into the next one.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::NodeId;
use tokio::time::Instant;

use super::Sessions;

/// Until when they last, with their margin.
#[derive(Debug, Default)]
pub(super) struct Granted {
    // Taken before the sessions' own lock; held for a few look-ups and insertions.
    until: Mutex<BTreeMap<NodeId, Instant>>,
}

impl Granted {
    pub(super) fn until(&self, node: NodeId) -> Option<Instant> {
        self.held().get(&node).copied()
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<NodeId, Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions {
    /// A lead begins: no member has a session in it yet. Those of an earlier one may have a lease
    /// still.
    pub(in crate::cluster) fn clear(&self) {
        let mut granted = self.granted.held();
        let before = std::mem::take(&mut *self.seen());
        let now = Instant::now();
        granted.retain(|_, until| *until > now);
        for (node, seen) in before {
            if seen.begun_at.is_some() && seen.until > now {
                let until = granted.entry(node).or_insert(seen.until);
                *until = seen.until.max(*until);
            }
        }
        drop(granted);
        self.turned();
    }

    /// Waits until the member has no lease of an earlier lead any more; for ever if it has begun a
    /// session in this one.
    pub(in crate::cluster) async fn ungranted(&self, node: NodeId) {
        loop {
            let until = {
                let granted = self.granted.held();
                let begun = self.has_begun(node);
                (!begun).then(|| granted.get(&node).copied())
            };
            match until {
                None => std::future::pending().await,
                Some(Some(until)) if until > Instant::now() => {
                    tokio::time::sleep_until(until).await;
                }
                Some(_) => return,
            }
        }
    }
}
