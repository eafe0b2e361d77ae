//! Bytes on their way to one connection: small frames in shared buffers, large ones as they are.
//!
//! A frame is never cut over two segments, so that what was not written can be taken back.

use std::collections::VecDeque;
use std::io::IoSlice;

use protocol::limits::HEADER_BYTES;
use protocol::{Flags, FrameKind, SourceHash};

/// A whole frame, header and payload.
#[derive(Debug)]
pub(crate) enum FrameBytes<'a> {
    /// In somebody's buffer: it is copied when it is kept.
    Slice(&'a [u8]),
    /// In a buffer of its own, which is passed on.
    Owned(Vec<u8>),
}

impl FrameBytes<'_> {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Slice(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }

    pub(crate) fn payload(&self) -> &[u8] {
        self.as_slice().get(HEADER_BYTES..).unwrap_or_default()
    }

    pub(crate) fn into_vec(self) -> Vec<u8> {
        match self {
            Self::Slice(bytes) => bytes.to_vec(),
            Self::Owned(bytes) => bytes,
        }
    }

    /// Writes another source into the header of a frame that has a buffer of its own.
    pub(crate) fn set_source(&mut self, source: SourceHash) {
        if let Self::Owned(bytes) = self
            && let Some(place) = bytes.get_mut(SOURCE_AT..SOURCE_AT + 32)
        {
            place.copy_from_slice(&source.0);
        }
    }

    /// The same frame with these flags in its header.
    pub(crate) fn flagged(self, flags: Flags) -> FrameBytes<'static> {
        let mut bytes = self.into_vec();
        if let Some(place) = bytes.get_mut(FLAGS_AT..FLAGS_AT + 2) {
            place.copy_from_slice(&flags.0.to_le_bytes());
        }
        FrameBytes::Owned(bytes)
    }
}

/// What waits to be written to one connection.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    segments: VecDeque<Segment>,
    /// Bytes of the first segment that are written.
    written: usize,
    bytes: usize,
    spare: Vec<u8>,
}

#[derive(Debug)]
struct Segment {
    bytes: Vec<u8>,
    shared: bool,
}

/// Where a header has its flags, and its source.
const FLAGS_AT: usize = 6;
pub(super) const SOURCE_AT: usize = 64;

/// Small frames are collected up to this; also what one write takes at most from them.
const SHARED_BYTES: usize = 256 << 10;

/// Frames from this size on that have a buffer of their own keep it.
const OWN_BYTES: usize = 32 << 10;

/// Largest buffer kept for the next frames of a connection that has nothing to write.
const SPARE_BYTES_MAX: usize = 32 << 10;

/// Segments handed to one vectored write.
const SLICES: usize = 16;

impl Outbox {
    /// Puts a frame behind all others.
    pub(crate) fn push(&mut self, frame: FrameBytes<'_>) {
        self.bytes += frame.len();
        match frame {
            FrameBytes::Owned(bytes) if bytes.len() >= OWN_BYTES => {
                self.segments.push_back(Segment {
                    bytes,
                    shared: false,
                });
            }
            frame => self.append(frame.as_slice()),
        }
    }

    fn append(&mut self, frame: &[u8]) {
        if let Some(last) = self.segments.back_mut()
            && last.shared
            && last.bytes.len() + frame.len() <= SHARED_BYTES
        {
            last.bytes.extend_from_slice(frame);
            return;
        }
        let mut bytes = std::mem::take(&mut self.spare);
        bytes.extend_from_slice(frame);
        let shared = true;
        self.segments.push_back(Segment { bytes, shared });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Bytes that are not written.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Hands the next bytes to `write`, in as few pieces as they lie in.
    pub(crate) fn with_slices<T>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut n_slices = 0;
        let mut skip = self.written;
        for (slot, segment) in slices.iter_mut().zip(&self.segments) {
            *slot = IoSlice::new(segment.bytes.get(skip..).unwrap_or_default());
            skip = 0;
            n_slices += 1;
        }
        write(slices.get(..n_slices).unwrap_or_default())
    }

    /// So many bytes more are written.
    pub(crate) fn advance(&mut self, n_bytes: usize) {
        self.bytes = self.bytes.saturating_sub(n_bytes);
        self.written += n_bytes;
        while let Some(first) = self.segments.front() {
            if self.written < first.bytes.len() {
                return;
            }
            self.written -= first.bytes.len();
            if let Some(mut done) = self.segments.pop_front()
                && done.shared
                && self.spare.capacity() == 0
                && done.bytes.capacity() <= SPARE_BYTES_MAX
            {
                done.bytes.clear();
                self.spare = done.bytes;
            }
        }
    }

    /// Takes back the messages of which no byte was written; all else is dropped.
    pub(crate) fn take_unwritten(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut written = std::mem::take(&mut self.written);
        self.bytes = 0;
        for segment in std::mem::take(&mut self.segments) {
            let mut rest = segment.bytes.as_slice();
            let mut at = 0;
            while let Some(length) = frame_bytes(rest) {
                let Some((frame, behind)) = rest.split_at_checked(length) else {
                    break;
                };
                if at >= written && frame.get(5) == Some(&(FrameKind::Message as u8)) {
                    frames.push(frame.to_vec());
                }
                at += length;
                rest = behind;
            }
            written = 0;
        }
        frames
    }
}

/// Length of the frame that starts here.
fn frame_bytes(bytes: &[u8]) -> Option<usize> {
    let (length, _) = bytes.split_first_chunk::<4>()?;
    Some(u32::from_le_bytes(*length) as usize + 4)
}

#[cfg(test)]
mod tests {
    use protocol::{Frame, Header};

    use super::*;

    fn frame(kind: FrameKind, sequence: u64, payload_bytes: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        Frame::new(Header::control(kind, sequence), vec![7; payload_bytes]).write_to(&mut bytes);
        bytes
    }

    #[test]
    fn flags_are_set_in_the_header_and_nowhere_else() {
        let plain = frame(FrameKind::Message, 7, 3);
        let flags = Flags::ASK.with(Flags::FOREIGN);
        let flagged = FrameBytes::Slice(&plain).flagged(flags).into_vec();
        let header = Header::from_bytes(flagged.first_chunk().unwrap()).unwrap();
        assert_eq!(header.flags, flags);
        let back = FrameBytes::Owned(flagged).flagged(Flags::default());
        assert_eq!(back.into_vec(), plain);
    }

    #[test]
    fn bytes_leave_in_order_however_they_are_taken() {
        let frames = [10, 100_000, 3, 300_000, 5].map(|n| frame(FrameKind::Message, n, n as usize));
        for step in [1_000, 7_777, 1 << 20] {
            let mut outbox = Outbox::default();
            for bytes in &frames {
                outbox.push(FrameBytes::Owned(bytes.clone()));
            }
            let mut written = Vec::new();
            while !outbox.is_empty() {
                let n_bytes = outbox.with_slices(|slices| {
                    let all: Vec<u8> = slices.iter().flat_map(|s| s.iter().copied()).collect();
                    let part = &all[..step.min(all.len())];
                    written.extend_from_slice(part);
                    part.len()
                });
                outbox.advance(n_bytes);
            }
            assert!(written == frames.concat());
        }
    }

    #[test]
    fn only_whole_unwritten_messages_are_taken_back() {
        let mut outbox = Outbox::default();
        let kinds = [FrameKind::Message, FrameKind::Notice, FrameKind::Message];
        for (n, kind) in kinds.into_iter().enumerate() {
            outbox.push(FrameBytes::Slice(&frame(kind, n as u64, 4)));
        }
        outbox.push(FrameBytes::Owned(frame(FrameKind::Message, 9, 40_000)));
        outbox.advance(1);
        let back = outbox.take_unwritten();
        assert!(
            back == [
                frame(FrameKind::Message, 2, 4),
                frame(FrameKind::Message, 9, 40_000)
            ]
        );
        assert!(outbox.is_empty());
    }
}
