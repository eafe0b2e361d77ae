//! A follower's view of the registry: fed by the leader, kept on the disk for a start without it.
//!
//! Not here: the stream itself (`session`).
//!
//! # Format
//! `state/registry.snapshot`: the envelope of `protocol::codec` around the index, the state and who
//! votes; then the SHA-256 of all that, since what a node does alone it does by this file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use protocol::registry::REGISTRY_VERSION;
use protocol::{decode, encode};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

use super::registry::RegistryHandle;
use super::view::View;
use crate::directory::StateFolder;

/// The last good copy, if there is one that can be read.
pub(crate) fn last_good(state: &StateFolder) -> Option<View> {
    let path = path(state);
    let bytes = std::fs::read(&path).ok()?;
    let read = whole(&bytes).and_then(|bytes| {
        let read = decode(SHAPE, REGISTRY_VERSION, bytes);
        read.map_err(|error| error.to_string())
    });
    match read {
        Ok((index, state, voters)) => Some(View {
            index,
            state,
            voters,
        }),
        Err(reason) => {
            let path = path.display();
            tracing::warn!(%path, reason, "the copy of the registry is not used");
            None
        }
    }
}

/// What was written, if it is what lies there.
fn whole(bytes: &[u8]) -> Result<&[u8], String> {
    let split = bytes.split_last_chunk::<DIGEST_BYTES>();
    let (bytes, digest) = split.ok_or_else(|| "it is cut short".to_owned())?;
    if Sha256::digest(bytes)[..] == digest[..] {
        Ok(bytes)
    } else {
        Err("it is damaged: its bytes are not those that were written".to_owned())
    }
}

/// Keeps the copy of a follower on the disk, at most every few seconds and at the stop.
pub(crate) async fn keep(
    state: StateFolder,
    registry: Arc<RegistryHandle>,
    shutdown: CancellationToken,
) {
    let mut applied = registry.applied();
    let mut kept = *applied.borrow_and_update();
    loop {
        let stops = tokio::select! {
            biased;
            () = shutdown.cancelled() => true,
            changed = applied.changed() => changed.is_err(),
        };
        if !stops {
            let _stops = tokio::time::timeout(KEEP_EVERY, shutdown.cancelled()).await;
        }
        if let Some((index, bytes)) = worth_keeping(&registry, kept) {
            let path = path(&state);
            let written = tokio::task::spawn_blocking(move || write(&path, &bytes)).await;
            match written {
                Ok(Ok(())) => kept = index,
                Ok(Err(cause)) => tracing::warn!(%cause, "the copy of the registry is not kept"),
                Err(_stopping) => return,
            }
        }
        if stops || shutdown.is_cancelled() {
            return;
        }
    }
}

/// Keeps the copy of a node that follows from now on.
pub(crate) fn keep_now(state: &StateFolder, registry: &RegistryHandle) -> std::io::Result<()> {
    match worth_keeping(registry, 0) {
        Some((_index, bytes)) => write(&path(state), &bytes),
        None => Ok(()),
    }
}

/// The copy as bytes, where this node is a follower and has a newer one than was kept.
fn worth_keeping(registry: &RegistryHandle, kept: u64) -> Option<(u64, Vec<u8>)> {
    if registry.consensus().is_some() || registry.is_offline() {
        return None;
    }
    if registry.read_at(|index, state| index == kept || state.convention.is_none()) {
        return None;
    }
    let View {
        index,
        state,
        voters,
    } = registry.copy();
    match encode(SHAPE, REGISTRY_VERSION, &(index, state, voters)) {
        Ok(mut bytes) => {
            bytes.extend_from_slice(&Sha256::digest(&bytes));
            Some((index, bytes))
        }
        Err(error) => {
            tracing::warn!(%error, "the copy of the registry is not kept");
            None
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_data()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Where the copy lies.
pub(super) fn path(state: &StateFolder) -> PathBuf {
    state.path().join("registry.snapshot")
}

const SHAPE: &str = "registry copy";

/// Length of the hash behind the copy.
const DIGEST_BYTES: usize = 32;

/// What a crash may lose of the copy; the leader has it all.
const KEEP_EVERY: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use protocol::registry::State;
    use protocol::{ConventionId, NodeId};
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::directory::Directory;

    #[tokio::test]
    async fn a_copy_is_there_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let state = Directory::at(folder.path()).state();
        state.create().unwrap();
        assert!(last_good(&state).is_none());
        let registry = Arc::new(RegistryHandle::new(TaskTracker::new()));
        let shutdown = CancellationToken::new();
        let keeping = keep(state.clone(), Arc::clone(&registry), shutdown.clone());
        let known = State {
            convention: Some(ConventionId([4; 16])),
            ..State::default()
        };
        let known = View {
            index: 17,
            state: known,
            voters: [NodeId(3)].into(),
        };
        let stopping = async {
            registry.become_follower(known.clone());
            shutdown.cancel();
        };
        tokio::join!(keeping, stopping);
        assert_eq!(last_good(&state), Some(known));
        let bytes = std::fs::read(path(&state)).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            std::fs::write(path(&state), &damaged).unwrap();
            assert_eq!(last_good(&state), None, "byte {at}");
            std::fs::write(path(&state), &bytes[..at]).unwrap();
            assert_eq!(last_good(&state), None, "cut at {at}");
        }
    }

    #[test]
    fn a_damaged_copy_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let state = Directory::at(folder.path()).state();
        state.create().unwrap();
        std::fs::write(path(&state), b"DR\x01\x00").unwrap();
        assert!(last_good(&state).is_none());
    }
}
