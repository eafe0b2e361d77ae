//! The header in front of every frame between a node and its workers, clients and peers.
//!
//! Fixed size and in the clear, so that the router decides without reading a payload.
//! Not here: payloads (`frame`, `control`), which limits apply (`limits`).
//!
//! # Format
//! 112 bytes, little-endian; see `docs/protocol.md` for the table.

use crate::id::{ActorId, Incarnation, RoleId, SourceHash, TraceId};
use crate::limits::{FRAME_BYTES_MAX, HEADER_BYTES, HEADER_VERSION};

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// First frame of a connection, from the one that dialled: JSON [`crate::control::Hello`].
    Hello = 1,
    /// Answer to `Hello`: JSON [`crate::control::Welcome`].
    Welcome = 2,
    /// A message between actors and clients.
    Message = 3,
    /// JSON request to the other side; `sequence` is the request's number, 0 wants no answer.
    Request = 4,
    /// JSON answer to the request with the same `sequence`.
    Response = 5,
    /// JSON fact that wants no answer.
    Notice = 6,
    /// Node to sender: [`crate::CreditPayload`] for the pair sender, target.
    Credit = 7,
    /// Worker to node: [`crate::WindowPayload`], how much it took of what it was sent.
    Window = 8,
    /// Node to worker, answered by the worker with the same frame once every message before it
    /// has been handled. `sequence` is the marker's number.
    Marker = 9,
    /// A piece of an upload; `sequence` is the number of the request that follows it.
    Upload = 10,
    /// Node to both ends of a pair: [`crate::PathSwitchPayload`].
    PathSwitch = 11,
    /// Node to node, right before a message to a role: the actor that the sender's node chose.
    Via = 12,
}

/// How the payload of a message is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PayloadKind {
    /// No payload.
    Empty = 0,
    /// A Python pickle; read by the rule of trust that the sender's source hash decides.
    Pickle = 1,
    /// UTF-8 text of a Python literal.
    Literal = 2,
    /// A JSON document: control frames, and system messages that the node itself sends.
    Json = 3,
    /// `u32` length, that many bytes of JSON, then a whole frame: a message that came back.
    Envelope = 4,
    /// Bytes whose meaning the frame kind gives.
    Raw = 5,
}

/// What the target id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TargetKind {
    /// The other end of the connection.
    Peer = 0,
    /// An actor address: one incarnation of one actor or client.
    Actor = 1,
    /// A role address, resolved at delivery.
    Role = 2,
}

/// Bits that qualify a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// The sender waits for a reply: its outcome is reported if the target goes away.
    pub const ASK: Self = Self(1);
    /// A message of the actor system (ActorExitRequest, ChildActorExited...): reserved credit.
    pub const SYSTEM: Self = Self(2);
    /// The sender may not be told of a dead letter or poison: it is one itself.
    pub const RETURNED: Self = Self(4);
    /// Of a literal: the text is the `repr` of a string that is itself the `repr` of a value that
    /// is no literal.
    pub const NO_LITERAL: Self = Self(8);
    /// Its pickle is of the very program that the receiver is of, from another node of the same
    /// user on the same host, and is read as one of this node's. The receiving node sets it; no
    /// sender may. Between nodes: the header's `source` is the sender's [`crate::ProgramId`].
    pub const PROGRAM: Self = Self(16);
    /// Whoever sent it may not run code here: its pickle is read by the restricted unpickler,
    /// whatever the source. The receiving node sets it; no sender may.
    pub const FOREIGN: Self = Self(32);
    /// It came from another node. The receiving node sets it; no sender may.
    pub const REMOTE: Self = Self(64);
    /// Between nodes only: a third node passes it on, which nobody does twice.
    pub const RELAYED: Self = Self(128);
    /// Between nodes only: its credit is given back already.
    pub const CREDITED: Self = Self(256);
    /// What only nodes set.
    pub const OF_NODES: Self = Self(16 | 32 | 64 | 128 | 256);

    /// Whether all bits of `other` are set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is set.
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// These bits without those of `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// These bits and those of `other`.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Header of one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What the frame is for.
    pub kind: FrameKind,
    /// Bits that qualify it.
    pub flags: Flags,
    /// How to read the payload.
    pub payload_kind: PayloadKind,
    /// What `target` names.
    pub target_kind: TargetKind,
    /// Milliseconds that the sender waits from the moment it sent; 0: no limit.
    pub deadline_ms: u32,
    /// Who sent it; the node checks it against the connection.
    pub sender: ActorId,
    /// The actor or role that it goes to, as `target_kind` says.
    pub target: [u8; 16],
    /// Run of the node that the sender is attached to.
    pub incarnation: Incarnation,
    /// Messages: number per pair of sender and target, from 1. Requests: their number.
    pub sequence: u64,
    /// Source of the sender's code; zeros: a client environment or the node.
    pub source: SourceHash,
    /// Trace that this message belongs to.
    pub trace: TraceId,
    /// Bytes of payload behind the header.
    pub payload_bytes: usize,
}

/// Bytes that are no header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The frame is longer than any may be, or shorter than its own header.
    #[error("a frame of {bytes} bytes is outside of {HEADER_BYTES} to {FRAME_BYTES_MAX}")]
    Length {
        /// The announced length.
        bytes: u64,
    },
    /// The header has a version that this build does not read.
    #[error("header version {version}; this node reads {HEADER_VERSION}")]
    Version {
        /// The version found.
        version: u8,
    },
    /// A field has a value that no version of this build knows.
    #[error("header field `{field}` has the unknown value {value}")]
    Field {
        /// The field's name.
        field: &'static str,
        /// Its value.
        value: u64,
    },
}

impl Header {
    /// A header for a control frame to the other end of the connection.
    #[must_use]
    pub fn control(kind: FrameKind, sequence: u64) -> Self {
        Self {
            kind,
            flags: Flags::default(),
            payload_kind: PayloadKind::Json,
            target_kind: TargetKind::Peer,
            deadline_ms: 0,
            sender: ActorId::NONE,
            target: [0; 16],
            incarnation: Incarnation(0),
            sequence,
            source: SourceHash::default(),
            trace: TraceId::default(),
            payload_bytes: 0,
        }
    }

    /// The target as an actor's address, if it is one.
    #[must_use]
    pub fn target_actor(&self) -> Option<ActorId> {
        (self.target_kind == TargetKind::Actor).then_some(ActorId(self.target))
    }

    /// The target as a role's address, if it is one.
    #[must_use]
    pub fn target_role(&self) -> Option<RoleId> {
        (self.target_kind == TargetKind::Role).then_some(RoleId(self.target))
    }

    /// The header's bytes, with the length of header and payload in front.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            if let Some(slot) = out.get_mut(at..at + bytes.len()) {
                slot.copy_from_slice(bytes);
            }
            at += bytes.len();
        };
        let length = (HEADER_BYTES - 4 + self.payload_bytes) as u32;
        put(&length.to_le_bytes());
        put(&[HEADER_VERSION, self.kind as u8]);
        put(&self.flags.0.to_le_bytes());
        put(&[self.payload_kind as u8, self.target_kind as u8, 0, 0]);
        put(&self.deadline_ms.to_le_bytes());
        put(&self.sender.0);
        put(&self.target);
        put(&self.incarnation.0.to_le_bytes());
        put(&self.sequence.to_le_bytes());
        put(&self.source.0);
        put(&self.trace.0);
        out
    }

    /// Reads a header from its bytes.
    ///
    /// # Errors
    /// [`HeaderError`] when the length, the version or an enumerated field is not known.
    pub fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Result<Self, HeaderError> {
        let mut fields = Fields { rest: bytes };
        let length = u64::from(u32::from_le_bytes(fields.take())) + 4;
        if length < HEADER_BYTES as u64 || length > FRAME_BYTES_MAX as u64 {
            return Err(HeaderError::Length { bytes: length });
        }
        let [version, kind] = fields.take();
        if version != HEADER_VERSION {
            return Err(HeaderError::Version { version });
        }
        let flags = Flags(u16::from_le_bytes(fields.take()));
        let [payload_kind, target_kind, _, _] = fields.take();
        Ok(Self {
            kind: FrameKind::from_byte(kind)?,
            flags,
            payload_kind: PayloadKind::from_byte(payload_kind)?,
            target_kind: TargetKind::from_byte(target_kind)?,
            deadline_ms: u32::from_le_bytes(fields.take()),
            sender: ActorId(fields.take()),
            target: fields.take(),
            incarnation: Incarnation(u64::from_le_bytes(fields.take())),
            sequence: u64::from_le_bytes(fields.take()),
            source: SourceHash(fields.take()),
            trace: TraceId(fields.take()),
            payload_bytes: length as usize - HEADER_BYTES,
        })
    }
}

/// Takes fixed-size fields off the front of a header.
struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        if let Some((head, rest)) = self.rest.split_at_checked(N) {
            out.copy_from_slice(head);
            self.rest = rest;
        }
        out
    }
}

macro_rules! from_byte {
    ($name:ident, $field:literal, $($variant:ident),+) => {
        impl $name {
            fn from_byte(byte: u8) -> Result<Self, HeaderError> {
                $(if byte == Self::$variant as u8 { return Ok(Self::$variant); })+
                Err(HeaderError::Field { field: $field, value: u64::from(byte) })
            }
        }
    };
}

from_byte!(
    FrameKind, "kind", Hello, Welcome, Message, Request, Response, Notice, Credit, Window, Marker,
    Upload, PathSwitch, Via
);
from_byte!(
    PayloadKind,
    "payload_kind",
    Empty,
    Pickle,
    Literal,
    Json,
    Envelope,
    Raw
);
from_byte!(TargetKind, "target_kind", Peer, Actor, Role);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Header {
        Header {
            flags: Flags::ASK,
            payload_kind: PayloadKind::Pickle,
            target_kind: TargetKind::Role,
            deadline_ms: 10_000,
            sender: ActorId::allot(Incarnation(0x0102_0304), 5),
            target: RoleId::of("foo", "MainFoo").0,
            incarnation: Incarnation(6),
            source: SourceHash([7; 32]),
            trace: TraceId([8; 16]),
            payload_bytes: 3,
            ..Header::control(FrameKind::Message, 9)
        }
    }

    #[test]
    fn header_bytes_are_golden() {
        let golden = include_str!("../tests/golden/header-message.hex");
        assert_eq!(hex::encode(sample().to_bytes()), golden.trim());
    }

    #[test]
    fn header_round_trips() {
        assert_eq!(Header::from_bytes(&sample().to_bytes()), Ok(sample()));
    }

    #[test]
    fn flags_are_the_bits_that_python_knows() {
        let flags = [
            Flags::ASK,
            Flags::SYSTEM,
            Flags::RETURNED,
            Flags::NO_LITERAL,
            Flags::FOREIGN,
            Flags::REMOTE,
            Flags::RELAYED,
            Flags::CREDITED,
        ];
        assert_eq!(flags.map(|flag| flag.0), [1, 2, 4, 8, 32, 64, 128, 256]);
        let both = Flags::ASK.with(Flags::NO_LITERAL);
        assert!(both.contains(Flags::NO_LITERAL) && !both.contains(Flags::SYSTEM));
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = sample().to_bytes();
        bytes[4] = 99;
        assert_eq!(
            Header::from_bytes(&bytes),
            Err(HeaderError::Version { version: 99 })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in proptest::array::uniform32(any::<u8>()),
            tail in any::<[u8; 32]>(),
        ) {
            let mut all = [0; HEADER_BYTES];
            all[..32].copy_from_slice(&bytes);
            all[32..64].copy_from_slice(&tail);
            if let Ok(header) = Header::from_bytes(&all) {
                prop_assert_eq!(Header::from_bytes(&header.to_bytes()), Ok(header));
            }
        }
    }
}
