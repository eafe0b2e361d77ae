//! Frames: a header and its payload, cut out of a stream of bytes without I/O.
//!
//! Not here: sockets; what a payload of JSON says (`control`).

use crate::header::{FrameKind, Header, HeaderError, PayloadKind};
use crate::id::ActorId;
use crate::limits::HEADER_BYTES;

/// A header and the bytes behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The header; its `payload_bytes` is the payload's length.
    pub header: Header,
    /// The payload.
    pub payload: Vec<u8>,
}

/// A payload that does not say what its frame kind demands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("payload of `{kind:?}`: {what}")]
pub struct FrameError {
    kind: FrameKind,
    what: String,
}

impl FrameError {
    /// An error in the payload of a frame of this kind.
    #[must_use]
    pub fn new(kind: FrameKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
        }
    }
}

impl Frame {
    /// A frame with this header and payload; sets the header's length.
    #[must_use]
    pub fn new(mut header: Header, payload: Vec<u8>) -> Self {
        header.payload_bytes = payload.len();
        Self { header, payload }
    }

    /// Appends the frame's bytes to `out`.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header.to_bytes());
        out.extend_from_slice(&self.payload);
    }

    /// Bytes of header and payload.
    #[must_use]
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }
}

/// Cuts frames out of the bytes of one connection.
///
/// Bytes go in by [`FrameReader::extend`], frames come out by [`FrameReader::next_frame`]; the
/// length is checked before anything is allocated for it.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
}

impl FrameReader {
    /// Takes bytes that arrived.
    pub fn extend(&mut self, bytes: &[u8]) {
        if self.start > 0 && (self.start == self.buffer.len() || self.start >= COMPACT_BYTES) {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.is_empty() && self.buffer.capacity() > COMPACT_BYTES {
            self.buffer = Vec::new();
        }
    }

    /// The next whole frame, if it has arrived.
    ///
    /// # Errors
    /// [`HeaderError`]: the stream cannot be read any further.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, HeaderError> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let Some((head, rest)) = rest.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let header = Header::from_bytes(head)?;
        let Some(payload) = rest.get(..header.payload_bytes) else {
            return Ok(None);
        };
        let payload = payload.to_vec();
        self.start += HEADER_BYTES + payload.len();
        if self.start == self.buffer.len() && self.buffer.capacity() > 4 * COMPACT_BYTES {
            // A rare large frame must not keep its memory for the life of the connection.
            self.buffer = Vec::new();
            self.start = 0;
        }
        Ok(Some(Frame { header, payload }))
    }

    /// Whether bytes of an unfinished frame are waiting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.buffer.len()
    }
}

/// Bytes read that are moved out of the buffer at once; more often costs more than it saves.
const COMPACT_BYTES: usize = 256 << 10;

/// Credit given back to a sender: so much of what it sent to the target has been passed on.
///
/// # Format
/// target kind u8, 7 zero bytes, target 16 bytes, messages u32, 4 zero bytes, bytes u64:
/// 40 bytes, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreditPayload {
    /// 1 for an actor's address, 2 for a role's, as [`crate::TargetKind`].
    pub target_kind: u8,
    /// The target's id.
    pub target: [u8; 16],
    /// Messages passed on.
    pub messages: u32,
    /// Bytes of frames passed on.
    pub bytes: u64,
}

impl CreditPayload {
    /// The payload's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(40);
        out.extend_from_slice(&[self.target_kind, 0, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(&self.target);
        out.extend_from_slice(&self.messages.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out
    }

    /// Reads the payload.
    ///
    /// # Errors
    /// [`FrameError`] when it is not 40 bytes long.
    pub fn from_bytes(payload: &[u8]) -> Result<Self, FrameError> {
        let short = || FrameError::new(FrameKind::Credit, "40 bytes expected");
        let bytes: &[u8; 40] = payload.try_into().map_err(|_cause| short())?;
        let (head, rest) = bytes.split_first_chunk::<8>().ok_or_else(short)?;
        let (target, rest) = rest.split_first_chunk::<16>().ok_or_else(short)?;
        let (messages, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let (_, tail) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let tail: &[u8; 8] = tail.try_into().map_err(|_cause| short())?;
        let [target_kind, ..] = *head;
        Ok(Self {
            target_kind,
            target: *target,
            messages: u32::from_le_bytes(*messages),
            bytes: u64::from_le_bytes(*tail),
        })
    }
}

/// What a worker took of the bytes it was sent.
///
/// # Format
/// bytes u64, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowPayload {
    /// Bytes of frames taken since the last such report.
    pub bytes: u64,
}

impl WindowPayload {
    /// The payload's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes.to_le_bytes().to_vec()
    }

    /// Reads the payload.
    ///
    /// # Errors
    /// [`FrameError`] when it is not 8 bytes long.
    pub fn from_bytes(payload: &[u8]) -> Result<Self, FrameError> {
        let bytes = payload
            .try_into()
            .map_err(|_cause| FrameError::new(FrameKind::Window, "8 bytes expected"))?;
        Ok(Self {
            bytes: u64::from_le_bytes(bytes),
        })
    }
}

/// A pair of processes that talk gets a direct path: from this message on, the sender uses it.
///
/// Reserved: nobody sends it yet. Both ends get it; the receiver reads the new path only after
/// the message `last_sequence` has come by the old one, so order per pair holds.
///
/// # Format
/// path u32 (0: back through the node), 4 zero bytes, target actor 16 bytes, last sequence u64:
/// 32 bytes, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathSwitchPayload {
    /// Number of the path; 0 is the node.
    pub path: u32,
    /// The actor at the other end.
    pub target: ActorId,
    /// Last message of the pair that goes by the path before.
    pub last_sequence: u64,
}

impl PathSwitchPayload {
    /// The payload's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        out.extend_from_slice(&self.path.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.target.0);
        out.extend_from_slice(&self.last_sequence.to_le_bytes());
        out
    }

    /// Reads the payload.
    ///
    /// # Errors
    /// [`FrameError`] when it is not 32 bytes long.
    pub fn from_bytes(payload: &[u8]) -> Result<Self, FrameError> {
        let short = || FrameError::new(FrameKind::PathSwitch, "32 bytes expected");
        let bytes: &[u8; 32] = payload.try_into().map_err(|_cause| short())?;
        let (path, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
        let (_, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let (target, rest) = rest.split_first_chunk::<16>().ok_or_else(short)?;
        let last: &[u8; 8] = rest.try_into().map_err(|_cause| short())?;
        Ok(Self {
            path: u32::from_le_bytes(*path),
            target: ActorId(*target),
            last_sequence: u64::from_le_bytes(*last),
        })
    }
}

/// A message wrapped to go back or to a dead-letter handler: JSON and the whole inner frame.
///
/// # Format
/// length of the JSON u32 little-endian, the JSON, the frame.
#[must_use]
pub(crate) fn envelope(json: &[u8], inner: &Frame) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + json.len() + inner.bytes());
    out.extend_from_slice(&(json.len() as u32).to_le_bytes());
    out.extend_from_slice(json);
    inner.write_to(&mut out);
    out
}

impl Frame {
    /// A system message that carries `self` back, with the reason in `json`.
    #[must_use]
    pub fn wrapped(&self, mut header: Header, json: &[u8]) -> Self {
        header.payload_kind = PayloadKind::Envelope;
        Self::new(header, envelope(json, self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_wherever_the_bytes_are_split() {
        let frames: Vec<Frame> = (0..5)
            .map(|n| {
                Frame::new(
                    Header::control(FrameKind::Notice, n),
                    vec![b'x'; n as usize * 50],
                )
            })
            .collect();
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.write_to(&mut bytes));
        for step in [1, 7, 112, 1000] {
            let mut reader = FrameReader::default();
            let mut seen = Vec::new();
            for chunk in bytes.chunks(step) {
                reader.extend(chunk);
                while let Some(frame) = reader.next_frame().unwrap() {
                    seen.push(frame);
                }
            }
            assert_eq!(seen, frames);
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn an_endless_length_is_refused_before_it_is_allocated() {
        let mut reader = FrameReader::default();
        reader.extend(&[0xff; HEADER_BYTES]);
        assert!(matches!(
            reader.next_frame(),
            Err(HeaderError::Length { .. })
        ));
    }

    #[test]
    fn credit_window_and_path_switch_are_golden() {
        let credit = CreditPayload {
            target_kind: 1,
            target: [3; 16],
            messages: 2048,
            bytes: 1 << 33,
        };
        let window = WindowPayload { bytes: 65_536 };
        let path = PathSwitchPayload {
            path: 4,
            target: ActorId([5; 16]),
            last_sequence: 77,
        };
        let golden = include_str!("../tests/golden/flow-frames.hex");
        let lines: Vec<_> = golden.lines().collect();
        assert_eq!(
            lines,
            [
                hex::encode(credit.to_bytes()),
                hex::encode(window.to_bytes()),
                hex::encode(path.to_bytes())
            ]
        );
        assert_eq!(CreditPayload::from_bytes(&credit.to_bytes()), Ok(credit));
        assert_eq!(WindowPayload::from_bytes(&window.to_bytes()), Ok(window));
        assert_eq!(PathSwitchPayload::from_bytes(&path.to_bytes()), Ok(path));
        assert!(CreditPayload::from_bytes(&[1, 2]).is_err());
    }
}
