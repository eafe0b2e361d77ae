//! One actor or client: what waits for it, what it was sent, what it owes and waits for.

use std::collections::{HashMap, VecDeque};

use protocol::control::ConnectionRole;
use protocol::{ActorId, Flags, NodeId, ProgramId, SourceHash};

use super::credit::{PAIRS_SWEPT, Pair};
use super::ids::{IdHash, PartyId, Target};
use super::outbox::Outbox;
use super::programs::Programs;
use crate::router::agent::{Caller, CallerKind};
use crate::router::config::{ActorRecord, Rights};
use crate::router::moment::Moment;

/// An actor or client.
#[derive(Debug)]
pub(super) struct Party {
    pub(super) address: ActorId,
    pub(super) parent: ActorId,
    pub(super) source: SourceHash,
    pub(super) programs: Programs,
    /// `None`: a client, or an actor that only its creator has announced.
    pub(super) record: Option<ActorRecord>,
    pub(super) caller: Option<Caller>,
    pub(super) role: ConnectionRole,
    pub(super) stage: Stage,
    pub(super) backlog: Backlog,
    pub(super) outbox: Outbox,
    /// Whether the driver knows that bytes wait in the outbox.
    pub(super) flushing: bool,
    /// Message bytes put into the outbox that the party did not report as taken.
    pub(super) window_used: u64,
    pub(super) pairs: HashMap<Target, Pair, IdHash>,
    /// So many pairs: those left alone are settled.
    pub(super) sweep_at: usize,
    pub(super) blocked: Option<Blocked>,
    /// What it asked and nobody answered.
    pub(super) asks: Vec<Ask>,
    /// How many asks of others went to it and are unanswered.
    pub(super) asked: u32,
    pub(super) markers: VecDeque<Marker>,
    pub(super) idle_tickets: Vec<u64>,
    pub(super) idle_probed: bool,
    /// Messages ever put into its outbox.
    pub(super) passed: u64,
    /// Last sequence of the node's own messages to it.
    pub(super) node_sequence: u64,
    /// Requests without an answer.
    pub(super) requests: u32,
    /// Of one that lives on another node.
    pub(super) remote: Option<Box<Remote>>,
}

/// What is to be known of a party that lives on another node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remote {
    /// Over whose link it is reached.
    pub(super) node: NodeId,
    /// When it was last sent something or sent something.
    pub(super) used: Moment,
    /// Messages to it in the link's queue.
    pub(super) n_queued: u32,
    /// Messages to it that were handed to the link and not credited.
    pub(super) n_uncredited: u32,
}

/// How far a party's process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its process has not connected.
    Expected,
    /// It has connected and constructs.
    Starting,
    /// It takes messages.
    Running,
    /// Its connection has ended, its process perhaps not.
    Disconnected,
    /// The agent is asked on which node it lives.
    Sought,
    /// It lives on another node.
    Remote,
}

impl Party {
    pub(super) fn new(address: ActorId, role: ConnectionRole, hash: IdHash) -> Self {
        Self {
            address,
            parent: ActorId::NONE,
            source: SourceHash::default(),
            programs: Programs::default(),
            record: None,
            caller: None,
            role,
            stage: Stage::Expected,
            backlog: Backlog::default(),
            outbox: Outbox::default(),
            flushing: false,
            window_used: 0,
            pairs: HashMap::with_hasher(hash),
            sweep_at: PAIRS_SWEPT,
            blocked: None,
            asks: Vec::new(),
            asked: 0,
            markers: VecDeque::new(),
            idle_tickets: Vec::new(),
            idle_probed: false,
            passed: 0,
            node_sequence: 0,
            requests: 0,
            remote: None,
        }
    }

    pub(super) fn connected(&self) -> bool {
        matches!(self.stage, Stage::Starting | Stage::Running)
    }

    /// Whether it is known not to live here.
    pub(super) fn is_elsewhere(&self) -> bool {
        matches!(self.stage, Stage::Sought | Stage::Remote)
    }

    /// The node over whose link it is reached; `None`: it lives here, or nobody knows where.
    pub(super) fn node(&self) -> Option<NodeId> {
        self.remote.as_ref().map(|remote| remote.node)
    }

    /// Whether its pickles may run no code here: another user's client.
    pub(super) fn is_foreign(&self) -> bool {
        let stranger =
            |caller: &Caller| caller.kind == CallerKind::Client && caller.rights < Rights::Operate;
        self.caller.as_ref().is_some_and(stranger)
    }

    /// Whether a message of this size may go into the outbox now.
    ///
    /// Below half a window it always may: the party keeps up to half a window unreported.
    pub(super) fn takes(&self, n_bytes: usize, window_bytes: u64) -> bool {
        self.stage == Stage::Running
            && (self.window_used < window_bytes / 2
                || self.window_used.saturating_add(n_bytes as u64) <= window_bytes)
    }
}

/// What must be known of a message beside its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meta {
    /// `None`: the node itself, or a sender that has gone.
    pub(crate) from: Option<PartyId>,
    pub(crate) target: Target,
    pub(crate) flags: Flags,
    /// The program that the sender is of, as its node says; zeros: none, or not to be believed.
    pub(crate) program: ProgramId,
    pub(crate) sequence: u64,
    /// Until when its asker waits.
    pub(crate) deadline: Option<Moment>,
    pub(crate) credit: CreditState,
    /// Whether it may never come back in an envelope.
    pub(crate) quiet: bool,
}

/// Where the credit of a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CreditState {
    /// Accepted and not in the books yet.
    Fresh,
    /// In the books as on its way.
    Waiting,
    /// Given back, or owed.
    Done,
    /// It needs none.
    Free,
}

/// A message or marker that waits.
#[derive(Debug)]
pub(super) enum Queued {
    Message { meta: Meta, bytes: Vec<u8> },
    Marker(u64),
}

/// What waits for one party or held role, in order.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    queue: VecDeque<Queued>,
    bytes: u64,
    free_bytes: u64,
}

impl Backlog {
    pub(super) fn push_back(&mut self, item: Queued) {
        let (bytes, free_bytes) = item.weight();
        self.bytes += bytes;
        self.free_bytes += free_bytes;
        self.queue.push_back(item);
    }

    pub(super) fn push_front(&mut self, item: Queued) {
        let (bytes, free_bytes) = item.weight();
        self.bytes += bytes;
        self.free_bytes += free_bytes;
        self.queue.push_front(item);
    }

    pub(super) fn pop_front(&mut self) -> Option<Queued> {
        let item = self.queue.pop_front()?;
        let (bytes, free_bytes) = item.weight();
        self.bytes -= bytes;
        self.free_bytes -= free_bytes;
        if self.queue.is_empty() {
            self.queue.shrink_to(64);
        }
        Some(item)
    }

    pub(super) fn front(&self) -> Option<&Queued> {
        self.queue.front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Bytes of all that waits.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of what waits without that credit bounds it.
    pub(super) fn free_bytes(&self) -> u64 {
        self.free_bytes
    }
}

impl Queued {
    fn weight(&self) -> (u64, u64) {
        match self {
            Self::Message { meta, bytes } => {
                let n_bytes = bytes.len() as u64;
                let free = meta.credit == CreditState::Free;
                (n_bytes, if free { n_bytes } else { 0 })
            }
            Self::Marker(_) => (0, 0),
        }
    }
}

/// A wait for credit that a worker has told of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocked {
    pub(super) target: Target,
    pub(super) since: Moment,
    /// Orders waits that began in the same millisecond.
    pub(super) number: u64,
    pub(super) inbox_full: bool,
}

/// An ask that was passed on and is unanswered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    pub(super) target: PartyId,
    pub(super) addressed: Target,
    pub(super) sequence: u64,
    pub(super) deadline: Option<Moment>,
}

/// A marker that has not come back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marker {
    pub(super) number: u64,
    pub(super) purpose: MarkerPurpose,
}

impl Marker {
    /// Who waits for it, if somebody does.
    pub(super) fn ticket(self) -> Option<u64> {
        match self.purpose {
            MarkerPurpose::Ticket(ticket) => Some(ticket),
            MarkerPurpose::Idle { .. } => None,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum MarkerPurpose {
    /// Somebody waits for it.
    Ticket(u64),
    /// It asks whether the party is idle; `passed` when it was sent.
    Idle { passed: u64 },
}

/// All parties, by a key that is never used twice.
#[derive(Debug, Default)]
pub(super) struct Parties {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    party: Option<Box<Party>>,
}

impl Parties {
    pub(super) fn insert(&mut self, party: Party) -> PartyId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                party: None,
            });
            (self.slots.len() - 1) as u32
        });
        let mut generation = 0;
        if let Some(place) = self.slots.get_mut(slot as usize) {
            place.generation = place.generation.wrapping_add(1);
            generation = place.generation;
            place.party = Some(Box::new(party));
        }
        PartyId { slot, generation }
    }

    pub(super) fn remove(&mut self, id: PartyId) -> Option<Box<Party>> {
        let place = self.slots.get_mut(id.slot as usize)?;
        if place.generation != id.generation {
            return None;
        }
        let party = place.party.take()?;
        self.free.push(id.slot);
        Some(party)
    }

    pub(super) fn get(&self, id: PartyId) -> Option<&Party> {
        let place = self.slots.get(id.slot as usize)?;
        if place.generation != id.generation {
            return None;
        }
        place.party.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: PartyId) -> Option<&mut Party> {
        let place = self.slots.get_mut(id.slot as usize)?;
        if place.generation != id.generation {
            return None;
        }
        place.party.as_deref_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PartyId, &Party)> {
        self.slots.iter().enumerate().filter_map(|(slot, place)| {
            let id = PartyId {
                slot: slot as u32,
                generation: place.generation,
            };
            Some((id, place.party.as_deref()?))
        })
    }
}
