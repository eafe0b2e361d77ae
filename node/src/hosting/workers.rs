//! The processes of actors: started, killed, asked where they stand.
//!
//! Not here: how an end is noticed (`worker`); their forkservers (`forkservers`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::ActorId;
use protocol::control::{ActorFailure, ForkserverAnswer, ForkserverRequest, Hello, WorkerSpec};
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;

use crate::hosting::dump::{self, DumpError};
use crate::hosting::forkservers::{Forkservers, Serving, unexpected};
use crate::hosting::handle::WorkerEnded;
use crate::hosting::link::Dialled;
use crate::hosting::output::Output;
use crate::hosting::process::Fates;
use crate::hosting::resources;
use crate::hosting::worker::Worker;

/// All workers that live.
#[derive(Debug)]
pub(crate) struct Workers {
    fates: Arc<Fates>,
    ends: mpsc::UnboundedSender<WorkerEnded>,
    alive: Mutex<HashMap<ActorId, Arc<Worker>>>,
    /// By the token that a worker shows when it dials; from before it is forked.
    outputs: Mutex<HashMap<String, Arc<Output>>>,
    /// How many live.
    count: watch::Sender<usize>,
}

impl Workers {
    pub(crate) fn new(fates: Arc<Fates>, ends: mpsc::UnboundedSender<WorkerEnded>) -> Self {
        Self {
            fates,
            ends,
            alive: Mutex::default(),
            outputs: Mutex::default(),
            count: watch::Sender::new(0),
        }
    }

    /// Has the origin's forkserver fork the actor's process.
    pub(crate) async fn spawn(
        self: &Arc<Self>,
        forkservers: &Forkservers,
        serving: Serving,
        spec: WorkerSpec,
    ) -> Result<u32, ActorFailure> {
        let (actor, token) = (spec.actor, spec.token.clone());
        let what = format!("the start of `{}`", spec.class);
        let output = Arc::new(Output::new(&actor.to_string(), &spec.class));
        lock(&self.outputs).insert(token.clone(), Arc::clone(&output));
        let mark = serving.mark();
        let asked = ForkserverRequest::Spawn(spec);
        let answer = match serving.link.ask(&asked, forkservers.limit()).await {
            Ok(ForkserverAnswer::Forked { pid }) => Ok(pid),
            Ok(ForkserverAnswer::Failed(failure)) => Err(failure),
            Ok(other) => Err(unexpected(&other)),
            Err(fault) => Err(forkservers.no_answer(&serving, fault, mark, &what).await),
        };
        let pid = answer.inspect_err(|_failure| {
            lock(&self.outputs).remove(&token);
        })?;
        let worker = Worker::new(actor, pid, token, output, &serving);
        let worker = Arc::new(worker);
        let before = lock(&self.alive).insert(actor, Arc::clone(&worker));
        debug_assert!(before.is_none(), "an address is never used again");
        self.count.send_modify(|alive| *alive += 1);
        forkservers.tasks().spawn(Arc::clone(self).see_out(worker));
        Ok(pid)
    }

    /// Takes the connection that carries a worker's output.
    pub(crate) fn stdio(&self, hello: &Hello, dialled: Dialled, tasks: &TaskTracker) {
        let token = hello.token.as_deref().unwrap_or_default();
        let output = lock(&self.outputs).get(token).map(Arc::clone);
        match output {
            Some(output) => {
                tasks.spawn(output.drain(dialled.stream, dialled.read_ahead));
            }
            None => tracing::warn!(pid = dialled.pid, "output with an unknown token refused"),
        }
    }

    /// Kills the process group of an actor.
    pub(crate) fn kill(&self, actor: ActorId) -> bool {
        let worker = self.worker(actor);
        worker.inspect(|worker| worker.kill()).is_some()
    }

    /// Where an actor's threads stand.
    pub(crate) async fn dump(&self, actor: ActorId) -> Result<String, DumpError> {
        let worker = self.worker(actor).ok_or(DumpError::NoProcess { actor })?;
        dump::dump(&worker).await
    }

    /// The last lines that an actor wrote.
    pub(crate) fn tail(&self, actor: ActorId) -> Option<String> {
        Some(self.worker(actor)?.output().tail())
    }

    /// An actor's process.
    pub(crate) fn pid(&self, actor: ActorId) -> Option<u32> {
        Some(self.worker(actor)?.pid())
    }

    /// Waits until all have ended; kills those left after `grace`.
    pub(crate) async fn end_all(&self, grace: Duration) {
        let mut count = self.count.subscribe();
        let all_ended = |alive: &usize| *alive == 0;
        if tokio::time::timeout(grace, count.wait_for(all_ended))
            .await
            .is_ok()
        {
            return;
        }
        let left: Vec<_> = lock(&self.alive).values().map(Arc::clone).collect();
        tracing::info!(
            workers = left.len(),
            "workers outlasted the grace and are killed"
        );
        left.iter().for_each(|worker| worker.kill());
        let _ = tokio::time::timeout(KILL_LIMIT, count.wait_for(all_ended)).await;
    }

    /// Waits for the worker's end and reports it, once.
    async fn see_out(self: Arc<Self>, worker: Arc<Worker>) {
        let pid = worker.pid();
        let mut fate = self.fates.follow(pid);
        let status = worker.ended(&mut fate).await;
        resources::kill_group(pid);
        worker.output().drained(OUTPUT_LIMIT).await;
        self.fates.forget(pid);
        lock(&self.outputs).remove(worker.token());
        lock(&self.alive).remove(&worker.actor());
        let ended = WorkerEnded {
            actor: worker.actor(),
            pid,
            status,
            stderr_tail: worker.output().tail(),
        };
        // Before it is told: whoever hears of the end finds the forkserver unused.
        drop(worker);
        let _ = self.ends.send(ended);
        self.count.send_modify(|alive| *alive -= 1);
    }

    fn worker(&self, actor: ActorId) -> Option<Arc<Worker>> {
        lock(&self.alive).get(&actor).map(Arc::clone)
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long the last words of a process that has ended may take to arrive.
const OUTPUT_LIMIT: Duration = Duration::from_millis(300);

/// How long what was killed may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(5);
