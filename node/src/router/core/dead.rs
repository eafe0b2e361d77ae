//! Dead letters: counted, kept for inspection, told to the asker and to the handler.

use protocol::control::{AskOutcome, DeadLetter, SystemMessage};
use protocol::limits::{FRAME_BYTES_MAX, HEADER_BYTES};
use protocol::{
    ActorId, Flags, Frame, FrameKind, Header, PayloadKind, ProgramId, SourceHash, Stamp,
    TargetKind, TraceId,
};

use super::ids::Target;
use super::outbox::FrameBytes;
use super::party::{CreditState, Meta};
use super::{Core, PartyId};
use crate::router::config::Serials;

impl Core {
    /// The message cannot be delivered.
    pub(super) fn dead(&mut self, mut meta: Meta, bytes: FrameBytes<'_>, reason: &str) {
        self.owe_credit(&mut meta, bytes.len());
        let header = bytes.as_slice().first_chunk().map(Header::from_bytes);
        let sender = match &header {
            Some(Ok(header)) => header.sender,
            _ => ActorId::NONE,
        };
        if !is_notice(sender, meta.flags) {
            self.count_dead(sender, meta.target, bytes.payload().len() as u64, reason);
        }
        if meta.flags.contains(Flags::ASK)
            && let Some(asker) = meta.from
        {
            let (target, sequence) = (meta.target, meta.sequence);
            self.tell_ask_ended(asker, target, sequence, AskOutcome::DeadLettered, reason);
        }
        if let Some(handler) = self.letter_handler
            && !meta.quiet
        {
            let message = SystemMessage::DeadEnvelope {
                target: meta.target.hex(),
                role: meta.target.kind() == TargetKind::Role,
                reason: reason.to_owned(),
            };
            self.send_envelope(handler, &message, &meta, bytes);
        }
    }

    pub(super) fn count_dead(&mut self, sender: ActorId, target: Target, bytes: u64, reason: &str) {
        self.stats.dead_letters += 1;
        if self.letters.len() >= self.limits.dead_letters_kept {
            self.letters.pop_front();
        }
        if self.limits.dead_letters_kept > 0 {
            self.letters.push_back(DeadLetter {
                stamp: Stamp(self.epoch_ms.saturating_add(self.now.0)),
                sender,
                target: target.hex(),
                bytes,
                reason: reason.to_owned(),
            });
        }
    }

    /// A party becomes, or is no longer, the one that gets dead letters; the last one wins.
    pub(super) fn handle_dead_letters(&mut self, id: PartyId, on: bool) {
        if on {
            self.letter_handler = Some(id);
        } else if self.letter_handler == Some(id) {
            self.letter_handler = None;
        }
    }

    /// Sends a message wrapped in the reason why it comes.
    pub(super) fn send_envelope(
        &mut self,
        to: PartyId,
        message: &SystemMessage,
        about: &Meta,
        bytes: FrameBytes<'_>,
    ) {
        let (program, bytes) = self.wrapped_for(to, about, bytes);
        let Some(Ok(inner)) = bytes.as_slice().first_chunk().map(Header::from_bytes) else {
            return;
        };
        let Ok(json) = serde_json::to_vec(message) else {
            return;
        };
        // A message of nearly the longest frame cannot be wrapped; it is counted all the same.
        if bytes.len() + HEADER_BYTES + 4 + json.len() > FRAME_BYTES_MAX {
            return;
        }
        let trace = inner.trace;
        let inner = Frame::new(inner, bytes.payload().to_vec());
        drop(bytes);
        let flags = Flags::SYSTEM.with(Flags::RETURNED);
        let Some((mut meta, header)) = self.node_message(to, flags, PayloadKind::Envelope, trace)
        else {
            return;
        };
        meta.program = program;
        self.deliver_frame(to, meta, &inner.wrapped(header, &json));
    }

    /// Sends a Python literal from the node's own address.
    pub(super) fn send_literal(&mut self, target: ActorId, literal: String) {
        let payload = literal.into_bytes();
        self.send_from_node(target, Flags::default(), PayloadKind::Literal, payload);
    }

    /// Sends a system message from the node's own address.
    pub(super) fn send_system(&mut self, target: ActorId, message: &SystemMessage) {
        if let Ok(payload) = serde_json::to_vec(message) {
            self.send_from_node(target, Flags::SYSTEM, PayloadKind::Json, payload);
        }
    }

    fn send_from_node(
        &mut self,
        target: ActorId,
        flags: Flags,
        kind: PayloadKind,
        payload: Vec<u8>,
    ) {
        self.stats.messages += 1;
        let reason = match self.find(target) {
            Err(_) if flags.contains(Flags::SYSTEM) => return,
            Ok(to) => {
                let made = self.node_message(to, flags, kind, TraceId::default());
                if let Some((meta, header)) = made {
                    self.deliver_frame(to, meta, &Frame::new(header, payload));
                }
                return;
            }
            Err(reason) => reason,
        };
        let bytes = payload.len() as u64;
        self.count_dead(self.node_address(), Target::Actor(target), bytes, reason);
    }

    fn deliver_frame(&mut self, to: PartyId, meta: Meta, frame: &Frame) {
        let mut bytes = Vec::with_capacity(frame.bytes());
        frame.write_to(&mut bytes);
        self.deliver(to, meta, FrameBytes::Owned(bytes));
    }

    /// Header and meta of a message from the node's own address.
    fn node_message(
        &mut self,
        to: PartyId,
        flags: Flags,
        payload_kind: PayloadKind,
        trace: TraceId,
    ) -> Option<(Meta, Header)> {
        let sender = self.node_address();
        let incarnation = self.incarnation;
        let party = self.parties.get_mut(to)?;
        party.node_sequence += 1;
        let header = Header {
            flags,
            payload_kind,
            target_kind: TargetKind::Actor,
            sender,
            target: party.address.0,
            incarnation,
            source: SourceHash::default(),
            trace,
            ..Header::control(FrameKind::Message, party.node_sequence)
        };
        let meta = Meta {
            from: None,
            target: Target::Actor(party.address),
            flags,
            program: ProgramId::default(),
            sequence: party.node_sequence,
            deadline: None,
            credit: CreditState::Free,
            quiet: flags.contains(Flags::SYSTEM),
        };
        Some((meta, header))
    }
}

/// What a node itself tells a party of a child, a name or the end that is asked of it. Who has
/// gone needs it no more: nothing that an actor sent is lost with it.
fn is_notice(sender: ActorId, flags: Flags) -> bool {
    flags.contains(Flags::SYSTEM) && sender == ActorId::allot(sender.incarnation(), Serials::NODE)
}
