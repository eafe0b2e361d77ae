//! Workers that wait for credit: waits that cannot end are broken.
//!
//! A worker waits for one target at a time, so the wait-for graph has one edge out of each, and
//! a cycle is found by following it. A wait counts only while messages of its pair are on their
//! way here: else credit is under way to it already.

use protocol::control::Notice;
use protocol::{ActorId, RoleId};

use super::ids::Target;
use super::party::{Blocked, Stage};
use super::roles::Way;
use super::{Core, PartyId};

impl Core {
    /// A worker waits for credit (`Some`) or waits no longer.
    pub(super) fn blocked(&mut self, id: PartyId, target: Option<String>, inbox_full: bool) {
        let Some(text) = target else {
            if let Some(party) = self.parties.get_mut(id) {
                party.blocked = None;
            }
            return;
        };
        let (Ok(actor), Ok(role)) = (text.parse::<ActorId>(), text.parse::<RoleId>()) else {
            return self.violated(id, format!("waits for `{text}`, which is no address"));
        };
        let number = self.next_number();
        let since = self.now;
        let Some(party) = self.parties.get_mut(id) else {
            return;
        };
        let role = Target::Role(role);
        let target = if party.pairs.contains_key(&role) {
            role
        } else {
            Target::Actor(actor)
        };
        match &mut party.blocked {
            Some(wait) if wait.target == target => wait.inbox_full = inbox_full,
            blocked => {
                *blocked = Some(Blocked {
                    target,
                    since,
                    number,
                    inbox_full,
                });
            }
        }
        self.give_credit(id, target);
        self.wake_at(since.plus_ms(self.limits.blocked_ms));
        self.break_cycle_of(id);
    }

    /// Breaks every cycle of waits.
    pub(super) fn break_cycles(&mut self) {
        let waiting: Vec<PartyId> = self
            .parties
            .iter()
            .filter(|(_, party)| party.blocked.is_some())
            .map(|(id, _)| id)
            .collect();
        waiting.into_iter().for_each(|id| self.break_cycle_of(id));
    }

    /// Breaks the waits that have lasted too long.
    pub(super) fn break_overdue_waits(&mut self) {
        let (now, blocked_ms) = (self.now, self.limits.blocked_ms);
        let overdue: Vec<PartyId> = self
            .parties
            .iter()
            .filter(|(_, party)| {
                party
                    .blocked
                    .is_some_and(|wait| wait.since.plus_ms(blocked_ms) <= now)
            })
            .map(|(id, _)| id)
            .collect();
        for id in overdue {
            let seconds = blocked_ms / 1000;
            self.unblock(
                id,
                &format!("the target took no message for {seconds} seconds"),
            );
        }
    }

    fn break_cycle_of(&mut self, start: PartyId) {
        let mut cycle = Vec::new();
        let mut at = start;
        loop {
            let Some((next, wait)) = self.waits_for(at) else {
                return;
            };
            cycle.push((wait.number, at));
            if next == start {
                break;
            }
            if cycle.iter().any(|(_, member)| *member == next) {
                // A cycle further on, of which `start` is no part: it has its own member to
                // start from.
                return;
            }
            at = next;
        }
        if let Some((_, youngest)) = cycle.iter().max() {
            self.unblock(*youngest, "the actors wait for each other in a circle");
        }
    }

    /// Whom a party waits for, if nothing but that one can end the wait.
    fn waits_for(&self, id: PartyId) -> Option<(PartyId, Blocked)> {
        let party = self.parties.get(id)?;
        // Nothing flows to one that still constructs: its inbox is as good as full.
        let closed = |wait: &Blocked| wait.inbox_full || party.stage == Stage::Starting;
        let wait = party.blocked.filter(closed)?;
        let pair = party.pairs.get(&wait.target)?;
        if pair.waiting_messages == 0 {
            return None;
        }
        let actor = match wait.target {
            Target::Actor(actor) => actor,
            Target::Role(role) => match self.way(role) {
                Way::Actor(actor) => actor,
                Way::Held | Way::Nobody(_) | Way::Unknown => return None,
            },
        };
        Some((*self.by_address.get(&actor)?, wait))
    }

    /// Tells a worker to give its message up, which becomes a dead letter there.
    fn unblock(&mut self, id: PartyId, reason: &str) {
        let Some(party) = self.parties.get_mut(id) else {
            return;
        };
        let Some(wait) = party.blocked.take() else {
            return;
        };
        let sender = party.address;
        self.stats.unblocked += 1;
        self.count_dead(sender, wait.target, 0, reason);
        let reason = reason.to_owned();
        self.send_notice(id, &Notice::Unblock { reason });
    }
}
