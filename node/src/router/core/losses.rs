//! Links that come, break and are lost, and what becomes of all that was on its way.
//!
//! What was not handed over stays for the next link to the same run of the node. Of what was
//! handed over and not credited nobody can say what became: both sides settle it for themselves.

use std::collections::BTreeSet;

use protocol::control::AskOutcome;
use protocol::link::LinkNotice;
use protocol::{Incarnation, NodeId};

use super::ends::Rest;
use super::ids::PartyId;
use super::link::Item;
use super::outbox::FrameBytes;
use super::party::Ask;
use super::{Core, Event};

impl Core {
    /// What the agent tells of other nodes.
    pub(super) fn link_event(&mut self, event: Event<'_>) {
        match event {
            Event::Peers(peers) => self.learn_peers(peers),
            Event::Place { actor, node } => self.place(actor, node),
            Event::ExpectRemote { record, node } => self.expect_remote(*record, node),
            Event::Located { actor, node } => self.located(actor, node),
            Event::LinkUp {
                node,
                incarnation,
                same_user,
            } => self.link_up(node, incarnation, same_user),
            Event::LinkDown { node } => self.link_down(node),
            Event::LinkLost { node, run, reason } => self.run_over(node, run, &reason),
            Event::LinkBytes { node, batch } => self.link_bytes(node, batch),
            Event::FlushLinks { to, ticket } => self.flush_links(&to, ticket),
            _ => {}
        }
    }

    /// Bytes flow to and from a run of a node.
    fn link_up(&mut self, node: NodeId, incarnation: Incarnation, same_user: bool) {
        if node == self.far.node {
            return;
        }
        if self.links_to_other_run(node, incarnation) || self.far.knows_other_run(node, incarnation)
        {
            self.link_lost(node, "the node has started again");
        }
        self.link_down(node);
        self.far.lost.remove(&node);
        self.far.learn(incarnation, node);
        let link = self.far.link(node);
        link.incarnation = Some(incarnation);
        link.same_user = same_user;
        link.up = true;
        link.deadline = None;
        link.flushing = false;
        link.n_open = 0;
        let exits = link.exits.clone();
        for (child, parent) in exits {
            self.notice_over(node, &LinkNotice::Exited { child, parent });
        }
        self.flush_link(node);
    }

    /// Bytes flow no longer.
    pub(super) fn link_down(&mut self, node: NodeId) {
        let Some(link) = self.far.links.get_mut(&node).filter(|link| link.up) else {
            return;
        };
        link.up = false;
        link.flushing = false;
        link.via = None;
        let n_lost = link.n_handed - link.n_taken;
        let uncredited: Vec<_> = link.uncredited.drain().collect();
        let n_uncredited: u64 = uncredited.iter().map(|(_, u)| u64::from(u.messages)).sum();
        link.n_open = n_uncredited.saturating_sub(n_lost);
        (link.n_handed, link.n_taken) = (0, 0);
        (link.n_came, link.n_came_told) = (0, 0);
        let markers = std::mem::take(&mut link.markers);
        let mut tickets: Vec<u64> = markers.into_iter().map(|(_, ticket)| ticket).collect();
        tickets.extend(link.keep_messages());
        let wanted = link.n_waiting() > 0;
        self.stats.unknown += n_lost;
        for ((_, target), open) in uncredited {
            self.take_off_way(open.to, open.messages);
            self.owe_back(open.from, target, open.messages, open.bytes);
        }
        tickets.into_iter().for_each(|t| self.end_flush(t));
        self.settle_asks_over(node);
        if wanted {
            self.flush_link(node);
        }
    }

    /// Asks that went over the link are unknown; those that came over it are unknown to their
    /// askers already.
    fn settle_asks_over(&mut self, node: NodeId) {
        let concerned: Vec<(PartyId, bool)> = self
            .parties
            .iter()
            .filter(|(_, party)| party.node() == Some(node) || !party.asks.is_empty())
            .map(|(id, party)| (id, party.node() == Some(node)))
            .collect();
        let reason = "the link to the actor's node has broken";
        for (id, is_over) in concerned {
            if is_over {
                self.forget_asks_of(id, Some(node));
                self.forgive(id);
                continue;
            }
            for ask in self.take_asks_over(id, node) {
                self.answered(ask.target);
                self.tell_ask_ended(id, ask.addressed, ask.sequence, AskOutcome::Unknown, reason);
            }
        }
    }

    fn take_asks_over(&mut self, asker: PartyId, node: NodeId) -> Vec<Ask> {
        let asks = self.parties.get(asker).map(|party| party.asks.as_slice());
        let far: Vec<PartyId> = asks
            .unwrap_or_default()
            .iter()
            .map(|ask| ask.target)
            .filter(|to| self.parties.get(*to).and_then(super::Party::node) == Some(node))
            .collect();
        if far.is_empty() {
            return Vec::new();
        }
        self.take_asks(asker, |ask| far.contains(&ask.target))
    }

    /// Whether the last link to the node was to another run of it than this one.
    pub(in crate::router) fn links_to_other_run(&self, node: NodeId, run: Incarnation) -> bool {
        let link = self.far.links.get(&node);
        let known = link.and_then(|link| link.incarnation);
        known.is_some_and(|known| known != run)
    }

    /// The agent hears of the end of a run later than the next one may have made a link.
    fn run_over(&mut self, node: NodeId, run: Incarnation, reason: &str) {
        if !self.links_to_other_run(node, run) {
            self.link_lost(node, reason);
        }
    }

    /// The run of the node is over: nothing there lives any more.
    fn link_lost(&mut self, node: NodeId, reason: &str) {
        self.link_down(node);
        if node == self.far.node {
            return;
        }
        self.far.lost.insert(node, reason.to_owned());
        self.unbind_lost(|core, actor| core.node_at(actor) == Some(node), reason);
        self.kill_queue(node, reason);
        if let Some(link) = self.far.links.remove(&node) {
            self.stats.unknown += link.n_open;
        }
        let gone: Vec<PartyId> = self
            .parties
            .iter()
            .filter(|(_, party)| party.node() == Some(node))
            .map(|(id, _)| id)
            .collect();
        for id in gone {
            let Some(party) = self.parties.get(id) else {
                continue;
            };
            let (child, parent) = (party.address, party.parent);
            let expected = party.record.is_some();
            self.remove(id, reason, Rest::Dead);
            if expected {
                self.tell_parent(parent, child);
            }
        }
    }

    /// What waits for the link waits no longer.
    pub(super) fn kill_queue(&mut self, node: NodeId, reason: &str) {
        while let Some(item) = self
            .far
            .links
            .get_mut(&node)
            .and_then(super::link::Link::pop)
        {
            match item {
                Item::Message { to, meta, bytes } => {
                    self.unqueue(to);
                    self.dead(meta, FrameBytes::Owned(bytes), reason);
                }
                Item::Control(_) => {}
                Item::Marker { ticket, .. } => self.end_flush(ticket),
            }
        }
    }

    fn unqueue(&mut self, to: PartyId) {
        if let Some(party) = self.parties.get_mut(to)
            && let Some(remote) = party.remote.as_mut()
        {
            remote.n_queued = remote.n_queued.saturating_sub(1);
        }
    }

    /// Waits until all that is handed to these links, or waits for them, is with the other routers.
    fn flush_links(&mut self, to: &BTreeSet<NodeId>, ticket: u64) {
        let nodes: Vec<NodeId> = self
            .far
            .links
            .iter()
            .filter(|(node, link)| to.contains(node) && (link.up || link.n_waiting() > 0))
            .map(|(node, _)| *node)
            .collect();
        if nodes.is_empty() {
            return self.end_ticket(ticket, true);
        }
        self.far.flushes.insert(ticket, nodes.len());
        for node in nodes {
            let number = self.next_number();
            self.far.link(node).push(Item::Marker { number, ticket });
            self.flush_link(node);
        }
    }

    /// A link's marker came back.
    pub(super) fn link_flushed(&mut self, node: NodeId, number: u64) {
        let markers = &mut self.far.link(node).markers;
        if let Some(at) = markers.iter().position(|marker| marker.0 == number)
            && let Some((_, ticket)) = markers.remove(at)
        {
            self.end_flush(ticket);
        }
    }

    /// One link less to wait for.
    fn end_flush(&mut self, ticket: u64) {
        let Some(left) = self.far.flushes.get_mut(&ticket) else {
            return;
        };
        *left -= 1;
        if *left == 0 {
            self.far.flushes.remove(&ticket);
            self.end_ticket(ticket, true);
        }
    }
}
