//! What links have done from time to time: receipts, small credit, ends of waits, forgetting.
//!
//! Each look at the proxies is bounded, so that millions of them cost no pause.

use protocol::NodeId;

use super::Core;
use super::ends::Rest;
use super::ids::PartyId;
use super::party::{Party, Stage};

/// Proxies looked at in one go at least; more when there are many, so that all have their turn.
const LOOKED_AT: usize = 1024;

/// The part of all proxies that is looked at in one go.
const LOOKED_AT_PART: usize = 8;

impl Core {
    /// The proxy is owed credit that is not worth a frame yet.
    pub(super) fn owe_far(&mut self, id: PartyId) {
        if self.far.owing.last() != Some(&id) {
            self.far.owing.push(id);
        }
        self.arm_tick(self.limits.link_tick_ms);
    }

    /// The moment to look at the links has come.
    pub(super) fn tick_links(&mut self) {
        self.far.tick = None;
        self.give_receipts();
        let mut owing = std::mem::take(&mut self.far.owing);
        owing.sort_unstable();
        owing.dedup();
        owing.into_iter().for_each(|id| self.give_all_credit(id));
        self.give_up_links();
        self.give_up_search();
        self.forget_quiet();
    }

    fn give_receipts(&mut self) {
        let due: Vec<NodeId> = self
            .far
            .links
            .iter()
            .filter(|(_, link)| link.up && link.n_came_told < link.n_came)
            .map(|(node, _)| *node)
            .collect();
        due.into_iter().for_each(|node| self.flush_link(node));
    }

    /// Ends the waits for links that did not come up.
    fn give_up_links(&mut self) {
        let now = self.now;
        let mut overdue = Vec::new();
        let mut soonest = None;
        for (node, link) in &mut self.far.links {
            match link.deadline {
                Some(due) if due <= now => {
                    link.deadline = None;
                    overdue.push(*node);
                }
                Some(due) => soonest = Some(soonest.map_or(due, |at| due.min(at))),
                None => {}
            }
        }
        for node in overdue {
            let seconds = self.limits.link_wait_ms / 1000;
            let reason = format!("no link to node `{node}` came up within {seconds} seconds");
            self.kill_queue(node, &reason);
        }
        if let Some(soonest) = soonest {
            self.arm_tick(soonest.0.saturating_sub(now.0));
        }
    }

    /// Ends the waits for word on where an actor lives.
    fn give_up_search(&mut self) {
        while let Some((due, id)) = self.far.sought.front().copied() {
            let sought = self.parties.get(id).map(|party| party.stage) == Some(Stage::Sought);
            if sought && due > self.now {
                return self.arm_tick(due.0.saturating_sub(self.now.0));
            }
            self.far.sought.pop_front();
            if sought {
                let reason = "nobody could say on which node the actor lives";
                self.remove(id, reason, Rest::Dead);
            }
        }
    }

    /// Forgets proxies that were quiet for a while.
    fn forget_quiet(&mut self) {
        let n_looks = LOOKED_AT.max(self.far.round.len() / LOOKED_AT_PART);
        for _ in 0..n_looks.min(self.far.round.len()) {
            let Some(id) = self.far.round.pop_front() else {
                break;
            };
            let Some(party) = self.parties.get(id) else {
                continue;
            };
            // One that was created from here is remembered until it ends.
            if party.remote.is_none() || party.record.is_some() {
                continue;
            }
            if self.is_quiet(party) {
                self.forget(id);
            } else {
                self.far.round.push_back(id);
            }
        }
        if !self.far.round.is_empty() {
            self.arm_tick(self.limits.proxy_idle_ms / LOOKED_AT_PART as u64);
        }
    }

    fn is_quiet(&self, party: &Party) -> bool {
        let Some(remote) = &party.remote else {
            return false;
        };
        // While something is on its way, another way to the same actor could overtake it.
        let on_way = remote.n_queued > 0 || remote.n_uncredited > 0;
        let settled = party.asks.is_empty() && party.asked == 0 && !on_way;
        let waits = |pair: &super::credit::Pair| pair.waiting_messages > 0;
        settled
            && remote.used.plus_ms(self.limits.proxy_idle_ms) <= self.now
            && !party.pairs.values().any(waits)
    }

    fn forget(&mut self, id: PartyId) {
        self.give_all_credit(id);
        let Some(party) = self.parties.remove(id) else {
            return;
        };
        if self.by_address.get(&party.address) == Some(&id) {
            self.by_address.remove(&party.address);
        } else if let Some(node) = party.node() {
            self.far.ways_back.remove(&(party.address, node));
        }
    }
}
