//! What one process writes to its standard output and error: always drained, never kept whole.
//!
//! The last lines stay for whoever asks why it failed; every line becomes a log record, up to a
//! rate; what is beyond it is counted, and the count is logged.
//! Not here: cutting into lines (`lines`).

use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, watch};

use crate::hosting::lines::Lines;

/// The output of one process.
#[derive(Debug)]
pub(crate) struct Output {
    actor: String,
    class: String,
    /// Locked for a batch of lines; never across an await.
    kept: Mutex<Kept>,
    drains: watch::Sender<usize>,
}

#[derive(Debug)]
struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
    /// Lines seen since the start.
    total: u64,
    second: Instant,
    logged: u32,
    dropped: u64,
    listener: Option<mpsc::Sender<String>>,
}

impl Output {
    /// Of an actor's process, or of a forkserver.
    pub(crate) fn new(actor: &str, class: &str) -> Self {
        Self {
            actor: actor.to_owned(),
            class: class.to_owned(),
            kept: Mutex::new(Kept {
                lines: VecDeque::new(),
                bytes: 0,
                total: 0,
                second: Instant::now(),
                logged: 0,
                dropped: 0,
                listener: None,
            }),
            drains: watch::Sender::new(0),
        }
    }

    /// Reads `stream` to its end.
    pub(crate) async fn drain(self: Arc<Self>, stream: UnixStream, read_ahead: Vec<u8>) {
        self.drains.send_modify(|open| *open += 1);
        if let Err(cause) = self.read(stream, &read_ahead).await {
            tracing::debug!(actor = self.actor, %cause, "output broke off");
        }
        self.note_dropped(&mut self.lock());
        self.drains.send_modify(|open| *open -= 1);
    }

    async fn read(&self, stream: UnixStream, read_ahead: &[u8]) -> std::io::Result<()> {
        stream.set_nonblocking(true)?;
        let mut stream = tokio::net::UnixStream::from_std(stream)?;
        let mut lines = Lines::default();
        let mut buffer = vec![0; READ_BYTES];
        self.take(&mut lines, read_ahead);
        loop {
            let read = stream.read(&mut buffer).await?;
            match buffer.get(..read) {
                Some(bytes) if read > 0 => self.take(&mut lines, bytes),
                _ => break,
            }
        }
        if let Some(line) = lines.rest() {
            self.line(&mut self.lock(), line);
        }
        Ok(())
    }

    /// Resolves when nothing is being read, or at the latest after `limit`.
    pub(crate) async fn drained(&self, limit: Duration) {
        let mut drains = self.drains.subscribe();
        let _ = tokio::time::timeout(limit, drains.wait_for(|open| *open == 0)).await;
    }

    /// The last lines.
    pub(crate) fn tail(&self) -> String {
        self.tail_since(0)
    }

    /// The last lines of those that came after `mark`.
    pub(crate) fn tail_since(&self, mark: u64) -> String {
        let kept = self.lock();
        let fresh = usize::try_from(kept.total.saturating_sub(mark)).unwrap_or(usize::MAX);
        let skip = kept.lines.len().saturating_sub(fresh);
        let lines: Vec<&str> = kept.lines.iter().skip(skip).map(String::as_str).collect();
        lines.join("\n")
    }

    /// Number of lines so far, for [`Output::tail_since`].
    pub(crate) fn mark(&self) -> u64 {
        self.lock().total
    }

    /// Hands every line from now on to a listener as well, one at a time.
    pub(crate) fn listen(&self) -> mpsc::Receiver<String> {
        let (sender, lines) = mpsc::channel(LISTENED_LINES);
        self.lock().listener = Some(sender);
        lines
    }

    fn take(&self, lines: &mut Lines, bytes: &[u8]) {
        let mut kept = self.lock();
        lines.feed(bytes, |line| self.line(&mut kept, line));
    }

    fn line(&self, kept: &mut Kept, line: String) {
        if kept.second.elapsed() >= Duration::from_secs(1) {
            self.note_dropped(kept);
            kept.second = Instant::now();
            kept.logged = 0;
        }
        if kept.logged < LOGGED_PER_SECOND {
            kept.logged += 1;
            let (actor, class) = (self.actor.as_str(), self.class.as_str());
            tracing::info!(target: "actor.output", actor, class, line);
        } else {
            kept.dropped += 1;
        }
        kept.keep(line);
    }

    fn note_dropped(&self, kept: &mut Kept) {
        let dropped = std::mem::take(&mut kept.dropped);
        if dropped > 0 {
            let (actor, class) = (self.actor.as_str(), self.class.as_str());
            tracing::warn!(target: "actor.output", actor, class, dropped, "lines were dropped");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn keep(&mut self, line: String) {
        if let Some(listener) = &self.listener
            && listener.try_send(line.clone()).is_err()
        {
            self.listener = None;
        }
        self.total += 1;
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > LINES_KEPT || self.bytes > BYTES_KEPT {
            let Some(oldest) = self.lines.pop_front() else {
                break;
            };
            self.bytes -= oldest.len();
        }
    }
}

/// Lines kept of each process.
const LINES_KEPT: usize = 200;

/// Bytes kept of each process: 1,000 chatty actors cost 64 MiB at the very most.
const BYTES_KEPT: usize = 64 << 10;

/// Lines a second that become log records; a traceback passes, a flood does not.
const LOGGED_PER_SECOND: u32 = 200;

/// Lines that wait for a listener; a flood ends its listening.
const LISTENED_LINES: usize = 1000;

const READ_BYTES: usize = 16 << 10;
