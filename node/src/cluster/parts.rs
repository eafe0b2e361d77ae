//! Documents of the registry's stream in parts: no frame is longer than another, and none delays an
//! acknowledgement, however much there is to tell.
//!
//! Not here: who sends them (`sessions`), what follows from them (`session`).

use protocol::limits::{STREAM_DOCUMENT_BYTES_MAX, STREAM_PART_BYTES};
use protocol::peer::SessionDown;
use protocol::view::Streamed;
use protocol::wire::Shape;
use protocol::{CodecError, decode, encode};

/// What has come of a document.
#[derive(Debug, Default)]
pub(super) struct Parts(Vec<u8>);

impl Parts {
    /// Takes the next part; the document, if it was the last.
    ///
    /// # Errors
    /// Why there will be none, for the log.
    pub(super) fn add(&mut self, bytes: &[u8], last: bool) -> Result<Option<Streamed>, String> {
        if self.0.len() + bytes.len() > STREAM_DOCUMENT_BYTES_MAX {
            return Err(format!(
                "the leader's stream has a document of more than {STREAM_DOCUMENT_BYTES_MAX} bytes"
            ));
        }
        self.0.extend_from_slice(bytes);
        if !last {
            return Ok(None);
        }
        let whole = std::mem::take(&mut self.0);
        let streamed = decode(Streamed::NAME, Streamed::VERSION, &whole);
        streamed
            .map(Some)
            .map_err(|error| format!("the leader's stream cannot be read: {error}"))
    }
}

/// A document on its way.
#[derive(Debug)]
pub(super) struct Cut {
    whole: Vec<u8>,
    sent: usize,
}

impl Cut {
    /// A document to be sent.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub(super) fn new(document: &Streamed) -> Result<Self, CodecError> {
        let whole = encode(Streamed::NAME, Streamed::VERSION, document)?;
        Ok(Self { whole, sent: 0 })
    }

    /// Whether all of it is on its way.
    pub(super) fn is_sent(&self) -> bool {
        self.sent == self.whole.len()
    }

    /// Its next part, with the number of bytes in it; `None` after the last.
    pub(super) fn next(&mut self) -> Option<(u64, SessionDown)> {
        let rest = self.whole.get(self.sent..)?;
        if rest.is_empty() {
            return None;
        }
        let bytes = rest.get(..STREAM_PART_BYTES).unwrap_or(rest).to_vec();
        self.sent += bytes.len();
        let last = self.sent == self.whole.len();
        Some((bytes.len() as u64, SessionDown::Part { bytes, last }))
    }
}

#[cfg(test)]
mod tests {
    use protocol::view::Change;

    use super::*;

    #[test]
    fn a_document_of_any_length_comes_out_of_its_parts() {
        let mut parts = Parts::default();
        for length in [0, STREAM_PART_BYTES, 3 * STREAM_PART_BYTES + 1] {
            let document = Streamed {
                whole: true,
                index: 7,
                covers: 2,
                voters: None,
                changes: vec![Change::Name("x".repeat(length), None)],
            };
            let mut cut = Cut::new(&document).unwrap();
            let mut come = None;
            while let Some((count, SessionDown::Part { bytes, last })) = cut.next() {
                assert!(come.is_none() && count == bytes.len() as u64);
                assert!(bytes.len() <= STREAM_PART_BYTES);
                come = parts.add(&bytes, last).unwrap();
            }
            assert_eq!(come, Some(document));
        }
        parts.add(b"no document", true).unwrap_err();
    }
}
