//! Credit: what each sender has on the way to each target, and what is owed back to it.
//!
//! The sender's own count is never below ours, so that one within its credit never looks wrong.

use protocol::{CreditPayload, Frame, FrameKind, Header, PayloadKind, TargetKind};

use super::Core;
use super::ids::{PartyId, Target};
use super::party::{CreditState, Meta};
use crate::router::config::Limits;

/// The books of one sender for one target as addressed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pair {
    pub(super) waiting_messages: u32,
    pub(super) waiting_bytes: u64,
    owed_messages: u32,
    owed_bytes: u64,
}

impl Pair {
    /// Whether a sender within its credit cannot have sent one more: it would be more than a
    /// second credit ahead.
    pub(super) fn is_violated(&self, limits: &Limits) -> bool {
        self.waiting_messages.saturating_add(self.owed_messages) >= 2 * limits.credit_messages
            || self.waiting_bytes + self.owed_bytes >= 2 * limits.credit_bytes
    }

    fn is_due(&self, limits: &Limits) -> bool {
        self.owed_messages >= limits.credit_messages.div_ceil(2)
            || self.owed_bytes >= limits.credit_bytes.div_ceil(2)
    }
}

impl Core {
    /// The message waits: its credit is kept.
    pub(super) fn keep_credit(&mut self, meta: &mut Meta, n_bytes: usize) {
        if meta.credit != CreditState::Fresh {
            return;
        }
        meta.credit = CreditState::Waiting;
        if let Some(sender) = meta.from.and_then(|id| self.parties.get_mut(id)) {
            let pair = sender.pairs.entry(meta.target).or_default();
            pair.waiting_messages = pair.waiting_messages.saturating_add(1);
            pair.waiting_bytes += n_bytes as u64;
        }
    }

    /// The message was passed on or refused: its credit is owed to the sender.
    pub(super) fn owe_credit(&mut self, meta: &mut Meta, n_bytes: usize) {
        let was = meta.credit;
        if matches!(was, CreditState::Done | CreditState::Free) {
            return;
        }
        meta.credit = CreditState::Done;
        let Some(id) = meta.from else { return };
        let Some(sender) = self.parties.get_mut(id) else {
            return;
        };
        let pair = sender.pairs.entry(meta.target).or_default();
        if was == CreditState::Waiting {
            pair.waiting_messages = pair.waiting_messages.saturating_sub(1);
            pair.waiting_bytes = pair.waiting_bytes.saturating_sub(n_bytes as u64);
        }
        pair.owed_messages = pair.owed_messages.saturating_add(1);
        pair.owed_bytes += n_bytes as u64;
        let waits = sender
            .blocked
            .is_some_and(|wait| wait.target == meta.target);
        if waits || pair.is_due(&self.limits) {
            self.give_credit(id, meta.target);
        } else if sender.pairs.len() >= sender.sweep_at {
            self.sweep_pairs(id);
        } else if sender.remote.is_some() {
            self.owe_far(id);
        }
    }

    /// Another node has passed on what a sender sent there: it is owed as if it were passed on
    /// here. Never more than the sender has on its way, whatever that node says.
    pub(super) fn owe_back(&mut self, id: PartyId, target: Target, messages: u32, bytes: u64) {
        let Some(sender) = self.parties.get_mut(id) else {
            return;
        };
        let Some(pair) = sender.pairs.get_mut(&target) else {
            return;
        };
        let (messages, bytes) = (
            messages.min(pair.waiting_messages),
            bytes.min(pair.waiting_bytes),
        );
        pair.waiting_messages -= messages;
        pair.waiting_bytes -= bytes;
        pair.owed_messages = pair.owed_messages.saturating_add(messages);
        pair.owed_bytes += bytes;
        let waits = sender.blocked.is_some_and(|wait| wait.target == target);
        if waits || pair.is_due(&self.limits) {
            self.give_credit(id, target);
        } else if sender.remote.is_some() {
            self.owe_far(id);
        }
    }

    /// Sends what is owed for one pair.
    pub(super) fn give_credit(&mut self, id: PartyId, target: Target) {
        let Some(sender) = self.parties.get_mut(id) else {
            return;
        };
        let Some(pair) = sender.pairs.get_mut(&target) else {
            return;
        };
        let (messages, bytes) = (pair.owed_messages, pair.owed_bytes);
        pair.owed_messages = 0;
        pair.owed_bytes = 0;
        if pair.waiting_messages == 0 {
            sender.pairs.remove(&target);
        }
        if messages == 0 {
            return;
        }
        let far = sender.node().map(|node| (node, sender.address));
        let payload = CreditPayload {
            target_kind: target.kind() as u8,
            target: target.bytes(),
            messages,
            bytes,
        };
        let mut header = Header::control(FrameKind::Credit, 0);
        header.payload_kind = PayloadKind::Raw;
        if let Some((node, sender)) = far {
            header.target_kind = TargetKind::Actor;
            header.target = sender.0;
            return self.control_over(node, &Frame::new(header, payload.to_bytes()));
        }
        self.send_frame(id, &Frame::new(header, payload.to_bytes()));
    }

    /// Gives back all that a sender is owed.
    pub(super) fn give_all_credit(&mut self, id: PartyId) {
        let Some(sender) = self.parties.get(id) else {
            return;
        };
        let owed = |pair: &Pair| pair.owed_messages > 0 || pair.waiting_messages == 0;
        let targets: Vec<Target> = sender
            .pairs
            .iter()
            .filter(|(_, pair)| owed(pair))
            .map(|(target, _)| *target)
            .collect();
        targets
            .into_iter()
            .for_each(|target| self.give_credit(id, target));
    }

    /// Gives back all that a sender on another node has on its way here, because nobody will
    /// know of it any more.
    pub(super) fn give_up_credit(&mut self, id: PartyId) {
        if let Some(sender) = self.parties.get_mut(id) {
            for pair in sender.pairs.values_mut() {
                pair.owed_messages = pair.owed_messages.saturating_add(pair.waiting_messages);
                pair.owed_bytes += pair.waiting_bytes;
                (pair.waiting_messages, pair.waiting_bytes) = (0, 0);
            }
        }
        self.give_all_credit(id);
    }

    /// The sender's own node has settled what it is owed.
    pub(super) fn forgive(&mut self, id: PartyId) {
        if let Some(sender) = self.parties.get_mut(id) {
            sender.pairs.retain(|_, pair| {
                (pair.owed_messages, pair.owed_bytes) = (0, 0);
                pair.waiting_messages > 0
            });
        }
    }

    /// Gives back what quiet pairs are owed and forgets them.
    fn sweep_pairs(&mut self, id: PartyId) {
        let Some(sender) = self.parties.get(id) else {
            return;
        };
        let quiet: Vec<Target> = sender
            .pairs
            .iter()
            .filter(|(_, pair)| pair.waiting_messages == 0)
            .map(|(target, _)| *target)
            .collect();
        quiet
            .iter()
            .for_each(|target| self.give_credit(id, *target));
        if let Some(sender) = self.parties.get_mut(id) {
            sender.sweep_at = PAIRS_SWEPT.max(2 * sender.pairs.len());
        }
    }
}

/// So many targets of one sender are remembered before those that it left alone are settled.
pub(super) const PAIRS_SWEPT: usize = 4096;
