//! What is handed to a link: whole frames, collected up to a batch.
//!
//! From here on the other node answers for a message; until it gives credit for it, it stands in
//! the link's books.

use protocol::limits::HEADER_BYTES;
use protocol::{
    ActorId, Flags, Frame, FrameKind, Header, NodeId, PayloadKind, TargetKind, WindowPayload,
};

use super::Core;
use super::ids::{PartyId, Target};
use super::link::{Item, Uncredited};
use super::outbox::{FrameBytes, SOURCE_AT};
use super::party::{CreditState, Meta};

/// Frames are collected up to this; a larger one goes alone.
const BATCH_BYTES: usize = 256 << 10;

/// A message from this size on that has a buffer of its own keeps it.
const OWN_BYTES: usize = 32 << 10;

/// Where a header has the flags and the run of the sender's node.
const FLAGS_AT: usize = 6;
const INCARNATION_AT: usize = 48;

impl Core {
    /// The next frames for a link; `None` when none wait or it is not up.
    pub(crate) fn link_batch(&mut self, node: NodeId) -> Option<Vec<u8>> {
        let mut batch = Vec::new();
        loop {
            let link = self.far.links.get_mut(&node).filter(|link| link.up)?;
            link.flushing = false;
            let Some(n_bytes) = link.front().map(Item::n_bytes) else {
                break;
            };
            if !batch.is_empty() && batch.len() + n_bytes > BATCH_BYTES {
                // The driver comes again for what is left.
                break;
            }
            match link.pop() {
                Some(Item::Message { to, meta, bytes }) => {
                    self.hand_message(node, to, meta, bytes, &mut batch);
                }
                Some(Item::Control(bytes)) => batch.extend_from_slice(&bytes),
                Some(Item::Marker { number, ticket }) => {
                    link.markers.push_back((number, ticket));
                    control(FrameKind::Marker, number).write_to(&mut batch);
                }
                None => break,
            }
        }
        self.add_receipt(node, &mut batch);
        (!batch.is_empty()).then_some(batch)
    }

    /// Puts a control frame behind what waits for a link; without effect when it is not up,
    /// because the other router has settled all that such a frame could tell.
    pub(super) fn control_over(&mut self, node: NodeId, frame: &Frame) {
        if !self.far.is_up(node) {
            return;
        }
        let mut bytes = Vec::with_capacity(frame.bytes());
        frame.write_to(&mut bytes);
        self.far.link(node).push(Item::Control(bytes));
        self.flush_link(node);
    }

    fn add_receipt(&mut self, node: NodeId, batch: &mut Vec<u8>) {
        if let Some(link) = self.far.links.get_mut(&node)
            && link.n_came_told < link.n_came
            && batch.len() <= BATCH_BYTES
        {
            link.n_came_told = link.n_came;
            let payload = WindowPayload { bytes: link.n_came }.to_bytes();
            let mut header = Header::control(FrameKind::Window, 0);
            header.payload_kind = PayloadKind::Raw;
            Frame::new(header, payload).write_to(batch);
        }
    }

    fn hand_message(
        &mut self,
        node: NodeId,
        to: PartyId,
        meta: Meta,
        mut bytes: Vec<u8>,
        batch: &mut Vec<u8>,
    ) {
        let Some(party) = self.parties.get_mut(to) else {
            let reason = "no actor has this address now";
            return self.dead(meta, FrameBytes::Owned(bytes), reason);
        };
        if party.node() != Some(node) {
            // It turned out to live elsewhere while the message waited.
            return self.deliver(to, meta, FrameBytes::Owned(bytes));
        }
        if let Some(remote) = party.remote.as_mut() {
            remote.n_queued = remote.n_queued.saturating_sub(1);
        }
        let (actor, asks) = (party.address, !party.asks.is_empty());
        self.stamp(node, &meta, &mut bytes);
        if meta.target.kind() == TargetKind::Role {
            let mut via = control(FrameKind::Via, 0);
            via.header.target_kind = TargetKind::Actor;
            via.header.target = actor.0;
            via.write_to(batch);
        }
        self.book_handed(node, to, &meta, &bytes);
        if batch.is_empty() && bytes.len() >= OWN_BYTES {
            *batch = bytes;
        } else {
            batch.extend_from_slice(&bytes);
        }
        if asks {
            let over = self.came_over(&meta);
            self.forget_asks_of(to, over);
        }
        if meta.flags.contains(Flags::ASK) {
            self.note_ask(to, &meta);
        }
    }

    /// Writes into a message's header what the other router is to know.
    fn stamp(&self, node: NodeId, meta: &Meta, bytes: &mut [u8]) {
        let relayed = meta.flags.contains(Flags::REMOTE);
        let mut flags = meta.flags.without(Flags::REMOTE);
        if relayed {
            flags = flags.with(Flags::RELAYED);
        } else if let Some(place) = bytes.get_mut(INCARNATION_AT..INCARNATION_AT + 8) {
            place.copy_from_slice(&self.incarnation.0.to_le_bytes());
        }
        if meta.credit == CreditState::Done {
            flags = flags.with(Flags::CREDITED);
        }
        if self.tells_program(node, meta)
            && let Some(place) = bytes.get_mut(SOURCE_AT..SOURCE_AT + 32)
        {
            flags = flags.with(Flags::PROGRAM);
            place.copy_from_slice(&meta.program.0);
        }
        if let Some(place) = bytes.get_mut(FLAGS_AT..FLAGS_AT + 2) {
            place.copy_from_slice(&flags.0.to_le_bytes());
        }
    }

    fn book_handed(&mut self, node: NodeId, to: PartyId, meta: &Meta, bytes: &[u8]) {
        self.stats.sent += 1;
        let link = self.far.link(node);
        link.n_handed += 1;
        let (Some(from), CreditState::Waiting) = (meta.from, meta.credit) else {
            return;
        };
        let open = link
            .uncredited
            .entry((sender_of(bytes), meta.target))
            .or_insert(Uncredited {
                from,
                to,
                messages: 0,
                bytes: 0,
            });
        let before = std::mem::replace(&mut open.to, to);
        let moved = if before == to { 0 } else { open.messages };
        open.from = from;
        open.messages = open.messages.saturating_add(1);
        open.bytes += bytes.len() as u64;
        self.take_off_way(before, moved);
        if let Some(party) = self.parties.get_mut(to)
            && let Some(remote) = party.remote.as_mut()
        {
            remote.n_uncredited = remote.n_uncredited.saturating_add(1 + moved);
        }
    }

    /// So many messages are no longer on their way to a party.
    pub(super) fn take_off_way(&mut self, to: PartyId, messages: u32) {
        if let Some(party) = self.parties.get_mut(to)
            && let Some(remote) = party.remote.as_mut()
        {
            remote.n_uncredited = remote.n_uncredited.saturating_sub(messages);
        }
    }

    /// The other router has passed on, or refused, so much of what one sender sent to a target.
    pub(super) fn credited(
        &mut self,
        node: NodeId,
        sender: ActorId,
        target: Target,
        messages: u32,
        bytes: u64,
    ) {
        let Some(link) = self.far.links.get_mut(&node) else {
            return;
        };
        let Some(open) = link.uncredited.get_mut(&(sender, target)) else {
            return;
        };
        let (messages, bytes) = (messages.min(open.messages), bytes.min(open.bytes));
        let (from, to) = (open.from, open.to);
        open.messages -= messages;
        open.bytes -= bytes;
        if open.messages == 0 {
            link.uncredited.remove(&(sender, target));
        }
        self.take_off_way(to, messages);
        self.owe_back(from, target, messages, bytes);
    }
}

/// A control frame without a payload.
pub(super) fn control(kind: FrameKind, sequence: u64) -> Frame {
    let mut header = Header::control(kind, sequence);
    header.payload_kind = PayloadKind::Empty;
    Frame::new(header, Vec::new())
}

fn sender_of(bytes: &[u8]) -> ActorId {
    let header = bytes.first_chunk::<HEADER_BYTES>().map(Header::from_bytes);
    match header {
        Some(Ok(header)) => header.sender,
        _ => ActorId::NONE,
    }
}
