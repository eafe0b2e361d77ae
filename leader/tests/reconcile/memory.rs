//! A registry in memory that commits at once, whose leader can lose its office at any proposal.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use convention::Registry;
use leader::reconcile::{ProposeFailure, Replica};
use protocol::registry::{Command, Outcome, State};
use tokio::sync::watch;

pub(crate) type Before = Box<dyn FnOnce(&mut Registry) + Send>;

/// What a proposal meets when the leader loses its office.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It was not proposed.
    Before,
    /// It was committed, and the answer did not come.
    After,
}

/// A registry that commits at once.
pub(crate) struct Memory {
    pub(crate) registry: Mutex<Registry>,
    pub(crate) applied: watch::Sender<u64>,
    /// Commands as applied.
    pub(crate) log: Mutex<Vec<Command>>,
    // What happens right before the next command of a kind is applied.
    before: Mutex<Option<(&'static str, Before)>>,
    // The leader loses its office at the proposal after so many.
    losing: Mutex<Option<(usize, Loss)>>,
    leads: AtomicBool,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self {
            registry: Mutex::default(),
            applied: watch::Sender::new(0),
            log: Mutex::default(),
            before: Mutex::default(),
            losing: Mutex::default(),
            leads: AtomicBool::new(true),
        }
    }

    pub(crate) fn before(
        &self,
        kind: &'static str,
        then: impl FnOnce(&mut Registry) + Send + 'static,
    ) {
        *self.before.lock().unwrap() = Some((kind, Box::new(then)));
    }

    pub(crate) fn lose_office_at(&self, proposal: usize, loss: Loss) {
        *self.losing.lock().unwrap() = Some((proposal, loss));
    }

    pub(crate) fn set_leads(&self, leads: bool) {
        self.leads.store(leads, Ordering::SeqCst);
    }

    /// Applies what did not come from a leader.
    pub(crate) fn apply(&self, command: &Command) -> Outcome {
        let outcome = self.registry.lock().unwrap().apply(command);
        self.log.lock().unwrap().push(command.clone());
        self.applied.send_modify(|index| *index += 1);
        outcome
    }

    fn loss(&self) -> Option<Loss> {
        let mut losing = self.losing.lock().unwrap();
        match losing.as_mut() {
            Some((0, loss)) => {
                let loss = *loss;
                *losing = None;
                self.set_leads(false);
                Some(loss)
            }
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        }
    }
}

impl Replica for Memory {
    async fn propose(&self, command: Command) -> Result<(u64, Outcome), ProposeFailure> {
        tokio::task::yield_now().await;
        let loss = self.loss();
        let reason = "it lost its office".to_owned();
        if loss == Some(Loss::Before) || (loss.is_none() && !self.leads()) {
            return Err(ProposeFailure::Unavailable { reason });
        }
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
        self.log.lock().unwrap().push(command);
        drop(registry);
        self.applied.send_modify(|index| *index += 1);
        if loss == Some(Loss::After) {
            return Err(ProposeFailure::Unknown { reason });
        }
        Ok((*self.applied.borrow(), outcome))
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(self.registry.lock().unwrap().state())
    }

    fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    fn leads(&self) -> bool {
        self.leads.load(Ordering::SeqCst)
    }

    async fn confirm(&self) -> Result<(), ProposeFailure> {
        if self.leads() {
            return Ok(());
        }
        let reason = "it does not lead".to_owned();
        Err(ProposeFailure::Unavailable { reason })
    }
}
