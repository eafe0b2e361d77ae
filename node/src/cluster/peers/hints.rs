//! Addresses to ask at while nobody is known: those of `convleader.cfg` and of the join, and those
//! that others have told. What one member tells takes no other's place.

use std::collections::{BTreeMap, VecDeque};

use protocol::NodeId;

#[derive(Debug, Default)]
pub(super) struct Hints {
    /// Written down, or told by whom this node has joined through.
    own: Vec<String>,
    /// By who told them, the newest last.
    told: BTreeMap<NodeId, VecDeque<String>>,
    /// Who told some, the one heard last at the end.
    tellers: VecDeque<NodeId>,
}

impl Hints {
    pub(super) fn new(own: Vec<String>) -> Self {
        Self {
            own,
            ..Self::default()
        }
    }

    /// Remembers an address for good.
    pub(super) fn keep(&mut self, address: String) {
        if is_usable(&address) && !self.own.contains(&address) {
            self.own.push(address);
        }
    }

    /// Remembers an address that `teller` has told.
    pub(super) fn tell(&mut self, teller: NodeId, address: String) {
        if !is_usable(&address) {
            return;
        }
        self.tellers.retain(|known| *known != teller);
        self.tellers.push_back(teller);
        if self.tellers.len() > TELLERS_MAX
            && let Some(silent) = self.tellers.pop_front()
        {
            self.told.remove(&silent);
        }
        let told = self.told.entry(teller).or_default();
        told.retain(|known| *known != address);
        told.push_back(address);
        if told.len() > TOLD_MAX {
            told.pop_front();
        }
    }

    /// The addresses to ask at: the own ones, then one of each teller's in turn, the newest first.
    pub(super) fn all(&self) -> Vec<String> {
        let mut all = self.own.clone();
        let most = all.len() + TOLD_MAX;
        for turn in 0..TOLD_MAX {
            for told in self.told.values() {
                let Some(address) = told.iter().rev().nth(turn) else {
                    continue;
                };
                if all.len() < most && !all.contains(address) {
                    all.push(address.clone());
                }
            }
        }
        all
    }
}

fn is_usable(address: &str) -> bool {
    !address.is_empty() && address.len() <= ADDRESS_BYTES_MAX
}

/// Addresses remembered of one teller, and asked besides the own ones.
const TOLD_MAX: usize = 16;

/// Members whose addresses are remembered.
const TELLERS_MAX: usize = 16;

/// Longest address: a host's name and a port.
const ADDRESS_BYTES_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_tells_many_addresses_takes_no_others_place() {
        let mut hints = Hints::new(vec!["listed:1".to_owned()]);
        hints.keep("joined:1".to_owned());
        for teller in 1..=3 {
            hints.tell(NodeId(teller), format!("good:{teller}"));
        }
        for n in 0..1_000 {
            hints.tell(NodeId(9), format!("false:{n}"));
        }
        hints.tell(NodeId(9), "x".repeat(ADDRESS_BYTES_MAX + 1));
        hints.tell(NodeId(9), String::new());
        let all = hints.all();
        for known in ["listed:1", "joined:1", "good:1", "good:2", "good:3"] {
            assert!(all.iter().any(|address| address == known), "{all:?}");
        }
        assert_eq!(all.len(), 2 + TOLD_MAX);
        // What somebody else has said before is no less its own word.
        hints.tell(NodeId(1), "false:999".to_owned());
        assert_eq!(hints.all().len(), 2 + TOLD_MAX);
        assert_eq!(hints.told[&NodeId(1)].len(), 2);
    }

    #[test]
    fn many_tellers_take_a_bounded_room() {
        let mut hints = Hints::default();
        for teller in 0..1_000 {
            hints.tell(NodeId(teller), format!("good:{teller}"));
        }
        assert_eq!(hints.told.len(), TELLERS_MAX);
        assert_eq!(hints.all().len(), TOLD_MAX);
        assert!(hints.all().contains(&"good:999".to_owned()));
    }
}
