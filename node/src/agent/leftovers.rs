//! Packages and unpacked files go when the registry no longer names them, and at the start.
//!
//! A load in progress pins its package: the registry names it only once the load is committed.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::SourceHash;
use protocol::registry::State;
use protocol::view::Wish;

use super::node::Node;
use crate::hosting::{folder_of, remove_unpacked};
use crate::store::PackageStore;

/// Packages that loads in progress need.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pins {
    // Held for a look-up or an insertion only.
    pinned: Arc<Mutex<HashMap<SourceHash, usize>>>,
    // Held while one source is cleared away, so that a load of the same bytes comes after.
    clearing: Arc<tokio::sync::Mutex<()>>,
}

/// Keeps a package from being cleared away.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Pins,
    hash: SourceHash,
}

impl Pins {
    pub(crate) async fn pin(&self, hash: SourceHash) -> Pin {
        let _turn = self.clearing.lock().await;
        *self.table().entry(hash).or_default() += 1;
        let pins = self.clone();
        Pin { pins, hash }
    }

    fn is_pinned(&self, hash: SourceHash) -> bool {
        self.table().contains_key(&hash)
    }

    fn table(&self) -> MutexGuard<'_, HashMap<SourceHash, usize>> {
        self.pinned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut table = self.pins.table();
        if let Some(count) = table.get_mut(&self.hash) {
            *count -= 1;
            if *count == 0 {
                table.remove(&self.hash);
            }
        }
    }
}

impl Node {
    /// Clears a source away, unless it is loaded or being loaded.
    pub(crate) async fn clear_away(&self, hash: SourceHash) {
        // What is not in the view may be loaded all the same.
        if self.packages.has(hash) && self.replica.want(Wish::Source(hash)).await.is_err() {
            // Nobody says; the next start clears it away.
            return;
        }
        let _turn = self.pins.clearing.lock().await;
        let named = self.replica.read(|state| state.sources.contains_key(&hash));
        if named || self.pins.is_pinned(hash) {
            return;
        }
        self.sources.forget(&self.hosting, hash).await;
        self.packages.forget(hash);
        let store = self.store.clone();
        let removed = tokio::task::spawn_blocking(move || store.remove(hash)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(hash = %hash.short(), %error, "a package stays behind");
        }
    }
}

/// The sources that the registry names.
pub(crate) fn named(state: &State) -> BTreeSet<SourceHash> {
    state.sources.keys().copied().collect()
}

/// Clears away what a run before left behind; blocks. Nothing may use the store yet.
pub(crate) fn sweep(state: &Path, store: &PackageStore, named: &BTreeSet<SourceHash>) {
    let mut stale: BTreeSet<_> = store.sweep(named).into_iter().collect();
    let unpacked = folder_of(state, &SourceHash::default());
    let entries = unpacked.parent().and_then(|folder| folder.read_dir().ok());
    for entry in entries.into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let hash = name.split('.').next().and_then(|hash| hash.parse().ok());
        stale.extend(hash.filter(|hash| !named.contains(hash)));
    }
    for hash in stale {
        if let Err(cause) = remove_unpacked(state, &hash) {
            tracing::warn!(hash = %hash.short(), %cause, "unpacked files stay behind");
        }
    }
}
