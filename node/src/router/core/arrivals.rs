//! Who comes: actors that the agent expects, their processes, clients.

use protocol::control::ConnectionRole;
use protocol::{ActorId, ProgramId};

use super::party::{Party, Stage};
use super::programs::Programs;
use super::{Core, Effect, PartyId};
use crate::router::agent::{AgentEvent, Caller, CallerKind};
use crate::router::config::{ActorRecord, Peer, Rights};

impl Core {
    /// The actor exists from now.
    pub(super) fn expect(&mut self, record: ActorRecord) {
        let id = match self.party_at(record.actor) {
            Some((_, party)) if party.stage != Stage::Expected && !party.is_elsewhere() => {
                let warning = format!("actor `{}` is expected twice", record.actor);
                self.effects.push_back(Effect::Warn(warning));
                return;
            }
            Some((id, _)) => id,
            None => self.add(record.actor),
        };
        self.tokens.retain(|_, owner| *owner != id);
        self.tokens.insert(record.token.clone(), id);
        if let Some(party) = self.parties.get_mut(id) {
            // What was sent to it before is on its way to where it was thought to be.
            party.stage = Stage::Expected;
            party.remote = None;
            party.parent = record.parent;
            party.source = record.source.unwrap_or_default();
            party.programs = Programs::default();
            party.programs.add(record.program);
            party.record = Some(record);
        }
    }

    /// An actor asked for a child under this address: what is sent to it waits until the agent
    /// has decided.
    pub(super) fn announce(&mut self, child: ActorId, parent: ActorId) -> bool {
        let taken = self.by_address.contains_key(&child) || child == self.node_address();
        if taken || child.incarnation() != self.incarnation {
            return false;
        }
        let id = self.add(child);
        if let Some(party) = self.parties.get_mut(id) {
            party.parent = parent;
        }
        true
    }

    fn add(&mut self, actor: ActorId) -> PartyId {
        let party = Party::new(actor, ConnectionRole::Worker, self.hash);
        let id = self.parties.insert(party);
        self.by_address.insert(actor, id);
        id
    }

    /// A worker shows its token; it is good once.
    pub(crate) fn connect_worker(
        &mut self,
        token: &str,
        peer: Peer,
        pid: u32,
    ) -> Option<(PartyId, ActorId)> {
        let id = self.tokens.remove(token)?;
        let party = self.parties.get_mut(id)?;
        party.stage = Stage::Starting;
        party.caller = Some(Caller {
            address: party.address,
            kind: CallerKind::Actor,
            pid,
            uid: peer.uid,
            gid: peer.gid,
            rights: Rights::Use,
        });
        Some((id, party.address))
    }

    /// A client comes under an address that the driver allotted.
    pub(crate) fn connect_client(&mut self, caller: Caller, program: ProgramId) -> PartyId {
        let mut party = Party::new(caller.address, ConnectionRole::Client, self.hash);
        party.stage = Stage::Running;
        party.caller = Some(caller.clone());
        if !party.is_foreign() {
            party.programs.add(program);
        }
        let id = self.parties.insert(party);
        self.by_address.insert(caller.address, id);
        self.effects
            .push_back(Effect::Tell(AgentEvent::ClientConnected { client: caller }));
        id
    }
}
