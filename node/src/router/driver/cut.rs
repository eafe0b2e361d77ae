//! Cuts frames out of what one connection sends: small ones in place, large ones into a buffer of
//! their own that is passed on as it is.

use protocol::limits::{CONTROL_BYTES_MAX, HEADER_BYTES, UPLOAD_CHUNK_BYTES};
use protocol::{FrameKind, Header, HeaderError};

use crate::router::core::FrameBytes;

/// Bytes of one connection that are no whole frame yet.
#[derive(Debug, Default)]
pub(super) struct Cut {
    carry: Vec<u8>,
    large: Option<Large>,
}

#[derive(Debug)]
struct Large {
    header: Header,
    bytes: Vec<u8>,
    total: usize,
}

/// Bytes that cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub(super) enum CutError {
    /// No header of this protocol.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A control frame that is too long.
    #[error("a frame `{kind:?}` of {n_bytes} bytes is longer than {n_bytes_max}")]
    Long {
        kind: FrameKind,
        n_bytes: usize,
        n_bytes_max: usize,
    },
}

/// Frames from this size on are read into a buffer of their own, if they do not lie whole in what
/// was read.
pub(super) const LARGE_BYTES: usize = 64 << 10;

/// Room that each connection keeps for the start of a frame.
const CARRY_BYTES_KEPT: usize = 4 << 10;

/// A large frame's buffer grows at least by this, and never beyond the frame's announced length.
const GROWTH_BYTES: usize = 1 << 20;

impl Cut {
    /// Bytes to put in front of what is read next.
    pub(super) fn carry(&self) -> &[u8] {
        &self.carry
    }

    /// Takes those bytes.
    pub(super) fn take_carry(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.carry)
    }

    /// Drops those bytes, and keeps a little of their room.
    pub(super) fn clear_carry(&mut self) {
        self.carry.clear();
        self.carry.shrink_to(CARRY_BYTES_KEPT);
    }

    /// Where to read the rest of a large frame, if one is under way; it may hold more than the
    /// frame afterwards.
    pub(super) fn large(&mut self) -> Option<&mut Vec<u8>> {
        let large = self.large.as_mut()?;
        if large.bytes.len() == large.bytes.capacity() {
            let missing = large.total.saturating_sub(large.bytes.len());
            let growth = missing.min(large.bytes.len().max(GROWTH_BYTES));
            large.bytes.reserve_exact(growth);
        }
        Some(&mut large.bytes)
    }

    /// Gives the large frame to `sink` if it is complete.
    pub(super) fn finish_large(
        &mut self,
        sink: impl FnMut(&Header, FrameBytes<'_>) -> bool,
    ) -> Result<(), CutError> {
        let complete = |large: &mut Large| large.bytes.len() >= large.total;
        let Some(mut large) = self.large.take_if(complete) else {
            return Ok(());
        };
        let rest = large.bytes.split_off(large.total);
        let mut sink = sink;
        if sink(&large.header, FrameBytes::Owned(large.bytes)) {
            return self.feed(&rest, sink);
        }
        self.carry = rest;
        Ok(())
    }

    /// Gives each whole frame to `sink`, until it returns false, and keeps the rest. The bytes
    /// carried before must be in front of `data`.
    pub(super) fn feed(
        &mut self,
        mut data: &[u8],
        mut sink: impl FnMut(&Header, FrameBytes<'_>) -> bool,
    ) -> Result<(), CutError> {
        while let Some((head, _)) = data.split_first_chunk::<HEADER_BYTES>() {
            let header = Header::from_bytes(head)?;
            let total = HEADER_BYTES + header.payload_bytes;
            check_length(&header)?;
            let Some((frame, rest)) = data.split_at_checked(total) else {
                if total >= LARGE_BYTES {
                    let mut bytes = Vec::with_capacity(total.min(GROWTH_BYTES.max(data.len())));
                    bytes.extend_from_slice(data);
                    self.large = Some(Large {
                        header,
                        bytes,
                        total,
                    });
                    return Ok(());
                }
                break;
            };
            data = rest;
            if !sink(&header, FrameBytes::Slice(frame)) {
                break;
            }
        }
        self.carry.extend_from_slice(data);
        Ok(())
    }
}

fn check_length(header: &Header) -> Result<(), CutError> {
    let n_bytes_max = match header.kind {
        FrameKind::Message => return Ok(()),
        FrameKind::Upload => UPLOAD_CHUNK_BYTES,
        _ => CONTROL_BYTES_MAX,
    };
    if header.payload_bytes > n_bytes_max {
        return Err(CutError::Long {
            kind: header.kind,
            n_bytes: header.payload_bytes,
            n_bytes_max,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use protocol::Frame;

    use super::*;

    fn message(sequence: u64, n_bytes: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let header = Header::control(FrameKind::Message, sequence);
        Frame::new(header, vec![sequence as u8; n_bytes]).write_to(&mut bytes);
        bytes
    }

    fn cut_in_steps(stream: &[u8], step: usize, stop_each: bool) -> Vec<Vec<u8>> {
        let mut cut = Cut::default();
        let mut seen: Vec<Vec<u8>> = Vec::new();
        let mut sink = |_: &Header, bytes: FrameBytes<'_>| {
            seen.push(bytes.into_vec());
            !stop_each
        };
        for chunk in stream.chunks(step) {
            if let Some(large) = cut.large() {
                large.extend_from_slice(chunk);
                cut.finish_large(&mut sink).unwrap();
            } else {
                let mut data = cut.take_carry();
                data.extend_from_slice(chunk);
                cut.feed(&data, &mut sink).unwrap();
            }
            // One frame at a time is what a sink that stops gets.
            let mut before = usize::MAX;
            while cut.large.is_none() && cut.carry().len() < before {
                let data = cut.take_carry();
                before = data.len();
                cut.feed(&data, &mut sink).unwrap();
            }
        }
        seen
    }

    #[test]
    fn frames_of_all_sizes_are_cut_wherever_the_reads_end() {
        let sizes = [0, 5, 300, 70_000, 1, 2_500_000, 64 << 10, 9];
        let frames: Vec<_> = (0..).zip(sizes).map(|(n, size)| message(n, size)).collect();
        let stream = frames.concat();
        for step in [97, 5_000, 100_000, 400_000, stream.len()] {
            assert!(cut_in_steps(&stream, step, false) == frames, "step {step}");
            assert!(
                cut_in_steps(&stream, step, true) == frames,
                "step {step}, stopping"
            );
        }
    }

    #[test]
    fn a_long_control_frame_is_refused_by_its_header() {
        let mut header = Header::control(FrameKind::Notice, 0);
        header.payload_bytes = CONTROL_BYTES_MAX + 1;
        let error = Cut::default().feed(&header.to_bytes(), |_, _| true);
        assert!(matches!(error, Err(CutError::Long { .. })));
    }
}
