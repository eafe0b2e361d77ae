//! A file that is not what was written is named, and never trusted.

use std::fs;
use std::path::Path;

use leader::{Consensus, OpenError};

use crate::disk::Dice;
use crate::support::{entries, open, propose_all, text};

/// Opening must give the same members, or an error that names the file.
async fn check(path: &Path, expected: &[u64]) -> bool {
    let opened: Result<Consensus, OpenError> = open(path).await;
    match opened {
        Ok(consensus) => {
            assert_eq!(entries(&consensus), expected);
            consensus.shutdown().await;
            false
        }
        Err(error) => {
            assert!(
                matches!(error, OpenError::File(_) | OpenError::Fatal(_)),
                "{error:?}"
            );
            assert!(text(&error).contains(path.to_str().unwrap()), "{error:?}");
            true
        }
    }
}

async fn written(folder: &Path) -> (Vec<u8>, Vec<u64>) {
    let path = folder.join("raft.redb");
    let consensus = open(&path).await.unwrap();
    propose_all(&consensus, 0..60).await;
    consensus.snapshot().await.unwrap();
    propose_all(&consensus, 60..80).await;
    consensus.shutdown().await;
    (fs::read(&path).unwrap(), (0..80).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_file_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, expected) = written(folder.path()).await;
    let path = folder.path().join("raft.redb");
    for part in [0, 1, 10, 25, 50, 75, 99] {
        fs::write(&path, &bytes[..bytes.len() * part / 100]).unwrap();
        assert!(check(&path, &expected).await, "cut to {part} %");
    }
    fs::write(&path, &bytes[..100]).unwrap();
    assert!(check(&path, &expected).await);
    fs::write(&path, "not a database at all").unwrap();
    assert!(check(&path, &expected).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_found_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, expected) = written(folder.path()).await;
    let path = folder.path().join("raft.redb");
    let mut dice = Dice(42);
    // Only bytes in use can hurt: unused pages are zeros.
    let used: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let mut found = 0;
    for _ in 0..150 {
        let at = used[dice.next() as usize % used.len()];
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (dice.next() % 8);
        fs::write(&path, flipped).unwrap();
        found += u32::from(check(&path, &expected).await);
    }
    assert!(found > 30, "only {found} of 150 flips were found");
}
