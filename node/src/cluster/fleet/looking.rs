//! The preflight of a convention: one member of each kind of Python imports a source and says
//! which capabilities each class fits; the registry's part is compared here.

use std::collections::{BTreeMap, BTreeSet};

use protocol::control::{ActorFailure, FailureCode, PreparedClass};
use protocol::definition::{ActorDefinition, Placement};
use protocol::peer::{Step, StepOutcome};
use protocol::{GroupDefinition, NodeId, SourceHash};
use tokio::task::JoinSet;

use super::{ClusterFleet, StepFault};
use crate::cluster::lease::FORMER_LEADER;
use crate::cluster::placement;
use crate::cluster::steps::failure;
use leader::reconcile::Preflight;

/// Sets of capabilities that are looked at with one request.
const SETS_AT_ONCE: usize = 256;

/// Members that have to hold a package before an actor of which there is one is placed.
const VERIFIED_WANTED: usize = 2;

/// A member that is looked at: itself and its capabilities.
type Looked = (NodeId, String);

/// What one kind of Python says: its classes, and what each set of capabilities fits.
#[derive(Debug, Default)]
struct Finding {
    classes: Vec<PreparedClass>,
    notes: Vec<String>,
    fits: BTreeMap<String, Vec<bool>>,
}

impl ClusterFleet {
    /// Looks at a definition's classes and says where each may run.
    pub(super) async fn look(
        &self,
        source: SourceHash,
        group: &str,
        definition: &GroupDefinition,
        origin: Option<NodeId>,
    ) -> Result<Preflight, ActorFailure> {
        let bytes = self.bytes_of(source)?;
        let present = self.present().await;
        let kinds = self.kinds(origin, &present);
        let good = self
            .findings(kinds, source, bytes, group, definition)
            .await?;
        let placed = self.placed(source, bytes, definition, good, &present);
        Ok(placed.await)
    }

    fn bytes_of(&self, source: SourceHash) -> Result<u64, ActorFailure> {
        let bytes = self.node.store.length(source);
        bytes.or_else(|| self.known_bytes(source)).ok_or_else(|| {
            let message = format!("package {} is not held by the leader", source.short());
            failure(message)
        })
    }

    /// What each kind of Python says of a definition's classes; at least one has to.
    async fn findings(
        &self,
        kinds: Vec<Vec<Looked>>,
        source: SourceHash,
        bytes: u64,
        group: &str,
        definition: &GroupDefinition,
    ) -> Result<Vec<(Vec<Looked>, Finding)>, ActorFailure> {
        if kinds.is_empty() {
            return Err(nowhere("no member that is up takes actors now".to_owned()));
        }
        let mut looking = JoinSet::new();
        for (place, kind) in kinds.iter().enumerate() {
            let (fleet, group) = (self.clone(), group.to_owned());
            let (kind, definition) = (kind.clone(), definition.clone());
            looking.spawn(async move {
                let found = fleet.look_with(&kind, source, bytes, &group, &definition);
                (place, found.await)
            });
        }
        let mut findings = BTreeMap::new();
        while let Some(joined) = looking.join_next().await {
            if let Ok((place, finding)) = joined {
                findings.insert(place, finding);
            }
        }
        let mut good = Vec::new();
        let mut first = None;
        for (place, finding) in findings {
            let kind = kinds.get(place).cloned().unwrap_or_default();
            match finding {
                Ok(finding) => good.push((kind, finding)),
                Err(fault) => {
                    first.get_or_insert(fault);
                }
            }
        }
        if good.is_empty() {
            let nobody = || failure("no member could look at the package".to_owned());
            return Err(first.unwrap_or_else(nobody));
        }
        Ok(good)
    }

    /// This node and the members that have begun a session with it. Right after its election they
    /// are given a moment for that; who is missing then may be dead, and nothing waits for it that
    /// can do without.
    pub(super) async fn present(&self) -> BTreeSet<NodeId> {
        let sessions = &self.node.membership.sessions;
        let mut begun = sessions.begun();
        let others = self.others();
        let all = async {
            // One after the other: all of them are not looked at anew for each that begins.
            for member in &others {
                while !sessions.has_begun(*member) {
                    if begun.changed().await.is_err() {
                        return;
                    }
                }
            }
        };
        if let Some(since) = self.node.mutual.leads_since() {
            let over = tokio::time::Instant::from_std(since + FORMER_LEADER);
            let _settled = tokio::time::timeout_at(over, all).await;
        }
        let begun = others.iter().filter(|it| sessions.has_begun(**it));
        begun.copied().chain([self.node.id]).collect()
    }

    /// Members that may run one actor of a loaded source.
    pub(super) async fn candidates_for(&self, source: SourceHash, position: u32) -> Vec<NodeId> {
        let Some((group, definition)) = self.one_actor(source, position) else {
            return Vec::new();
        };
        match self.look(source, &group, &definition, None).await {
            Ok(found) => found.nodes.into_iter().next().unwrap_or_default(),
            Err(failure) => {
                tracing::warn!(source = %source.short(), position, %failure, "no candidates");
                Vec::new()
            }
        }
    }

    /// Members that fit one actor of a loaded source, preferred first, whether or not they hold
    /// and trust the package by now.
    ///
    /// # Errors
    /// [`ActorFailure`] when no member could look at it.
    pub(crate) async fn fitting_members(
        &self,
        source: SourceHash,
        position: u32,
    ) -> Result<Vec<NodeId>, ActorFailure> {
        let Some((group, definition)) = self.one_actor(source, position) else {
            return Ok(Vec::new());
        };
        let bytes = self.bytes_of(source)?;
        let kinds = self.kinds(None, &self.present().await);
        let good = self.findings(kinds, source, bytes, &group, &definition);
        let good = good.await?;
        let actor = definition.actors.first();
        let fitting = actor.map(|actor| self.fitting(0, actor, &good).0);
        Ok(fitting.unwrap_or_default())
    }

    /// The group of a loaded source, and a definition of this one actor of it.
    fn one_actor(&self, source: SourceHash, position: u32) -> Option<(String, GroupDefinition)> {
        self.node.replica.read(|state| {
            let source = state.sources.get(&source)?;
            let actor = source.definition.actors.get(position as usize)?;
            let definition = GroupDefinition {
                actors: vec![actor.clone()],
                ..GroupDefinition::default()
            };
            Some((source.group.clone(), definition))
        })
    }

    fn known_bytes(&self, source: SourceHash) -> Option<u64> {
        let bytes = |state: &protocol::registry::State| Some(state.sources.get(&source)?.bytes);
        self.node.replica.read(bytes)
    }

    /// Eligible members by kind of Python, those present first, each preferred first.
    fn kinds(&self, origin: Option<NodeId>, present: &BTreeSet<NodeId>) -> Vec<Vec<Looked>> {
        let alive = self.node.mutual.holdings.alive();
        self.node.replica.read(|state| {
            let mut nodes = placement::eligible(state);
            placement::prefer(state, &mut nodes, origin, &alive);
            nodes.sort_by_key(|node| !present.contains(node));
            let capabilities = |node: NodeId| {
                let member = state.members.get(&node)?;
                Some((node, member.capabilities.clone()))
            };
            let kinds = placement::kinds(state, &nodes).into_iter();
            kinds
                .map(|kind| kind.into_iter().filter_map(capabilities).collect())
                .collect()
        })
    }

    /// Has the first member of a kind that can and trusts it look at the source.
    async fn look_with(
        &self,
        kind: &[Looked],
        source: SourceHash,
        bytes: u64,
        group: &str,
        definition: &GroupDefinition,
    ) -> Result<Finding, ActorFailure> {
        let mut reasons = Vec::new();
        let mut sets: Vec<_> = kind.iter().map(|(_, set)| set.clone()).collect();
        sets.sort_unstable();
        sets.dedup();
        for (member, _) in kind {
            let name = self.name(*member);
            let held = self.ensure_held(*member, source, bytes, None).await;
            match self.unable(*member, held) {
                None => {}
                Some(reason) => {
                    reasons.push(reason);
                    continue;
                }
            }
            match self
                .look_at(*member, source, group, definition, &sets)
                .await
            {
                Ok(finding) => return finding,
                Err(fault) => reasons.push(format!("`{name}`: {}", fault.told())),
            }
        }
        Err(failure(reasons.join("; ")))
    }

    async fn look_at(
        &self,
        member: NodeId,
        source: SourceHash,
        group: &str,
        definition: &GroupDefinition,
        sets: &[String],
    ) -> Result<Result<Finding, ActorFailure>, StepFault> {
        let mut finding = Finding::default();
        for some in sets.chunks(SETS_AT_ONCE) {
            let looked_at = if member == self.node.id {
                let (sources, sets) = (&self.node.sources, some.to_vec());
                sources
                    .look_at(&self.node, source, group, definition, sets)
                    .await
            } else {
                let step = Step::Preflight {
                    hash: source,
                    group: group.to_owned(),
                    definition: definition.clone(),
                    capability_sets: some.to_vec(),
                    holders: self.holders(source),
                };
                match self.step(member, step).await? {
                    StepOutcome::Preflight { classes, notes } => Ok((classes, notes)),
                    StepOutcome::Failed(failure) => Err(failure),
                    _ => Err(failure("an answer of another kind".to_owned())),
                }
            };
            let (classes, notes) = match looked_at {
                Ok(looked_at) => looked_at,
                Err(failure) => return Ok(Err(failure)),
            };
            for (place, set) in some.iter().enumerate() {
                let fits = classes
                    .iter()
                    .map(|class| class.fits.get(place) == Some(&true));
                finding.fits.insert(set.clone(), fits.collect());
            }
            finding.classes = classes;
            finding.notes = notes;
        }
        Ok(Ok(finding))
    }

    /// Puts what the kinds say together: the classes, and the members for each.
    async fn placed(
        &self,
        source: SourceHash,
        bytes: u64,
        definition: &GroupDefinition,
        good: Vec<(Vec<Looked>, Finding)>,
        present: &BTreeSet<NodeId>,
    ) -> Preflight {
        let mut preflight = Preflight::default();
        for (_, finding) in &good {
            for note in &finding.notes {
                if !preflight.notes.contains(note) {
                    preflight.notes.push(note.clone());
                }
            }
        }
        for (position, actor) in definition.actors.iter().enumerate() {
            let of_kinds = good.iter().filter_map(|(_, f)| f.classes.get(position));
            let failed = of_kinds.clone().find(|class| class.failure.is_some());
            let Some(mut class) = failed.or_else(|| of_kinds.clone().next()).cloned() else {
                continue;
            };
            let (fitting, reasons) = self.fitting(position, actor, &good);
            let fits = !fitting.is_empty();
            let verified = self.verified(source, bytes, actor, fitting, present);
            let (verified, unable) = verified.await;
            if class.failure.is_none() && verified.is_empty() {
                let name = &class.name;
                class.failure = Some(match fits {
                    true => failure(format!("no member can run `{name}`: {}", unable.join("; "))),
                    false => nowhere(format!("no member fits `{name}`: {}", reasons.join("; "))),
                });
            }
            preflight.classes.push(class);
            preflight.nodes.push(verified);
        }
        preflight
    }

    /// The members that fit one class, preferred first, and why the others do not.
    fn fitting(
        &self,
        position: usize,
        actor: &ActorDefinition,
        good: &[(Vec<Looked>, Finding)],
    ) -> (Vec<NodeId>, Vec<String>) {
        let (mut fitting, mut reasons) = (Vec::new(), Vec::new());
        for (kind, finding) in good {
            for (member, capabilities) in kind {
                let fits = finding.fits.get(capabilities);
                let fits = fits.and_then(|fits| fits.get(position)) == Some(&true);
                let requirements = actor.requirements.as_deref();
                let reason = match placement::missing(requirements, capabilities) {
                    Some(missing) => missing,
                    None if fits => {
                        fitting.push(*member);
                        continue;
                    }
                    None => format!(
                        "its capability check refuses the capabilities of `{}`",
                        self.name(*member)
                    ),
                };
                if !reasons.contains(&reason) && reasons.len() < REASONS_MAX {
                    reasons.push(reason);
                }
            }
        }
        (fitting, reasons)
    }

    /// Those of the fitting members that hold and trust the package: all where each is to run the
    /// actor, else as many as a choice needs; and why others do not.
    async fn verified(
        &self,
        source: SourceHash,
        bytes: u64,
        actor: &ActorDefinition,
        mut fitting: Vec<NodeId>,
        present: &BTreeSet<NodeId>,
    ) -> (Vec<NodeId>, Vec<String>) {
        let mut unable = Vec::new();
        let mut is_able = |member: NodeId, held: Result<Option<String>, String>| {
            let reason = self.unable(member, held);
            let is_able = reason.is_none();
            unable.extend(reason.filter(|_| unable.len() < REASONS_MAX));
            is_able
        };
        if actor.placement == Placement::Each {
            let mut holding = JoinSet::new();
            for member in &fitting {
                let (fleet, member) = (self.clone(), *member);
                holding.spawn(async move {
                    let held = fleet.ensure_held(member, source, bytes, None).await;
                    (member, held)
                });
            }
            let mut able = BTreeSet::new();
            while let Some(joined) = holding.join_next().await {
                let joined = joined.ok();
                able.extend(joined.and_then(|(it, held)| is_able(it, held).then_some(it)));
            }
            fitting.retain(|member| able.contains(member));
            return (fitting, unable);
        }
        let holdings = &self.node.mutual.holdings;
        let trusts = |member: NodeId| holdings.judgement(member, source) == Some(None);
        fitting.sort_by_key(|member| !present.contains(member));
        let mut verified = Vec::new();
        for member in fitting {
            let may_answer = present.contains(&member) || verified.is_empty();
            let wanted = may_answer && verified.len() < VERIFIED_WANTED;
            let trusts = match wanted && !trusts(member) {
                true => is_able(member, self.ensure_held(member, source, bytes, None).await),
                false => trusts(member),
            };
            if trusts {
                verified.push(member);
            }
        }
        (verified, unable)
    }

    /// Why a member cannot run what it was asked to hold, if it cannot.
    fn unable(&self, member: NodeId, held: Result<Option<String>, String>) -> Option<String> {
        let name = self.name(member);
        match held {
            Ok(None) => None,
            Ok(Some(distrust)) => Some(format!("`{name}` does not trust it: {distrust}")),
            Err(reason) => Some(format!("`{name}`: {reason}")),
        }
    }
}

/// Reasons told of members that do not fit.
const REASONS_MAX: usize = 8;

fn nowhere(message: String) -> ActorFailure {
    ActorFailure {
        code: FailureCode::NoCompatibleSystem,
        message,
        traceback: None,
    }
}
