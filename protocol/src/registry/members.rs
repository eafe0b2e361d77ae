//! Who belongs to the convention: members, join tokens, approvals, removals, settings, the audit.
//!
//! Not here: certificates and connections (`transport`), who is a voter (the membership of the
//! raft log says so), leases (they are not in the log).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Authorities, AuthorityCommand};
use crate::id::{Incarnation, NodeId, Stamp};

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// `host:port` where others reach it; empty: it only dials out.
    pub address: String,
    /// Its run; 0: it was admitted and has not started yet.
    pub incarnation: Incarnation,
    /// Its capabilities, a dictionary literal.
    pub capabilities: String,
    /// Whether it can run actors now.
    pub state: MemberState,
    /// When it started this run, or was admitted.
    pub since: Stamp,
    /// How it came and what it may do.
    pub admission: Admission,
}

/// How a member came to the convention and what it may do there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Admission {
    /// Its public key; zeros: the founder of a convention that never had another member.
    pub key: KeyDigest,
    /// When it was admitted.
    pub joined: Stamp,
    /// Who let it in: `token ID`, `approved by NAME`, `founder`.
    pub by: String,
    /// Whether its own settings let it be a voter.
    pub may_vote: bool,
    /// Whether an operator wants no actors on it.
    pub drained: bool,
    /// Whether an operator wants it not to vote; the member itself never changes it.
    pub demoted: bool,
}

impl Admission {
    /// Whether it may become or stay a voter: both its settings and the operator let it.
    #[must_use]
    pub fn is_willing(&self) -> bool {
        self.may_vote && !self.demoted
    }
}

/// Standing of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberState {
    /// It runs.
    Up,
    /// It was shut down in order, or has not started yet.
    Down,
    /// Its lease ended.
    Lost,
}

/// SHA-256 of a node's public key info (DER), which stays the same over its certificates.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct KeyDigest(pub [u8; 32]);

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyDigest({self})")
    }
}

/// A join token that was given out; its secret is with the one who got it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// SHA-256 of its secret.
    pub secret: KeyDigest,
    /// How often it may still be used.
    pub uses_left: u32,
    /// When it stops being good.
    pub expires: Stamp,
    /// When it was given out.
    pub issued: Stamp,
    /// Who gave it out.
    pub by: String,
    /// Key of the authority that it pins.
    pub authority: KeyDigest,
}

/// A key that an operator approved; the next request to join with it is granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Name that the joiner gave.
    pub name: String,
    /// When.
    pub stamp: Stamp,
    /// Who approved it.
    pub by: String,
}

/// A member that left or was removed; its id is never used again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// The name that it had.
    pub name: String,
    /// Whether it left of its own accord.
    pub left: bool,
    /// When.
    pub stamp: Stamp,
    /// Who removed it.
    pub by: String,
}

/// The convention's membership besides the members themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Roll {
    /// Join tokens by id.
    pub tokens: BTreeMap<String, Token>,
    /// Approved keys that have not joined yet.
    pub approvals: BTreeMap<KeyDigest, Approval>,
    /// Former members.
    pub removed: BTreeMap<NodeId, Removal>,
    /// Voters wanted, an odd number up to 7; 0: not set, which means 3.
    pub voters_wanted: u8,
    /// Last raft id given to a voter; 0: none but the founder's 1.
    pub last_raft_id: u64,
    /// How often the convention was recovered from a lost quorum.
    pub recoveries: u64,
    /// What happened, oldest first, bounded by [`AUDIT_KEPT`].
    pub audit: Vec<AuditEntry>,
    /// Number of the last entry of the audit.
    pub last_audit: u64,
    /// The authorities, once one was replaced or is to be.
    pub authorities: Authorities,
}

/// Entries of the audit kept in the registry.
pub const AUDIT_KEPT: usize = 1_000;

/// One event that an operator may have to know of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its number, from 1.
    pub number: u64,
    /// When.
    pub stamp: Stamp,
    /// What kind: `member joined`, `join refused`, `member lost`, `loaded`...
    pub what: String,
    /// The member or group that it is about, by name.
    pub subject: String,
    /// Who did it, if anybody.
    pub by: String,
    /// More, such as the reason.
    pub detail: String,
}

/// A change of the convention's membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberCommand {
    /// A node is admitted (again with the same key: its admission is renewed). Uses up its token
    /// or approval.
    Admit {
        /// Its id, fresh.
        node: NodeId,
        /// Its public key.
        key: KeyDigest,
        /// Its name.
        name: String,
        /// Where others reach it; empty: it only dials out.
        address: String,
        /// Id of its join token; `None`: it was approved, or founded the convention.
        token: Option<String>,
        /// Whether its own settings let it be a voter.
        may_vote: bool,
        /// When.
        stamp: Stamp,
    },
    /// A member leaves or is removed, for good.
    Remove {
        /// The member.
        node: NodeId,
        /// Whether it leaves of its own accord.
        left: bool,
        /// Who asks.
        by: String,
        /// When.
        stamp: Stamp,
    },
    /// A member's lease and margin are over: its Director actors are gone.
    Lost {
        /// The member.
        node: NodeId,
        /// The run that was lost; a stale one changes nothing.
        incarnation: Incarnation,
        /// When.
        stamp: Stamp,
    },
    /// A running member has other capabilities, address or settings than before.
    Describe {
        /// The member.
        node: NodeId,
        /// Its run; a stale one changes nothing.
        incarnation: Incarnation,
        /// Its address.
        address: String,
        /// Its capabilities, a dictionary literal.
        capabilities: String,
        /// Whether its own settings let it be a voter.
        may_vote: bool,
        /// When.
        stamp: Stamp,
    },
    /// An operator wants no actors on a member, or again.
    Drain {
        /// The member.
        node: NodeId,
        /// Whether it is drained from now on.
        on: bool,
        /// Who asks.
        by: String,
        /// When.
        stamp: Stamp,
    },
    /// A join token is given out.
    Issue {
        /// Its id.
        id: String,
        /// SHA-256 of its secret.
        secret: KeyDigest,
        /// How often it may be used.
        uses: u32,
        /// When it stops being good.
        expires: Stamp,
        /// Key of the authority that it pins.
        authority: KeyDigest,
        /// Who asks.
        by: String,
        /// When.
        stamp: Stamp,
    },
    /// A join token is good no longer.
    Revoke {
        /// Its id.
        id: String,
        /// Who asks.
        by: String,
        /// When.
        stamp: Stamp,
    },
    /// A key may join.
    Approve {
        /// The key.
        key: KeyDigest,
        /// Name that the joiner gave.
        name: String,
        /// Who asks.
        by: String,
        /// When.
        stamp: Stamp,
    },
    /// A fresh raft id is taken for a member that is to become a voter.
    TakeRaftId {
        /// The member.
        node: NodeId,
        /// When.
        stamp: Stamp,
    },
    /// So many voters are wanted.
    Voters {
        /// 1, 3, 5 or 7.
        wanted: u8,
        /// Who asks.
        by: String,
        /// When.
        stamp: Stamp,
    },
    /// Something to be remembered that changes nothing: a refused joiner, a package that a member
    /// does not trust.
    Note {
        /// What kind.
        what: String,
        /// What it is about.
        subject: String,
        /// Who did it.
        by: String,
        /// More.
        detail: String,
        /// When.
        stamp: Stamp,
    },
    /// Quorum was lost for good and this log goes on alone: all other members count as lost.
    Recovered {
        /// The survivor.
        node: NodeId,
        /// When.
        stamp: Stamp,
    },
    /// An operator wants a member not to vote, or lets it again.
    Vote {
        /// The member.
        node: NodeId,
        /// Whether it may vote from now on.
        on: bool,
        /// Who asks.
        by: String,
        /// When.
        stamp: Stamp,
    },
    /// A node that has left, or was removed, may be admitted again under its id: one that a
    /// program has started, and that has proven to be of the user of this convention's nodes.
    TakeBack {
        /// The node.
        node: NodeId,
        /// Who asks.
        by: String,
        /// When.
        stamp: Stamp,
    },
    /// The authorities change.
    Authority(AuthorityCommand),
}
