//! Markers: how the agent learns that an actor has handled what came before, or is idle.

use protocol::{ActorId, Frame, FrameKind, Header, PayloadKind};

use super::party::{Marker, MarkerPurpose, Queued};
use super::{Core, Effect, PartyId};

impl Core {
    /// Puts a marker behind everything accepted for the actor.
    pub(super) fn marker(&mut self, actor: ActorId, ticket: u64) {
        match self.party_at(actor) {
            Some((id, party)) if !party.is_elsewhere() => {
                self.queue_marker(id, MarkerPurpose::Ticket(ticket));
            }
            _ => self.end_ticket(ticket, false),
        }
    }

    /// Waits until the actor has nothing to do.
    pub(super) fn idle(&mut self, actor: ActorId, ticket: u64) {
        let here = self.party_at(actor);
        let Some((id, _)) = here.filter(|(_, party)| !party.is_elsewhere()) else {
            return self.end_ticket(ticket, false);
        };
        if let Some(party) = self.parties.get_mut(id) {
            party.idle_tickets.push(ticket);
        }
        self.probe_idle(id);
    }

    /// Asks a party by a marker whether it is idle, unless that is known to be useless now.
    pub(super) fn probe_idle(&mut self, id: PartyId) {
        if let Some(party) = self.parties.get_mut(id)
            && !party.idle_probed
            && party.asked == 0
        {
            party.idle_probed = true;
            self.queue_marker(id, MarkerPurpose::Idle { passed: 0 });
        }
    }

    fn queue_marker(&mut self, id: PartyId, purpose: MarkerPurpose) {
        let number = self.next_number();
        if let Some(party) = self.parties.get_mut(id) {
            party.markers.push_back(Marker { number, purpose });
            party.backlog.push_back(Queued::Marker(number));
        }
        self.pump(id);
    }

    pub(super) fn send_marker(&mut self, id: PartyId, number: u64) {
        if let Some(party) = self.parties.get_mut(id) {
            let sent = party.markers.iter_mut().find(|m| m.number == number);
            if let Some(Marker {
                purpose: MarkerPurpose::Idle { passed },
                ..
            }) = sent
            {
                *passed = party.passed;
            }
        }
        let mut header = Header::control(FrameKind::Marker, number);
        header.payload_kind = PayloadKind::Empty;
        self.send_frame(id, &Frame::new(header, Vec::new()));
    }

    /// A marker came back.
    pub(super) fn marker_echoed(&mut self, id: PartyId, number: u64) {
        let Some(party) = self.parties.get_mut(id) else {
            return;
        };
        let Some(at) = party.markers.iter().position(|m| m.number == number) else {
            let address = party.address;
            let warning = format!("`{address}` echoed marker {number}, which it was not sent");
            return self.effects.push_back(Effect::Warn(warning));
        };
        let Some(marker) = party.markers.remove(at) else {
            return;
        };
        match marker.purpose {
            MarkerPurpose::Ticket(ticket) => self.end_ticket(ticket, true),
            MarkerPurpose::Idle { passed } => self.idle_probed(id, passed),
        }
    }

    fn idle_probed(&mut self, id: PartyId, passed: u64) {
        let Some(party) = self.parties.get_mut(id) else {
            return;
        };
        party.idle_probed = false;
        if party.backlog.is_empty() && party.passed == passed && party.asked == 0 {
            let tickets = std::mem::take(&mut party.idle_tickets);
            return tickets.into_iter().for_each(|t| self.end_ticket(t, true));
        }
        self.probe_idle(id);
    }

    pub(super) fn end_ticket(&mut self, ticket: u64, stands: bool) {
        self.effects.push_back(Effect::Ticket { ticket, stands });
    }
}
