//! Actors created on other members than their creator's, because they fit there and not here.
//!
//! Local first: an actor stays where its creator is unless the class's check, its requirements or
//! trust say no, or the node is drained. Else the least loaded member that fits gets it, under the
//! address that the creator's node allotted; whether a class fits is asked of a forkserver here,
//! never of user code in the agent. The parent hears of a failure or an end once: of the last
//! attempt here, of the end from the other node's router, or of that node's loss.

use std::collections::BTreeSet;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::control::{ActorFailure, FailureCode, Origin};
use protocol::definition::{ActorDefinition, Preload};
use protocol::peer::{Creation, PeerRequest, PeerResponse};
use protocol::registry::{MemberState, State};
use protocol::view::Wish;
use protocol::wire::{Refusal, RefusalCode};
use protocol::{ActorId, GroupDefinition, NodeId, SourceHash};

use super::mutual::Mutual;
use super::peers::PeerFault;
use super::{placement, programs};
use crate::agent::actors::Birth;
use crate::agent::node::Node;

/// How long a member may take for one attempt to create an actor.
const ATTEMPT: Duration = Duration::from_secs(60);

/// Between two attempts at a member of which nothing is known.
const AGAIN: Duration = Duration::from_millis(200);

/// Answers remembered.
const FITS_KEPT: usize = 4_096;

/// Actors created elsewhere that are remembered.
const ELSEWHERE_KEPT: usize = 65_536;

/// Outcomes of creations that are remembered: many more than are under way at once.
const BORN_KEPT: usize = 4_096;

/// Members that are tried.
const TRIED_MAX: usize = 5;

type Asked = (SourceHash, String, Option<String>);

/// Which classes fit which capabilities, and where actors went.
#[derive(Debug, Default)]
pub(crate) struct Fits {
    // Held for look-ups and insertions only.
    known: Mutex<HashMap<Asked, HashMap<String, bool>>>,
    elsewhere: Mutex<HashMap<ActorId, NodeId>>,
    born: Mutex<Born>,
}

/// What became of actors that were created here for members: a request that comes again, as its
/// answer got lost, gets the same answer, and nobody lives twice.
#[derive(Debug, Default)]
struct Born {
    known: HashMap<ActorId, Result<(), ActorFailure>>,
    oldest_first: VecDeque<ActorId>,
}

impl Born {
    fn insert(&mut self, actor: ActorId, became: Result<(), ActorFailure>) {
        if self.known.insert(actor, became).is_none() {
            self.oldest_first.push_back(actor);
        }
        if self.oldest_first.len() > BORN_KEPT
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

impl Mutual {
    fn born(&self) -> MutexGuard<'_, Born> {
        let born = self.fits.born.lock();
        born.unwrap_or_else(PoisonError::into_inner)
    }

    /// The member that an actor was created on from here.
    pub(crate) fn elsewhere(&self, actor: ActorId) -> Option<NodeId> {
        let elsewhere = self.fits.elsewhere.lock();
        let elsewhere = elsewhere.unwrap_or_else(PoisonError::into_inner);
        elsewhere.get(&actor).copied()
    }
}

/// Where an actor is to be started.
pub(crate) enum Place {
    /// On this node.
    Here,
    /// On the first of these members that takes it.
    There(Vec<NodeId>),
    /// No member fits.
    Nowhere(ActorFailure),
}

/// Decides where an announced actor is to be started.
pub(crate) async fn place(node: &Arc<Node>, birth: &Birth) -> Place {
    let Origin::Source(source) = birth.origin else {
        return programs::place(node, birth).await;
    };
    let about = node.replica.read(|state| {
        let known = state.sources.get(&source)?;
        let one = one_class(&known.definition, &birth.class, birth.requirements.clone());
        Some((known.group.clone(), one, others(state, node)))
    });
    let Some((group, definition, others)) = about else {
        return programs::place(node, birth).await;
    };
    let partial = node.replica.is_partial();
    if others.is_empty() && !partial {
        return Place::Here;
    }
    let own = node.capabilities();
    let drained = node.replica.read(|state| {
        let member = state.members.get(&node.id);
        member.is_some_and(|member| member.admission.drained)
    });
    let asked = (source, birth.class.clone(), birth.requirements.clone());
    let here = fits(node, &asked, &group, &definition, &[own]).await;
    match &here {
        Ok(fits) if fits.first() == Some(&true) && !drained => return Place::Here,
        // What is wrong with the class is wrong everywhere.
        Err(failure) if is_of_the_class(failure) => return Place::Here,
        _ => {}
    }
    let others = match partial && node.replica.want(Wish::Members).await.is_ok() {
        true => node.replica.read(|state| self::others(state, node)),
        false => others,
    };
    let sets: Vec<_> = others.iter().map(|(_, set)| set.clone()).collect();
    let fitting: Vec<NodeId> = match fits(node, &asked, &group, &definition, &sets).await {
        Ok(fits) => {
            let fitting = others.iter().zip(fits).filter(|(_, fits)| *fits);
            fitting.map(|((id, _), _)| *id).collect()
        }
        // Not trusted or not there on this node: the others find out for themselves.
        Err(_) => others.iter().map(|(id, _)| *id).collect(),
    };
    if fitting.is_empty() {
        if drained && here.is_ok_and(|fits| fits.first() == Some(&true)) {
            return Place::Here;
        }
        let message = format!(
            "no compatible system: no member's capabilities pass the check of `{}`",
            birth.class
        );
        return Place::Nowhere(ActorFailure {
            code: FailureCode::NoCompatibleSystem,
            message,
            traceback: None,
        });
    }
    Place::There(fitting)
}

/// Members that could take an actor, preferred first, with their capabilities.
pub(super) fn others(state: &State, node: &Node) -> Vec<(NodeId, String)> {
    let mut nodes = placement::eligible(state);
    nodes.retain(|id| *id != node.id);
    placement::prefer(state, &mut nodes, None, &node.mutual.holdings.alive());
    let capabilities = |id: NodeId| Some((id, state.members.get(&id)?.capabilities.clone()));
    nodes.into_iter().filter_map(capabilities).collect()
}

/// Whether each set of capabilities fits; asked of a forkserver once.
async fn fits(
    node: &Arc<Node>,
    asked: &Asked,
    group: &str,
    definition: &GroupDefinition,
    sets: &[String],
) -> Result<Vec<bool>, ActorFailure> {
    let known = |set: &String| {
        let known = node.mutual.fits.known.lock();
        let known = known.unwrap_or_else(PoisonError::into_inner);
        known.get(asked)?.get(set).copied()
    };
    let mut missing: Vec<_> = sets
        .iter()
        .filter(|set| known(set).is_none())
        .cloned()
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if !missing.is_empty() {
        node.bring_code(asked.0).await?;
        let looked_at = node
            .sources
            .look_at(node, asked.0, group, definition, missing.clone());
        let (classes, _) = looked_at.await?;
        let class = classes.into_iter().next();
        if let Some(failure) = class.as_ref().and_then(|class| class.failure.clone()) {
            return Err(failure);
        }
        let found = class.map(|class| class.fits).unwrap_or_default();
        let known = node.mutual.fits.known.lock();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        if known.len() >= FITS_KEPT {
            known.clear();
        }
        let of_class = known.entry(asked.clone()).or_default();
        if of_class.len() >= FITS_KEPT {
            of_class.clear();
        }
        of_class.extend(missing.into_iter().zip(found));
    }
    Ok(sets.iter().map(|set| known(set) == Some(true)).collect())
}

fn is_of_the_class(failure: &ActorFailure) -> bool {
    matches!(
        failure.code,
        FailureCode::ImportError | FailureCode::InvalidSpecification
    )
}

pub(super) fn one_class(
    definition: &GroupDefinition,
    class: &str,
    requirements: Option<String>,
) -> GroupDefinition {
    let each_for_itself = definition
        .actors
        .iter()
        .any(|actor| actor.preload == Preload::PerActor);
    let actor = ActorDefinition {
        class: class.to_owned(),
        requirements,
        preload: if each_for_itself {
            Preload::PerActor
        } else {
            Preload::Once
        },
        ..ActorDefinition::default()
    };
    GroupDefinition {
        actors: vec![actor],
        ..GroupDefinition::default()
    }
}

/// Has one of these members start an actor that was announced here; answers its address, which is
/// another's if that member knows one by the same name.
///
/// # Errors
/// [`ActorFailure`] of the last member; the caller settles the announcement.
pub(crate) async fn send(
    node: &Arc<Node>,
    birth: &Birth,
    members: &[NodeId],
) -> Result<ActorId, ActorFailure> {
    let mut creation = Creation {
        actor: birth.actor,
        parent: birth.parent,
        origin: birth.origin.clone(),
        class: birth.class.clone(),
        global_name: birth.global_name.clone(),
        requirements: birth.requirements.clone(),
        proof: None,
    };
    let mut last = None;
    for member in members.iter().take(TRIED_MAX) {
        if is_of_program(node, &birth.origin) {
            creation.proof = programs::proof(node, *member, &creation);
        }
        let request = PeerRequest::Create(creation.clone());
        match at(node, *member, &request).await {
            Ok(None) => {
                moved(node, birth, *member).await;
                return Ok(birth.actor);
            }
            Ok(Some(existing)) => {
                node.withdraw(birth);
                return Ok(existing);
            }
            Err(failure) if may_fit_elsewhere(&failure) => last = Some(failure),
            Err(failure) => return Err(failure),
        }
    }
    Err(last.unwrap_or_else(|| unreachable("no member was tried")))
}

/// Asks one member until it is known whether the actor stands there, or the member is gone. Answers
/// the one that has its name there already, if so.
async fn at(
    node: &Arc<Node>,
    member: NodeId,
    request: &PeerRequest,
) -> Result<Option<ActorId>, ActorFailure> {
    let up = |state: &State| {
        let known = state.members.get(&member)?;
        (known.state == MemberState::Up).then_some(known.incarnation)
    };
    let incarnation = node.replica.read(up);
    loop {
        match node.membership.peers.ask(member, request, ATTEMPT).await {
            Ok(PeerResponse::Created(created)) => return created.map(|_node| None),
            Ok(PeerResponse::Existing(actor)) => return Ok(Some(actor)),
            Ok(_) => return Err(unreachable("an answer of another kind")),
            Err(PeerFault::Unknown { reason }) => {
                if incarnation.is_none() || node.replica.read(up) != incarnation {
                    return Err(unreachable(&reason));
                }
            }
            Err(fault) => return Err(unreachable(&fault.to_string())),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// The actor stands on another member: the router learns so, and that it may be gone already.
async fn moved(node: &Arc<Node>, birth: &Birth, member: NodeId) {
    let actor = birth.actor;
    {
        let elsewhere = node.mutual.fits.elsewhere.lock();
        let mut elsewhere = elsewhere.unwrap_or_else(PoisonError::into_inner);
        // Others are asked about those that are forgotten.
        if elsewhere.len() >= ELSEWHERE_KEPT {
            elsewhere.clear();
        }
        elsewhere.insert(actor, member);
    }
    node.router
        .expect_remote(birth.record(String::new()), member);
    node.actors.gone_elsewhere(actor);
    // It may have ended before the router here would have heard of it.
    let request = PeerRequest::Locate { actor };
    let there = node.membership.peers.ask(member, &request, ATTEMPT).await;
    if let Ok(PeerResponse::Located { node: None }) = there {
        node.router.ended(actor, "it ended right after its start");
    }
}

/// Starts an actor that another member's node allotted.
///
/// # Errors
/// [`Refusal`]: this node stops.
pub(crate) async fn answer(
    node: &Arc<Node>,
    from: NodeId,
    creation: Creation,
) -> Result<PeerResponse, Refusal> {
    let actor = creation.actor;
    if let Origin::Source(hash) = &creation.origin {
        let _not_told = node.replica.want(Wish::Source(*hash)).await;
    }
    // A node with a Director directory judges sources by its own keys, whoever sends them.
    let by_keys = matches!(creation.origin, Origin::Source(_)) && !node.directory.is_private();
    if is_of_program(node, &creation.origin) && !by_keys {
        programs::admit(node, &creation)?;
    }
    if let Some(became) = node.mutual.born().known.get(&actor).cloned() {
        return Ok(PeerResponse::Created(became.map(|()| node.id)));
    }
    let name = creation.global_name.as_deref();
    let existing = name.and_then(|name| node.actors.named(name));
    // This very one, if the request comes again while it is under way.
    if let Some(existing) = existing.filter(|existing| *existing != actor) {
        return Ok(PeerResponse::Existing(existing));
    }
    let birth = Birth {
        actor,
        parent: creation.parent,
        origin: creation.origin,
        class: creation.class,
        global_name: creation.global_name,
        requirements: creation.requirements,
        slot: None,
    };
    tracing::info!(%from, %actor, class = birth.class, "an actor is created here for a member");
    // A task of its own: an asker that goes away does not leave half an actor behind.
    let (node, tracker) = (Arc::clone(node), node.tasks.clone());
    let born = tracker.spawn(async move {
        let shutdown = node.shutdown.clone();
        let born = shutdown.run_until_cancelled(bear(&node, from, birth)).await;
        (node.id, born)
    });
    match born.await {
        Ok((id, Some(born))) => Ok(PeerResponse::Created(born.map(|()| id))),
        Ok((_, None)) => Err(Refusal::new(RefusalCode::Stopping, "this node stops")),
        Err(error) => Err(Refusal::new(RefusalCode::BadRequest, error.to_string())),
    }
}

async fn bear(node: &Arc<Node>, from: NodeId, birth: Birth) -> Result<(), ActorFailure> {
    let actor = birth.actor;
    let became = bear_once(node, from, birth).await;
    node.mutual.born().insert(actor, became.clone());
    became
}

async fn bear_once(node: &Arc<Node>, from: NodeId, birth: Birth) -> Result<(), ActorFailure> {
    // Before the router knows of it: its creator decides what becomes of a failure.
    match &birth.origin {
        Origin::Source(hash) if is_of_program(node, &birth.origin) => {
            node.take_over(from, *hash).await?;
        }
        Origin::Source(hash) => node.bring_code(*hash).await?,
        Origin::Client(_) => {}
    }
    node.give_birth(birth).await
}

/// Whether the code is a program's own, or was loaded by an application: not the registry's.
fn is_of_program(node: &Node, origin: &Origin) -> bool {
    match origin {
        Origin::Client(_) => true,
        Origin::Source(hash) => !node.replica.read(|state| state.sources.contains_key(hash)),
    }
}

fn may_fit_elsewhere(failure: &ActorFailure) -> bool {
    matches!(
        failure.code,
        FailureCode::NoCompatibleSystem | FailureCode::InvalidSourceHash | FailureCode::Failure
    )
}

fn unreachable(reason: &str) -> ActorFailure {
    ActorFailure {
        code: FailureCode::NoCompatibleSystem,
        message: format!("the member that fits cannot be reached: {reason}"),
        traceback: None,
    }
}

impl Node {
    /// Gets the package of a loaded source from other members unless it is here; fails where it
    /// is not trusted.
    pub(crate) async fn bring_code(&self, source: SourceHash) -> Result<(), ActorFailure> {
        // Before the registry is held, of which they may be a part.
        let voters = self.replica.voters();
        let known = self.replica.read(|state| {
            let bytes = state.sources.get(&source)?.bytes;
            Some((bytes, self.likely_holders(state, source, voters)))
        });
        let Some((bytes, holders)) = known else {
            return Ok(());
        };
        let held = self.hold_package(source, Some(bytes), &holders).await;
        let failed = |message: String| ActorFailure {
            code: FailureCode::Failure,
            message,
            traceback: None,
        };
        let held = held.map_err(|fault| failed(fault.to_string()))?;
        match held.distrust {
            None => Ok(()),
            Some(reason) => Err(failed(format!(
                "source {} is not trusted here: {reason}",
                source.short()
            ))),
        }
    }

    /// Members that should have a package: those that run it, voters, the leader.
    fn likely_holders(
        &self,
        state: &State,
        source: SourceHash,
        voters: BTreeSet<NodeId>,
    ) -> Vec<NodeId> {
        let mut holders: Vec<_> = self.mutual.holdings.holders(source);
        let slots = state.slots.values().filter(|slot| slot.source == source);
        holders.extend(slots.map(|slot| slot.node));
        holders.extend(voters);
        let leader = self.membership.registry.standing().borrow().leader.clone();
        holders.extend(leader.map(|(id, _)| id));
        let willing = state.members.iter().filter(|(_, m)| m.admission.may_vote);
        holders.extend(willing.map(|(id, _)| *id).take(HOLDERS_MAX));
        let mut seen = BTreeSet::new();
        holders.retain(|id| {
            let up = state
                .members
                .get(id)
                .is_some_and(|m| m.state == MemberState::Up);
            up && seen.insert(*id)
        });
        holders.truncate(HOLDERS_MAX);
        holders
    }
}

/// Holders that are named for one pull.
const HOLDERS_MAX: usize = 8;
