//! Where a process stands: asked by a signal, answered on its standard error.
//!
//! A worker registers `faulthandler` for the signal, which writes every thread's traceback
//! without help of the interpreter's loop, so a hung actor answers as well.
//! Not here: who asks (`handle`).

use std::time::Duration;

use protocol::ActorId;
use rustix::process::Signal;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::hosting::worker::Worker;

/// A process that does not tell where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DumpError {
    /// The actor has none.
    #[error("the actor `{actor}` has no process on this node")]
    NoProcess {
        /// The actor.
        actor: ActorId,
    },
    /// It did not answer.
    #[error(
        "the process `{pid}` did not say within {} s where it stands; \
         it may be stopped or in a system call that cannot be interrupted",
        ANSWER_LIMIT.as_secs()
    )]
    NoAnswer {
        /// The process.
        pid: u32,
    },
}

/// Asks a worker and collects its answer.
pub(crate) async fn dump(worker: &Worker) -> Result<String, DumpError> {
    let lines = worker.output().listen();
    let silent = DumpError::NoAnswer { pid: worker.pid() };
    if !worker.signal(SIGNAL) {
        return Err(DumpError::NoProcess {
            actor: worker.actor(),
        });
    }
    let text = collect(lines, ANSWER_LIMIT, QUIET).await;
    if text.is_empty() {
        Err(silent)
    } else {
        Ok(text)
    }
}

/// Keeps the lines of a traceback of all threads, until it is quiet behind them.
async fn collect(mut lines: mpsc::Receiver<String>, limit: Duration, quiet: Duration) -> String {
    let end = Instant::now() + limit;
    let mut kept: Vec<String> = Vec::new();
    loop {
        let until = if kept.is_empty() {
            end
        } else {
            end.min(Instant::now() + quiet)
        };
        match tokio::time::timeout_at(until, lines.recv()).await {
            Ok(Some(line)) if is_of_dump(&line, kept.is_empty()) => kept.push(line),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break,
        }
    }
    while kept.last().is_some_and(String::is_empty) {
        kept.pop();
    }
    kept.join("\n")
}

/// Whether the line is one that `faulthandler` writes.
fn is_of_dump(line: &str, first: bool) -> bool {
    let head = line.starts_with("Thread 0x") || line.starts_with("Current thread 0x");
    head || (!first && (line.is_empty() || line.starts_with("  ")))
}

/// The signal for which `thespian.system.worker` registers `faulthandler`.
const SIGNAL: Signal = Signal::USR1;

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Silence that ends an answer.
const QUIET: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dump_is_picked_out_of_other_output() {
        let (sender, lines) = mpsc::channel(20);
        for line in [
            "busy",
            "Thread 0x00007f (most recent call first):",
            "  File \"a.py\", line 1 in f",
            "",
            "Current thread 0x00008f (most recent call first):",
            "  File \"b.py\", line 2 in g",
            "still busy",
        ] {
            sender.try_send(line.to_owned()).unwrap();
        }
        drop(sender);
        let text = collect(lines, ANSWER_LIMIT, QUIET).await;
        assert_eq!(
            text,
            "Thread 0x00007f (most recent call first):\n  File \"a.py\", line 1 in f\n\n\
             Current thread 0x00008f (most recent call first):\n  File \"b.py\", line 2 in g"
        );
    }
}
