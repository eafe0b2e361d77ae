//! What the command line asks about the convention as a whole, and what it is answered.
//!
//! Any node takes these; what only the leader can do is forwarded to it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, RequestId, SourceHash, Stamp};
use crate::registry::{HistoryEntry, KeyDigest};

/// A request about the convention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cluster", rename_all = "snake_case")]
pub enum ClusterRequest {
    /// How the convention stands.
    Status {
        /// As this node knows it, without asking the leader.
        #[serde(default)]
        stale: bool,
    },
    /// Its members.
    Members {
        /// As this node knows them, without asking the leader.
        #[serde(default)]
        stale: bool,
    },
    /// Give out a join token.
    Invite {
        /// How often it may be used.
        uses: u32,
        /// Seconds that it is good for.
        ttl_s: u64,
        /// Who asks.
        by: String,
        /// What the node that took the order has drawn: however often the leader is asked, it is
        /// this one. `None` from the command line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        drawn: Option<DrawnToken>,
    },
    /// The join tokens that are good, and who waits for approval.
    Tokens,
    /// Make a join token useless.
    Revoke {
        /// Its id, or an unambiguous prefix of it.
        id: String,
        /// Who asks.
        by: String,
    },
    /// Let a node in that waits for it.
    Approve {
        /// Its name, or an unambiguous prefix of its key's fingerprint.
        node: String,
        /// Who asks.
        by: String,
    },
    /// This node leaves for good.
    Leave {
        /// Who asks.
        by: String,
    },
    /// A member is removed for good.
    Remove {
        /// Its name, or an unambiguous prefix of its id.
        node: String,
        /// Who asks.
        by: String,
    },
    /// Move the actors away from a member, or let them come back.
    Drain {
        /// Its name, or an unambiguous prefix of its id.
        node: String,
        /// Whether it is drained from now on.
        on: bool,
        /// Who asks.
        by: String,
    },
    /// Let a member be a voter.
    Promote {
        /// Its name, or an unambiguous prefix of its id.
        node: String,
        /// Who asks.
        by: String,
    },
    /// Let a member be a voter no longer.
    Demote {
        /// Its name, or an unambiguous prefix of its id.
        node: String,
        /// Who asks.
        by: String,
    },
    /// How many voters the convention is to have.
    Voters {
        /// 1, 3, 5 or 7.
        wanted: u8,
        /// Who asks.
        by: String,
    },
    /// Why a role or class is where it is.
    Explain {
        /// A role, or a class of a loaded source.
        what: String,
        /// Only in this group.
        group: Option<String>,
    },
    /// What happened.
    Events {
        /// Only those after this number.
        after: u64,
        /// Wait up to so long for a new one.
        wait_ms: u64,
    },
    /// How far a `cluster load` is.
    Progress {
        /// Idempotency id of the load.
        request: RequestId,
    },
    /// Up to which index everything is that was acknowledged so far.
    Confirm,
    /// What the Director directories of the other live members hold.
    Directories,
    /// To a member: what its own Director directory holds.
    Directory,
    /// To a member: take a package of its own Director directory into its store, so that the
    /// asker can have it.
    Offer {
        /// Name of the file.
        file: String,
        /// The bytes that are meant.
        hash: SourceHash,
    },
    /// Write the registry and all packages that it names into a file on the leader's answer's
    /// node, the one asked.
    Backup {
        /// Absolute path of the file.
        path: String,
        /// With the authority's key, encrypted by this passphrase.
        passphrase: Option<String>,
        /// Who asks.
        by: String,
    },
    /// From a node that restores a backup: what that knows of a group besides its sources.
    Remember {
        /// The group.
        group: String,
        /// Its history, put before what has happened since.
        history: Vec<HistoryEntry>,
        /// Sources that a rollback had left.
        withdrawn: BTreeSet<SourceHash>,
    },
    /// How the convention's authority stands, and who has what of it.
    Authority,
    /// Replace the authority's key.
    Rotate {
        /// Who asks.
        by: String,
    },
    /// The authority from before a rotation counts no more.
    Retire {
        /// Who asks.
        by: String,
    },
    /// Load everything that a backup holds into this convention.
    Restore {
        /// Absolute path of the file.
        path: String,
        /// Who asks.
        by: String,
    },
}

/// A join token that is to be given out; its secret stays with the node that has drawn it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawnToken {
    /// Its id.
    pub id: String,
    /// SHA-256 of its secret.
    pub secret: KeyDigest,
    /// Key of the authority that it pins.
    pub authority: KeyDigest,
}

/// The answer to a [`ClusterRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cluster_answer", rename_all = "snake_case")]
pub enum ClusterResponse {
    /// How the convention stands.
    Status(ConventionStatus),
    /// The members by name.
    Members {
        /// Each.
        members: Vec<ListedMember>,
        /// Raft index that the answer covers.
        index: u64,
        /// Milliseconds since the answerer heard of the leader; 0 from the leader itself.
        age_ms: u64,
    },
    /// The token; shown once.
    Invited {
        /// The whole token; empty from the leader, which does not know it.
        token: String,
        /// Its id.
        id: String,
        /// When it stops being good.
        expires: Stamp,
    },
    /// Tokens and joiners.
    Tokens {
        /// The tokens that are good.
        tokens: Vec<ListedToken>,
        /// Who waits for approval.
        waiting: Vec<WaitingJoiner>,
        /// Fingerprint of the convention's authority, which a waiting node shows as well.
        #[serde(default)]
        authority: String,
    },
    /// Why things are where they are.
    Explained {
        /// One a role or class found.
        found: Vec<Explanation>,
    },
    /// What happened, oldest first.
    Events {
        /// The events.
        events: Vec<ListedEvent>,
    },
    /// How far a load is on each member.
    Progress {
        /// One a member.
        members: Vec<MemberProgress>,
    },
    /// A reader that has applied this index has everything acknowledged before it asked.
    Confirmed {
        /// The index.
        index: u64,
    },
    /// What lies in members' Director directories.
    Directories {
        /// One a member.
        directories: Vec<MemberDirectory>,
    },
    /// How the authority stands.
    Authority(AuthorityStatus),
    /// It is done.
    Done {
        /// What to know, a line each.
        notes: Vec<String>,
    },
}

/// How a convention stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConventionStatus {
    /// Its id.
    pub convention: String,
    /// Fingerprint of its authority's key.
    pub authority: String,
    /// Name of the leader, if one is known.
    pub leader: Option<String>,
    /// Term of the leader.
    pub term: u64,
    /// Names of the voters.
    pub voters: Vec<String>,
    /// Voters wanted.
    pub voters_wanted: u8,
    /// Members that are up.
    pub up: u64,
    /// All members.
    pub members: u64,
    /// Loaded sources.
    pub sources: u64,
    /// Director actors that run.
    pub running: u64,
    /// All Director actors.
    pub actors: u64,
    /// Last raft index applied by the one who answers.
    pub index: u64,
    /// Milliseconds since it heard of the leader; 0 from the leader itself.
    pub age_ms: u64,
    /// Lowest feature level of the voters.
    pub feature_level: u32,
    /// What an operator should know: one voter only, members lost...
    pub warnings: Vec<String>,
}

/// One member of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedMember {
    /// Its id.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Where it is reached; empty: it only dials out.
    pub address: String,
    /// `up`, `down`, `lost` or `drained`.
    pub state: String,
    /// `leader`, `voter`, `learner` or `member`.
    pub part: String,
    /// When it started, or was lost.
    pub since: Stamp,
    /// Actors alive on it, if known.
    pub actors: Option<u64>,
    /// Director actors placed on it.
    pub director_actors: u64,
    /// Last index that it has applied, if known.
    pub index: Option<u64>,
    /// Its capabilities, a dictionary literal.
    pub capabilities: String,
    /// Fingerprint of its key.
    pub key: String,
    /// Loaded packages that no key of its own validates, `GROUP HASH: reason`.
    pub distrusts: Vec<String>,
}

/// How a convention's authority stands; keys by their fingerprints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityStatus {
    /// The one that issues.
    pub issues: String,
    /// One that is drawn and to take over.
    pub next: Option<String>,
    /// Those from before whose certificates still count.
    pub before: Vec<String>,
    /// Those whose certificates are good for a renewal only.
    pub retired: Vec<String>,
    /// Step of a rotation under way: `wanted`, `drawn` or `issues`.
    pub step: Option<String>,
    /// Who asked for it.
    pub by: Option<String>,
    /// When.
    pub since: Option<Stamp>,
    /// Names of the members that it waits for.
    pub waits_for: Vec<String>,
    /// The members by name.
    pub members: Vec<ListedAuthority>,
}

/// What a member has of the authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedAuthority {
    /// Its id.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Whether it is up.
    pub is_up: bool,
    /// Whether it says that its certificate is of the authority that issues.
    pub renewed: bool,
    /// Of a voter: whether it says that it holds the key that issues, or the one that is to.
    pub holds_key: Option<bool>,
}

/// One join token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedToken {
    /// Its id.
    pub id: String,
    /// How often it may still be used.
    pub uses_left: u32,
    /// When it stops being good.
    pub expires: Stamp,
    /// Who gave it out.
    pub by: String,
}

/// A node that waits for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingJoiner {
    /// The name it gave.
    pub name: String,
    /// Where it dialled from.
    pub address: String,
    /// Fingerprint of its key, to be compared with what it shows itself.
    pub key: String,
    /// Since when it asks.
    pub since: Stamp,
}

/// Why a role or class is where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The group.
    pub group: String,
    /// The class.
    pub class: String,
    /// Its role.
    pub role: Option<String>,
    /// The source.
    pub source: SourceHash,
    /// Where it runs, and how: a line each.
    pub placed: Vec<String>,
    /// One a member: why it may run there or not.
    pub members: Vec<Candidate>,
}

/// Whether a member may run an actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The member's name.
    pub name: String,
    /// Whether it may.
    pub eligible: bool,
    /// Why.
    pub reason: String,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedEvent {
    /// Its number.
    pub number: u64,
    /// When.
    pub stamp: Stamp,
    /// What kind.
    pub what: String,
    /// What it is about.
    pub subject: String,
    /// Who did it.
    pub by: String,
    /// More.
    pub detail: String,
}

/// How far a load is on one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberProgress {
    /// Its name.
    pub name: String,
    /// `waiting`, `pulling`, `verified`, `not trusted here`, `failed`, `down` or `drained`.
    pub state: String,
    /// Why, if it failed or does not trust.
    pub detail: String,
}

/// The newest packages of a member's Director directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberDirectory {
    /// The member.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// The directory there.
    pub path: String,
    /// Its groups that have a package.
    pub groups: Vec<OfferedGroup>,
    /// Why nothing is known of it, if so.
    pub fault: Option<String>,
}

/// The newest package of one group in a member's Director directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedGroup {
    /// The group.
    pub group: String,
    /// Name of the package's file.
    pub file: String,
    /// Its bytes.
    pub hash: SourceHash,
    /// Text of the group's `.tli`, if there is one.
    pub tli: Option<String>,
}

/// Where a package lies that is loaded from another member's Director directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lies {
    /// The member.
    pub node: NodeId,
    /// Name of the file.
    pub file: String,
    /// The bytes that are meant.
    pub hash: SourceHash,
}

/// How a load treats the members: part of `Request::Load`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Members pull what they run, when they run it.
    #[default]
    OnDemand,
    /// Every eligible member pulls and verifies before the switch.
    Everywhere,
    /// As everywhere, but members that fail do not block it.
    Partial,
}

impl Reach {
    /// Whether it needs no word in a document.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::OnDemand
    }
}
