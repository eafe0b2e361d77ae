//! What this client has on the way to each target, and the numbers of its messages.

use std::collections::HashMap;

use protocol::limits::{CREDIT_BYTES, CREDIT_MESSAGES};
use protocol::{ActorId, CreditPayload, RoleId, TargetKind};

use super::talk::Target;

/// The books of one client.
#[derive(Debug, Default)]
pub(super) struct Credit {
    pairs: HashMap<Target, Pair>,
}

#[derive(Debug, Default)]
struct Pair {
    sequence: u64,
    messages: u32,
    bytes: u64,
}

impl Credit {
    /// Whether one more message may be sent now.
    pub(super) fn suffices(&self, target: Target) -> bool {
        let below = |pair: &Pair| pair.messages < CREDIT_MESSAGES && pair.bytes < CREDIT_BYTES;
        self.pairs.get(&target).is_none_or(below)
    }

    /// The number of the next message to a target.
    pub(super) fn next_sequence(&self, target: Target) -> u64 {
        self.pairs.get(&target).map_or(1, |pair| pair.sequence + 1)
    }

    /// A message is on its way.
    pub(super) fn sent(&mut self, target: Target, n_bytes: usize) {
        let pair = self.pairs.entry(target).or_default();
        pair.sequence += 1;
        pair.messages += 1;
        pair.bytes += n_bytes as u64;
    }

    /// The node has passed messages on.
    pub(super) fn given_back(&mut self, credit: &CreditPayload) {
        let target = if credit.target_kind == TargetKind::Role as u8 {
            Target::Role(RoleId(credit.target))
        } else {
            Target::Actor(ActorId(credit.target))
        };
        if let Some(pair) = self.pairs.get_mut(&target) {
            pair.messages = pair.messages.saturating_sub(credit.messages);
            pair.bytes = pair.bytes.saturating_sub(credit.bytes);
        }
    }
}
