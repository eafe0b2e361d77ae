//! Those who live on other nodes: where each is, the proxies that stand for them here.
//!
//! A proxy is a party without a connection; what is delivered to it waits for its node's link.
//! Its way is pinned while it exists, so that order holds. Not here: the links' life (`losses`).

use std::collections::{HashMap, VecDeque};

use protocol::control::ConnectionRole;
use protocol::{ActorId, Incarnation, NodeId};

use super::ids::{IdHash, PartyId};
use super::link::{Item, Link};
use super::outbox::FrameBytes;
use super::party::{CreditState, Meta, Party, Queued, Remote, Stage};
use super::{Core, Effect};
use crate::router::agent::AgentEvent;
use crate::router::config::ActorRecord;
use crate::router::moment::Moment;

/// All that the machine knows of other nodes.
#[derive(Debug)]
pub(super) struct Far {
    /// This node.
    pub(super) node: NodeId,
    /// Whether there may be nodes that nobody has told of.
    pub(super) neighbours: bool,
    hash: IdHash,
    peers: HashMap<Incarnation, NodeId, IdHash>,
    placed: HashMap<ActorId, NodeId, IdHash>,
    pub(super) links: HashMap<NodeId, Link, IdHash>,
    /// Nodes whose last known run is over, and why.
    pub(super) lost: HashMap<NodeId, String, IdHash>,
    /// Parties for senders whose messages came over another link than theirs go by.
    pub(super) ways_back: HashMap<(ActorId, NodeId), PartyId, IdHash>,
    /// Parties that are looked for, the oldest first.
    pub(super) sought: VecDeque<(Moment, PartyId)>,
    /// Proxies that are owed credit.
    pub(super) owing: Vec<PartyId>,
    /// Proxies in the order in which they are looked at.
    pub(super) round: VecDeque<PartyId>,
    /// When the links are to be looked at.
    pub(super) tick: Option<Moment>,
    /// Links that each flush waits for.
    pub(super) flushes: HashMap<u64, usize, IdHash>,
}

impl Far {
    pub(super) fn new(node: NodeId, hash: IdHash) -> Self {
        Self {
            node,
            neighbours: false,
            hash,
            peers: HashMap::with_hasher(hash),
            placed: HashMap::with_hasher(hash),
            links: HashMap::with_hasher(hash),
            lost: HashMap::with_hasher(hash),
            ways_back: HashMap::with_hasher(hash),
            sought: VecDeque::new(),
            owing: Vec::new(),
            round: VecDeque::new(),
            tick: None,
            flushes: HashMap::with_hasher(hash),
        }
    }

    pub(super) fn link(&mut self, node: NodeId) -> &mut Link {
        let hash = self.hash;
        self.links.entry(node).or_insert_with(|| Link::new(hash))
    }

    /// Whether there is no other node to ask.
    pub(super) fn knows_nobody(&self) -> bool {
        self.peers.is_empty()
    }

    /// Whether bytes flow to and from the node.
    pub(super) fn is_up(&self, node: NodeId) -> bool {
        self.links.get(&node).is_some_and(|link| link.up)
    }

    /// The node that a run belongs to; never this one.
    pub(super) fn node_of(&self, incarnation: Incarnation) -> Option<NodeId> {
        self.peers.get(&incarnation).copied()
    }

    pub(super) fn learn(&mut self, incarnation: Incarnation, node: NodeId) {
        self.peers.insert(incarnation, node);
    }

    /// Whether the agent, or a link, told of another run of the node than this one.
    pub(super) fn knows_other_run(&self, node: NodeId, run: Incarnation) -> bool {
        let mut peers = self.peers.iter();
        peers.any(|(known, of)| *of == node && *known != run)
    }

    fn arm(&mut self, moment: Moment) {
        if self.tick.is_none_or(|soonest| moment < soonest) {
            self.tick = Some(moment);
        }
    }
}

/// Where an address leads that nobody here has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// It would be here.
    Here,
    Node(NodeId),
    Unknown,
}

/// Addresses that are looked for at once; anybody can write to any address.
const SOUGHT_MAX: usize = 10_000;

const NOBODY: &str = "no actor has this address now";

impl Core {
    /// Addresses of nodes that nobody has told of are looked for as well.
    pub(crate) fn has_neighbours(&mut self) {
        self.far.neighbours = true;
    }

    /// Replaces what is known of which run belongs to which node.
    pub(super) fn learn_peers(&mut self, peers: Vec<(Incarnation, NodeId)>) {
        let own = self.far.node;
        self.far.peers.clear();
        for (run, node) in peers.into_iter().filter(|(_, node)| *node != own) {
            // It has come, or come back; its link may have said so before.
            self.far.lost.remove(&node);
            self.far.learn(run, node);
        }
    }

    /// The agent tells where an actor is placed.
    pub(super) fn place(&mut self, actor: ActorId, node: Option<NodeId>) {
        match node.filter(|node| *node != self.far.node) {
            Some(node) => {
                self.far.placed.insert(actor, node);
                self.located(actor, Some(node));
            }
            None => drop(self.far.placed.remove(&actor)),
        }
    }

    /// The agent's answer to where an actor lives.
    pub(super) fn located(&mut self, actor: ActorId, node: Option<NodeId>) {
        let Some((id, party)) = self.party_at(actor) else {
            return;
        };
        if party.stage != Stage::Sought {
            return;
        }
        match node.filter(|node| *node != self.far.node) {
            Some(node) => self.move_away(id, node),
            None => self.remove(id, NOBODY, super::ends::Rest::Dead),
        }
    }

    /// As `expect`, of an actor that another node runs.
    pub(super) fn expect_remote(&mut self, record: ActorRecord, node: NodeId) {
        if node == self.far.node {
            return self.expect(record);
        }
        let id = match self.party_at(record.actor) {
            Some((_, party)) if party.stage != Stage::Expected && !party.is_elsewhere() => {
                let warning = format!("actor `{}` runs here and there", record.actor);
                return self.effects.push_back(Effect::Warn(warning));
            }
            Some((id, _)) => id,
            None => self.add_proxy(record.actor, node),
        };
        self.tokens.retain(|_, owner| *owner != id);
        if let Some(party) = self.parties.get_mut(id) {
            party.parent = record.parent;
            party.source = record.source.unwrap_or_default();
            party.record = Some(record);
        }
        self.move_away(id, node);
    }

    /// The party lives on this node; what waited for it goes there.
    fn move_away(&mut self, id: PartyId, node: NodeId) {
        let now = self.now;
        let Some(party) = self.parties.get_mut(id) else {
            return;
        };
        party.stage = Stage::Remote;
        if party.node() != Some(node) {
            party.remote = Some(remote(node, now));
            self.far.round.push_back(id);
        }
        let mut waiting = std::mem::take(&mut party.backlog);
        let mut tickets = std::mem::take(&mut party.idle_tickets);
        let markers = std::mem::take(&mut party.markers);
        tickets.extend(markers.into_iter().filter_map(|marker| marker.ticket()));
        tickets.into_iter().for_each(|t| self.end_ticket(t, false));
        while let Some(item) = waiting.pop_front() {
            if let Queued::Message { meta, bytes } = item {
                self.deliver(id, meta, FrameBytes::Owned(bytes));
            }
        }
        self.arm_tick(self.limits.proxy_idle_ms);
    }

    /// The party with this address, made if it lives elsewhere; else why there is none.
    pub(super) fn find(&mut self, actor: ActorId) -> Result<PartyId, &'static str> {
        if let Some(id) = self.by_address.get(&actor) {
            return Ok(*id);
        }
        match self.whereabouts(actor) {
            Whereabouts::Here => Err(NOBODY),
            Whereabouts::Node(node) => Ok(self.add_proxy(actor, node)),
            // Without other nodes there is nobody to ask.
            Whereabouts::Unknown if self.far.peers.is_empty() && !self.far.neighbours => {
                Err(NOBODY)
            }
            Whereabouts::Unknown if self.far.sought.len() >= SOUGHT_MAX => {
                Err("too many addresses are looked for already")
            }
            Whereabouts::Unknown => Ok(self.seek(actor)),
        }
    }

    pub(super) fn whereabouts(&self, actor: ActorId) -> Whereabouts {
        let incarnation = actor.incarnation();
        if let Some(node) = self.far.placed.get(&actor) {
            Whereabouts::Node(*node)
        } else if incarnation == self.incarnation {
            Whereabouts::Here
        } else {
            self.far
                .node_of(incarnation)
                .map_or(Whereabouts::Unknown, Whereabouts::Node)
        }
    }

    fn seek(&mut self, actor: ActorId) -> PartyId {
        let mut party = Party::new(actor, ConnectionRole::Worker, self.hash);
        party.stage = Stage::Sought;
        let id = self.parties.insert(party);
        self.by_address.insert(actor, id);
        let due = self.now.plus_ms(self.limits.link_wait_ms);
        self.far.sought.push_back((due, id));
        self.far.arm(due);
        self.tell(AgentEvent::Locate { actor });
        id
    }

    pub(super) fn add_proxy(&mut self, actor: ActorId, node: NodeId) -> PartyId {
        let id = self.add_remote(actor, remote(node, self.now));
        self.by_address.insert(actor, id);
        id
    }

    /// The party that a message came from whose sender is reached by another way, if at all.
    pub(super) fn way_back(&mut self, sender: ActorId, node: NodeId) -> PartyId {
        if let Some(id) = self.far.ways_back.get(&(sender, node)) {
            return *id;
        }
        let id = self.add_remote(sender, remote(node, self.now));
        self.far.ways_back.insert((sender, node), id);
        id
    }

    fn add_remote(&mut self, address: ActorId, remote: Box<Remote>) -> PartyId {
        let mut party = Party::new(address, ConnectionRole::Worker, self.hash);
        party.stage = Stage::Remote;
        party.remote = Some(remote);
        let id = self.parties.insert(party);
        self.far.round.push_back(id);
        self.arm_tick(self.limits.proxy_idle_ms);
        id
    }

    /// The message waits for the link of its target's node.
    pub(super) fn deliver_far(
        &mut self,
        to: PartyId,
        node: NodeId,
        mut meta: Meta,
        bytes: FrameBytes<'_>,
    ) {
        if let Some(reason) = self.far.lost.get(&node) {
            let reason = reason.clone();
            return self.dead(meta, bytes, &reason);
        }
        if self.came_over(&meta) == Some(node) {
            let reason = "the node that should run the actor does not know it";
            return self.dead(meta, bytes, reason);
        }
        let uncredited_bytes_max = self.limits.uncredited_bytes_max;
        let free = meta.credit == CreditState::Free;
        if free && self.far.link(node).free_bytes() >= uncredited_bytes_max {
            return self.dead(meta, bytes, "too much waits for the node already");
        }
        self.keep_credit(&mut meta, bytes.len());
        let bytes = bytes.into_vec();
        self.far.link(node).push(Item::Message { to, meta, bytes });
        let now = self.now;
        if let Some(party) = self.parties.get_mut(to)
            && let Some(remote) = party.remote.as_mut()
        {
            remote.n_queued += 1;
            remote.used = now;
        }
        self.flush_link(node);
    }

    /// The node over whose link a message came.
    pub(super) fn came_over(&self, meta: &Meta) -> Option<NodeId> {
        self.parties.get(meta.from?)?.node()
    }

    /// Tells the driver that frames wait for a link, or the agent that one is wanted.
    pub(super) fn flush_link(&mut self, node: NodeId) {
        let due = self.now.plus_ms(self.limits.link_wait_ms);
        let link = self.far.link(node);
        if link.up {
            if !link.flushing {
                link.flushing = true;
                self.effects.push_back(Effect::FlushLink(node));
            }
        } else if link.deadline.is_none() {
            link.deadline = Some(due);
            self.far.arm(due);
            self.tell(AgentEvent::WantLink { node });
        }
    }

    /// Looks at the links in so many milliseconds, if not sooner.
    pub(super) fn arm_tick(&mut self, ms: u64) {
        self.far.arm(self.now.plus_ms(ms));
    }
}

fn remote(node: NodeId, used: Moment) -> Box<Remote> {
    Box::new(Remote {
        node,
        used,
        n_queued: 0,
        n_uncredited: 0,
    })
}
