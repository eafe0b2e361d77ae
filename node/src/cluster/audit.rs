//! What an operator may have to know of, into the convention's audit: a few a minute.
//!
//! Strangers cause these; a flood of them must not fill the log. The same event about the same
//! subject is noted once a minute, all together a few a minute; the node's own log has them all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use leader::reconcile::Replica;
use protocol::registry::{Command, MemberCommand};
use tokio_util::task::TaskTracker;

use super::registry::RegistryHandle;
use crate::agent::node::stamp;

/// The way into the audit.
#[derive(Debug)]
pub(crate) struct Audit {
    registry: Arc<RegistryHandle>,
    tasks: TaskTracker,
    // Held for a look-up only.
    limit: Mutex<Limit>,
}

#[derive(Debug, Default)]
struct Limit {
    noted: BTreeMap<(String, String), Instant>,
}

impl Audit {
    pub(super) fn new(registry: Arc<RegistryHandle>, tasks: TaskTracker) -> Self {
        Self {
            registry,
            tasks,
            limit: Mutex::default(),
        }
    }

    /// Notes an event, if not too many were noted already.
    pub(crate) fn note(&self, what: &str, subject: &str, detail: &str) {
        let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        if !limit.admits(what, subject, Instant::now()) {
            return;
        }
        drop(limit);
        tracing::warn!(what, subject, detail, "noted in the audit");
        let command = Command::Member(MemberCommand::Note {
            what: what.to_owned(),
            subject: subject.to_owned(),
            by: String::new(),
            detail: detail.to_owned(),
            stamp: stamp(),
        });
        let registry = Arc::clone(&self.registry);
        self.tasks.spawn(async move {
            if let Err(failure) = registry.propose(command).await {
                tracing::warn!(%failure, "the event is not in the audit");
            }
        });
    }
}

impl Limit {
    fn admits(&mut self, what: &str, subject: &str, now: Instant) -> bool {
        self.noted
            .retain(|_, at| now.saturating_duration_since(*at) < WINDOW);
        let key = (what.to_owned(), subject.to_owned());
        if self.noted.len() >= NOTED_MAX || self.noted.contains_key(&key) {
            return false;
        }
        self.noted.insert(key, now);
        true
    }
}

const WINDOW: Duration = Duration::from_secs(60);

/// Events noted within [`WINDOW`].
const NOTED_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_leaves_a_few_notes() {
        let mut limit = Limit::default();
        let begin = Instant::now();
        assert!(limit.admits("join refused", "a", begin));
        assert!(!limit.admits("join refused", "a", begin), "the same again");
        let others = (0..100).filter(|n| limit.admits("join refused", &n.to_string(), begin));
        assert_eq!(others.count(), NOTED_MAX - 1);
        assert!(limit.admits("join refused", "a", begin + WINDOW));
    }
}
