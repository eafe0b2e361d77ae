//! One connection of a worker or client: reads into the machine, writes from its outbox.
//!
//! One task per connection. What a read causes is written at once, from the same wake-up, to
//! whichever connections it concerns; only a full socket makes the target's own task write.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use protocol::control::Welcome;
use protocol::limits::HEADER_BYTES;
use protocol::{ActorId, FrameKind, Header};
use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc};

use super::cut::Cut;
use super::shared::Shared;
use crate::router::agent::AgentEvent;
use crate::router::config::Rights;
use crate::router::core::{Event, FrameBytes, PartyId};
use crate::router::moment::Moment;

/// The socket of one connection, and how others wake its task.
#[derive(Debug)]
pub(super) struct Line {
    stream: UnixStream,
    full: Notify,
    closing: Notify,
    broken: Notify,
    ended: Notify,
}

/// Time to read what a process wrote before it ended.
const READ_OUT: Duration = Duration::from_secs(1);

/// How far a write came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    All,
    SocketFull,
    Failed,
}

impl Line {
    /// Has the connection's task end.
    pub(super) fn close(&self) {
        self.closing.notify_one();
    }

    /// The other end takes nothing more: the task ends when what it wrote has been read.
    pub(super) fn end_when_read(&self) {
        self.broken.notify_one();
    }

    async fn broken_and_not_read(&self) {
        self.broken.notified().await;
        tokio::time::sleep(READ_OUT).await;
    }

    /// Waits until all that the other end wrote has been read, which the end of its process
    /// makes certain; one whose descendants keep the connection open gets no longer than this.
    pub(super) async fn read_out(&self) {
        // Either way the connection is done with.
        let _ = tokio::time::timeout(READ_OUT, self.ended.notified()).await;
    }

    /// Has the connection's task write when the socket takes bytes again.
    pub(super) fn write_later(&self) {
        self.full.notify_one();
    }

    /// Writes what the socket takes now.
    pub(super) fn write(&self, shared: &Shared, id: PartyId) -> Written {
        let mut core = shared.core.borrow_mut();
        let Some(outbox) = core.outbox(id) else {
            return Written::All;
        };
        while !outbox.is_empty() {
            match outbox.with_slices(|slices| self.stream.try_write_vectored(slices)) {
                Ok(0) => return Written::Failed,
                Ok(n_bytes) => outbox.advance(n_bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Written::SocketFull;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Written::Failed,
            }
        }
        Written::All
    }

    /// Writes all, however long the other end takes.
    pub(super) async fn write_all(&self, shared: &Shared, id: PartyId) {
        while self.write(shared, id) == Written::SocketFull {
            if self.stream.writable().await.is_err() {
                return;
            }
        }
    }
}

/// Serves one connection until it ends.
pub(super) async fn serve(
    shared: Rc<Shared>,
    stream: UnixStream,
    id: PartyId,
    welcome: Welcome,
    read_ahead: Vec<u8>,
    rights: Rights,
) {
    let line = Rc::new(Line {
        stream,
        full: Notify::new(),
        closing: Notify::new(),
        broken: Notify::new(),
        ended: Notify::new(),
    });
    shared.lines.borrow_mut().insert(id, Rc::clone(&line));
    shared
        .core
        .borrow_mut()
        .send_json(id, FrameKind::Welcome, 0, &welcome);
    shared.settle();
    let mut reader = Reader {
        shared: &shared,
        line: &line,
        id,
        client: welcome.address,
        rights,
        cut: Cut::default(),
        uploads: HashMap::new(),
        pending: None,
    };
    tokio::select! {
        biased;
        () = line.closing.notified() => {}
        () = line.broken_and_not_read() => {}
        () = write_when_possible(&shared, &line, id) => {}
        ended = reader.run(read_ahead) => if let Err(error) = ended {
            tracing::warn!(address = %welcome.address, %error, "connection closed");
        }
    }
    shared.lines.borrow_mut().remove(&id);
    shared.handle(Event::Disconnected { from: id });
    shared.settle();
    line.ended.notify_one();
}

async fn write_when_possible(shared: &Shared, line: &Line, id: PartyId) {
    loop {
        line.full.notified().await;
        line.write_all(shared, id).await;
    }
}

struct Reader<'a> {
    shared: &'a Rc<Shared>,
    line: &'a Line,
    id: PartyId,
    client: ActorId,
    rights: Rights,
    cut: Cut,
    uploads: HashMap<u64, mpsc::Sender<Vec<u8>>>,
    /// A chunk that its channel had no room for.
    pending: Option<(u64, Vec<u8>)>,
}

/// Bytes read per system call, beside the start of a frame from the read before.
pub(super) const READ_BYTES: usize = 256 << 10;

/// Reads of one connection after which the others have their turn.
const READS_IN_A_ROW: u32 = 8;

/// Chunks of an upload that wait for the agent.
const CHUNKS_WAITING: usize = 4;

/// Uploads that one client may have under way.
const UPLOADS_MAX: usize = 4;

impl Reader<'_> {
    async fn run(&mut self, read_ahead: Vec<u8>) -> Result<(), super::cut::CutError> {
        self.take(|cut, sink| cut.feed(&read_ahead, sink))?;
        let mut n_reads = 0;
        loop {
            self.finish_upload_step().await?;
            match self.read_once()? {
                Read::Some => n_reads += 1,
                Read::End => return Ok(()),
                Read::Nothing => {
                    n_reads = 0;
                    if self.line.stream.readable().await.is_err() {
                        return Ok(());
                    }
                }
            }
            if n_reads >= READS_IN_A_ROW {
                n_reads = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    fn read_once(&mut self) -> Result<Read, super::cut::CutError> {
        if let Some(buffer) = self.cut.large() {
            let read = self.line.stream.try_read_buf(buffer);
            let outcome = Read::of(&read);
            if outcome == Read::Some {
                self.take(|cut, sink| cut.finish_large(sink))?;
            }
            return Ok(outcome);
        }
        let shared = Rc::clone(self.shared);
        let mut scratch = shared.scratch.borrow_mut();
        let n_carried = self.cut.carry().len();
        let room = n_carried + READ_BYTES;
        if scratch.len() < room {
            scratch.resize(room, 0);
        }
        let Some((front, back)) = scratch.split_at_mut_checked(n_carried) else {
            return Ok(Read::End);
        };
        let read = self.line.stream.try_read(back);
        let outcome = Read::of(&read);
        if let (Read::Some, Ok(n_bytes)) = (outcome, read) {
            front.copy_from_slice(self.cut.carry());
            self.cut.clear_carry();
            let data = scratch.get(..n_carried + n_bytes).unwrap_or_default();
            self.take(|cut, sink| cut.feed(data, sink))?;
        }
        Ok(outcome)
    }

    /// Has the cut give its frames to the machine, then does what the machine wants.
    fn take(
        &mut self,
        cut: impl FnOnce(
            &mut Cut,
            &mut dyn FnMut(&Header, FrameBytes<'_>) -> bool,
        ) -> Result<(), super::cut::CutError>,
    ) -> Result<(), super::cut::CutError> {
        let now = self.shared.now();
        let mut frames = std::mem::take(&mut self.cut);
        let done = cut(&mut frames, &mut |header, bytes| {
            self.frame(now, header, bytes)
        });
        self.cut = frames;
        self.shared.settle();
        done
    }

    fn frame(&mut self, now: Moment, header: &Header, bytes: FrameBytes<'_>) -> bool {
        match header.kind {
            FrameKind::Upload => {
                self.upload(header.sequence, bytes);
                return self.pending.is_none();
            }
            FrameKind::Request => drop(self.uploads.remove(&header.sequence)),
            _ => {}
        }
        let from = self.id;
        let event = Event::Frame {
            from,
            header,
            bytes,
        };
        self.shared.core.borrow_mut().handle_event(now, event);
        true
    }

    fn upload(&mut self, sequence: u64, bytes: FrameBytes<'_>) {
        // The agent refuses the request that follows; until then the bytes lead nowhere.
        if self.rights < Rights::Operate {
            return;
        }
        if !self.uploads.contains_key(&sequence) {
            if self.uploads.len() >= UPLOADS_MAX {
                return;
            }
            let (sender, chunks) = mpsc::channel(CHUNKS_WAITING);
            self.uploads.insert(sequence, sender);
            // What the machine has to tell of earlier frames goes first.
            self.shared.settle();
            self.shared.tell(AgentEvent::Upload {
                client: self.client,
                sequence,
                chunks,
            });
        }
        let mut chunk = bytes.into_vec();
        chunk.drain(..HEADER_BYTES.min(chunk.len()));
        if let Some(sender) = self.uploads.get(&sequence)
            && let Err(mpsc::error::TrySendError::Full(chunk)) = sender.try_send(chunk)
        {
            self.pending = Some((sequence, chunk));
        }
    }

    /// Waits until the agent takes the chunk that had no room, and reads on where that stopped.
    async fn finish_upload_step(&mut self) -> Result<(), super::cut::CutError> {
        while let Some((sequence, chunk)) = self.pending.take() {
            if let Some(sender) = self.uploads.get(&sequence) {
                // An agent that has dropped the receiver refuses the request that follows.
                drop(sender.send(chunk).await);
            }
            let data = self.cut.take_carry();
            self.take(|cut, sink| cut.feed(&data, sink))?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    Some,
    Nothing,
    End,
}

impl Read {
    fn of(read: &io::Result<usize>) -> Self {
        match read {
            Ok(0) => Self::End,
            Ok(_) => Self::Some,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Self::Nothing,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Self::Nothing,
            Err(_) => Self::End,
        }
    }
}
