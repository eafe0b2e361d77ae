//! What routers tell each other of asks and of actors that have ended.
//!
//! An ask's news matter on one link only. The end of an actor is told until it is noted: whoever
//! created it hears of it once, whatever happens to links.

use protocol::control::AskOutcome;
use protocol::link::LinkNotice;
use protocol::{ActorId, Frame, FrameKind, Header, NodeId};

use super::Core;
use super::ends::Rest;
use super::far::Whereabouts;
use super::ids::{PartyId, Target};
use super::party::Ask;

impl Core {
    /// A notice came over a link.
    pub(super) fn link_notice(&mut self, node: NodeId, notice: LinkNotice) {
        match notice {
            LinkNotice::AskEnded {
                asker,
                target,
                sequence,
                outcome,
                reason,
            } => {
                for id in self.parties_of(asker) {
                    for ask in self.take_asks_at(id, node, &target, sequence) {
                        self.answered(ask.target);
                        self.tell_ask_ended(id, ask.addressed, sequence, outcome, &reason);
                    }
                }
            }
            LinkNotice::AskOver {
                asker,
                target,
                sequence,
            } => {
                let Some(id) = self.party_over(asker, node) else {
                    return;
                };
                let over = |ask: &Ask| ask.sequence == sequence && ask.addressed.hex() == target;
                for ask in self.take_asks(id, over) {
                    self.tell_ask_over(asker, &ask, Some(node));
                    self.answered(ask.target);
                }
            }
            LinkNotice::Exited { child, parent } => {
                self.notice_over(node, &LinkNotice::ExitNoted { child });
                self.child_exited(node, child, parent);
            }
            LinkNotice::ExitNoted { child } => {
                self.far.link(node).exits.retain(|exit| exit.0 != child);
            }
        }
    }

    /// The asks of a party that went over this node's link and are meant by a notice.
    fn take_asks_at(
        &mut self,
        asker: PartyId,
        node: NodeId,
        target: &str,
        sequence: u64,
    ) -> Vec<Ask> {
        let asks = self.parties.get(asker).map(|party| party.asks.as_slice());
        let meant: Vec<PartyId> = asks
            .unwrap_or_default()
            .iter()
            .filter(|ask| ask.sequence == sequence && ask.addressed.hex() == target)
            .map(|ask| ask.target)
            .filter(|to| self.parties.get(*to).and_then(super::Party::node) == Some(node))
            .collect();
        self.take_asks(asker, |ask| {
            ask.sequence == sequence && meant.contains(&ask.target)
        })
    }

    /// All that stand for an address: itself, and ways back to it.
    fn parties_of(&self, address: ActorId) -> Vec<PartyId> {
        let own = self.by_address.get(&address);
        let links = self.far.links.keys();
        let ways_back = links.filter_map(|node| self.far.ways_back.get(&(address, *node)));
        own.into_iter().chain(ways_back).copied().collect()
    }

    /// The party that stands for an address in what came over this link.
    fn party_over(&self, address: ActorId, node: NodeId) -> Option<PartyId> {
        match self.party_at(address) {
            Some((id, party)) if party.node() == Some(node) => Some(id),
            _ => self.far.ways_back.get(&(address, node)).copied(),
        }
    }

    /// Tells the asker on another node how its ask ended.
    pub(super) fn tell_far_ask_ended(
        &mut self,
        asker: PartyId,
        target: Target,
        sequence: u64,
        outcome: AskOutcome,
        reason: &str,
    ) {
        let Some(party) = self.parties.get(asker) else {
            return;
        };
        let (asker, node) = (party.address, party.node());
        let notice = LinkNotice::AskEnded {
            asker,
            target: target.hex(),
            sequence,
            outcome,
            reason: reason.to_owned(),
        };
        if let Some(node) = node {
            self.notice_over(node, &notice);
        }
    }

    /// Tells the node that was handed an ask that nobody waits for the answer; not the one over
    /// whose link the answer came, which knows.
    pub(super) fn tell_ask_over(&mut self, asker: ActorId, ask: &Ask, over: Option<NodeId>) {
        let target = self.parties.get(ask.target);
        let Some(node) = target.and_then(super::Party::node) else {
            return;
        };
        if Some(node) == over {
            return;
        }
        let notice = LinkNotice::AskOver {
            asker,
            target: ask.addressed.hex(),
            sequence: ask.sequence,
        };
        self.notice_over(node, &notice);
    }

    /// Tells the node of an actor's creator that the actor has ended.
    pub(super) fn tell_far_parent(&mut self, parent: ActorId, child: ActorId) {
        if parent.is_none() {
            return;
        }
        // Who allotted the address remembers for whom.
        let node = match self.far.node_of(child.incarnation()) {
            Some(node) if child.incarnation() != self.incarnation => Some(node),
            _ => self.node_at(parent),
        };
        if let Some(node) = node {
            self.tell_exit(node, child, parent);
        }
    }

    fn tell_exit(&mut self, node: NodeId, child: ActorId, parent: ActorId) {
        if self.far.lost.contains_key(&node) {
            return;
        }
        self.far.link(node).exits.push((child, parent));
        if self.far.is_up(node) {
            self.notice_over(node, &LinkNotice::Exited { child, parent });
        } else {
            self.flush_link(node);
        }
    }

    /// Another node says that an actor has ended.
    fn child_exited(&mut self, node: NodeId, child: ActorId, parent: ActorId) {
        let known = self.party_at(child).map(|(id, party)| {
            let told = party.record.as_ref().map(|record| record.parent);
            // The node that runs it says so, or the one that allotted its address.
            let may = party.node() == Some(node)
                || party.remote.is_some() && self.far.node_of(child.incarnation()) == Some(node);
            (id, told.filter(|_| may))
        });
        if let Some((id, Some(parent))) = known {
            self.remove(id, "the actor has ended", Rest::Dead);
            return self.tell_parent(parent, child);
        }
        // Told to whoever allotted the address; the creator is on a third node.
        let third = self.node_at(parent).filter(|at| *at != node);
        if let Some(third) = third
            && child.incarnation() == self.incarnation
        {
            self.tell_exit(third, child, parent);
        }
    }

    /// The other node on which an actor is, as far as is known.
    pub(super) fn node_at(&self, actor: ActorId) -> Option<NodeId> {
        if let Some((_, party)) = self.party_at(actor) {
            return party.node();
        }
        match self.whereabouts(actor) {
            Whereabouts::Node(node) => Some(node),
            Whereabouts::Here | Whereabouts::Unknown => None,
        }
    }

    pub(super) fn notice_over(&mut self, node: NodeId, notice: &LinkNotice) {
        match serde_json::to_vec(notice) {
            Ok(json) => {
                let frame = Frame::new(Header::control(FrameKind::Notice, 0), json);
                self.control_over(node, &frame);
            }
            Err(error) => {
                let warning = format!("a notice for a link does not encode: {error}");
                self.effects.push_back(super::Effect::Warn(warning));
            }
        }
    }
}
