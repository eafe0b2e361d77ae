//! The node's own events of level WARN and ERROR, for the log of its convention's leader.
//!
//! A layer of the program's subscriber hands them to the node and never waits; what does not fit
//! is counted. Not here: the way to the leader (`node::cluster`), records of actors.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use node::agent::Warning;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The layer.
#[derive(Debug)]
pub(crate) struct Warnings {
    sender: Sender<Warning>,
    missed: AtomicU64,
}

impl Warnings {
    /// The layer, and what the node gets of it.
    pub(crate) fn new() -> (Self, Receiver<Warning>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let missed = AtomicU64::new(0);
        (Self { sender, missed }, receiver)
    }
}

impl<S: Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let about = event.metadata();
        // What goes wrong on the way to the leader is not told to the leader.
        if *about.level() > Level::WARN || about.target().starts_with(NOT_TOLD) {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let missed = self.missed.swap(0, Ordering::Relaxed);
        let warning = Warning {
            is_error: *about.level() == Level::ERROR,
            target: about.target().to_owned(),
            text: text.whole(),
            missed,
        };
        if self.sender.try_send(warning).is_err() {
            self.missed.fetch_add(missed + 1, Ordering::Relaxed);
        }
    }
}

/// Message and fields of an event, as the node's own log has them.
#[derive(Debug, Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn whole(mut self) -> String {
        self.message.push_str(&self.fields);
        self.message
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _written = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}

/// Kept for a node that is busy.
const WAITING_MAX: usize = 1024;

const NOT_TOLD: &str = "node::cluster::warnings";

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn warnings_and_errors_are_handed_on_and_what_does_not_fit_is_counted() {
        let (layer, mut handed) = Warnings::new();
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("usual");
            tracing::warn!(number = 7, name = "x", "worth telling");
            tracing::warn!(target: "node::cluster::warnings", "about the telling");
            for number in 0..WAITING_MAX + 2 {
                tracing::error!(number, "many");
            }
            let first = handed.try_recv().unwrap();
            assert_eq!(first.text, "worth telling number=7 name=\"x\"");
            assert!(!first.is_error && first.missed == 0);
            tracing::error!("last");
        });
        let mut all: Vec<_> = std::iter::from_fn(|| handed.try_recv().ok()).collect();
        let last = all.pop().unwrap();
        assert_eq!((last.text.as_str(), last.missed), ("last", 3));
        assert!(last.is_error && all.len() == WAITING_MAX - 1);
    }
}
