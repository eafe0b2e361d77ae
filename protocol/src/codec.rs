//! The one door to the binary codec: a versioned, length-framed envelope around every stored or
//! sent Rust value (raft log, snapshot, QUIC wire).
//!
//! `bincode` 2.0.1 is unmaintained; only this file names it, so that it can be replaced.
//!
//! # Format
//! `D`, `R`, version u16 little-endian, length u32 little-endian, then bincode's standard
//! configuration of exactly that many bytes.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes that are no value of the wanted type and version.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The envelope is cut or has a foreign start.
    #[error("no envelope of Director: {what}")]
    Envelope {
        /// What is wrong.
        what: &'static str,
    },
    /// The value was written by a version that this build does not read.
    #[error("version {found} of `{shape}`; this build reads up to {known}")]
    Version {
        /// Shape that was to be read.
        shape: &'static str,
        /// Version found.
        found: u16,
        /// Version known.
        known: u16,
    },
    /// The bytes do not have the shape.
    #[error("bytes of `{shape}` do not decode")]
    Decode {
        /// Shape that was to be read.
        shape: &'static str,
        /// What bincode says.
        #[source]
        source: bincode::error::DecodeError,
    },
    /// The value cannot be encoded.
    #[error("`{shape}` does not encode")]
    Encode {
        /// Shape that was to be written.
        shape: &'static str,
        /// What bincode says.
        #[source]
        source: bincode::error::EncodeError,
    },
}

const MAGIC: [u8; 2] = *b"DR";
const ENVELOPE_BYTES: usize = 8;

/// Encodes `value` as version `version` of `shape`.
///
/// # Errors
/// [`CodecError::Encode`].
pub fn encode<T: Serialize>(
    shape: &'static str,
    version: u16,
    value: &T,
) -> Result<Vec<u8>, CodecError> {
    let body = bincode::serde::encode_to_vec(value, bincode::config::standard())
        .map_err(|source| CodecError::Encode { shape, source })?;
    let mut out = Vec::with_capacity(ENVELOPE_BYTES + body.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(&body);
    Ok(out)
}

/// Decodes a `shape` of version `known`.
///
/// # Errors
/// [`CodecError`] when the envelope, the version or the bytes are not those of the shape.
pub fn decode<T: DeserializeOwned>(
    shape: &'static str,
    known: u16,
    bytes: &[u8],
) -> Result<T, CodecError> {
    let cut = CodecError::Envelope {
        what: "it is cut short",
    };
    let Some((head, body)) = bytes.split_first_chunk::<ENVELOPE_BYTES>() else {
        return Err(cut);
    };
    let [m0, m1, v0, v1, l0, l1, l2, l3] = *head;
    if [m0, m1] != MAGIC {
        return Err(CodecError::Envelope {
            what: "it does not start with `DR`",
        });
    }
    let found = u16::from_le_bytes([v0, v1]);
    if found != known {
        return Err(CodecError::Version {
            shape,
            found,
            known,
        });
    }
    if body.len() != u32::from_le_bytes([l0, l1, l2, l3]) as usize {
        return Err(CodecError::Envelope {
            what: "its length is not the one announced",
        });
    }
    let (value, used) = bincode::serde::decode_from_slice(body, bincode::config::standard())
        .map_err(|source| CodecError::Decode { shape, source })?;
    if used == body.len() {
        Ok(value)
    } else {
        Err(cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_round_trip_and_foreign_versions_are_named() {
        let bytes = encode("sample", 3, &("foo", 7_u64)).unwrap();
        assert_eq!(
            decode::<(String, u64)>("sample", 3, &bytes).unwrap(),
            ("foo".into(), 7)
        );
        let error = decode::<(String, u64)>("sample", 4, &bytes).unwrap_err();
        assert_eq!(
            error.to_string(),
            "version 3 of `sample`; this build reads up to 4"
        );
        for cut in 0..bytes.len() {
            assert!(decode::<(String, u64)>("sample", 3, &bytes[..cut]).is_err());
        }
    }
}
