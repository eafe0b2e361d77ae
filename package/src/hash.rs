//! The identity of a package: SHA-256 over its bytes as they lie in the file.

use std::io::{self, Read};

use protocol::SourceHash;
use sha2::{Digest, Sha256};

use crate::limits::BUFFER_BYTES;

/// The hash of everything that `reader` gives, and its length in bytes.
///
/// # Errors
/// What the reader reports.
pub fn source_hash<R: Read + ?Sized>(reader: &mut R) -> io::Result<(SourceHash, u64)> {
    let mut hasher = Sha256::new();
    let mut bytes = 0;
    for_each_chunk(reader, u64::MAX, |chunk| {
        hasher.update(&*chunk);
        bytes += chunk.len() as u64;
        Ok(())
    })?;
    Ok((SourceHash(hasher.finalize().into()), bytes))
}

/// Hands up to `limit` bytes of `reader` to `take`, chunk by chunk; returns how many there were.
pub(crate) fn for_each_chunk<R: Read + ?Sized>(
    reader: &mut R,
    limit: u64,
    mut take: impl FnMut(&mut [u8]) -> io::Result<()>,
) -> io::Result<u64> {
    let size = usize::try_from(limit)
        .unwrap_or(BUFFER_BYTES)
        .min(BUFFER_BYTES);
    let mut buffer = vec![0; size];
    let mut done = 0;
    while done < limit {
        let want = usize::try_from(limit - done).unwrap_or(size).min(size);
        let count = match reader.read(buffer.get_mut(..want).unwrap_or_default()) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        take(buffer.get_mut(..count).unwrap_or_default())?;
        done += count as u64;
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_stream_is_the_hash_of_its_bytes() {
        let bytes = vec![7; BUFFER_BYTES * 2 + 5];
        let (hash, size) = source_hash(&mut bytes.as_slice()).unwrap();
        assert_eq!((hash, size), (SourceHash::of(&bytes), bytes.len() as u64));
        assert_eq!(
            source_hash(&mut [].as_slice()).unwrap().0.to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
