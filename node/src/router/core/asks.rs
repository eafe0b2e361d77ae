//! Asks that were passed on: what ends each, and who is told.
//!
//! Not here: an ask that becomes a dead letter before (`dead`).

use protocol::NodeId;
use protocol::control::{AskOutcome, Notice};

use super::ids::Target;
use super::party::{Ask, Meta};
use super::{Core, PartyId};

impl Core {
    /// An ask was passed on to its target.
    pub(super) fn note_ask(&mut self, to: PartyId, meta: &Meta) {
        if meta.deadline.is_some_and(|deadline| deadline <= self.now) {
            return;
        }
        let Some(asker) = meta.from.and_then(|id| self.parties.get_mut(id)) else {
            return;
        };
        if asker.asks.len() >= ASKS_MAX {
            return;
        }
        asker.asks.push(Ask {
            target: to,
            addressed: meta.target,
            sequence: meta.sequence,
            deadline: meta.deadline,
        });
        if let Some(target) = self.parties.get_mut(to) {
            target.asked += 1;
        }
        if let Some(deadline) = meta.deadline {
            self.wake_at(deadline);
        }
    }

    /// A message reached the asker, perhaps over this node's link: it waits no longer.
    pub(super) fn forget_asks_of(&mut self, asker: PartyId, over: Option<NodeId>) {
        let Some(party) = self.parties.get_mut(asker) else {
            return;
        };
        let address = party.address;
        for ask in std::mem::take(&mut party.asks) {
            self.tell_ask_over(address, &ask, over);
            self.answered(ask.target);
        }
    }

    /// Drops those asks of a party for which `ends` is true, and returns them.
    pub(super) fn take_asks(&mut self, asker: PartyId, ends: impl Fn(&Ask) -> bool) -> Vec<Ask> {
        let Some(party) = self.parties.get_mut(asker) else {
            return Vec::new();
        };
        let (ended, kept) = party.asks.iter().partition(|ask| ends(ask));
        party.asks = kept;
        ended
    }

    /// The target has ended after it was handed these asks: what it did is unknown.
    pub(super) fn end_asks_to(&mut self, target: PartyId, reason: &str) {
        let askers: Vec<PartyId> = self
            .parties
            .iter()
            .filter(|(_, party)| party.asks.iter().any(|ask| ask.target == target))
            .map(|(id, _)| id)
            .collect();
        for asker in askers {
            for ask in self.take_asks(asker, |ask| ask.target == target) {
                let (addressed, sequence) = (ask.addressed, ask.sequence);
                self.tell_ask_ended(asker, addressed, sequence, AskOutcome::Unknown, reason);
            }
        }
    }

    /// Forgets asks whose askers have stopped waiting.
    pub(super) fn forget_overdue_asks(&mut self) {
        let now = self.now;
        let overdue = |ask: &Ask| ask.deadline.is_some_and(|deadline| deadline <= now);
        let askers: Vec<PartyId> = self
            .parties
            .iter()
            .filter(|(_, party)| party.asks.iter().any(overdue))
            .map(|(id, _)| id)
            .collect();
        for asker in askers {
            for ask in self.take_asks(asker, overdue) {
                self.answered(ask.target);
            }
        }
    }

    pub(super) fn tell_ask_ended(
        &mut self,
        asker: PartyId,
        target: Target,
        sequence: u64,
        outcome: AskOutcome,
        reason: &str,
    ) {
        if self.parties.get(asker).is_some_and(|p| p.remote.is_some()) {
            return self.tell_far_ask_ended(asker, target, sequence, outcome, reason);
        }
        let notice = Notice::AskEnded {
            sequence,
            target: target.hex(),
            outcome,
            reason: reason.to_owned(),
        };
        self.send_notice(asker, &notice);
    }

    /// One ask less is unanswered at this target.
    pub(super) fn answered(&mut self, target: PartyId) {
        if let Some(party) = self.parties.get_mut(target) {
            party.asked = party.asked.saturating_sub(1);
            if party.asked == 0 && !party.idle_tickets.is_empty() {
                self.probe_idle(target);
            }
        }
    }
}

/// Asks remembered of one asker; one that has more at once reads no answers.
const ASKS_MAX: usize = 4096;
