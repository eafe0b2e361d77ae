//! What came back: the text of a value, a failure's traceback, or bytes that only Python reads.

use protocol::control::SystemMessage;
use protocol::{ActorId, Flags, Frame, PayloadKind, SourceHash};

/// A message that answered an ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Who sent it.
    pub sender: ActorId,
    /// How its bytes are to be read.
    pub kind: PayloadKind,
    /// Bits of its header.
    pub flags: Flags,
    /// Source of the sender's code.
    pub source: SourceHash,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// A reply as far as it can be read without Python.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyContent {
    /// The `repr` of a value that is a literal.
    Literal(String),
    /// The `repr` of a value that is none.
    Repr(String),
    /// The actor failed on the message: the details, a traceback.
    Poison(String),
    /// No text: bytes, a message of the node, or a pickle that only Python may read.
    Opaque(PayloadKind),
}

impl Reply {
    /// Reads it as far as that goes.
    #[must_use]
    pub fn content(&self) -> ReplyContent {
        self.read().unwrap_or(ReplyContent::Opaque(self.kind))
    }

    fn read(&self) -> Option<ReplyContent> {
        match self.kind {
            PayloadKind::Literal => {
                let text = str::from_utf8(&self.payload).ok()?;
                if !self.flags.contains(Flags::NO_LITERAL) {
                    return Some(ReplyContent::Literal(text.to_owned()));
                }
                let repr = pyliteral::parse(text).ok()?;
                Some(ReplyContent::Repr(repr.as_str()?.to_owned()))
            }
            PayloadKind::Empty => Some(ReplyContent::Literal("None".to_owned())),
            PayloadKind::Envelope => match serde_json::from_slice(envelope(&self.payload)?).ok()? {
                SystemMessage::PoisonMessage { details } => Some(ReplyContent::Poison(details)),
                _ => None,
            },
            PayloadKind::Json | PayloadKind::Pickle | PayloadKind::Raw => None,
        }
    }
}

impl From<Frame> for Reply {
    fn from(frame: Frame) -> Self {
        Self {
            sender: frame.header.sender,
            kind: frame.header.payload_kind,
            flags: frame.header.flags,
            source: frame.header.source,
            payload: frame.payload,
        }
    }
}

/// The JSON in front of the frame that an envelope carries.
fn envelope(payload: &[u8]) -> Option<&[u8]> {
    let (length, rest) = payload.split_first_chunk::<4>()?;
    rest.get(..u32::from_le_bytes(*length) as usize)
}
