//! Backup and restore of what a convention has loaded.
//!
//! A backup has the registry and every package that it names. A restore loads them one by one, as
//! an operator would: verified with this convention's own keys, the version that was active last,
//! then history and withdrawals. Members, tokens and certificates are not taken over: hosts join
//! the new convention anew.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use leader::reconcile::Replica;
use protocol::control::{Reach, Request, RequestError, Response};
use protocol::registry::{Command, Group, Source, SourceState, State};
use protocol::view::Wish;
use protocol::{RequestId, SourceHash};
use tokio::sync::{mpsc, oneshot};
use transport::sealed;

use super::archive::{self, Archive, ArchiveError, Head};
use super::{Answered, done};
use crate::agent::node::{Node, stamp};
use crate::agent::requests::{internal, load, not_done, refused};
use crate::store::{Arrived, PackageStore, StoreError};

/// Writes a backup into a file of this host.
pub(super) async fn backup(
    node: &Arc<Node>,
    path: PathBuf,
    passphrase: Option<String>,
    by: &str,
) -> Answered {
    absolute(&path)?;
    if node.replica.is_partial() {
        return Err(refused(
            "this node is no voter and has only a part of the registry".to_owned(),
            Some("run it on a voter: `director cluster members` shows them"),
        ));
    }
    let authority = match passphrase {
        Some(passphrase) => Some(sealed_authority(node, passphrase).await?),
        None => None,
    };
    let index = *node.replica.applied().borrow();
    let mut state = node.replica.read(State::clone);
    // A rollout that is under way is not in a backup, and neither is what it brings up.
    state
        .sources
        .retain(|_, source| source.state == SourceState::Loaded);
    let mut packages = Vec::new();
    for (hash, source) in &state.sources {
        let holders = node.mutual.holdings.holders(*hash);
        let held = node.hold_package(*hash, Some(source.bytes), &holders).await;
        held.map_err(|fault| not_held(source, *hash, &fault.to_string()))?;
        packages.push((*hash, source.bytes));
    }
    let head = Head {
        convention: state.convention.unwrap_or_default(),
        index,
        stamp: stamp(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        state,
        packages,
        authority,
    };
    let (store, shown) = (node.store.clone(), path.display().to_string());
    let n_packages = head.packages.len();
    let writing = tokio::task::spawn_blocking(move || {
        archive::write(&path, &head, |hash| File::open(store.path(hash)))
    });
    let bytes = joined(writing.await)?.map_err(|error| unusable(&error))?;
    tracing::info!(path = shown, bytes, n_packages, by, "backup written");
    Ok(done(vec![format!(
        "wrote {shown}: {n_packages} packages, {bytes} bytes, as of index {index}"
    )]))
}

async fn sealed_authority(node: &Node, passphrase: String) -> Result<Vec<u8>, RequestError> {
    let key = {
        let identity = node.membership.identity();
        identity
            .authority()
            .map(transport::identity::Authority::key_to_pem)
    };
    let Some(key) = key else {
        return Err(refused(
            "this node is no voter and has no key of the authority".to_owned(),
            Some("run it on a voter: `director cluster members` shows them"),
        ));
    };
    let sealing = tokio::task::spawn_blocking(move || sealed::seal(key.as_bytes(), &passphrase));
    joined(sealing.await)?.map_err(|fault| internal(&fault.to_string()))
}

/// Loads everything that a backup holds.
pub(super) async fn restore(node: &Arc<Node>, path: PathBuf, by: &str) -> Answered {
    absolute(&path)?;
    let opened = tokio::task::spawn_blocking({
        let path = path.clone();
        move || Archive::open(&path)
    });
    let archive = joined(opened.await)?.map_err(|error| unusable(&error))?;
    let groups: BTreeSet<_> = archive.head.state.groups.keys().cloned().collect();
    let _not_told = node.replica.want(Wish::Groups).await;
    let taken = node.replica.read(|state| {
        let mut sources = state.sources.values();
        sources
            .find(|source| groups.contains(&source.group))
            .map(|source| source.group.clone())
    });
    if let Some(group) = taken {
        return Err(refused(
            format!("group `{group}` of the backup is loaded in this convention already"),
            Some("restore into a convention that has none of its groups loaded"),
        ));
    }
    let state = archive.head.state.clone();
    let store = node.store.clone();
    let unpacking = tokio::task::spawn_blocking(move || take_packages(archive, &store));
    let mut arrived = joined(unpacking.await)??;
    let mut notes = Vec::new();
    for (hash, source) in in_order(&state) {
        let Some(at) = arrived.iter().position(|arrived| arrived.hash() == hash) else {
            return Err(not_held(&source, hash, "the backup has no such package"));
        };
        let package = arrived.swap_remove(at);
        notes.push(load_one(node, package, &source, &path, by).await?);
    }
    for (name, group) in &state.groups {
        remember(node, name, group).await?;
    }
    Ok(done(notes))
}

/// The sources in the order in which they are loaded: each group's active one last.
fn in_order(state: &State) -> Vec<(SourceHash, Source)> {
    let mut sources: Vec<_> = state
        .sources
        .iter()
        .map(|(hash, source)| (*hash, source.clone()))
        .collect();
    let active = |hash: &SourceHash, source: &Source| {
        let group = state.groups.get(&source.group);
        group.is_some_and(|group| group.active == Some(*hash))
    };
    sources.sort_by_key(|(hash, source)| (active(hash, source), source.order));
    sources
}

async fn load_one(
    node: &Arc<Node>,
    package: Arrived,
    source: &Source,
    path: &Path,
    by: &str,
) -> Result<String, RequestError> {
    let (upload, uploaded) = oneshot::channel();
    let hash = package.hash();
    let _receiver_is_here = upload.send(Ok(package));
    let request = Request::Load {
        request: RequestId(rand::random()),
        group: source.group.clone(),
        version: source.version.clone(),
        path: path.display().to_string(),
        definition: source.definition.clone(),
        by: format!("{by} (restored; first loaded by {})", source.by),
        no_wait: false,
        upwards_only: false,
        reach: Reach::OnDemand,
        lies: None,
    };
    match load::load(node, request, Some(uploaded)).await? {
        Response::Loaded { .. } => {
            let version = source.version.as_deref().unwrap_or("without a version");
            Ok(format!("`{}` {version}: {hash}", source.group))
        }
        _ => Err(internal("a load was answered with something else")),
    }
}

/// History and withdrawals of a group.
async fn remember(node: &Node, name: &str, group: &Group) -> Result<(), RequestError> {
    let command = Command::Remember {
        group: name.to_owned(),
        history: group.history.clone(),
        withdrawn: group.withdrawn.clone(),
        stamp: stamp(),
    };
    let proposed = Replica::propose(&*node.replica, command).await;
    proposed
        .map(|_| ())
        .map_err(|failure| not_done(failure.into()))
}

/// Takes every package of a backup into the store's folder. Blocks.
fn take_packages(mut archive: Archive, store: &PackageStore) -> Result<Vec<Arrived>, RequestError> {
    let mut packages = Vec::new();
    loop {
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        let mut out = Chunks(sender);
        let (copied, arrived) = std::thread::scope(|scope| {
            let receiving = scope.spawn(|| store.receive(chunks));
            let copied = archive.next_package(&mut out);
            drop(out);
            (copied, receiving.join())
        });
        let Some(wanted) = copied.map_err(|error| unusable(&error))? else {
            return Ok(packages);
        };
        let arrived = arrived.map_err(|_panic| internal("receiving a package failed"))?;
        let arrived = arrived.map_err(|error| not_stored(&error))?;
        if arrived.hash() != wanted {
            return Err(refused(
                format!("package {} of the backup has other bytes", wanted.short()),
                Some("take another backup"),
            ));
        }
        packages.push(arrived);
    }
}

/// Pieces on their way from a backup into the store.
const CHUNKS_AHEAD: usize = 8;

/// Passes what is written on as pieces.
struct Chunks(mpsc::Sender<Vec<u8>>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(bytes.to_vec());
        sent.map_err(|_closed| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn absolute(path: &Path) -> Result<(), RequestError> {
    if path.is_absolute() {
        return Ok(());
    }
    let message = format!("`{}` is no absolute path", path.display());
    Err(refused(message, Some("name the file from the root on")))
}

fn joined<T>(ended: Result<T, tokio::task::JoinError>) -> Result<T, RequestError> {
    ended.map_err(|error| internal(&error.to_string()))
}

fn unusable(error: &ArchiveError) -> RequestError {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    let message = format!("{error}{}", cause.unwrap_or_default());
    refused(message, Some("check the file and the disk, then repeat it"))
}

fn not_stored(error: &StoreError) -> RequestError {
    refused(error.to_string(), Some("make room, then repeat it"))
}

fn not_held(source: &Source, hash: SourceHash, why: &str) -> RequestError {
    let message = format!("package {} of `{}`: {why}", hash.short(), source.group);
    refused(message, Some("`director cluster members` shows who is up"))
}
