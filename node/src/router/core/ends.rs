//! Who goes: connections that end, actors that have ended or never came up.

use protocol::control::{ConnectionRole, SystemMessage};
use protocol::{ActorId, Flags, Header};

use super::ids::Target;
use super::outbox::FrameBytes;
use super::party::{CreditState, MarkerPurpose, Meta, Party, Queued, Stage};
use super::{Core, Effect, PartyId};
use crate::router::agent::AgentEvent;

impl Core {
    /// A connection has ended: a client is gone, an actor perhaps not.
    pub(super) fn disconnected(&mut self, id: PartyId) {
        let Some(party) = self.parties.get_mut(id) else {
            return;
        };
        if !party.connected() {
            return;
        }
        let address = party.address;
        if party.role == ConnectionRole::Client {
            self.remove(id, "the client has gone", Rest::Dead);
            let gone = AgentEvent::ClientGone { client: address };
            return self.effects.push_back(Effect::Tell(gone));
        }
        party.stage = Stage::Disconnected;
        party.blocked = None;
        self.take_back(id);
        let gone = AgentEvent::Disconnected { actor: address };
        self.effects.push_back(Effect::Tell(gone));
    }

    /// A party broke a rule: its connection ends.
    pub(super) fn violated(&mut self, id: PartyId, reason: String) {
        if self.parties.get(id).is_some_and(Party::connected) {
            self.effects.push_back(Effect::Close { party: id, reason });
            self.disconnected(id);
        }
    }

    /// The actor's process has ended.
    pub(super) fn ended(&mut self, actor: ActorId, reason: &str) {
        if let Some((id, party)) = self.party_at(actor)
            && party.role == ConnectionRole::Worker
        {
            let parent = party.parent;
            self.remove(id, reason, Rest::Dead);
            self.tell_parent(parent, actor);
        }
    }

    /// The actor never came up: senders get back what waits for it.
    pub(super) fn failed_creation(&mut self, actor: ActorId, reason: &str) {
        if let Some((id, party)) = self.party_at(actor)
            && party.role == ConnectionRole::Worker
        {
            let parent = party.parent;
            self.tell_parent(parent, actor);
            self.remove(id, reason, Rest::Returned);
        }
    }

    pub(super) fn tell_parent(&mut self, parent: ActorId, child: ActorId) {
        match self.party_at(parent) {
            Some((_, party)) if !party.is_elsewhere() => {
                self.send_system(parent, &SystemMessage::ChildActorExited { child });
            }
            _ => self.tell_far_parent(parent, child),
        }
    }

    /// Forgets a party and settles all that it had to do with.
    pub(super) fn remove(&mut self, id: PartyId, reason: &str, rest: Rest) {
        let connected = self.parties.get(id).is_some_and(Party::connected);
        if connected {
            self.take_back(id);
        } else if self.parties.get(id).is_some_and(|p| p.remote.is_some()) {
            self.give_up_credit(id);
        }
        let Some(mut party) = self.parties.remove(id) else {
            return;
        };
        self.forget_address(id, &party, reason);
        self.tokens.retain(|_, owner| *owner != id);
        self.stats.unconfirmed_bytes += party.window_used;
        if connected {
            let reason = reason.to_owned();
            self.effects.push_back(Effect::Close { party: id, reason });
        }
        self.handle_dead_letters(id, false);
        while let Some(item) = party.backlog.pop_front() {
            if let Queued::Message { meta, bytes } = item {
                self.refuse(meta, FrameBytes::Owned(bytes), reason, rest);
            }
        }
        if party.asked > 0 {
            self.end_asks_to(id, reason);
        }
        for ask in &party.asks {
            self.tell_ask_over(party.address, ask, None);
            self.answered(ask.target);
        }
        for marker in &party.markers {
            if let MarkerPurpose::Ticket(ticket) = marker.purpose {
                self.end_ticket(ticket, false);
            }
        }
        for ticket in &party.idle_tickets {
            self.end_ticket(*ticket, false);
        }
    }

    fn forget_address(&mut self, id: PartyId, party: &Party, reason: &str) {
        if self.by_address.get(&party.address) == Some(&id) {
            self.by_address.remove(&party.address);
            self.unbind_all(party.address, reason);
        } else if let Some(node) = party.node() {
            self.far.ways_back.remove(&(party.address, node));
        }
    }

    fn refuse(&mut self, mut meta: Meta, bytes: FrameBytes<'_>, reason: &str, rest: Rest) {
        let returns = rest == Rest::Returned
            && !meta.quiet
            && !meta.flags.contains(Flags::SYSTEM)
            && meta.from.is_some_and(|id| self.parties.get(id).is_some());
        let Some(sender) = meta.from.filter(|_| returns) else {
            return self.dead(meta, bytes, reason);
        };
        self.owe_credit(&mut meta, bytes.len());
        self.stats.returned += 1;
        let details = CHILD_ABORTED.to_owned();
        self.send_envelope(
            sender,
            &SystemMessage::PoisonMessage { details },
            &meta,
            bytes,
        );
    }

    /// Puts the messages of which nothing was written back in front of what waits.
    fn take_back(&mut self, id: PartyId) {
        let Some(party) = self.parties.get_mut(id) else {
            return;
        };
        let frames = party.outbox.take_unwritten();
        for bytes in frames.into_iter().rev() {
            let Some(Ok(header)) = bytes.first_chunk().map(Header::from_bytes) else {
                continue;
            };
            let Some(meta) = self.meta_again(id, &header) else {
                continue;
            };
            let bytes = FrameBytes::Owned(bytes).flagged(meta.flags).into_vec();
            self.stats.delivered -= 1;
            if let Some(party) = self.parties.get_mut(id) {
                party.window_used = party.window_used.saturating_sub(bytes.len() as u64);
                party.backlog.push_front(Queued::Message { meta, bytes });
            }
        }
    }

    fn meta_again(&mut self, to: PartyId, header: &Header) -> Option<Meta> {
        let target = Target::of(header)?;
        let from = self.by_address.get(&header.sender).copied();
        let sequence = header.sequence;
        if header.flags.contains(Flags::ASK)
            && let Some(asker) = from
        {
            let taken = self.take_asks(asker, |ask| {
                ask.target == to && ask.addressed == target && ask.sequence == sequence
            });
            taken.iter().for_each(|ask| self.answered(ask.target));
        }
        let from_node = header.sender == self.node_address();
        let (flags, program) = self.unmarked(to, header);
        Some(Meta {
            from,
            target,
            flags,
            program,
            sequence,
            deadline: None,
            credit: CreditState::Done,
            quiet: header.flags.contains(Flags::RETURNED)
                || from_node && header.flags.contains(Flags::SYSTEM),
        })
    }

    /// Tells everyone that nothing more comes.
    pub(super) fn close(&mut self) {
        let all: Vec<PartyId> = self.parties.iter().map(|(id, _)| id).collect();
        for id in all {
            // To those on other nodes nothing goes by a connection.
            self.send_notice(id, &protocol::control::Notice::Closing);
        }
    }
}

/// What becomes of the messages that wait for a party that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    Dead,
    Returned,
}

/// What Thespian's applications know.
const CHILD_ABORTED: &str = "Child Aborted";
