//! One link to another node's router: what waits for it, what it was handed, what came back.
//!
//! Not here: who lives behind it (`far`), when it comes and goes (`losses`).

use std::collections::{HashMap, VecDeque};

use protocol::{ActorId, Incarnation};

use super::ids::{IdHash, PartyId, Target};
use super::party::{CreditState, Meta};
use crate::router::moment::Moment;

/// The books of one link.
#[derive(Debug)]
pub(super) struct Link {
    /// The run of the other node; `None` before it was up for the first time.
    pub(super) incarnation: Option<Incarnation>,
    pub(super) up: bool,
    /// Whether the other node has proven on this connection to run as this node's user.
    pub(super) same_user: bool,
    /// Whether the driver knows that frames wait.
    pub(super) flushing: bool,
    /// Until when what waits for the link to come up waits.
    pub(super) deadline: Option<Moment>,
    queue: VecDeque<Item>,
    bytes: u64,
    free_bytes: u64,
    n_waiting: u64,
    /// Messages handed over since the link is up, and how many of them the other router took.
    pub(super) n_handed: u64,
    pub(super) n_taken: u64,
    /// Messages taken by the other router whose end was open when the link went down.
    pub(super) n_open: u64,
    /// Messages that came since the link is up, and of how many the other router was told.
    pub(super) n_came: u64,
    pub(super) n_came_told: u64,
    /// What was handed over of each pair and not credited.
    pub(super) uncredited: HashMap<(ActorId, Target), Uncredited, IdHash>,
    /// Markers on their way, with the tickets of who waits.
    pub(super) markers: VecDeque<(u64, u64)>,
    /// Ends of actors that the creator's node has not noted: child and parent.
    pub(super) exits: Vec<(ActorId, ActorId)>,
    /// The actor that the next message to a role goes to.
    pub(super) via: Option<ActorId>,
}

/// What was handed over of one pair and not credited.
#[derive(Debug, Clone, Copy)]
pub(super) struct Uncredited {
    /// In whose books it stands.
    pub(super) from: PartyId,
    /// Who got it; of a role, the one who plays it now.
    pub(super) to: PartyId,
    pub(super) messages: u32,
    pub(super) bytes: u64,
}

/// What waits to be handed to a link.
#[derive(Debug)]
pub(super) enum Item {
    Message {
        to: PartyId,
        meta: Meta,
        bytes: Vec<u8>,
    },
    /// A frame that is worth nothing on a later link.
    Control(Vec<u8>),
    Marker {
        number: u64,
        ticket: u64,
    },
}

impl Item {
    pub(super) fn n_bytes(&self) -> usize {
        match self {
            Self::Message { bytes, .. } | Self::Control(bytes) => bytes.len(),
            Self::Marker { .. } => protocol::limits::HEADER_BYTES,
        }
    }

    fn is_free(&self) -> bool {
        match self {
            Self::Message { meta, .. } => meta.credit == CreditState::Free,
            Self::Control(_) | Self::Marker { .. } => false,
        }
    }

    fn is_message(&self) -> bool {
        matches!(self, Self::Message { .. })
    }
}

impl Link {
    pub(super) fn new(hash: IdHash) -> Self {
        Self {
            incarnation: None,
            up: false,
            same_user: false,
            flushing: false,
            deadline: None,
            queue: VecDeque::new(),
            bytes: 0,
            free_bytes: 0,
            n_waiting: 0,
            n_handed: 0,
            n_taken: 0,
            n_open: 0,
            n_came: 0,
            n_came_told: 0,
            uncredited: HashMap::with_hasher(hash),
            markers: VecDeque::new(),
            exits: Vec::new(),
            via: None,
        }
    }

    pub(super) fn push(&mut self, item: Item) {
        let n_bytes = item.n_bytes() as u64;
        self.bytes += n_bytes;
        self.free_bytes += if item.is_free() { n_bytes } else { 0 };
        self.n_waiting += u64::from(item.is_message());
        self.queue.push_back(item);
    }

    pub(super) fn front(&self) -> Option<&Item> {
        self.queue.front()
    }

    pub(super) fn pop(&mut self) -> Option<Item> {
        let item = self.queue.pop_front()?;
        let n_bytes = item.n_bytes() as u64;
        self.bytes -= n_bytes;
        self.free_bytes -= if item.is_free() { n_bytes } else { 0 };
        self.n_waiting -= u64::from(item.is_message());
        if self.queue.is_empty() {
            self.queue.shrink_to(64);
        }
        Some(item)
    }

    /// Drops what is worth nothing on a later link; messages stay, and markers behind them.
    ///
    /// Returns the tickets of the markers that stood behind none.
    pub(super) fn keep_messages(&mut self) -> Vec<u64> {
        let mut tickets = Vec::new();
        let items = std::mem::take(&mut self.queue);
        (self.bytes, self.free_bytes, self.n_waiting) = (0, 0, 0);
        for item in items {
            match item {
                Item::Control(_) => {}
                Item::Marker { ticket, .. } if self.n_waiting == 0 => tickets.push(ticket),
                item => self.push(item),
            }
        }
        tickets
    }

    /// Messages that wait for the link.
    pub(super) fn n_waiting(&self) -> u64 {
        self.n_waiting
    }

    /// Bytes that wait for it without that credit bounds them.
    pub(super) fn free_bytes(&self) -> u64 {
        self.free_bytes
    }
}
