//! One package on its way to many members: who waits for a holder with room, and who is served.
//!
//! Not here: in which order (`distribution`).

use std::sync::{Mutex, PoisonError};

use protocol::NodeId;
use tokio::sync::Notify;

use crate::cluster::distribution::{AT_ONCE, Distribution};

/// A package on its way.
#[derive(Debug)]
pub(super) struct Spread {
    // Held for a look or a change only.
    distribution: Mutex<Distribution>,
    room: Notify,
}

impl Spread {
    /// A package on its way; these hold it.
    pub(super) fn new(leader: NodeId, holders: impl IntoIterator<Item = NodeId>) -> Self {
        Self {
            distribution: Mutex::new(Distribution::new(leader, holders)),
            room: Notify::new(),
        }
    }

    /// A member has begun to get it from the holder that was chosen for it, if one was.
    pub(super) fn taken(&self, chosen: Option<NodeId>, member: NodeId) -> Leaving<'_> {
        Leaving {
            spread: self,
            chosen,
            member,
            has_it: false,
        }
    }

    /// Whom a member is to ask; waits until one of them has room.
    pub(super) async fn place(&self) -> Vec<NodeId> {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            // From here on it is one of those that are told, so that no room is missed.
            room.as_mut().enable();
            let begun = {
                let distribution = self.distribution.lock();
                let mut distribution = distribution.unwrap_or_else(PoisonError::into_inner);
                distribution.begin()
            };
            match begun {
                Some(holders) => return holders,
                None => room.await,
            }
        }
    }
}

/// A member's place in a distribution; given back however its transfer ends.
pub(super) struct Leaving<'a> {
    spread: &'a Spread,
    chosen: Option<NodeId>,
    member: NodeId,
    has_it: bool,
}

impl Leaving<'_> {
    /// The transfer has ended.
    pub(super) fn end(mut self, has_it: bool) {
        self.has_it = has_it;
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if let Some(chosen) = self.chosen {
            let distribution = self.spread.distribution.lock();
            let mut distribution = distribution.unwrap_or_else(PoisonError::into_inner);
            distribution.ended(chosen, self.member, self.has_it);
        }
        // As many of those that wait as there may be room for, not all: they are thousands.
        for _ in 0..=AT_ONCE {
            self.spread.room.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn everybody_that_waits_for_room_has_its_turn() {
        let leader = NodeId(0);
        let spread = Arc::new(Spread::new(leader, [leader]));
        let mut members = JoinSet::new();
        for member in 1..=2_000 {
            let spread = Arc::clone(&spread);
            members.spawn(async move {
                let chosen = spread.place().await.first().copied();
                let leaving = spread.taken(chosen, NodeId(member));
                tokio::time::sleep(Duration::from_millis(100)).await;
                // Some fail, some are given up in the middle.
                match member % 7 {
                    0 => leaving.end(false),
                    1 => drop(leaving),
                    _ => leaving.end(true),
                }
            });
        }
        // The number of holders grows with each round: many times fewer rounds than members.
        let all = async { while members.join_next().await.is_some() {} };
        let served = tokio::time::timeout(Duration::from_secs(3), all).await;
        assert!(served.is_ok(), "somebody waits although there is room");
    }
}
