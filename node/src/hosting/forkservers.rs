//! The forkservers of this node: a root one per interpreter, below it one per origin in use.
//!
//! One is started when it is first needed and again when it is found dead; what the origin had
//! prepared is then imported again before actors are forked from it.
//! Not here: the workers below them (`workers`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use protocol::control::{
    ActorFailure, FailureCode, ForkserverAnswer, ForkserverRequest, Hello, Origin,
};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::hosting::handle::{HostingConfig, OriginSetup, PrepareRequest, Prepared};
use crate::hosting::link::{Dialled, Link, NoAnswer};
use crate::hosting::output::Output;
use crate::hosting::process::{Fate, Fates, failure, going_down, in_words, known_within};
use crate::hosting::resources;
use crate::hosting::root::{Root, RootStart};
use crate::hosting::runtime::Runtime;
use crate::hosting::spawner::Spawner;

/// All forkservers and what they serve.
#[derive(Debug)]
pub(crate) struct Forkservers {
    config: HostingConfig,
    spawner: Spawner,
    fates: Arc<Fates>,
    tasks: TaskTracker,
    runtime: tokio::sync::OnceCell<Runtime>,
    /// Tokens given to processes that have not dialled yet.
    awaited: Mutex<HashMap<String, oneshot::Sender<Dialled>>>,
    roots: Mutex<HashMap<PathBuf, Slot<Option<Root>>>>,
    origins: Mutex<HashMap<Origin, Slot<OriginState>>>,
}

/// One forkserver's state; held while it is being started, so that it is started once.
type Slot<T> = Arc<tokio::sync::Mutex<T>>;

#[derive(Debug, Default)]
struct OriginState {
    setup: Option<OriginSetup>,
    prepared: Option<PrepareRequest>,
    serving: Option<Serving>,
    /// Since when nothing uses the forkserver, as far as it was looked.
    idle_since: Option<Instant>,
}

/// A forkserver of an origin that runs.
#[derive(Debug, Clone)]
pub(crate) struct Serving {
    /// The connection to it.
    pub(crate) link: Arc<Link>,
    /// How it ends.
    fate: Fate,
    output: Arc<Output>,
    /// Held by the state, by each request under way and by each worker.
    users: Arc<()>,
}

impl Serving {
    /// Where its output stands, to tell later what was new.
    pub(crate) fn mark(&self) -> u64 {
        self.output.mark()
    }

    /// Keeps the forkserver from being idle.
    pub(crate) fn user(&self) -> Arc<()> {
        Arc::clone(&self.users)
    }

    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.users) == 1
    }
}

impl Forkservers {
    pub(crate) fn new(config: HostingConfig, fates: Arc<Fates>) -> std::io::Result<Self> {
        Ok(Self {
            config,
            spawner: Spawner::start()?,
            fates,
            tasks: TaskTracker::new(),
            runtime: tokio::sync::OnceCell::new(),
            awaited: Mutex::default(),
            roots: Mutex::default(),
            origins: Mutex::default(),
        })
    }

    /// Where tasks of hosting run.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// How long an import, and any request that may wait behind one, may take.
    pub(crate) fn limit(&self) -> Duration {
        self.config.import_timeout
    }

    /// Gives a forkserver's connection to whoever waits for it.
    pub(crate) fn dialled(&self, hello: &Hello, dialled: Dialled) {
        let token = hello.token.as_deref().unwrap_or_default();
        match lock(&self.awaited).remove(token) {
            Some(waiting) => drop(waiting.send(dialled)),
            None => tracing::warn!(
                pid = dialled.pid,
                "forkserver with an unknown token refused"
            ),
        }
    }

    /// Remembers where an origin's code lies.
    pub(crate) async fn set_up(&self, setup: OriginSetup) {
        let slot = self.origin(&setup.origin);
        let mut state = slot.lock().await;
        if state.setup.as_ref() != Some(&setup) {
            state.setup = Some(setup);
            self.retire(&mut state).await;
        }
    }

    /// Imports and looks at classes.
    pub(crate) async fn prepare(
        &self,
        setup: OriginSetup,
        request: PrepareRequest,
    ) -> Result<Prepared, ActorFailure> {
        let origin = setup.origin.clone();
        self.set_up(setup).await;
        let serving = self.serving(&origin).await?;
        let prepared = self.ask_prepare(&serving, &request).await?;
        if matches!(origin, Origin::Source(_)) {
            self.origin(&origin).lock().await.prepared = Some(request);
        }
        Ok(prepared)
    }

    /// The origin's forkserver; starts it when there is none that lives.
    pub(crate) async fn serving(&self, origin: &Origin) -> Result<Serving, ActorFailure> {
        if self.tasks.is_closed() {
            return Err(going_down());
        }
        let slot = self.origin(origin);
        let mut state = slot.lock().await;
        if let Some(serving) = &state.serving
            && !serving.link.is_closed()
        {
            return Ok(serving.clone());
        }
        let setup = state.setup.clone().or_else(|| setup_of_client(origin));
        let setup = setup.ok_or_else(|| {
            failure(
                FailureCode::InvalidSourceHash,
                "the source is not unpacked on this node",
            )
        })?;
        let serving = self.fork(&setup).await?;
        if let Some(request) = state.prepared.clone() {
            // Its outcome was reported when it was prepared first; workers report their own.
            let _ = self.ask_prepare(&serving, &request).await;
        }
        state.setup = Some(setup);
        state.serving = Some(serving.clone());
        Ok(serving)
    }

    /// Lets an origin's forkserver end when its last worker has.
    pub(crate) async fn finish(&self, origin: &Origin) {
        let slot = lock(&self.origins).get(origin).map(Arc::clone);
        if let Some(slot) = slot {
            self.retire(&mut *slot.lock().await).await;
        }
    }

    /// Forgets an origin, and lets its forkserver end.
    pub(crate) async fn forget(&self, origin: &Origin) {
        let slot = lock(&self.origins).remove(origin);
        if let Some(slot) = slot {
            self.retire(&mut *slot.lock().await).await;
        }
    }

    /// Ends forkservers that nothing has used for `idle`, counted from when it is first seen.
    pub(crate) async fn end_idle(&self, idle: Duration) {
        let slots: Vec<_> = lock(&self.origins).values().map(Arc::clone).collect();
        for slot in slots {
            // One that is locked is being used.
            let Ok(mut state) = slot.try_lock() else {
                continue;
            };
            if !state.serving.as_ref().is_some_and(Serving::is_idle) {
                state.idle_since = None;
            } else if state.idle_since.get_or_insert_with(Instant::now).elapsed() >= idle {
                self.retire(&mut state).await;
            }
        }
    }

    /// Ends idle forkservers from time to time, as long as hosting is there.
    pub(crate) async fn keep_trim(forkservers: Weak<Self>) {
        loop {
            tokio::time::sleep(IDLE_CHECK).await;
            let Some(forkservers) = forkservers.upgrade() else {
                break;
            };
            forkservers.end_idle(IDLE_LIMIT).await;
        }
    }

    /// Refuses what is asked from now on.
    pub(crate) fn close(&self) {
        self.tasks.close();
    }

    /// Ends every forkserver, the roots last, and waits until they have gone.
    pub(crate) async fn end_all(&self) {
        let origins: Vec<_> = lock(&self.origins).drain().map(|(_, slot)| slot).collect();
        for slot in origins {
            if let Some(serving) = slot.lock().await.serving.take() {
                end(&serving.link, serving.fate).await;
            }
        }
        let roots: Vec<_> = lock(&self.roots).drain().map(|(_, slot)| slot).collect();
        for slot in roots {
            if let Some(root) = slot.lock().await.take() {
                end(&root.link, root.fate).await;
            }
        }
        let _ = tokio::time::timeout(END_LIMIT, self.tasks.wait()).await;
    }

    /// The failure when a forkserver did not answer; kills one that hangs.
    pub(crate) async fn no_answer(
        &self,
        serving: &Serving,
        fault: NoAnswer,
        mark: u64,
        what: &str,
    ) -> ActorFailure {
        let mut fate = serving.fate.clone();
        if fault == NoAnswer::TimedOut {
            resources::kill(serving.link.pid());
            serving.link.close();
            known_within(&mut fate, FATE_LIMIT).await;
            let limit_s = self.limit().as_secs_f64();
            let text = format!("{what} took longer than {limit_s} s (`import_timeout`)");
            return self.with_tail(FailureCode::TimedOut, text, serving, mark);
        }
        let status = known_within(&mut fate, FATE_LIMIT).await;
        let text = format!("the process died during {what}: {}", in_words(status));
        self.with_tail(FailureCode::ProcessDied, text, serving, mark)
    }

    fn with_tail(
        &self,
        code: FailureCode,
        message: String,
        serving: &Serving,
        mark: u64,
    ) -> ActorFailure {
        let tail = serving.output.tail_since(mark);
        ActorFailure {
            code,
            message,
            traceback: (!tail.is_empty()).then_some(tail),
        }
    }

    async fn ask_prepare(
        &self,
        serving: &Serving,
        request: &PrepareRequest,
    ) -> Result<Prepared, ActorFailure> {
        let mark = serving.output.mark();
        let asked = ForkserverRequest::Prepare {
            classes: request.classes.clone(),
            capability_sets: request.capability_sets.clone(),
            requirements: request.requirements.clone(),
            preload: request.preload,
        };
        match serving.link.ask(&asked, self.limit()).await {
            Ok(ForkserverAnswer::Prepared { classes, per_actor }) => {
                Ok(Prepared { classes, per_actor })
            }
            Ok(ForkserverAnswer::Failed(failure)) => Err(failure),
            Ok(other) => Err(unexpected(&other)),
            Err(fault) => {
                let what = format!("the import of `{}`", request.classes.join("`, `"));
                Err(self.no_answer(serving, fault, mark, &what).await)
            }
        }
    }

    /// Has the interpreter's root forkserver fork one for this origin, and waits for its Hello.
    async fn fork(&self, setup: &OriginSetup) -> Result<Serving, ActorFailure> {
        let root = self.root(&setup.interpreter).await?;
        let (token, dialled) = self.expect_dial();
        let path = setup.path.iter();
        let asked = ForkserverRequest::Fork {
            token: token.clone(),
            origin: setup.origin.clone(),
            path: path
                .map(|entry| entry.to_string_lossy().into_owned())
                .collect(),
        };
        let answer = root.link.ask(&asked, FORK_LIMIT).await;
        let opened = match answer {
            Ok(ForkserverAnswer::Forked { pid }) => self.opened(pid, dialled, &root.output).await,
            Ok(ForkserverAnswer::Failed(failure)) => Err(failure),
            Ok(other) => Err(unexpected(&other)),
            Err(fault) => Err(self.root_lost(&root, fault).await),
        };
        lock(&self.awaited).remove(&token);
        opened
    }

    async fn root_lost(&self, root: &Root, fault: NoAnswer) -> ActorFailure {
        resources::kill(root.link.pid());
        root.link.close();
        let status = known_within(&mut root.fate.clone(), FATE_LIMIT).await;
        let how = match fault {
            NoAnswer::Closed => in_words(status),
            NoAnswer::TimedOut => format!("no answer within {} s", FORK_LIMIT.as_secs()),
        };
        failure(
            FailureCode::ProcessDied,
            format!("the root forkserver was lost: {how}"),
        )
    }

    async fn opened(
        &self,
        pid: u32,
        dialled: oneshot::Receiver<Dialled>,
        output: &Arc<Output>,
    ) -> Result<Serving, ActorFailure> {
        let fate = self.fates.follow(pid);
        let mark = output.mark();
        let mut ended = fate.clone();
        let dialled = tokio::select! {
            biased;
            dialled = dialled => dialled.ok(),
            _ = known_within(&mut ended, FORK_LIMIT) => None,
        };
        let dialled = dialled.ok_or_else(|| {
            resources::kill(pid);
            let text = in_words(*fate.borrow());
            ActorFailure {
                code: FailureCode::ProcessDied,
                message: format!("the forkserver did not come up: {text}"),
                traceback: Some(output.tail_since(mark)).filter(|tail| !tail.is_empty()),
            }
        })?;
        let link = Link::open(dialled, Arc::clone(&self.fates), &self.tasks);
        let link = link.map_err(|cause| failure(FailureCode::Failure, cause.to_string()))?;
        let serving = Serving {
            link,
            fate,
            output: Arc::clone(output),
            users: Arc::default(),
        };
        self.tasks.spawn(forgotten(
            Arc::clone(&serving.link),
            serving.fate.clone(),
            Arc::clone(&self.fates),
        ));
        Ok(serving)
    }

    async fn root(&self, interpreter: &Path) -> Result<Root, ActorFailure> {
        let slot = Arc::clone(
            lock(&self.roots)
                .entry(interpreter.to_path_buf())
                .or_default(),
        );
        let mut root = slot.lock().await;
        if let Some(root) = root.as_ref().filter(|root| !root.link.is_closed()) {
            return Ok(root.clone());
        }
        let runtime = self.runtime().await?;
        let (token, dialled) = self.expect_dial();
        let start = RootStart {
            config: &self.config,
            runtime,
            interpreter,
            spawner: &self.spawner,
            fates: &self.fates,
            tasks: &self.tasks,
        };
        let started = start.run(&token, dialled).await;
        lock(&self.awaited).remove(&token);
        Ok(root.insert(started?).clone())
    }

    async fn runtime(&self) -> Result<&Runtime, ActorFailure> {
        let laid_out = self.runtime.get_or_try_init(|| async {
            if let Some(runtime) = self.config.runtime.clone() {
                return Ok(runtime);
            }
            let state = self.config.state.clone();
            let laid_out = tokio::task::spawn_blocking(move || Runtime::lay_out(&state)).await;
            laid_out
                .map_err(|cause| cause.to_string())?
                .map_err(|cause| cause.to_string())
        });
        laid_out
            .await
            .map_err(|text: String| failure(FailureCode::Failure, text))
    }

    fn expect_dial(&self) -> (String, oneshot::Receiver<Dialled>) {
        let token = hex::encode(rand::random::<[u8; 32]>());
        let (waiting, dialled) = oneshot::channel();
        lock(&self.awaited).insert(token.clone(), waiting);
        (token, dialled)
    }

    fn origin(&self, origin: &Origin) -> Slot<OriginState> {
        Arc::clone(lock(&self.origins).entry(origin.clone()).or_default())
    }

    /// Tells the forkserver to end once it is idle, and keeps the connection until it has.
    async fn retire(&self, state: &mut OriginState) {
        state.idle_since = None;
        if let Some(serving) = state.serving.take() {
            serving.link.tell(&ForkserverRequest::Finish).await;
        }
    }
}

/// Keeps the connection until the forkserver has ended, then forgets its process.
async fn forgotten(link: Arc<Link>, mut fate: Fate, fates: Arc<Fates>) {
    link.closed().await;
    if known_within(&mut fate, FATE_LIMIT).await.is_none() {
        // Its connection is gone, so it is of no more use; a hung one must not stay.
        resources::kill(link.pid());
        known_within(&mut fate, FATE_LIMIT).await;
    }
    fates.forget(link.pid());
}

async fn end(link: &Link, mut fate: Fate) {
    resources::kill(link.pid());
    link.close();
    known_within(&mut fate, END_LIMIT).await;
}

/// A client's environment says itself where its code lies; its forkserver adds that path.
fn setup_of_client(origin: &Origin) -> Option<OriginSetup> {
    let Origin::Client(client) = origin else {
        return None;
    };
    Some(OriginSetup {
        origin: origin.clone(),
        interpreter: PathBuf::from(&client.interpreter),
        path: Vec::new(),
    })
}

/// The failure when a forkserver answers something else than was asked.
pub(crate) fn unexpected(answer: &ForkserverAnswer) -> ActorFailure {
    let text = format!("the forkserver gave an answer to another question: {answer:?}");
    failure(FailureCode::Failure, text)
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A fork takes milliseconds; a loaded host may need many times that.
const FORK_LIMIT: Duration = Duration::from_secs(20);

/// How long the status of a process that has gone may take to become known.
const FATE_LIMIT: Duration = Duration::from_secs(1);

/// How long what was killed may take to be gone.
const END_LIMIT: Duration = Duration::from_secs(5);

/// A forkserver is kept this long without actors: restarts and the next client come soon.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

const IDLE_CHECK: Duration = Duration::from_secs(10);
