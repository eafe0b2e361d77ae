//! A registry in memory and a fleet that does as the test says, and remembers what it was told.

use std::sync::{Arc, Mutex};

use convention::Registry;
use leader::reconcile::{
    Construct, Director, Fleet, LoadOrder, Lost, Preflight, ProposeFailure, Reconciler, Replica,
    StepKey,
};
use protocol::control::{ActorFailure, FailureCode, PreparedClass, Reach};
use protocol::definition::ActorDefinition;
use protocol::registry::{Command, Outcome, SlotState, State};
use protocol::{
    ActorId, GroupDefinition, Incarnation, NodeId, RequestId, SlotId, SourceHash, Stamp,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

type Before = Box<dyn FnOnce(&mut Registry) + Send>;

/// A registry that commits at once.
pub(crate) struct Memory {
    registry: Mutex<Registry>,
    applied: watch::Sender<u64>,
    // What happens right before the next command of a kind is applied.
    before: Mutex<Option<(&'static str, Before)>>,
}

impl Memory {
    pub(crate) fn before(
        &self,
        kind: &'static str,
        then: impl FnOnce(&mut Registry) + Send + 'static,
    ) {
        *self.before.lock().unwrap() = Some((kind, Box::new(then)));
    }
}

impl Replica for Memory {
    async fn propose(&self, command: Command) -> Result<(u64, Outcome), ProposeFailure> {
        tokio::task::yield_now().await;
        let mut registry = self.registry.lock().unwrap();
        let mut before = self.before.lock().unwrap();
        if before
            .as_ref()
            .is_some_and(|(kind, _)| format!("{command:?}").starts_with(kind))
            && let Some((_, then)) = before.take()
        {
            then(&mut registry);
        }
        let outcome = registry.apply(&command);
        drop(registry);
        self.applied.send_modify(|index| *index += 1);
        Ok((*self.applied.borrow(), outcome))
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(self.registry.lock().unwrap().state())
    }

    fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    fn leads(&self) -> bool {
        true
    }

    async fn confirm(&self) -> Result<(), ProposeFailure> {
        Ok(())
    }
}

/// A fleet of one node.
pub(crate) struct Troupe {
    memory: Arc<Memory>,
    fresh: Mutex<u64>,
    log: Mutex<Vec<String>>,
    /// Actors of this class fail to stand.
    pub(crate) failing: Mutex<Option<&'static str>>,
    /// What happens when an actor of a class has stood, before the leader hears of it.
    pub(crate) stood: Mutex<Option<(&'static str, Before)>>,
}

impl Troupe {
    fn note(&self, what: String) {
        self.log.lock().unwrap().push(what);
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
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

    async fn candidates(&self, _source: SourceHash, _position: u32) -> Vec<NodeId> {
        vec![NodeId(1)]
    }

    async fn preflight(
        &self,
        _source: SourceHash,
        _group: &str,
        definition: &GroupDefinition,
        _origin: NodeId,
    ) -> Result<Preflight, ActorFailure> {
        let classes = definition.actors.iter().map(|actor| PreparedClass {
            name: actor.class.clone(),
            class: Some(actor.class.clone()),
            failure: None,
            fits: vec![true],
        });
        let nodes = definition.actors.iter().map(|_| vec![NodeId(1)]).collect();
        Ok(Preflight {
            classes: classes.collect(),
            nodes,
            notes: Vec::new(),
        })
    }

    async fn construct(&self, order: &Construct) -> Result<(), ActorFailure> {
        if *self.failing.lock().unwrap() == Some(order.class.as_str()) {
            return Err(ActorFailure {
                code: FailureCode::ConstructorFailed,
                message: "it raised".to_owned(),
                traceback: Some("Traceback".to_owned()),
            });
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
        Ok(())
    }

    async fn discard(&self, _node: NodeId, actor: ActorId) {
        self.note(format!("discard {}", actor.0[15]));
    }

    async fn applied(&self, _index: u64) {}

    async fn deliver(&self, _node: NodeId, key: StepKey, literal: &str) -> Result<(), Lost> {
        self.note(format!("deliver {:?} {literal}", key.step));
        Ok(())
    }

    async fn flush(&self, _node: NodeId, _actor: ActorId) -> Result<(), Lost> {
        Ok(())
    }

    async fn drain(&self, _source: SourceHash, now: bool) {
        self.note(format!("drain now={now}"));
    }

    async fn end(&self, _node: NodeId, actor: ActorId) {
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

/// The leader's side over both.
pub(crate) struct Stage {
    pub(crate) memory: Arc<Memory>,
    pub(crate) troupe: Arc<Troupe>,
    pub(crate) director: Director<Memory, Troupe>,
    stop: CancellationToken,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let memory = Arc::new(Memory {
            registry: Mutex::default(),
            applied: watch::Sender::new(0),
            before: Mutex::default(),
        });
        let troupe = Arc::new(Troupe {
            memory: Arc::clone(&memory),
            fresh: Mutex::default(),
            log: Mutex::default(),
            failing: Mutex::default(),
            stood: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let hold = std::time::Duration::from_secs(30);
        let reconciler = Reconciler::new(Arc::clone(&memory), Arc::clone(&troupe), hold);
        tokio::spawn(reconciler.run(stop.clone()));
        let director = Director::new(Arc::clone(&memory), Arc::clone(&troupe));
        Self {
            memory,
            troupe,
            director,
            stop,
        }
    }

    /// The first slot whose class is this, with its state.
    pub(crate) fn slot(&self, class: &str) -> (SlotId, SlotState) {
        self.memory.read(|state| {
            let mut slots = state.slots.iter();
            let (id, slot) = slots.find(|(_, slot)| slot.class == class).unwrap();
            (*id, slot.state.clone())
        })
    }

    /// Waits until something holds of the registry.
    pub(crate) async fn until(&self, holds: impl Fn(&State) -> bool) {
        let mut applied = self.memory.applied();
        let waiting = async {
            while !self.memory.read(&holds) {
                applied.changed().await.unwrap();
            }
        };
        let limit = std::time::Duration::from_secs(10);
        tokio::time::timeout(limit, waiting).await.unwrap();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn request() -> RequestId {
    static LAST: Mutex<u128> = Mutex::new(0);
    let mut last = LAST.lock().unwrap();
    *last += 1;
    RequestId(last.to_be_bytes())
}

pub(crate) fn hash(version: &str) -> SourceHash {
    SourceHash::of(version.as_bytes())
}

/// A load of group `foo`: the first class plays `Main`.
pub(crate) fn order(version: &str, classes: &[&str]) -> LoadOrder {
    let mut definition = GroupDefinition::default();
    for (position, class) in classes.iter().enumerate() {
        definition.actors.push(ActorDefinition {
            class: (*class).to_owned(),
            role: (position == 0).then(|| "Main".to_owned()),
            on_load: Some("'loaded'".to_owned()),
            ..ActorDefinition::default()
        });
    }
    LoadOrder {
        request: request(),
        hash: hash(version),
        group: "foo".to_owned(),
        version: Some(version.to_owned()),
        bytes: 1,
        definition,
        by: "a test".to_owned(),
        origin: NodeId(1),
        reach: Reach::OnDemand,
        no_wait: false,
        upwards_only: false,
    }
}
