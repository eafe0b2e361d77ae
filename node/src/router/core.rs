//! The router's machine: who exists, what waits for whom, who owes credit to whom. No I/O.
//!
//! Events in, effects out; the bytes for each connection lie in its outbox. A message that was
//! accepted is passed on once, or becomes a dead letter once, or goes back once.
//! Not here: cutting frames, sockets, the clock (`driver`).

use std::collections::{BTreeSet, HashMap, VecDeque};

use protocol::control::{DeadLetter, Response, SystemMessage};
use protocol::{ActorId, Frame, Header, Incarnation, NodeId, RoleId};

use super::agent::{AgentEvent, Caller, Stats};
use super::config::{ActorRecord, Limits, Serials};
use super::moment::Moment;

mod ids;
pub(crate) use ids::{IdHash, PartyId};

mod outbox;
pub(crate) use outbox::{FrameBytes, Outbox};

mod party;
pub(crate) use party::Meta;
use party::{Parties, Party};

mod far;
mod link;
use far::Far;
mod crossing;
mod handing;
mod losses;
mod news;
mod ticks;

mod arrivals;
mod asks;
mod blocked;
mod credit;
mod dead;
mod ends;
mod frames;
mod markers;
mod programs;
mod roles;
mod routing;
mod timers;

#[cfg(test)]
mod tests;

/// Something that happened outside of the machine.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// A whole frame came on a party's connection.
    Frame {
        from: PartyId,
        header: &'a Header,
        bytes: FrameBytes<'a>,
    },
    /// A party's connection has ended.
    Disconnected {
        from: PartyId,
    },
    /// The agent has taken a message to the node's own address.
    Taken {
        meta: Meta,
        n_bytes: usize,
    },
    Expect(Box<ActorRecord>),
    Bind {
        role: RoleId,
        actor: Option<ActorId>,
        reason: String,
    },
    Hold {
        roles: Vec<RoleId>,
        limit_ms: Option<u64>,
    },
    Release {
        roles: Vec<RoleId>,
    },
    /// Nobody says any more what these roles are.
    Forget {
        /// Which.
        roles: Vec<RoleId>,
    },
    Literal {
        target: ActorId,
        literal: String,
    },
    System {
        target: ActorId,
        message: SystemMessage,
    },
    Ended {
        actor: ActorId,
        reason: String,
    },
    FailedCreation {
        actor: ActorId,
        reason: String,
    },
    Marker {
        actor: ActorId,
        ticket: u64,
    },
    Idle {
        actor: ActorId,
        ticket: u64,
    },
    /// The agent's answer; `None`: it gave none.
    Respond {
        to: PartyId,
        sequence: u64,
        response: Option<Box<Response>>,
    },
    /// Which node each run of a node belongs to; replaces what was told before.
    Peers(Vec<(Incarnation, NodeId)>),
    /// The actor is placed on this node (`None`: nothing is known of it any more).
    Place {
        actor: ActorId,
        node: Option<NodeId>,
    },
    /// As [`Event::Expect`], on another node.
    ExpectRemote {
        record: Box<ActorRecord>,
        node: NodeId,
    },
    /// The agent's answer to [`AgentEvent::Locate`].
    Located {
        actor: ActorId,
        node: Option<NodeId>,
    },
    /// Bytes flow to and from a node.
    LinkUp {
        node: NodeId,
        incarnation: Incarnation,
        /// Whether it has proven on this connection to run as this node's user.
        same_user: bool,
    },
    /// They flow no longer; the node runs on.
    LinkDown {
        node: NodeId,
    },
    /// This run of the node is over.
    LinkLost {
        node: NodeId,
        run: Incarnation,
        reason: String,
    },
    /// Whole frames came over a link.
    LinkBytes {
        node: NodeId,
        batch: Vec<u8>,
    },
    FlushLinks {
        to: BTreeSet<NodeId>,
        ticket: u64,
    },
    /// Nothing is delivered by role from then on, unless this is said anew.
    ServeUntil(Option<Moment>),
    /// The router is about to end.
    Close,
    /// The moment of `poll_timeout` has come.
    Timeout,
}

/// Something that the driver is to do.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Bytes wait in the outbox of this party; told once until the outbox was asked for.
    Flush(PartyId),
    /// Frames wait for this link; told once until they were asked for.
    FlushLink(NodeId),
    /// Let this link go.
    CloseLink(NodeId),
    /// End the connection of this party; its outbox is void.
    Close { party: PartyId, reason: String },
    /// Tell the agent.
    Tell(AgentEvent),
    /// Tell the agent, with a way to answer.
    Request {
        from: PartyId,
        caller: Caller,
        sequence: u64,
        request: Box<protocol::control::Request>,
    },
    /// Hand the agent a message; [`Event::Taken`] when it has it.
    Message {
        meta: Meta,
        from: ActorId,
        frame: Frame,
    },
    /// A marker came back or somebody is idle (true), or has ended (false).
    Ticket { ticket: u64, stands: bool },
    /// Something that an operator may want to know.
    Warn(String),
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Core {
    now: Moment,
    incarnation: Incarnation,
    limits: Limits,
    hash: IdHash,
    parties: Parties,
    by_address: HashMap<ActorId, PartyId, IdHash>,
    tokens: HashMap<String, PartyId>,
    roles: HashMap<RoleId, roles::Role, IdHash>,
    service: roles::Service,
    sought: roles::Sought,
    effects: VecDeque<Effect>,
    letters: VecDeque<DeadLetter>,
    letter_handler: Option<PartyId>,
    stats: Stats,
    /// Bytes to the node itself that need no credit and that the agent has not taken.
    node_free_bytes: u64,
    last_number: u64,
    timeout: Option<Moment>,
    far: Far,
    /// Wall clock at moment 0, for the stamps of dead letters.
    epoch_ms: u64,
}

impl Core {
    /// A machine that knows nobody. `key` is drawn at random by the driver.
    pub(crate) fn new(
        (incarnation, node): (Incarnation, NodeId),
        limits: Limits,
        key: u64,
        epoch_ms: u64,
    ) -> Self {
        let hash = IdHash { key };
        Self {
            now: Moment::default(),
            incarnation,
            limits,
            hash,
            parties: Parties::default(),
            by_address: HashMap::with_hasher(hash),
            tokens: HashMap::new(),
            roles: HashMap::with_hasher(hash),
            service: roles::Service::default(),
            sought: roles::Sought::default(),
            effects: VecDeque::new(),
            letters: VecDeque::new(),
            letter_handler: None,
            stats: Stats::default(),
            node_free_bytes: 0,
            last_number: 0,
            timeout: None,
            far: Far::new(node, hash),
            epoch_ms,
        }
    }

    /// Takes in what happened.
    pub(crate) fn handle_event(&mut self, now: Moment, event: Event<'_>) {
        self.now = self.now.max(now);
        self.end_service();
        match event {
            Event::Frame {
                from,
                header,
                bytes,
            } => self.frame(from, header, bytes),
            Event::Disconnected { from } => self.disconnected(from),
            Event::Taken { meta, n_bytes } => self.taken(meta, n_bytes),
            Event::Expect(record) => self.expect(*record),
            Event::Bind {
                role,
                actor,
                reason,
            } => self.bind(role, actor, reason),
            Event::Hold { roles, limit_ms } => self.hold(&roles, limit_ms),
            Event::Release { roles } => self.release(&roles),
            Event::Forget { roles } => self.forget_roles(&roles),
            Event::ServeUntil(until) => self.serve_until(until),
            Event::Literal { target, literal } => self.send_literal(target, literal),
            Event::System { target, message } => self.send_system(target, &message),
            Event::Ended { actor, reason } => self.ended(actor, &reason),
            Event::FailedCreation { actor, reason } => self.failed_creation(actor, &reason),
            Event::Marker { actor, ticket } => self.marker(actor, ticket),
            Event::Idle { actor, ticket } => self.idle(actor, ticket),
            Event::Respond {
                to,
                sequence,
                response,
            } => self.respond(to, sequence, response),
            Event::Close => self.close(),
            Event::Timeout => self.handle_timeout(),
            event => self.link_event(event),
        }
    }

    /// The next thing to do, in order.
    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Event::Timeout`] is due.
    pub(crate) fn poll_timeout(&self) -> Option<Moment> {
        [self.timeout, self.far.tick].into_iter().flatten().min()
    }

    /// What waits to be written to a party; `None` when its connection is not to be used.
    pub(crate) fn outbox(&mut self, party: PartyId) -> Option<&mut Outbox> {
        let party = self.parties.get_mut(party)?;
        party.flushing = false;
        party.connected().then_some(&mut party.outbox)
    }

    /// The actor's connection, if it has one.
    pub(crate) fn connection_of(&self, actor: ActorId) -> Option<PartyId> {
        let (id, party) = self.party_at(actor)?;
        party.connected().then_some(id)
    }

    /// The counters.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.stats;
        for (_, party) in self.parties.iter() {
            stats.waiting += party.backlog.len() as u64;
            if party.remote.is_some() {
                stats.proxies += 1;
            } else if party.record.is_some() {
                stats.actors += 1;
            } else if party.caller.is_some() {
                stats.clients += 1;
            }
        }
        stats.waiting += self.roles.values().map(roles::Role::n_waiting).sum::<u64>();
        for link in self.far.links.values() {
            stats.waiting += link.n_waiting();
            stats.links += u64::from(link.up);
        }
        stats
    }

    /// All dead letters counted, and those kept.
    pub(crate) fn dead_letters(&self) -> (u64, Vec<DeadLetter>) {
        let kept = self.letters.iter().cloned().collect();
        (self.stats.dead_letters, kept)
    }

    /// The actors that the agent has told of.
    pub(crate) fn alive(&self) -> Vec<ActorRecord> {
        let mut alive: Vec<_> = self
            .parties
            .iter()
            .filter(|(_, party)| party.remote.is_none())
            .filter_map(|(_, party)| party.record.clone())
            .collect();
        alive.sort_by_key(|record| record.actor);
        alive
    }

    /// The node's own address.
    fn node_address(&self) -> ActorId {
        ActorId::allot(self.incarnation, Serials::NODE)
    }

    fn party_at(&self, address: ActorId) -> Option<(PartyId, &Party)> {
        let id = *self.by_address.get(&address)?;
        Some((id, self.parties.get(id)?))
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}
