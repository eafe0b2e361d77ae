//! The last applied entries, for followers that are a little behind.
//!
//! Bounded; who is further behind takes the whole registry. A new leader has them as well: every
//! voter keeps them as it applies.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::registry::Command;

/// One applied entry: its index and its commands (none for an entry of openraft's own).
pub type AppliedEntry = (u64, Arc<Vec<Command>>);

/// The last applied entries, in order and without a gap.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    entries: VecDeque<AppliedEntry>,
}

impl Recent {
    /// Keeps one more.
    pub(crate) fn push(&mut self, index: u64, commands: Vec<Command>) {
        if self.entries.len() >= KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back((index, Arc::new(commands)));
    }

    /// At most `count` entries behind `index`; `None` where the one that follows is not kept.
    pub(crate) fn after(&self, index: u64, count: usize) -> Option<Vec<AppliedEntry>> {
        let first = self.entries.front()?.0;
        let skipped = usize::try_from((index + 1).checked_sub(first)?).ok()?;
        if skipped > self.entries.len() {
            return None;
        }
        Some(
            self.entries
                .iter()
                .skip(skipped)
                .take(count)
                .cloned()
                .collect(),
        )
    }
}

/// A minute of a busy convention; with the usual commands about a megabyte.
const KEPT: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    fn indexes(found: Option<Vec<AppliedEntry>>) -> Option<Vec<u64>> {
        found.map(|entries| entries.into_iter().map(|(index, _)| index).collect())
    }

    #[test]
    fn entries_come_in_order_and_without_a_gap() {
        let mut recent = Recent::default();
        assert_eq!(indexes(recent.after(0, 9)), None);
        for index in 5..9 {
            recent.push(index, Vec::new());
        }
        assert_eq!(indexes(recent.after(4, 9)), Some(vec![5, 6, 7, 8]));
        assert_eq!(indexes(recent.after(6, 1)), Some(vec![7]));
        assert_eq!(indexes(recent.after(8, 9)), Some(vec![]));
        assert_eq!(indexes(recent.after(3, 9)), None, "5 follows, 4 is gone");
        assert_eq!(indexes(recent.after(9, 9)), None, "from another history");
    }

    #[test]
    fn the_oldest_go_first() {
        let mut recent = Recent::default();
        let last = 2 * KEPT as u64;
        for index in 1..=last {
            recent.push(index, Vec::new());
        }
        assert_eq!(recent.entries.len(), KEPT);
        assert_eq!(indexes(recent.after(last - 1, 9)), Some(vec![last]));
        assert_eq!(indexes(recent.after(1, 9)), None);
    }
}
