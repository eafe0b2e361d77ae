//! Which program a party is of, and what that is worth for a message between nodes.
//!
//! A client says at its hello which program it is, and again where it has an actor of its own
//! modules created, because its `sys.path` may have changed; of an actor the agent says so. Another
//! node's word is taken over a link only whose node has proven to run as this node's user
//! (`cluster::lanes`); what comes over any other is of no program.
//! Not here: what a worker does with the flag (`python/thespian/system/reading.py`).

use protocol::{Flags, Header, NodeId, ProgramId};

use super::outbox::FrameBytes;
use super::party::{Meta, Party};
use super::{Core, PartyId};

/// Programs that a party has been, the latest first; one, but for clients whose path changes.
#[derive(Debug, Default)]
pub(super) struct Programs(Vec<ProgramId>);

/// Programs remembered of one party.
const PROGRAMS_KEPT: usize = 16;

impl Programs {
    pub(super) fn add(&mut self, program: ProgramId) {
        if program == ProgramId::default() {
            return;
        }
        self.0.retain(|known| *known != program);
        self.0.truncate(PROGRAMS_KEPT - 1);
        self.0.insert(0, program);
    }

    /// The one that it is now; zeros: none.
    pub(super) fn latest(&self) -> ProgramId {
        self.0.first().copied().unwrap_or_default()
    }

    fn has(&self, program: ProgramId) -> bool {
        self.0.contains(&program)
    }
}

impl Party {
    /// Whether a message from another node is of this party's own program.
    fn is_of_program_of(&self, meta: &Meta) -> bool {
        meta.flags.contains(Flags::REMOTE)
            && !meta.flags.contains(Flags::FOREIGN)
            && self.programs.has(meta.program)
    }
}

impl Core {
    #[cfg(test)]
    pub(super) fn make_program(&mut self, id: PartyId, program: ProgramId) {
        if let Some(party) = self.parties.get_mut(id) {
            party.programs = Programs(vec![program]);
        }
    }

    /// A client has an actor of its own modules created.
    pub(super) fn is_program(&mut self, id: PartyId, program: ProgramId) {
        if let Some(party) = self.parties.get_mut(id)
            && !party.is_foreign()
        {
            party.programs.add(program);
        }
    }

    /// The program that a message which came over a link is of, if the other node is believed.
    pub(super) fn program_over(&self, node: NodeId, header: &Header) -> ProgramId {
        let believed = self.far.links.get(&node).is_some_and(|link| link.same_user);
        if believed && header.flags.contains(Flags::PROGRAM) {
            ProgramId(header.source.0)
        } else {
            ProgramId::default()
        }
    }

    /// Whether a link's other node is to know which program a message is of.
    pub(super) fn tells_program(&self, node: NodeId, meta: &Meta) -> bool {
        let link = self.far.links.get(&node);
        meta.program != ProgramId::default() && link.is_some_and(|link| link.same_user)
    }

    /// The message as it goes back into the hands of the node, without the mark.
    pub(super) fn unmarked(&self, of: PartyId, header: &Header) -> (Flags, ProgramId) {
        let flags = header.flags.without(Flags::PROGRAM);
        let marked = header.flags.contains(Flags::PROGRAM);
        let party = self.parties.get(of).filter(|_| marked);
        let program = party.map(|party| party.programs.latest());
        (flags, program.unwrap_or_default())
    }

    /// A message as it is wrapped for a party: who gets it back is of its program, on this node or
    /// on its own.
    pub(super) fn wrapped_for<'a>(
        &self,
        to: PartyId,
        meta: &Meta,
        bytes: FrameBytes<'a>,
    ) -> (ProgramId, FrameBytes<'a>) {
        let party = self.parties.get(to);
        let goes_back = meta.from == Some(to) && party.is_some_and(|to| to.remote.is_some());
        if goes_back && meta.program != ProgramId::default() {
            return (meta.program, bytes.flagged(meta.flags.with(Flags::PROGRAM)));
        }
        (ProgramId::default(), self.of_program(to, meta, bytes))
    }

    /// The message as the party is to get it: what is of its own program is marked so.
    pub(super) fn of_program<'a>(
        &self,
        to: PartyId,
        meta: &Meta,
        bytes: FrameBytes<'a>,
    ) -> FrameBytes<'a> {
        let party = self.parties.get(to);
        if party.is_some_and(|party| party.is_of_program_of(meta)) {
            return bytes.flagged(meta.flags.with(Flags::PROGRAM));
        }
        bytes
    }
}
