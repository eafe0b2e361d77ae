//! One client's session with a node: hello, numbered requests, and what arrives meanwhile.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use protocol::control::{ConnectionRole, Hello, Notice, Request, RequestError, Response, Welcome};
use protocol::limits::{PROTOCOL_VERSION, PROTOCOL_VERSION_OLDEST, WINDOW_BYTES};
use protocol::{
    CreditPayload, Frame, FrameError, FrameKind, Header, HeaderError, PayloadKind, WindowPayload,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::credit::Credit;
use super::line::{Line, LineEnd};

/// A connection to a node as a client.
#[derive(Debug)]
pub struct Client {
    pub(super) line: Line,
    pub(super) credit: Credit,
    pub(super) inbox: VecDeque<Frame>,
    pub(super) ended_asks: Vec<Notice>,
    welcome: Welcome,
    requests: u64,
    answered: Option<(u64, Response)>,
    taken_bytes: u64,
}

/// Why a node cannot be talked to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens at the socket, or this user may not connect to it.
    #[error("no node answers at `{path}`", path = .path.display())]
    Dial {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The node speaks another version of the protocol.
    #[error("the node speaks protocol {node}, this program {own}")]
    Version {
        /// The node's.
        node: u8,
        /// This build's.
        own: u8,
    },
    /// The node refused the connection, or ended it.
    #[error(transparent)]
    Session(#[from] ClientError),
}

/// Why something asked of a node was not done, or is not known to be done.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The node says why.
    #[error(transparent)]
    Refused(#[from] RequestError),
    /// The node closed the connection before it answered.
    #[error("the node closed the connection")]
    Closed,
    /// The system broke the connection.
    #[error("the connection to the node failed")]
    Io(#[source] io::Error),
    /// The node's bytes cannot be understood.
    #[error("the node sent bytes that are no frame")]
    Header(#[from] HeaderError),
    /// A frame of the node cannot be understood.
    #[error("the node sent a frame that cannot be read")]
    Frame(#[from] FrameError),
    /// The file to be uploaded cannot be read; the client cannot be used any more.
    #[error("what is to be uploaded cannot be read")]
    Source(#[source] io::Error),
    /// A message or request is longer than any frame may be.
    #[error("a frame of {bytes} bytes is longer than any may be")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

impl Client {
    /// Connects to the node that listens at `path`, and says hello.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(path: &Path) -> Result<Self, ConnectError> {
        let dialled = Line::dial(path).await;
        let mut line = dialled.map_err(|source| ConnectError::Dial {
            path: path.to_owned(),
            source,
        })?;
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            oldest: Some(PROTOCOL_VERSION_OLDEST),
            role: ConnectionRole::Client,
            token: None,
            pid: std::process::id(),
            program: None,
            node: None,
        };
        line.queue(&document(FrameKind::Hello, 0, &hello)?);
        let welcome = welcomed(&mut line).await?;
        if !(PROTOCOL_VERSION_OLDEST..=PROTOCOL_VERSION).contains(&welcome.protocol) {
            let node = welcome.protocol;
            return Err(ConnectError::Version {
                node,
                own: PROTOCOL_VERSION,
            });
        }
        Ok(Self {
            line,
            welcome,
            credit: Credit::default(),
            inbox: VecDeque::new(),
            ended_asks: Vec::new(),
            requests: 0,
            answered: None,
            taken_bytes: 0,
        })
    }

    /// What the node said of itself, and this client's own address.
    #[must_use]
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Asks the node for something and waits for the answer, however long it takes.
    ///
    /// # Errors
    /// [`ClientError`]; `Refused` carries what the node said.
    ///
    /// # Cancel safety
    /// A dropped call may have been carried out; its answer is ignored.
    pub async fn request(&mut self, request: Request) -> Result<Response, ClientError> {
        let sequence = self.next_request();
        self.finish_request(sequence, &request).await
    }

    pub(super) fn next_request(&mut self) -> u64 {
        self.requests += 1;
        self.answered = None;
        self.requests
    }

    /// Sends the request of a number and waits for its answer.
    pub(super) async fn finish_request(
        &mut self,
        sequence: u64,
        request: &Request,
    ) -> Result<Response, ClientError> {
        self.line
            .queue(&document(FrameKind::Request, sequence, request)?);
        loop {
            if let Some(response) = self.answer_to(sequence) {
                return response;
            }
            self.step().await?;
        }
    }

    /// The answer to a request, if it is here.
    pub(super) fn answer_to(&mut self, sequence: u64) -> Option<Result<Response, ClientError>> {
        match self.answered.take_if(|(number, _)| *number == sequence)?.1 {
            Response::Failed(error) => Some(Err(error.into())),
            response => Some(Ok(response)),
        }
    }

    /// Waits for something to happen on the connection and takes in what has arrived.
    pub(super) async fn step(&mut self) -> Result<(), ClientError> {
        self.line.turn().await?;
        while let Some(frame) = self.line.next_frame()? {
            self.take_in(frame)?;
        }
        Ok(())
    }

    /// Writes all that waits to be written.
    pub(super) async fn flush(&mut self) -> Result<(), ClientError> {
        while self.line.unwritten() > 0 {
            self.step().await?;
        }
        Ok(())
    }

    /// The oldest message that has not been looked at.
    pub(super) fn next_message(&mut self) -> Option<Frame> {
        let frame = self.inbox.pop_front()?;
        self.taken_bytes += frame.bytes() as u64;
        if self.taken_bytes >= WINDOW_BYTES / 2 {
            let window = WindowPayload {
                bytes: std::mem::take(&mut self.taken_bytes),
            };
            let mut header = Header::control(FrameKind::Window, 0);
            header.payload_kind = PayloadKind::Raw;
            self.line.queue(&Frame::new(header, window.to_bytes()));
        }
        Some(frame)
    }

    fn take_in(&mut self, frame: Frame) -> Result<(), ClientError> {
        match frame.header.kind {
            FrameKind::Message => self.inbox.push_back(frame),
            FrameKind::Credit => {
                self.credit
                    .given_back(&CreditPayload::from_bytes(&frame.payload)?);
            }
            // Only the last request's answer is waited for; number 0 refuses the connection.
            FrameKind::Response => match (frame.header.sequence, read(&frame)?) {
                (0, Response::Failed(error)) => return Err(error.into()),
                (number, response) if number == self.requests => {
                    self.answered = Some((number, response));
                }
                _ => {}
            },
            FrameKind::Notice => {
                let notice = read(&frame)?;
                if matches!(notice, Notice::AskEnded { .. }) {
                    self.ended_asks.push(notice);
                }
            }
            // What a client is not told today must not end it tomorrow.
            _ => {}
        }
        Ok(())
    }
}

async fn welcomed(line: &mut Line) -> Result<Welcome, ClientError> {
    loop {
        if let Some(frame) = line.next_frame()? {
            return match frame.header.kind {
                FrameKind::Welcome => Ok(read(&frame)?),
                FrameKind::Response => match read(&frame)? {
                    Response::Failed(error) => Err(error.into()),
                    _ => Err(FrameError::new(FrameKind::Response, "a welcome expected").into()),
                },
                kind => Err(FrameError::new(kind, "a welcome expected").into()),
            };
        }
        line.turn().await?;
    }
}

fn document(kind: FrameKind, sequence: u64, what: &impl Serialize) -> Result<Frame, ClientError> {
    let json =
        serde_json::to_vec(what).map_err(|error| FrameError::new(kind, error.to_string()))?;
    Ok(Frame::new(Header::control(kind, sequence), json))
}

fn read<T: DeserializeOwned>(frame: &Frame) -> Result<T, FrameError> {
    serde_json::from_slice(&frame.payload)
        .map_err(|error| FrameError::new(frame.header.kind, error.to_string()))
}

impl From<LineEnd> for ClientError {
    fn from(end: LineEnd) -> Self {
        match end {
            LineEnd::Closed => Self::Closed,
            LineEnd::Failed(source) => Self::Io(source),
        }
    }
}
