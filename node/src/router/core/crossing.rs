//! Frames that come over a link: checked, then routed as if their senders were here.
//!
//! A peer may speak for whom its own node runs, and, flagged as relayed, for others. One that
//! breaks a rule loses its link and nothing else.

use protocol::limits::HEADER_BYTES;
use protocol::{
    ActorId, CreditPayload, Flags, FrameKind, Header, NodeId, RoleId, SourceHash, TargetKind,
    WindowPayload,
};

use super::handing::control;
use super::ids::{PartyId, Target};
use super::outbox::FrameBytes;
use super::party::{CreditState, Meta, Stage};
use super::{Core, Effect};
use crate::router::agent::AgentEvent;

impl Core {
    /// Whole frames came over a link.
    pub(super) fn link_bytes(&mut self, node: NodeId, batch: Vec<u8>) {
        if !self.far.is_up(node) {
            return;
        }
        if let Err(reason) = self.take_batch(node, batch) {
            self.effects.push_back(Effect::CloseLink(node));
            self.link_down(node);
            self.tell(AgentEvent::LinkBroken { node, reason });
        }
    }

    fn take_batch(&mut self, node: NodeId, batch: Vec<u8>) -> Result<(), String> {
        let mut rest = batch.as_slice();
        while let Some((head, _)) = rest.split_first_chunk::<HEADER_BYTES>() {
            let header = Header::from_bytes(head).map_err(|error| error.to_string())?;
            let n_bytes = HEADER_BYTES + header.payload_bytes;
            if n_bytes == batch.len() {
                // A large frame comes alone, in a buffer that is passed on.
                return self.cross(node, &header, FrameBytes::Owned(batch));
            }
            let Some((frame, behind)) = rest.split_at_checked(n_bytes) else {
                return Err(CUT.to_owned());
            };
            self.cross(node, &header, FrameBytes::Slice(frame))?;
            rest = behind;
        }
        if rest.is_empty() {
            Ok(())
        } else {
            Err(CUT.to_owned())
        }
    }

    fn cross(
        &mut self,
        node: NodeId,
        header: &Header,
        bytes: FrameBytes<'_>,
    ) -> Result<(), String> {
        let payload = bytes.payload();
        match header.kind {
            FrameKind::Message => return self.arrive(node, header, bytes),
            FrameKind::Via => {
                let actor = header.target_actor();
                self.far.link(node).via = Some(actor.ok_or("sent a way that leads nowhere")?);
            }
            FrameKind::Credit => {
                let credit = CreditPayload::from_bytes(payload).map_err(|e| e.to_string())?;
                let target = if credit.target_kind == TargetKind::Role as u8 {
                    Target::Role(RoleId(credit.target))
                } else {
                    Target::Actor(ActorId(credit.target))
                };
                let sender = ActorId(header.target);
                self.credited(node, sender, target, credit.messages, credit.bytes);
            }
            FrameKind::Window => {
                let taken = WindowPayload::from_bytes(payload).map_err(|e| e.to_string())?;
                let link = self.far.link(node);
                link.n_taken = link.n_taken.max(taken.bytes).min(link.n_handed);
            }
            FrameKind::Marker if header.flags.contains(Flags::RETURNED) => {
                self.link_flushed(node, header.sequence);
            }
            FrameKind::Marker => {
                let mut echo = control(FrameKind::Marker, header.sequence);
                echo.header.flags = Flags::RETURNED;
                self.control_over(node, &echo);
            }
            FrameKind::Notice => match serde_json::from_slice(payload) {
                Ok(notice) => self.link_notice(node, notice),
                Err(error) => return Err(format!("sent a notice that does not parse: {error}")),
            },
            kind => return Err(format!("sent a frame `{kind:?}`, which no router sends")),
        }
        Ok(())
    }

    /// A message came over a link.
    fn arrive(
        &mut self,
        node: NodeId,
        header: &Header,
        bytes: FrameBytes<'_>,
    ) -> Result<(), String> {
        let via = self.far.link(node).via.take();
        let Some(target) = Target::of(header) else {
            return Err("sent a message without a target".to_owned());
        };
        let actor = match (target, via) {
            (Target::Actor(actor), None) => actor,
            (Target::Role(_), Some(actor)) => actor,
            _ => return Err("sent a message to a role without its actor".to_owned()),
        };
        let relayed = header.flags.contains(Flags::RELAYED);
        let from = self.sender_over(node, header, relayed)?;
        let credit = if header.flags.contains(Flags::SYSTEM) {
            CreditState::Free
        } else if header.flags.contains(Flags::CREDITED) {
            CreditState::Done
        } else {
            CreditState::Fresh
        };
        let passed_on = Flags::RELAYED.with(Flags::CREDITED).with(Flags::PROGRAM);
        let deadline_ms = u64::from(header.deadline_ms);
        let meta = Meta {
            from: Some(from),
            target,
            flags: header.flags.without(passed_on).with(Flags::REMOTE),
            program: self.program_over(node, header),
            sequence: header.sequence,
            deadline: (deadline_ms > 0).then(|| self.now.plus_ms(deadline_ms)),
            credit,
            quiet: header.flags.contains(Flags::RETURNED),
        };
        self.stats.arrived += 1;
        self.far.link(node).n_came += 1;
        self.arm_tick(self.limits.link_tick_ms);
        let mut bytes = bytes.flagged(meta.flags);
        if header.flags.contains(Flags::PROGRAM) {
            bytes.set_source(SourceHash::default());
        }
        let is_here = |party: &super::Party| party.stage != Stage::Remote;
        if relayed
            && !self
                .party_at(actor)
                .is_some_and(|(_, party)| is_here(party))
        {
            self.dead(
                meta,
                bytes,
                "no actor has this address where it was looked for",
            );
        } else {
            self.route_to(actor, meta, bytes);
        }
        Ok(())
    }

    /// The party that stands for the sender of a message, if the peer may speak for it.
    fn sender_over(
        &mut self,
        node: NodeId,
        header: &Header,
        relayed: bool,
    ) -> Result<PartyId, String> {
        let sender = header.sender;
        let run = self.far.link(node).incarnation;
        if !relayed && Some(header.incarnation) != run {
            return Err(format!(
                "sent a message of `{sender}`, which is on another node"
            ));
        }
        let home = if relayed {
            self.far.node_of(header.incarnation)
        } else {
            Some(node)
        };
        let id = match self.party_at(sender) {
            Some((id, party)) => match party.stage {
                Stage::Remote if party.node() == Some(node) => id,
                Stage::Remote => self.way_back(sender, node),
                Stage::Sought if home == Some(node) => {
                    self.located(sender, home);
                    id
                }
                Stage::Sought => self.way_back(sender, node),
                _ => return Err(format!("sent a message as `{sender}`, which is here")),
            },
            None if sender == self.node_address() => {
                return Err(format!("sent a message as `{sender}`, which is this node"));
            }
            // It was allotted here and is known no more, or it has another way than this one.
            None if sender.incarnation() == self.incarnation => self.way_back(sender, node),
            None => match home {
                Some(home) if home == node => self.add_proxy(sender, node),
                Some(home) => {
                    self.add_proxy(sender, home);
                    self.way_back(sender, node)
                }
                None => self.way_back(sender, node),
            },
        };
        self.touch(id);
        Ok(id)
    }

    fn touch(&mut self, id: PartyId) {
        let now = self.now;
        if let Some(party) = self.parties.get_mut(id)
            && let Some(remote) = party.remote.as_mut()
        {
            remote.used = now;
        }
    }
}

const CUT: &str = "sent a frame that is cut off";
