//! Frames on streams: requests and their answers, or a run of documents one way.
//!
//! A request is a bi stream of its own, so that no answer waits for another's.
//! Not here: the raw bytes of bulk transfers (`bulk`), reconnecting.
//!
//! # Format
//! Each frame: length u32 little-endian, then that many bytes. Documents are envelopes of
//! `protocol::encode`; a response is wrapped in `Answer`.

use std::fmt;
use std::time::Duration;

use protocol::limits::WIRE_DOCUMENT_BYTES_MAX;
use protocol::wire::{Answer, Refusal, RefusalCode, Shape};
use protocol::{CodecError, decode, encode};
use tokio::time::timeout;

use crate::connection::{Closed, Connection, close_code};

/// A frame that cannot be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum StreamFault {
    /// The connection ended.
    #[error("the connection ended")]
    Connection(#[source] Closed),
    /// The peer gave the stream up.
    #[error("the peer gave the stream up ({0:?})")]
    GivenUp(RefusalCode),
    /// The stream ended in the middle of a frame.
    #[error("the stream ended in the middle of a frame")]
    Cut,
    /// A frame longer than it may be.
    #[error("a frame of {length} bytes; {max_bytes} are allowed")]
    TooLong {
        /// What was announced or is to be sent.
        length: usize,
        /// What is allowed.
        max_bytes: usize,
    },
    /// The bytes are no document of the wanted shape.
    #[error("the document cannot be read or written")]
    Codec(#[from] CodecError),
    /// This end has closed the stream before.
    #[error("the stream is closed already")]
    Used,
}

impl StreamFault {
    /// Whether the stream or connection ended, as against a document that makes no sense.
    #[must_use]
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Connection(_) | Self::GivenUp(_) | Self::Used)
    }
}

/// A request without a response.
#[derive(Debug, thiserror::Error)]
pub enum AskFault {
    /// The peer refused it: nothing has happened.
    #[error("the request was refused")]
    Refused(#[source] Refusal),
    /// It was not sent: nothing has happened; try again or another.
    #[error("the request was not sent")]
    Unavailable(#[source] StreamFault),
    /// It was sent and no answer came: it may have happened.
    #[error("no answer came; it may have been carried out")]
    Unknown(#[source] StreamFault),
    /// It was sent and no answer came in time: it may have happened.
    #[error("no answer within {} ms; it may have been carried out", within.as_millis())]
    TooSlow {
        /// How long it may take.
        within: Duration,
    },
}

/// The sending half of a stream.
pub struct FrameSender {
    stream: quinn::SendStream,
    connection: Connection,
}

/// The receiving half of a stream.
pub struct FrameReceiver {
    stream: quinn::RecvStream,
    connection: Connection,
}

/// A stream both ways.
#[derive(Debug)]
pub struct BiStream {
    /// From here to there.
    pub sender: FrameSender,
    /// From there to here.
    pub receiver: FrameReceiver,
}

impl Connection {
    /// Sends a request on a stream of its own and waits for the response.
    ///
    /// # Errors
    /// [`AskFault`], which tells apart what did not happen from what may have.
    pub async fn ask<Q: Shape + Sync, A: Shape>(
        &self,
        request: &Q,
        within: Duration,
    ) -> Result<A, AskFault> {
        timeout(within, self.ask_patiently(request))
            .await
            .unwrap_or(Err(AskFault::TooSlow { within }))
    }

    async fn ask_patiently<Q: Shape + Sync, A: Shape>(&self, request: &Q) -> Result<A, AskFault> {
        let unsent = |closed| AskFault::Unavailable(StreamFault::Connection(closed));
        let mut stream = self.open().await.map_err(unsent)?;
        // A frame may be on its way before its end fails: from here on it may have happened.
        stream
            .sender
            .send(request)
            .await
            .map_err(|fault| match fault {
                StreamFault::Codec(_) | StreamFault::TooLong { .. } => AskFault::Unavailable(fault),
                other => AskFault::Unknown(other),
            })?;
        stream.sender.finish();
        let answer = stream.receiver.receive::<Answer<A>>().await;
        match answer.map_err(AskFault::Unknown)? {
            Some(Answer::Done(response)) => Ok(response),
            Some(Answer::Refused(refusal)) => Err(AskFault::Refused(refusal)),
            None => Err(AskFault::Unknown(StreamFault::Cut)),
        }
    }
}

impl BiStream {
    pub(crate) fn new(
        sender: quinn::SendStream,
        receiver: quinn::RecvStream,
        connection: &Connection,
    ) -> Self {
        Self {
            sender: FrameSender::new(sender, connection.clone()),
            receiver: FrameReceiver::new(receiver, connection.clone()),
        }
    }

    /// The one request on this stream.
    ///
    /// # Errors
    /// [`StreamFault`]; an empty stream is [`StreamFault::Cut`].
    pub async fn request<Q: Shape>(&mut self) -> Result<Q, StreamFault> {
        self.receiver.receive().await?.ok_or(StreamFault::Cut)
    }

    /// Answers the request on this stream, and waits until the asker has the answer.
    ///
    /// # Errors
    /// [`StreamFault`].
    pub async fn answer<A: Shape + Sync>(
        mut self,
        outcome: Result<A, Refusal>,
    ) -> Result<(), StreamFault> {
        let answer = match outcome {
            Ok(response) => Answer::Done(response),
            Err(refusal) => Answer::Refused(refusal),
        };
        self.sender.send(&answer).await?;
        self.sender.finish_and_wait().await
    }
}

impl FrameSender {
    pub(crate) fn new(stream: quinn::SendStream, connection: Connection) -> Self {
        Self { stream, connection }
    }

    /// The connection that it is part of.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Sends a document.
    ///
    /// # Errors
    /// [`StreamFault`].
    pub async fn send<T: Shape + Sync>(&mut self, document: &T) -> Result<(), StreamFault> {
        write_shape(&mut self.stream, document).await
    }

    /// Sends a frame of bytes.
    ///
    /// # Errors
    /// [`StreamFault`].
    pub async fn send_frame(&mut self, bytes: &[u8]) -> Result<(), StreamFault> {
        write_frame(&mut self.stream, bytes).await
    }

    /// Says that nothing more follows.
    pub fn finish(&mut self) {
        // Fails only on a stream that has ended already.
        let _ended = self.stream.finish();
    }

    /// Says that nothing more follows, and waits until the peer has everything.
    ///
    /// # Errors
    /// [`StreamFault`] when the peer gave up or the connection ended.
    pub async fn finish_and_wait(&mut self) -> Result<(), StreamFault> {
        self.finish();
        match self.stream.stopped().await {
            Ok(None) => Ok(()),
            Ok(Some(code)) => Err(given_up(code)),
            Err(quinn::StoppedError::ConnectionLost(cause)) => Err(lost(cause)),
            Err(quinn::StoppedError::ZeroRttRejected) => Err(StreamFault::Used),
        }
    }

    /// Gives the stream up; what is under way may be lost.
    pub fn give_up(&mut self, code: RefusalCode) {
        let _ended = self.stream.reset(close_code(code));
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) -> Result<(), StreamFault> {
        self.stream.write_all(bytes).await.map_err(write_fault)
    }
}

impl FrameReceiver {
    pub(crate) fn new(stream: quinn::RecvStream, connection: Connection) -> Self {
        Self { stream, connection }
    }

    /// The connection that it is part of.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The next document; `None` at the stream's end.
    ///
    /// # Errors
    /// [`StreamFault`].
    pub async fn receive<T: Shape>(&mut self) -> Result<Option<T>, StreamFault> {
        read_shape(&mut self.stream, WIRE_DOCUMENT_BYTES_MAX).await
    }

    /// The next frame of at most `max_bytes`; `None` at the stream's end.
    ///
    /// # Errors
    /// [`StreamFault`].
    pub async fn receive_frame(
        &mut self,
        max_bytes: usize,
    ) -> Result<Option<Vec<u8>>, StreamFault> {
        read_frame(&mut self.stream, max_bytes).await
    }

    /// Tells the peer to send no more.
    pub fn give_up(&mut self, code: RefusalCode) {
        let _ended = self.stream.stop(close_code(code));
    }

    /// The next bytes, at most `max_bytes`, as they came; empty at the stream's end.
    pub(crate) async fn receive_raw(
        &mut self,
        max_bytes: usize,
    ) -> Result<impl AsRef<[u8]> + Send + Sync + use<>, StreamFault> {
        let chunk = self.stream.read_chunk(max_bytes, true).await;
        let chunk = chunk.map_err(read_fault)?;
        Ok(chunk.map(|chunk| chunk.bytes).unwrap_or_default())
    }
}

impl fmt::Debug for FrameSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FrameSender")
            .field(&self.stream.id())
            .finish()
    }
}

impl fmt::Debug for FrameReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FrameReceiver")
            .field(&self.stream.id())
            .finish()
    }
}

pub(crate) async fn write_shape<T: Shape + Sync>(
    stream: &mut quinn::SendStream,
    document: &T,
) -> Result<(), StreamFault> {
    write_frame(stream, &encode(T::NAME, T::VERSION, document)?).await
}

pub(crate) async fn read_shape<T: Shape>(
    stream: &mut quinn::RecvStream,
    max_bytes: usize,
) -> Result<Option<T>, StreamFault> {
    match read_frame(stream, max_bytes).await? {
        Some(bytes) => Ok(Some(decode(T::NAME, T::VERSION, &bytes)?)),
        None => Ok(None),
    }
}

async fn write_frame(stream: &mut quinn::SendStream, bytes: &[u8]) -> Result<(), StreamFault> {
    let length = match u32::try_from(bytes.len()) {
        Ok(length) if bytes.len() <= WIRE_DOCUMENT_BYTES_MAX => length,
        _ => {
            return Err(StreamFault::TooLong {
                length: bytes.len(),
                max_bytes: WIRE_DOCUMENT_BYTES_MAX,
            });
        }
    };
    let head = length.to_le_bytes();
    stream.write_all(&head).await.map_err(write_fault)?;
    stream.write_all(bytes).await.map_err(write_fault)
}

async fn read_frame(
    stream: &mut quinn::RecvStream,
    max_bytes: usize,
) -> Result<Option<Vec<u8>>, StreamFault> {
    let mut head = [0; 4];
    match stream.read_exact(&mut head).await {
        Ok(()) => {}
        Err(quinn::ReadExactError::FinishedEarly(0)) => return Ok(None),
        Err(quinn::ReadExactError::FinishedEarly(_)) => return Err(StreamFault::Cut),
        Err(quinn::ReadExactError::ReadError(cause)) => return Err(read_fault(cause)),
    }
    let length = u32::from_le_bytes(head) as usize;
    if length > max_bytes {
        return Err(StreamFault::TooLong { length, max_bytes });
    }
    // Room for what has come, not for what was announced.
    let mut bytes = Vec::with_capacity(length.min(FIRST_ROOM_BYTES));
    while bytes.len() < length {
        let chunk = stream.read_chunk(length - bytes.len(), true).await;
        match chunk.map_err(read_fault)? {
            Some(chunk) => bytes.extend_from_slice(&chunk.bytes),
            None => return Err(StreamFault::Cut),
        }
    }
    Ok(Some(bytes))
}

fn lost(cause: quinn::ConnectionError) -> StreamFault {
    StreamFault::Connection(Closed::from(cause))
}

fn given_up(code: quinn::VarInt) -> StreamFault {
    let number = u32::try_from(code.into_inner()).unwrap_or(u32::MAX);
    StreamFault::GivenUp(RefusalCode::from(number))
}

fn write_fault(cause: quinn::WriteError) -> StreamFault {
    match cause {
        quinn::WriteError::Stopped(code) => given_up(code),
        quinn::WriteError::ConnectionLost(cause) => lost(cause),
        quinn::WriteError::ClosedStream | quinn::WriteError::ZeroRttRejected => StreamFault::Used,
    }
}

fn read_fault(cause: quinn::ReadError) -> StreamFault {
    match cause {
        quinn::ReadError::Reset(code) => given_up(code),
        quinn::ReadError::ConnectionLost(cause) => lost(cause),
        quinn::ReadError::ClosedStream
        | quinn::ReadError::IllegalOrderedRead
        | quinn::ReadError::ZeroRttRejected => StreamFault::Used,
    }
}

/// Most documents are smaller; larger ones grow as they come.
const FIRST_ROOM_BYTES: usize = 64 << 10;
