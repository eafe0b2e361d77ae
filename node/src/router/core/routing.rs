//! A message's way: accepted from its sender, to the target's connection or what waits for it.

use protocol::control::ConnectionRole;
use protocol::{ActorId, Flags, Frame, Header};

use super::ids::Target;
use super::outbox::FrameBytes;
use super::party::{CreditState, Meta, Queued};
use super::roles::{TOO_MANY_SOUGHT, Way};
use super::{Core, Effect, PartyId};

impl Core {
    /// Accepts a message from a party; one that it may not send ends its connection.
    pub(super) fn message(&mut self, from: PartyId, header: &Header, bytes: FrameBytes<'_>) {
        match self.accept(from, header) {
            Ok(meta) => {
                self.stats.messages += 1;
                if meta.flags == header.flags {
                    return self.route(meta, bytes);
                }
                self.route(meta, bytes.flagged(meta.flags));
            }
            Err(reason) => self.violated(from, reason),
        }
    }

    fn accept(&self, from: PartyId, header: &Header) -> Result<Meta, String> {
        let Some(sender) = self.parties.get(from) else {
            return Err("the sender has ended".to_owned());
        };
        if header.sender != sender.address {
            return Err(format!(
                "sent a message as `{}` and is `{}`",
                header.sender, sender.address
            ));
        }
        if header.source != sender.source {
            return Err(format!(
                "sent a message as of source `{}` and is of `{}`",
                header.source, sender.source
            ));
        }
        let Some(target) = Target::of(header) else {
            return Err("sent a message without a target".to_owned());
        };
        if header.flags.meets(Flags::OF_NODES) {
            return Err("set a flag that only nodes set".to_owned());
        }
        let flags = if sender.is_foreign() {
            header.flags.with(Flags::FOREIGN)
        } else {
            header.flags
        };
        let system = flags.contains(Flags::SYSTEM);
        let free = system || target == Target::Actor(sender.address);
        if !free
            && let Some(pair) = sender.pairs.get(&target)
            && pair.is_violated(&self.limits)
        {
            return Err(format!("sent to `{}` far beyond its credit", target.hex()));
        }
        let deadline =
            (header.deadline_ms > 0).then(|| self.now.plus_ms(u64::from(header.deadline_ms)));
        Ok(Meta {
            from: Some(from),
            target,
            flags,
            program: sender.programs.latest(),
            sequence: header.sequence,
            deadline,
            credit: if free {
                CreditState::Free
            } else {
                CreditState::Fresh
            },
            quiet: header.flags.contains(Flags::RETURNED),
        })
    }

    /// Finds the target as it stands now.
    pub(super) fn route(&mut self, meta: Meta, bytes: FrameBytes<'_>) {
        let actor = match meta.target {
            Target::Actor(actor) => actor,
            Target::Role(role) => match self.way(role) {
                Way::Actor(actor) => actor,
                Way::Held => return self.wait_for_role(role, meta, bytes),
                Way::Unknown => {
                    if !self.seek_role(role) {
                        return self.dead(meta, bytes, TOO_MANY_SOUGHT);
                    }
                    return self.wait_for_role(role, meta, bytes);
                }
                Way::Nobody(reason) => return self.dead(meta, bytes, &reason),
            },
        };
        self.route_to(actor, meta, bytes);
    }

    /// Delivers to the actor wherever it is.
    pub(super) fn route_to(&mut self, actor: ActorId, meta: Meta, bytes: FrameBytes<'_>) {
        if let Some(id) = self.by_address.get(&actor).copied() {
            if self.is_strange(id, &meta) {
                return self.dead(
                    meta,
                    bytes,
                    "only actors may send to another user's program",
                );
            }
            self.deliver(id, meta, bytes);
        } else if actor == self.node_address() {
            self.deliver_to_node(meta, bytes);
        } else {
            match self.find(actor) {
                Ok(id) => self.deliver(id, meta, bytes),
                Err(reason) => self.dead(meta, bytes, reason),
            }
        }
    }

    /// Whether a client that may only use the node sends to another client.
    ///
    /// Addresses can be guessed, and a program takes what comes for the answer that it waits for.
    fn is_strange(&self, to: PartyId, meta: &Meta) -> bool {
        if !meta.flags.contains(Flags::FOREIGN) || meta.from == Some(to) {
            return false;
        }
        let sender = meta.from.and_then(|from| self.parties.get(from));
        let target = self.parties.get(to);
        // The sender's own node has set the flag of one on another node.
        sender.is_some_and(|party| party.is_foreign() || party.remote.is_some())
            && target.is_some_and(|party| party.role == ConnectionRole::Client)
    }

    /// Passes the message on if nothing waits before it and there is room, else it waits.
    pub(super) fn deliver(&mut self, to: PartyId, mut meta: Meta, bytes: FrameBytes<'_>) {
        let window_bytes = self.limits.window_bytes;
        let Some(party) = self.parties.get_mut(to) else {
            return self.dead(meta, bytes, "no actor has this address now");
        };
        if party.backlog.is_empty() && party.takes(bytes.len(), window_bytes) {
            self.owe_credit(&mut meta, bytes.len());
            return self.pass_on(to, &meta, bytes);
        }
        if let Some(node) = party.node() {
            return self.deliver_far(to, node, meta, bytes);
        }
        let free = meta.credit == CreditState::Free;
        if free && party.backlog.free_bytes() >= self.limits.uncredited_bytes_max {
            return self.dead(meta, bytes, "too much waits for the actor already");
        }
        self.keep_credit(&mut meta, bytes.len());
        let bytes = bytes.into_vec();
        if let Some(party) = self.parties.get_mut(to) {
            party.backlog.push_back(Queued::Message { meta, bytes });
        }
    }

    /// Passes on what waits for a party, as far as its window goes.
    pub(super) fn pump(&mut self, to: PartyId) {
        loop {
            let window_bytes = self.limits.window_bytes;
            let Some(party) = self.parties.get_mut(to) else {
                return;
            };
            let may = match party.backlog.front() {
                Some(Queued::Message { bytes, .. }) => party.takes(bytes.len(), window_bytes),
                Some(Queued::Marker(_)) => party.stage == super::party::Stage::Running,
                None => false,
            };
            if !may {
                return;
            }
            match party.backlog.pop_front() {
                Some(Queued::Message { mut meta, bytes }) => {
                    self.owe_credit(&mut meta, bytes.len());
                    self.pass_on(to, &meta, FrameBytes::Owned(bytes));
                }
                Some(Queued::Marker(number)) => self.send_marker(to, number),
                None => return,
            }
        }
    }

    fn pass_on(&mut self, to: PartyId, meta: &Meta, bytes: FrameBytes<'_>) {
        let bytes = self.of_program(to, meta, bytes);
        let Some(party) = self.parties.get_mut(to) else {
            return;
        };
        party.window_used += bytes.len() as u64;
        party.passed += 1;
        party.outbox.push(bytes);
        let asks = !party.asks.is_empty();
        self.stats.delivered += 1;
        self.flush(to);
        if asks {
            let over = self.came_over(meta);
            self.forget_asks_of(to, over);
        }
        if meta.flags.contains(Flags::ASK) {
            self.note_ask(to, meta);
        }
    }

    fn deliver_to_node(&mut self, mut meta: Meta, bytes: FrameBytes<'_>) {
        let n_bytes = bytes.len();
        let header = bytes.as_slice().first_chunk().map(Header::from_bytes);
        let Some(Ok(header)) = header else { return };
        if meta.credit == CreditState::Free {
            if self.node_free_bytes >= self.limits.uncredited_bytes_max {
                return self.dead(meta, bytes, "too much waits for the node already");
            }
            self.node_free_bytes += n_bytes as u64;
        }
        self.keep_credit(&mut meta, n_bytes);
        self.stats.delivered += 1;
        let from = header.sender;
        let frame = Frame::new(header, bytes.payload().to_vec());
        self.effects
            .push_back(Effect::Message { meta, from, frame });
    }

    /// The agent has dealt with a message to the node.
    pub(super) fn taken(&mut self, mut meta: Meta, n_bytes: usize) {
        if meta.credit == CreditState::Free {
            self.node_free_bytes = self.node_free_bytes.saturating_sub(n_bytes as u64);
        }
        self.owe_credit(&mut meta, n_bytes);
    }

    /// Tells the driver that bytes wait for a party.
    pub(super) fn flush(&mut self, to: PartyId) {
        if let Some(party) = self.parties.get_mut(to)
            && !party.flushing
        {
            party.flushing = true;
            self.effects.push_back(Effect::Flush(to));
        }
    }
}
