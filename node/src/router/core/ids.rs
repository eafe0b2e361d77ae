//! Keys of the machine's tables, and a hasher that is cheap for ids.

use std::hash::{BuildHasher, Hasher};

use protocol::{ActorId, Header, RoleId, TargetKind};

/// An actor or client with its one connection; never used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PartyId {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

impl PartyId {
    /// As one number, for those who only carry it.
    pub(crate) fn number(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    /// The party with this number.
    pub(crate) fn from_number(number: u64) -> Self {
        Self {
            slot: number as u32,
            generation: (number >> 32) as u32,
        }
    }
}

/// A target as the sender addressed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    Actor(ActorId),
    Role(RoleId),
}

impl Target {
    /// The target of a message; `None` when it is for nobody.
    pub(crate) fn of(header: &Header) -> Option<Self> {
        match header.target_kind {
            TargetKind::Actor => Some(Self::Actor(ActorId(header.target))),
            TargetKind::Role => Some(Self::Role(RoleId(header.target))),
            TargetKind::Peer => None,
        }
    }

    pub(crate) fn kind(self) -> TargetKind {
        match self {
            Self::Actor(_) => TargetKind::Actor,
            Self::Role(_) => TargetKind::Role,
        }
    }

    pub(crate) fn bytes(self) -> [u8; 16] {
        match self {
            Self::Actor(actor) => actor.0,
            Self::Role(role) => role.0,
        }
    }

    pub(crate) fn hex(self) -> String {
        hex::encode(self.bytes())
    }
}

/// Hashes ids by one multiplication a word, keyed so that nobody can choose ids that collide.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdHash {
    pub(crate) key: u64,
}

impl BuildHasher for IdHash {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher { state: self.key }
    }
}

/// The state of [`IdHash`].
#[derive(Debug)]
pub(crate) struct IdHasher {
    state: u64,
}

impl IdHasher {
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(MULTIPLIER);
        self.state = product as u64 ^ (product >> 64) as u64;
    }
}

/// The golden ratio's digits: odd, and its bits are spread.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.fold(u64::from_le_bytes(word));
        }
    }

    fn write_u32(&mut self, word: u32) {
        self.fold(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.fold(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.fold(word as u64);
    }

    fn finish(&self) -> u64 {
        self.state
    }
}
