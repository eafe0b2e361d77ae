//! The connection to one forkserver: requests by number, answers in any order, notices.
//!
//! Requests are written by a task of their own, so a caller that gives up never leaves half a
//! frame behind. When the connection ends, every open request fails at once.
//! Not here: what is asked (`forkservers`, `workers`).

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::control::{ForkserverAnswer, ForkserverRequest, Notice};
use protocol::{Frame, FrameKind, FrameReader, Header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::hosting::process::Fates;

/// A connection that was accepted and said Hello.
#[derive(Debug)]
pub(crate) struct Dialled {
    /// The process at the other end, as the kernel says.
    pub(crate) pid: u32,
    /// The connection.
    pub(crate) stream: UnixStream,
    /// What was read behind the Hello.
    pub(crate) read_ahead: Vec<u8>,
}

/// A forkserver that can be asked.
#[derive(Debug)]
pub(crate) struct Link {
    pid: u32,
    next: AtomicU64,
    outgoing: mpsc::Sender<Vec<u8>>,
    pending: Pending,
    closed: CancellationToken,
}

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The connection ended.
    Closed,
    /// The time ran out.
    TimedOut,
}

type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<ForkserverAnswer>>>>;

impl Link {
    /// Starts the tasks of a connection; `pid` is the forkserver's.
    pub(crate) fn open(
        dialled: Dialled,
        fates: Arc<Fates>,
        tasks: &TaskTracker,
    ) -> std::io::Result<Arc<Self>> {
        dialled.stream.set_nonblocking(true)?;
        let stream = tokio::net::UnixStream::from_std(dialled.stream)?;
        let (read, write) = stream.into_split();
        let (outgoing, queue) = mpsc::channel(QUEUE);
        let link = Arc::new(Self {
            pid: dialled.pid,
            next: AtomicU64::new(1),
            outgoing,
            pending: Pending::default(),
            closed: CancellationToken::new(),
        });
        tasks.spawn(write_all(queue, write, link.closed.clone()));
        let reader = Reader {
            pending: Arc::clone(&link.pending),
            closed: link.closed.clone(),
            fates,
        };
        tasks.spawn(reader.run(read, dialled.read_ahead));
        Ok(link)
    }

    /// The forkserver's process.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the connection has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Resolves when the connection has ended.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Ends the connection from this side.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    /// Asks and waits for the answer.
    pub(crate) async fn ask(
        &self,
        request: &ForkserverRequest,
        limit: Duration,
    ) -> Result<ForkserverAnswer, NoAnswer> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        lock(&self.pending).insert(number, sender);
        let frame = request_frame(request, number);
        let asked = async {
            tokio::select! {
                biased;
                () = self.closed.cancelled() => return Err(NoAnswer::Closed),
                sent = self.outgoing.send(frame) => sent.map_err(|_cause| NoAnswer::Closed)?,
            }
            tokio::select! {
                biased;
                answer = answer => answer.map_err(|_cause| NoAnswer::Closed),
                () = self.closed.cancelled() => Err(NoAnswer::Closed),
            }
        };
        let outcome = tokio::time::timeout(limit, asked).await;
        lock(&self.pending).remove(&number);
        outcome.unwrap_or(Err(NoAnswer::TimedOut))
    }

    /// Tells something that has no answer.
    pub(crate) async fn tell(&self, request: &ForkserverRequest) {
        let _ = self.outgoing.send(request_frame(request, 0)).await;
    }
}

fn request_frame(request: &ForkserverRequest, number: u64) -> Vec<u8> {
    let payload = serde_json::to_vec(request).unwrap_or_default();
    let mut bytes = Vec::new();
    Frame::new(Header::control(FrameKind::Request, number), payload).write_to(&mut bytes);
    bytes
}

async fn write_all(
    mut queue: mpsc::Receiver<Vec<u8>>,
    mut stream: OwnedWriteHalf,
    closed: CancellationToken,
) {
    loop {
        let frame = tokio::select! {
            biased;
            () = closed.cancelled() => break,
            frame = queue.recv() => frame,
        };
        let Some(frame) = frame else { break };
        if stream.write_all(&frame).await.is_err() {
            break;
        }
    }
    closed.cancel();
}

struct Reader {
    pending: Pending,
    closed: CancellationToken,
    fates: Arc<Fates>,
}

impl Reader {
    async fn run(self, mut stream: OwnedReadHalf, read_ahead: Vec<u8>) {
        let mut frames = FrameReader::default();
        frames.extend(&read_ahead);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            if let Err(fault) = self.take_frames(&mut frames) {
                tracing::warn!(%fault, "forkserver spoke another protocol");
                break;
            }
            let read = tokio::select! {
                biased;
                () = self.closed.cancelled() => break,
                read = stream.read(&mut buffer) => read.unwrap_or(0),
            };
            match buffer.get(..read) {
                Some(bytes) if read > 0 => frames.extend(bytes),
                _ => break,
            }
        }
        self.closed.cancel();
        lock(&self.pending).clear();
    }

    fn take_frames(&self, frames: &mut FrameReader) -> Result<(), String> {
        while let Some(frame) = frames.next_frame().map_err(|cause| cause.to_string())? {
            let read = |cause: serde_json::Error| cause.to_string();
            match frame.header.kind {
                FrameKind::Response => {
                    let answer = serde_json::from_slice(&frame.payload).map_err(read)?;
                    self.answer(frame.header.sequence, answer);
                }
                FrameKind::Notice => {
                    self.notice(&serde_json::from_slice(&frame.payload).map_err(read)?);
                }
                kind => return Err(format!("frame of kind `{kind:?}` from a forkserver")),
            }
        }
        Ok(())
    }

    fn answer(&self, number: u64, answer: ForkserverAnswer) {
        if let ForkserverAnswer::Forked { pid } = answer {
            // Before the next frame, which may be its `child_ended`.
            drop(self.fates.follow(pid));
        }
        if let Some(asker) = lock(&self.pending).remove(&number) {
            let _ = asker.send(answer);
        }
    }

    fn notice(&self, notice: &Notice) {
        if let Notice::ChildEnded { pid, status } = notice {
            self.fates.settle(*pid, *status);
        }
    }
}

fn lock<T>(pending: &Mutex<T>) -> MutexGuard<'_, T> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Requests that may wait to be written; beyond it callers wait.
const QUEUE: usize = 64;

/// Answers are short; a preparation with tracebacks is read in a few pieces.
const READ_BYTES: usize = 16 << 10;
