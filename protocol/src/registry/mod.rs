//! Shapes of the replicated registry: its state, the commands that change it, their outcomes.
//!
//! These are what the raft log and the snapshots hold; `convention::Registry` gives them meaning.
//! Ordered maps, no floats, no clock: the same log gives the same bytes.
//! Stored shapes: a change here is a new [`REGISTRY_VERSION`] and a way up from the last one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::definition::{ActorDefinition, GroupDefinition};
use crate::id::{
    ActorId, ConventionId, Incarnation, NodeId, RequestId, RolloutId, SlotId, SourceHash, Stamp,
};

mod authorities;
pub use authorities::{
    AUTHORITIES_KEPT, Authorities, AuthorityCommand, Root, Rotation, RotationStep,
};

mod members;
pub use members::{
    AUDIT_KEPT, Admission, Approval, AuditEntry, KeyDigest, Member, MemberCommand, MemberState,
    Removal, Roll, Token,
};

mod outcome;
pub use outcome::{Outcome, Refusal};

/// Version of [`State`] and [`Command`] in snapshots and log entries. 1: the first.
pub const REGISTRY_VERSION: u16 = 1;

/// Highest feature level that this build can apply. 1: one host.
pub const FEATURE_LEVEL: u32 = 1;

/// The whole registry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// Lowest feature level that every voter supports.
    pub feature_level: u32,
    /// The convention, once founded.
    pub convention: Option<ConventionId>,
    /// Members by node.
    pub members: BTreeMap<NodeId, Member>,
    /// Groups by name.
    pub groups: BTreeMap<String, Group>,
    /// Loaded sources by hash.
    pub sources: BTreeMap<SourceHash, Source>,
    /// Director actors by slot.
    pub slots: BTreeMap<SlotId, Slot>,
    /// Global names of `.tli` files, unique in the convention, and the group that owns each.
    pub names: BTreeMap<String, String>,
    /// Rollouts in progress, at most one a group.
    pub rollouts: BTreeMap<RolloutId, Rollout>,
    /// Requests already carried out, for repeats.
    pub requests: BTreeMap<RequestId, Recorded>,
    /// Last number given to a rollout or slot.
    pub last_number: u64,
    /// Last order given to a load.
    pub last_order: u64,
    /// The membership besides the members: tokens, approvals, removals, settings, the audit.
    pub roll: Roll,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Group {
    /// The source that its roles and names resolve to.
    pub active: Option<SourceHash>,
    /// What happened to it, oldest first, bounded by [`HISTORY_KEPT`].
    pub history: Vec<HistoryEntry>,
    /// Package hashes that a rollback left: no refresh brings them back.
    pub withdrawn: BTreeSet<SourceHash>,
    /// Loaded sources whose first rollout was reverted: nothing goes back to them by itself.
    pub reverted: BTreeSet<SourceHash>,
}

/// Entries of history kept a group.
pub const HISTORY_KEPT: usize = 200;

/// One entry of a group's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When.
    pub stamp: Stamp,
    /// What: `loaded`, `switched`, `reverted`, `rolled back`, `unloaded`...
    pub what: String,
    /// The source.
    pub hash: SourceHash,
    /// Its version.
    pub version: Option<String>,
    /// Who asked.
    pub by: String,
    /// More, such as the reason.
    pub detail: String,
}

/// One loaded source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its group.
    pub group: String,
    /// Its version; `None`: a file without one.
    pub version: Option<String>,
    /// Bytes of the package.
    pub bytes: u64,
    /// Its own definition, as evaluated at load.
    pub definition: GroupDefinition,
    /// Order of the load: equal versions rank by it.
    pub order: u64,
    /// When it was loaded.
    pub loaded: Stamp,
    /// Who loaded it.
    pub by: String,
    /// Where it stands.
    pub state: SourceState,
}

/// Where a source stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceState {
    /// A rollout is bringing it up for the first time.
    Loading,
    /// Loaded; active if its group says so.
    Loaded,
    /// It has left resolution; its actors end.
    Draining {
        /// At once (`unload --now`), or when they are idle.
        now: bool,
    },
}

/// A place for a Director actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// The source.
    pub source: SourceHash,
    /// The group.
    pub group: String,
    /// Position in the definition's `actors`.
    pub position: u32,
    /// `pkg.mod.Class`, resolved by the preflight.
    pub class: String,
    /// The node.
    pub node: NodeId,
    /// Address of the present (or next) incarnation.
    pub actor: ActorId,
    /// Where it stands.
    pub state: SlotState,
    /// When the present incarnation started.
    pub started: Option<Stamp>,
    /// Restarts since the version became active, for people.
    pub restarts: u32,
    /// Starts in the window of the restart intensity.
    pub recent: Vec<Stamp>,
}

/// Where a Director actor stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SlotState {
    /// To be constructed, or being so.
    Starting,
    /// Constructed; nothing was sent to it yet.
    Standing,
    /// Its OnLoad was sent.
    Running,
    /// It ended; it starts again not before this.
    Waiting {
        /// Earliest start.
        not_before: Stamp,
        /// Why it ended.
        reason: String,
    },
    /// It ended too often, or could not be constructed.
    Failed {
        /// Why.
        reason: String,
    },
    /// An operator stopped it.
    Stopped,
    /// It ended while its source was not active; it is created again on re-activation.
    Gone,
}

/// What a rollout does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RolloutKind {
    /// A newly loaded source becomes active.
    Load,
    /// The active source is left, withdrawn, for the one before.
    Rollback,
    /// The active source is unloaded; the highest that stays becomes active, if any.
    Unload,
}

/// One rollout in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// The group.
    pub group: String,
    /// What it does.
    pub kind: RolloutKind,
    /// The source that was active.
    pub from: Option<SourceHash>,
    /// The source that becomes active.
    pub to: Option<SourceHash>,
    /// How far it is.
    pub step: RolloutStep,
    /// Slots of `to` that this rollout constructs (they get OnLoad).
    pub constructed: BTreeSet<SlotId>,
    /// Slots of `to` that stood before (they get OnReactivate).
    pub reactivated: BTreeSet<SlotId>,
    /// Slots of `from` that get OnDeactivate, and OnReactivate if it reverts.
    pub deactivated: BTreeSet<SlotId>,
    /// Who asked.
    pub by: String,
    /// `unload --now`.
    pub now: bool,
    /// When it began.
    pub since: Stamp,
}

/// Steps of a rollout, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RolloutStep {
    /// The new actors are constructed; nothing is sent to them, nothing else has changed.
    Construct,
    /// New messages to the group's roles and names wait; OnDeactivate goes out.
    Hold,
    /// The new hash is active and bound; OnLoad and then the held messages go out.
    Switched,
    /// It failed in the hold: OnReactivate and the held messages go to the old actors.
    Reverting,
}

/// A Director actor to be constructed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Position in the definition's `actors`.
    pub position: u32,
    /// `pkg.mod.Class`, resolved.
    pub class: String,
    /// The node.
    pub node: NodeId,
    /// Address of the incarnation to come.
    pub actor: ActorId,
}

/// A new address for a slot whose actor is started (again).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    /// The slot.
    pub slot: SlotId,
    /// The node.
    pub node: NodeId,
    /// Address of the incarnation to come.
    pub actor: ActorId,
}

/// A change of the registry. Time and fresh ids are fields that the leader stamps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A convention is founded.
    Found {
        /// Its id.
        convention: ConventionId,
        /// Feature level of the founder.
        feature_level: u32,
        /// When.
        stamp: Stamp,
    },
    /// A member's agent has started (again): its Director actors of the run before are gone.
    MemberStarted {
        /// The member.
        node: NodeId,
        /// Its name.
        name: String,
        /// Where it can be reached.
        address: String,
        /// Its run.
        incarnation: Incarnation,
        /// Its capabilities, a dictionary literal.
        capabilities: String,
        /// When.
        stamp: Stamp,
    },
    /// A member stops in order.
    MemberStopped {
        /// The member.
        node: NodeId,
        /// When.
        stamp: Stamp,
    },
    /// A verified, held, preflighted source is loaded and its rollout begins.
    Load {
        /// Idempotency id.
        request: RequestId,
        /// The source.
        hash: SourceHash,
        /// Its group.
        group: String,
        /// Its version.
        version: Option<String>,
        /// Bytes of the package.
        bytes: u64,
        /// The group's definition.
        definition: GroupDefinition,
        /// Its actors.
        placements: Vec<Placement>,
        /// Who asked.
        by: String,
        /// When.
        stamp: Stamp,
    },
    /// A group goes back to another loaded source (`rollback`), or its active one is unloaded.
    Leave {
        /// Idempotency id.
        request: RequestId,
        /// The group.
        group: String,
        /// The source to leave; must be active.
        from: SourceHash,
        /// [`RolloutKind::Rollback`] or [`RolloutKind::Unload`].
        kind: RolloutKind,
        /// Addresses for the actors of the next source that must be created again.
        replacements: Vec<Replacement>,
        /// `unload --now`.
        now: bool,
        /// Who asked.
        by: String,
        /// When.
        stamp: Stamp,
    },
    /// A rollout's actors all stand: hold the group.
    Hold {
        /// The rollout.
        rollout: RolloutId,
        /// When.
        stamp: Stamp,
    },
    /// Everything before the hold is flushed: the new source is active from here.
    Switch {
        /// The rollout.
        rollout: RolloutId,
        /// When.
        stamp: Stamp,
    },
    /// Every node has applied the switch, or the revert: the rollout is over.
    Finish {
        /// The rollout.
        rollout: RolloutId,
        /// When.
        stamp: Stamp,
    },
    /// The rollout cannot go on. In Construct: it ends and its source is forgotten; in Hold: it
    /// reverts and its source stays loaded.
    Abort {
        /// The rollout.
        rollout: RolloutId,
        /// Why.
        reason: String,
        /// When.
        stamp: Stamp,
    },
    /// A source that is not active leaves: it drains.
    Drain {
        /// Idempotency id.
        request: RequestId,
        /// The source.
        hash: SourceHash,
        /// `unload --now`.
        now: bool,
        /// Who asked.
        by: String,
        /// When.
        stamp: Stamp,
    },
    /// A draining source has no actors left: it is forgotten.
    Forget {
        /// The source.
        hash: SourceHash,
        /// When.
        stamp: Stamp,
    },
    /// A Director actor outside of a rollout starts (again) under a new address.
    Start {
        /// Where.
        replacement: Replacement,
        /// When.
        stamp: Stamp,
    },
    /// That actor stands and got its OnLoad.
    Started {
        /// The slot.
        slot: SlotId,
        /// The incarnation; a stale one changes nothing.
        actor: ActorId,
        /// When.
        stamp: Stamp,
    },
    /// A Director actor has ended.
    Ended {
        /// The slot.
        slot: SlotId,
        /// The incarnation; a stale one changes nothing.
        actor: ActorId,
        /// Why.
        reason: String,
        /// When.
        stamp: Stamp,
    },
    /// An actor of a definition that is placed on each eligible member gets a slot on one more.
    Extend {
        /// The source; it must be active.
        hash: SourceHash,
        /// The actor.
        placement: Placement,
        /// When.
        stamp: Stamp,
    },
    /// What a backup knows of a group besides its sources comes back.
    Remember {
        /// The group.
        group: String,
        /// Its history, put before what has happened since.
        history: Vec<HistoryEntry>,
        /// Sources that a rollback had left.
        withdrawn: BTreeSet<SourceHash>,
        /// When.
        stamp: Stamp,
    },
    /// The membership changes.
    Member(MemberCommand),
    /// A step of an order that was given at some node: done once for its id, whoever leads.
    Ordered {
        /// Idempotency id of the order, or of this step of it.
        request: RequestId,
        /// What the order answers with this step, a line each: so a repeat of it as well.
        told: Vec<String>,
        /// What changes.
        change: Change,
        /// When.
        stamp: Stamp,
    },
    /// A Director actor has no place: its member is drained, or no member can run it now.
    Displace {
        /// The slot.
        slot: SlotId,
        /// The incarnation; a stale one changes nothing.
        actor: ActorId,
        /// Why.
        reason: String,
        /// When.
        stamp: Stamp,
    },
}

/// What a step of an order changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The membership.
    Member(MemberCommand),
    /// An operator stops a slot, or lets it start again.
    Operate {
        /// The slot.
        slot: SlotId,
        /// True: stop; false: resume.
        stop: bool,
    },
    /// A Director actor ends for a restart, as by [`Command::Ended`].
    Rest {
        /// The slot.
        slot: SlotId,
        /// The incarnation; a stale one changes nothing.
        actor: ActorId,
        /// Its slot starts nothing by itself before this.
        until: Stamp,
    },
}

/// A request already carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// When; expired by the stamps of later commands.
    pub stamp: Stamp,
    /// What came of it.
    pub outcome: Outcome,
    /// What it answered besides, a line each.
    pub told: Vec<String>,
}

impl Command {
    /// What it changes in the membership, however it came.
    #[must_use]
    pub fn member_mut(&mut self) -> Option<&mut MemberCommand> {
        match self {
            Self::Member(command)
            | Self::Ordered {
                change: Change::Member(command),
                ..
            } => Some(command),
            _ => None,
        }
    }
}

impl Source {
    /// The definition's entry for a slot.
    #[must_use]
    pub fn actor(&self, slot: &Slot) -> Option<&ActorDefinition> {
        self.definition.actors.get(slot.position as usize)
    }
}
