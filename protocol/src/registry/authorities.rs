//! The convention's authorities, by their certificates: who issues, who did before, and how far
//! one is on its way to replace another.
//!
//! Keys of authorities are never here: the voters pass them to each other.
//! Not here: what is in a certificate (`transport`), what follows from a step (`convention`).

use serde::{Deserialize, Serialize};

use super::KeyDigest;
use crate::id::Stamp;

/// What members are told of their convention's authorities.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Authorities {
    /// Those whose certificates count, the one that issues first. Empty until one is replaced:
    /// each member has the first from its admission.
    pub roots: Vec<Root>,
    /// What leads to the first from those before it, the newest first (X.509, DER).
    pub links: Vec<Vec<u8>>,
    /// Those whose certificates are good for a renewal only, the newest first.
    pub retired: Vec<Root>,
    /// How often the above has changed: a member never goes back.
    pub changes: u64,
    /// A replacement under way.
    pub rotation: Option<Rotation>,
}

/// An authority's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Root {
    /// SHA-256 of its public key info.
    pub key: KeyDigest,
    /// X.509, DER.
    pub certificate: Vec<u8>,
}

/// The replacement of an authority's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// How far it is.
    pub step: RotationStep,
    /// Who asked.
    pub by: String,
    /// When.
    pub since: Stamp,
}

/// Steps of a rotation, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RotationStep {
    /// A leader is to draw the key.
    Wanted,
    /// The key is drawn, and its voters are getting it.
    Drawn {
        /// Its certificate.
        root: Root,
        /// The same key, signed by the authority that issues (X.509, DER).
        link: Vec<u8>,
    },
    /// It issues; certificates from before still count.
    Issues,
}

/// Authorities of the past that are remembered, by links and for renewals: a member that was off
/// for longer joins anew.
pub const AUTHORITIES_KEPT: usize = 4;

/// A change of the convention's authorities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthorityCommand {
    /// The key is to be replaced.
    Rotate {
        /// Who asks.
        by: String,
        /// When.
        stamp: Stamp,
    },
    /// A leader has drawn a key; one that nobody holds any more is drawn again.
    Drawn {
        /// The authority that issues now.
        current: Root,
        /// The one to be.
        root: Root,
        /// Its key, signed by the present one (X.509, DER).
        link: Vec<u8>,
        /// When.
        stamp: Stamp,
    },
    /// The voters hold the key that was drawn: it issues from here on.
    TakeOver {
        /// The key; another one changes nothing.
        key: KeyDigest,
        /// When.
        stamp: Stamp,
    },
    /// The authority from before counts no more, and with it the join tokens that pin it.
    Retire {
        /// The key that issues; another one changes nothing.
        key: KeyDigest,
        /// Who asks; empty: all members that are up have renewed their certificates.
        by: String,
        /// When.
        stamp: Stamp,
    },
}
