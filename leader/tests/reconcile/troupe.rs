//! A fleet that does as the test says, and remembers what it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use leader::reconcile::{Construct, Fleet, Lost, Preflight, Replica, StepKey, StepName};
use protocol::control::{ActorFailure, FailureCode, PreparedClass, Reach};
use protocol::registry::{MemberState, State};
use protocol::{ActorId, GroupDefinition, Incarnation, NodeId, RequestId, SourceHash, Stamp};

use crate::memory::{Before, Memory};

/// Members that carry out every step at once, until they are cut off.
pub(crate) struct Troupe {
    memory: Arc<Memory>,
    fresh: Mutex<u64>,
    log: Mutex<Vec<String>>,
    /// Actors alive, and where.
    pub(crate) alive: Mutex<BTreeMap<ActorId, NodeId>>,
    // What members carried out already, as they remember it.
    done: Mutex<BTreeSet<StepKey>>,
    /// Actors of this class fail to stand.
    pub(crate) failing: Mutex<Option<&'static str>>,
    /// The voters lack the package before (`false`) or after its load is committed.
    pub(crate) lacking: Mutex<Option<bool>>,
    /// For each look at who holds the package: whether its load was committed.
    pub(crate) secured: Mutex<Vec<bool>>,
    /// Not every member applies what it is to.
    pub(crate) stuck: Mutex<bool>,
    /// Classes that only these members can run.
    pub(crate) only: Mutex<BTreeMap<&'static str, Vec<NodeId>>>,
    /// What happens when an actor of a class has stood, before the leader hears of it.
    pub(crate) stood: Mutex<Option<(&'static str, Before)>>,
}

impl Troupe {
    pub(crate) fn new(memory: Arc<Memory>) -> Self {
        Self {
            memory,
            fresh: Mutex::default(),
            log: Mutex::default(),
            alive: Mutex::default(),
            done: Mutex::default(),
            failing: Mutex::default(),
            lacking: Mutex::default(),
            secured: Mutex::default(),
            stuck: Mutex::default(),
            only: Mutex::default(),
            stood: Mutex::default(),
        }
    }

    /// Actors on a member are not reached any more from the next command of a kind on.
    pub(crate) fn cut_off(self: &Arc<Self>, kind: &'static str, node: u64) {
        let troupe = Arc::clone(self);
        self.memory.before(kind, move |_| {
            let mut alive = troupe.alive.lock().unwrap();
            alive.retain(|_, there| *there != NodeId(node));
        });
    }

    fn note(&self, what: String) {
        self.log.lock().unwrap().push(what);
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    fn fitting(&self, class: &str, state: &State) -> Vec<NodeId> {
        let only = self.only.lock().unwrap();
        let fits = |node: &NodeId| only.get(class).is_none_or(|nodes| nodes.contains(node));
        convention::open_members(state).filter(fits).collect()
    }

    fn is_up(&self, node: NodeId) -> bool {
        let up = |state: &State| {
            let member = state.members.get(&node);
            member.is_some_and(|member| member.state == MemberState::Up)
        };
        self.memory.read(up)
    }

    fn lives(&self, node: NodeId, actor: ActorId) -> Result<(), Lost> {
        let there = self.alive.lock().unwrap().get(&actor) == Some(&node);
        (there && self.is_up(node))
            .then_some(())
            .ok_or(Lost { actor })
    }
}

fn failure(code: FailureCode, message: &str) -> ActorFailure {
    ActorFailure {
        code,
        message: message.to_owned(),
        traceback: Some("Traceback".to_owned()),
    }
}

impl Fleet for Troupe {
    async fn hold(
        &self,
        _source: SourceHash,
        _bytes: u64,
        _reach: Reach,
        _request: RequestId,
        _origin: NodeId,
    ) -> Result<Vec<String>, ActorFailure> {
        Ok(Vec::new())
    }

    async fn secure(&self, source: SourceHash, _bytes: u64) -> Result<(), ActorFailure> {
        let loaded = self
            .memory
            .read(|state| state.sources.contains_key(&source));
        let lacking = *self.lacking.lock().unwrap();
        self.secured.lock().unwrap().push(loaded);
        if lacking == Some(loaded) {
            return Err(failure(FailureCode::Failure, "only 1 of 3 voters holds it"));
        }
        Ok(())
    }

    async fn candidates(&self, source: SourceHash, position: u32) -> Vec<NodeId> {
        self.memory.read(|state| {
            let definition = &state.sources[&source].definition;
            self.fitting(&definition.actors[position as usize].class, state)
        })
    }

    async fn preflight(
        &self,
        _source: SourceHash,
        _group: &str,
        definition: &GroupDefinition,
        _origin: NodeId,
    ) -> Result<Preflight, ActorFailure> {
        let nodes = |class: &str| self.memory.read(|state| self.fitting(class, state));
        let classes = definition.actors.iter().map(|actor| PreparedClass {
            name: actor.class.clone(),
            class: Some(actor.class.clone()),
            failure: nodes(&actor.class)
                .is_empty()
                .then(|| failure(FailureCode::NoCompatibleSystem, "no member fits")),
            fits: vec![true],
        });
        let actors = definition.actors.iter();
        Ok(Preflight {
            classes: classes.collect(),
            nodes: actors.map(|actor| nodes(&actor.class)).collect(),
            notes: Vec::new(),
        })
    }

    async fn construct(&self, order: &Construct) -> Result<(), ActorFailure> {
        if *self.failing.lock().unwrap() == Some(order.class.as_str()) {
            return Err(failure(FailureCode::ConstructorFailed, "it raised"));
        }
        if self.alive.lock().unwrap().contains_key(&order.actor) {
            return Ok(());
        }
        self.note(format!("construct {}", order.class));
        let mut stood = self.stood.lock().unwrap();
        if stood
            .as_ref()
            .is_some_and(|(class, _)| *class == order.class)
            && let Some((_, then)) = stood.take()
        {
            then(&mut self.memory.registry.lock().unwrap());
            self.memory.applied.send_modify(|index| *index += 1);
        }
        if !self.is_up(order.node) {
            return Err(failure(FailureCode::ProcessDied, "its member is lost"));
        }
        self.alive.lock().unwrap().insert(order.actor, order.node);
        Ok(())
    }

    async fn discard(&self, _node: NodeId, actor: ActorId) {
        self.alive.lock().unwrap().remove(&actor);
        self.note(format!("discard {}", actor.0[15]));
    }

    async fn applied(&self, _index: u64) {
        if *self.stuck.lock().unwrap() {
            std::future::pending().await
        }
    }

    async fn deliver(&self, node: NodeId, mut key: StepKey, literal: &str) -> Result<(), Lost> {
        self.lives(node, key.actor)?;
        if key.step == StepName::OnLoad {
            key.rollout = None;
        }
        if self.done.lock().unwrap().insert(key) {
            self.note(format!("deliver {:?} {literal}", key.step));
        }
        Ok(())
    }

    async fn flush(&self, node: NodeId, actor: ActorId) -> Result<(), Lost> {
        self.lives(node, actor)
    }

    async fn drain(&self, _source: SourceHash, now: bool) {
        self.note(format!("drain now={now}"));
    }

    async fn end(&self, _node: NodeId, actor: ActorId) {
        // The actor of a crash has ended already.
        if self.alive.lock().unwrap().remove(&actor).is_none() {
            return;
        }
        let standings = self
            .memory
            .read(|state| convention::role_standings(state, None));
        let standings: Vec<_> = standings.into_values().map(|role| role.standing).collect();
        self.note(format!("end {} while {standings:?}", actor.0[15]));
    }

    fn fresh_actor(&self) -> ActorId {
        let mut fresh = self.fresh.lock().unwrap();
        *fresh += 1;
        ActorId::allot(Incarnation(9), *fresh)
    }

    fn stamp(&self) -> Stamp {
        Stamp(1_000)
    }
}
