//! The actors of this node: started, waited for, ended, found by the names that they were given.
//!
//! An actor is in the table from before its process exists until its end is settled: process gone,
//! last frames read, dead letters made, parent and registry told. Each end is settled once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use convention::{Standing, role_standings};
use leader::reconcile::{Replica, StepKey, StepName};
use protocol::control::{ActorFailure, FailureCode, Origin, SystemMessage, WorkerSpec};
use protocol::registry::Command;
use protocol::{ActorId, ProgramId, RoleId, SlotId, SourceHash};
use tokio::sync::watch;

use super::node::{Node, stamp};
use crate::hosting::WorkerEnded;
use crate::router::ActorRecord;

/// How long an actor may take to construct itself.
const START_LIMIT: Duration = Duration::from_secs(50);

/// How long the last bytes of an ended process are waited for.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// Why a message to an actor that handled its exit request is a dead letter.
const EXITED: &str = "the actor has exited";

/// How long a program's next request waits for actors that it told to exit.
const EXITS_LIMIT: Duration = Duration::from_millis(500);

/// When an actor whose process is about to be forked is killed again.
const KILL_AGAIN: Duration = Duration::from_millis(100);

/// The table of a node's actors.
#[derive(Debug, Default)]
pub(crate) struct Actors {
    // Never held across an await: every use is a look-up or an insertion.
    table: Mutex<Table>,
    /// Moves with each end that is told.
    ends: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Table {
    actors: HashMap<ActorId, Actor>,
    names: BTreeMap<String, ActorId>,
}

#[derive(Debug)]
struct Actor {
    source: Option<SourceHash>,
    class: String,
    slot: Option<SlotId>,
    stage: watch::Sender<Stage>,
    connected: bool,
    disconnected: watch::Sender<bool>,
    exiting: bool,
    /// This node has asked it to exit, and asks once.
    asked_to_exit: bool,
    /// Its creator has been told of its end, although its process is not settled yet.
    told: bool,
    /// Steps that reached it; they go with it.
    steps: HashSet<StepKey>,
}

/// How far an actor is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    Starting,
    Running,
    Failed(ActorFailure),
    Ended,
}

/// An actor to be started.
#[derive(Debug, Clone)]
pub(crate) struct Birth {
    pub(crate) actor: ActorId,
    pub(crate) parent: ActorId,
    pub(crate) origin: Origin,
    pub(crate) class: String,
    pub(crate) global_name: Option<String>,
    pub(crate) requirements: Option<String>,
    pub(crate) slot: Option<SlotId>,
}

impl Birth {
    /// The actor as the router is to know it.
    pub(crate) fn record(&self, token: String) -> ActorRecord {
        let (source, program) = match &self.origin {
            Origin::Source(hash) => (Some(*hash), ProgramId::default()),
            Origin::Client(client) => (None, client.program()),
        };
        ActorRecord {
            actor: self.actor,
            token,
            parent: self.parent,
            source,
            program,
            class: self.class.clone(),
            global_name: self.global_name.clone(),
        }
    }
}

impl Actors {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The actor that has this name on this node.
    pub(crate) fn named(&self, name: &str) -> Option<ActorId> {
        self.table().names.get(name).copied()
    }

    /// The source of an actor's code, if it is one of a loaded source.
    pub(crate) fn source_of(&self, actor: ActorId) -> Option<SourceHash> {
        self.table().actors.get(&actor)?.source
    }

    /// The class of an actor, if it lives here.
    pub(crate) fn class_of(&self, actor: ActorId) -> Option<String> {
        Some(self.table().actors.get(&actor)?.class.clone())
    }

    /// All actors of a source.
    pub(crate) fn of_source(&self, source: SourceHash) -> Vec<ActorId> {
        let table = self.table();
        let of_source = table
            .actors
            .iter()
            .filter(|(_, actor)| actor.source == Some(source));
        of_source.map(|(id, _)| *id).collect()
    }

    /// All actors.
    pub(crate) fn all(&self) -> Vec<ActorId> {
        self.table().actors.keys().copied().collect()
    }

    /// The Director actors.
    pub(crate) fn slots(&self) -> Vec<(ActorId, SlotId)> {
        let table = self.table();
        let actors = table.actors.iter();
        let slots = actors.filter_map(|(id, actor)| Some((*id, actor.slot?)));
        slots.collect()
    }

    /// How far an actor is, as it moves; `None`: not in the table (any more).
    pub(crate) fn stage(&self, actor: ActorId) -> Option<watch::Receiver<Stage>> {
        Some(self.table().actors.get(&actor)?.stage.subscribe())
    }

    /// Waits until an actor stands, or is known not to. It is looked at from this call on, so that
    /// what became of it is known also where it has gone before the first look.
    pub(crate) fn stands(
        &self,
        actor: ActorId,
    ) -> impl Future<Output = Result<(), ActorFailure>> + Send + use<> {
        let stage = self.stage(actor);
        async move {
            let died = || ActorFailure {
                code: FailureCode::ProcessDied,
                message: "its process ended before it stood".to_owned(),
                traceback: None,
            };
            let mut stage = stage.ok_or_else(died)?;
            let reached = stage.wait_for(|stage| *stage != Stage::Starting).await;
            match reached.map(|stage| stage.clone()) {
                // One that has ended has stood.
                Ok(Stage::Running | Stage::Ended) => Ok(()),
                Ok(Stage::Failed(failure)) => Err(failure),
                Ok(Stage::Starting) | Err(_) => Err(died()),
            }
        }
    }

    fn insert(&self, birth: &Birth) -> bool {
        let mut table = self.table();
        if table.actors.contains_key(&birth.actor) {
            return false;
        }
        if let Some(name) = birth.global_name.as_ref().filter(|_| birth.slot.is_none()) {
            table.names.entry(name.clone()).or_insert(birth.actor);
        }
        let source = match &birth.origin {
            Origin::Source(hash) => Some(*hash),
            Origin::Client(_) => None,
        };
        let actor = Actor {
            source,
            class: birth.class.clone(),
            slot: birth.slot,
            stage: watch::Sender::new(Stage::Starting),
            connected: false,
            disconnected: watch::Sender::new(false),
            exiting: false,
            asked_to_exit: false,
            told: false,
            steps: HashSet::new(),
        };
        table.actors.insert(birth.actor, actor);
        true
    }

    fn remove(&self, id: ActorId) -> Option<Actor> {
        let mut table = self.table();
        let actor = table.actors.remove(&id)?;
        table.names.retain(|_, named| *named != id);
        Some(actor)
    }

    fn update(&self, id: ActorId, change: impl FnOnce(&mut Actor)) {
        if let Some(actor) = self.table().actors.get_mut(&id) {
            change(actor);
        }
    }

    pub(crate) fn started(&self, id: ActorId) {
        self.update(id, |actor| {
            actor.connected = true;
            actor.stage.send_replace(Stage::Running);
        });
    }

    pub(crate) fn start_failed(&self, id: ActorId, failure: ActorFailure) {
        self.update(id, |actor| {
            actor.connected = true;
            actor.stage.send_replace(Stage::Failed(failure));
        });
    }

    /// The actor stands on another member.
    pub(crate) fn gone_elsewhere(&self, id: ActorId) {
        if let Some(actor) = self.remove(id) {
            actor.stage.send_replace(Stage::Running);
        }
    }

    /// The actor has handled its exit request; whether nothing but its process is left of it,
    /// which is not so of one that plays roles. Its name is free from now.
    fn exiting(&self, id: ActorId) -> bool {
        let mut table = self.table();
        let Some(actor) = table.actors.get_mut(&id) else {
            return false;
        };
        actor.exiting = true;
        let is_free = actor.slot.is_none();
        if is_free {
            table.names.retain(|_, named| *named != id);
        }
        is_free
    }

    fn first_asked_to_exit(&self, id: ActorId) -> bool {
        let mut table = self.table();
        let actor = table.actors.get_mut(&id);
        actor.is_some_and(|actor| !std::mem::replace(&mut actor.asked_to_exit, true))
    }

    pub(crate) fn disconnected(&self, id: ActorId) {
        self.update(id, |actor| {
            actor.connected = true;
            actor.disconnected.send_replace(true);
        });
    }

    /// Whether a step is to reach its actor now: false when it did already, `None` when there is
    /// no such actor that runs. An actor gets OnLoad once, whoever orders it.
    pub(crate) fn first_time(&self, mut key: StepKey) -> Option<bool> {
        if key.step == StepName::OnLoad {
            key.rollout = None;
        }
        let mut table = self.table();
        let actor = table.actors.get_mut(&key.actor)?;
        (*actor.stage.borrow() == Stage::Running).then(|| actor.steps.insert(key))
    }

    fn last_bytes(&self, id: ActorId) -> Option<watch::Receiver<bool>> {
        let table = self.table();
        let actor = table.actors.get(&id)?;
        // One that was starting may have said why it failed, in bytes that are not read yet.
        let awaited = actor.connected || *actor.stage.borrow() == Stage::Starting;
        awaited.then(|| actor.disconnected.subscribe())
    }
}

impl Node {
    /// Puts an actor into the table and lets the router expect it; false: it is there already.
    pub(crate) fn announce(&self, birth: &Birth, token: &str) -> bool {
        if !self.actors.insert(birth) {
            return false;
        }
        self.router.expect(birth.record(token.to_owned()));
        true
    }

    /// Starts an actor's process and waits until it stands.
    pub(crate) async fn give_birth(self: &Arc<Self>, birth: Birth) -> Result<(), ActorFailure> {
        let token = hex::encode(rand::random::<[u8; 16]>());
        if self.announce(&birth, &token) {
            self.bring_up(birth, token).await
        } else {
            self.actors.stands(birth.actor).await
        }
    }

    /// Starts the process of an announced actor and waits until it stands.
    pub(crate) async fn bring_up(
        self: &Arc<Self>,
        birth: Birth,
        token: String,
    ) -> Result<(), ActorFailure> {
        let actor = birth.actor;
        // From before there is a process: it may say why it does not stand, and be gone, before
        // this is looked at again.
        let stands = self.actors.stands(actor);
        let spawned = match self.sources.set_up(self, &birth.origin).await {
            Ok(()) => self
                .hosting
                .spawn(self.spec(birth, token))
                .await
                .map(|_pid| ()),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = spawned {
            self.never_started(actor, &failure);
            return Err(failure);
        }
        match tokio::time::timeout(START_LIMIT, stands).await {
            Ok(stood) => stood,
            Err(_elapsed) => {
                let _had_process = self.hosting.kill(actor);
                let message = format!("it did not stand within {} s", START_LIMIT.as_secs());
                Err(ActorFailure {
                    code: FailureCode::TimedOut,
                    message,
                    traceback: None,
                })
            }
        }
    }

    fn spec(&self, birth: Birth, token: String) -> WorkerSpec {
        WorkerSpec {
            token,
            actor: birth.actor,
            origin: birth.origin,
            class: birth.class,
            parent: birth.parent,
            global_name: birth.global_name,
            requirements: birth.requirements,
            capabilities: self.capabilities(),
            incarnation: self.incarnation,
            allotment: self.serials.range(),
            environment: Vec::new(),
            user: None,
        }
    }

    /// An actor has handled its exit request: who waits for its end need not wait for that of its
    /// process. The roles of a Director actor are held first, when it is settled.
    pub(crate) fn exits(self: &Arc<Self>, id: ActorId) {
        if !self.actors.exiting(id) {
            return;
        }
        let told = self.router.ended_and_told(id, EXITED.to_owned());
        let node = Arc::clone(self);
        self.tasks.spawn(async move {
            told.await;
            node.actors.update(id, |actor| actor.told = true);
            node.actors.ends.send_modify(|ends| *ends += 1);
        });
    }

    /// Waits, a moment at most, until these actors have ended as far as others can see.
    pub(crate) async fn await_exits(&self, actors: &[ActorId]) {
        let mut ends = self.actors.ends.subscribe();
        let alive = |id| {
            let table = self.actors.table();
            table.actors.get(id).is_some_and(|actor| !actor.told)
        };
        let over = async { while actors.iter().any(alive) && ends.changed().await.is_ok() {} };
        let _in_time = tokio::time::timeout(EXITS_LIMIT, over).await;
    }

    /// Another actor has the name of the announced one, which nobody ever hears of.
    pub(crate) fn withdraw(&self, birth: &Birth) {
        if self.actors.remove(birth.actor).is_some() {
            let parent = ActorId::NONE;
            let nobodys = Birth {
                parent,
                ..birth.clone()
            };
            self.router.expect(nobodys.record(String::new()));
            self.router.ended(birth.actor, "another actor has its name");
        }
    }

    pub(crate) fn never_started(&self, id: ActorId, failure: &ActorFailure) {
        if let Some(actor) = self.actors.remove(id) {
            actor.stage.send_replace(Stage::Failed(failure.clone()));
            tracing::warn!(actor = %id, class = actor.class, %failure, "actor not started");
            self.router.failed_creation(id, failure.message.clone());
        }
    }

    /// Settles the end of an actor's process.
    pub(crate) async fn settle(self: &Arc<Self>, end: WorkerEnded) {
        let id = end.actor;
        if let Some(mut gone) = self.actors.last_bytes(id) {
            let in_time = tokio::time::timeout(LAST_BYTES, gone.wait_for(|gone| *gone)).await;
            if in_time.is_err() {
                tracing::warn!(actor = %id, "an ended actor's connection did not end in time");
            }
        }
        let Some(actor) = self.actors.remove(id) else {
            return;
        };
        let reason = reason(&actor, &end);
        let stage = actor.stage.borrow().clone();
        if actor.slot.is_some() {
            self.hold_roles_of(id).await;
        }
        match &stage {
            Stage::Failed(failure) if failure.code != FailureCode::ConstructorFailed => {
                self.router.failed_creation(id, failure.message.clone());
            }
            _ => self.router.ended_and_told(id, reason.clone()).await,
        }
        self.actors.ends.send_modify(|ends| *ends += 1);
        if stage == Stage::Starting {
            let message = format!("its process ended before it stood: {reason}");
            let traceback = (!end.stderr_tail.is_empty()).then(|| end.stderr_tail.clone());
            let code = FailureCode::ProcessDied;
            let failure = ActorFailure {
                code,
                message,
                traceback,
            };
            actor.stage.send_replace(Stage::Failed(failure));
        } else if stage == Stage::Running {
            actor.stage.send_replace(Stage::Ended);
        }
        tracing::info!(actor = %id, class = actor.class, pid = end.pid, reason, "actor ended");
        // At its next start the node says that all it ran has ended.
        let told = stage == Stage::Running && !self.shutdown.is_cancelled();
        if let Some(slot) = actor.slot.filter(|_| told) {
            self.report_end(slot, id, reason).await;
        }
    }

    /// Lets messages to the roles of an ended actor wait until the registry has taken its end:
    /// the binder then says where they go.
    async fn hold_roles_of(&self, actor: ActorId) {
        let roles = self.roles_bound_to(actor);
        if roles.is_empty() {
            return;
        }
        self.router.hold(roles.clone()).await;
        // What the binder has moved on meanwhile is not for this end to hold.
        let standings = self.replica.read(|s| role_standings(s, Some(self.id)));
        let moved_on = roles.into_iter().filter(|id| {
            let standing = standings.get(id).map(|role| &role.standing);
            standing.is_some_and(|s| *s != Standing::Held && *s != Standing::Bound(actor))
        });
        let moved_on: Vec<_> = moved_on.collect();
        if !moved_on.is_empty() {
            self.router.release(moved_on).await;
        }
    }

    fn roles_bound_to(&self, actor: ActorId) -> Vec<RoleId> {
        let standings = self
            .replica
            .read(|s| role_standings(s, Some(self.id)))
            .into_iter();
        let bound = standings.filter(|(_, role)| role.standing == Standing::Bound(actor));
        bound.map(|(id, _)| id).collect()
    }

    async fn report_end(&self, slot: SlotId, actor: ActorId, reason: String) {
        loop {
            let (reason, stamp) = (reason.clone(), stamp());
            let command = Command::Ended {
                slot,
                actor,
                reason,
                stamp,
            };
            match Replica::propose(&*self.replica, command).await {
                Ok(_) => return,
                Err(failure) => tracing::warn!(%failure, "the end of an actor is not committed"),
            }
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
        }
    }

    /// Asks an actor to exit, children included, and waits; kills it after `grace`.
    pub(crate) async fn exit(&self, actor: ActorId, grace: Duration) {
        let Some(mut stage) = self.actors.stage(actor) else {
            return;
        };
        if self.actors.first_asked_to_exit(actor) {
            let request = SystemMessage::ActorExitRequest { recursive: true };
            self.router.send_system(actor, request);
        }
        // One that failed to start is in the table until its process has ended, which closes this.
        let ended = |stage: &Stage| *stage == Stage::Ended;
        if tokio::time::timeout(grace, stage.wait_for(ended))
            .await
            .is_ok()
        {
            return;
        }
        tracing::warn!(%actor, grace_ms = grace.as_millis() as u64, "actor killed");
        // It may not have its process yet.
        while !self.hosting.kill(actor) && self.actors.stage(actor).is_some() {
            let soon = tokio::time::timeout(KILL_AGAIN, stage.wait_for(ended));
            if soon.await.is_ok() {
                return;
            }
        }
        let _gone = stage.wait_for(ended).await;
    }
}

fn reason(actor: &Actor, end: &WorkerEnded) -> String {
    if actor.exiting {
        return EXITED.to_owned();
    }
    let last = end
        .stderr_tail
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty());
    let last = last.map(|line| format!(": {line}")).unwrap_or_default();
    match end.status {
        Some(status) if status < 0 => {
            format!("its process was ended by signal {}{last}", -status)
        }
        Some(status) => format!("its process ended with status {status}{last}"),
        None => format!("its process ended{last}"),
    }
}

#[cfg(test)]
mod tests;
