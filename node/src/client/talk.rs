//! Messages to actors and roles: literals told, and asked with one answer.

use std::time::Duration;

use protocol::control::{AskOutcome, Notice};
use protocol::limits::FRAME_BYTES_MAX;
use protocol::{
    ActorId, Flags, Frame, FrameKind, Header, PayloadKind, RoleId, TargetKind, TraceId,
};

use super::reply::Reply;
use super::session::{Client, ClientError};

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// One incarnation of one actor.
    Actor(ActorId),
    /// Whoever plays a role when the message is delivered.
    Role(RoleId),
}

/// How an ask ended without a reply.
#[derive(Debug, thiserror::Error)]
pub enum AskEnd {
    /// The actor never got the message.
    #[error("the message was not delivered: {0}")]
    DeadLettered(String),
    /// The actor got the message and ended before it replied.
    #[error("the actor ended before it replied: {0}")]
    Unknown(String),
    /// No reply came in time; one that comes later is ignored.
    #[error("no reply within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// The connection ended; whether the message was handled is not known.
    #[error(transparent)]
    Closed(#[from] ClientError),
}

impl Client {
    /// Sends a literal and waits for the first message that comes back, for ever without a limit.
    ///
    /// The text must be a literal: the actor reads it with `ast.literal_eval`. A late reply to an
    /// ask before this one is not taken for the answer.
    ///
    /// # Errors
    /// [`AskEnd`].
    ///
    /// # Cancel safety
    /// As after a time-out: the message may be handled, the reply is ignored.
    pub async fn ask(
        &mut self,
        target: Target,
        literal: &str,
        timeout: Option<Duration>,
    ) -> Result<Reply, AskEnd> {
        let asking = self.ask_for_ever(target, literal, timeout);
        let Some(limit) = timeout else {
            return asking.await;
        };
        match tokio::time::timeout(limit, asking).await {
            Ok(end) => end,
            Err(_elapsed) => Err(AskEnd::TimedOut(limit)),
        }
    }

    /// Sends a literal; it has left this process when the call returns.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn tell(&mut self, target: Target, literal: &str) -> Result<(), ClientError> {
        let header = message(target, Flags::default());
        self.send(target, header, literal).await?;
        self.flush().await
    }

    async fn ask_for_ever(
        &mut self,
        target: Target,
        literal: &str,
        timeout: Option<Duration>,
    ) -> Result<Reply, AskEnd> {
        let mut header = message(target, Flags::ASK);
        let limit_ms = |limit: Duration| u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
        header.deadline_ms = timeout.map_or(0, |limit| limit_ms(limit).max(1));
        header.trace = TraceId(rand::random());
        let trace = header.trace;
        self.ended_asks.clear();
        let sequence = self.send(target, header, literal).await?;
        loop {
            while let Some(frame) = self.next_message() {
                if answers(&frame, trace) {
                    return Ok(Reply::from(frame));
                }
            }
            if let Some(end) = self.end_of(target, sequence) {
                return Err(end);
            }
            self.step().await?;
        }
    }

    /// Waits for credit and queues the message; returns its number.
    async fn send(
        &mut self,
        target: Target,
        mut header: Header,
        literal: &str,
    ) -> Result<u64, ClientError> {
        header.sender = self.welcome().address;
        header.incarnation = self.welcome().incarnation;
        let mut frame = Frame::new(header, literal.as_bytes().to_vec());
        if frame.bytes() > FRAME_BYTES_MAX {
            return Err(ClientError::TooLong {
                bytes: frame.bytes(),
            });
        }
        while !self.credit.suffices(target) {
            self.step().await?;
        }
        frame.header.sequence = self.credit.next_sequence(target);
        self.credit.sent(target, frame.bytes());
        self.line.queue(&frame);
        Ok(frame.header.sequence)
    }

    fn end_of(&mut self, wanted: Target, number: u64) -> Option<AskEnd> {
        let wanted = match wanted {
            Target::Actor(actor) => actor.to_string(),
            Target::Role(role) => role.to_string(),
        };
        self.ended_asks.drain(..).find_map(|notice| match notice {
            Notice::AskEnded {
                sequence,
                target,
                outcome,
                reason,
            } if sequence == number && target == wanted => Some(match outcome {
                AskOutcome::DeadLettered => AskEnd::DeadLettered(reason),
                AskOutcome::Unknown => AskEnd::Unknown(reason),
            }),
            _ => None,
        })
    }
}

/// Whether a message may be the answer to the ask with this trace.
fn answers(frame: &Frame, trace: TraceId) -> bool {
    // Who answers from a timer has no trace; what the node itself tells is no answer.
    let fits = [trace, TraceId::default()].contains(&frame.header.trace);
    fits && frame.header.payload_kind != PayloadKind::Json
}

fn message(target: Target, flags: Flags) -> Header {
    let mut header = Header::control(FrameKind::Message, 0);
    (header.target_kind, header.target) = match target {
        Target::Actor(ActorId(bytes)) => (TargetKind::Actor, bytes),
        Target::Role(RoleId(bytes)) => (TargetKind::Role, bytes),
    };
    header.payload_kind = PayloadKind::Literal;
    header.flags = flags;
    header
}
