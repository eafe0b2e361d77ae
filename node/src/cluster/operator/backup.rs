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
use protocol::control::{ClusterRequest, Reach, Request, RequestError, Response};
use protocol::registry::{Command, Group, HistoryEntry, Source, SourceState, State};
use protocol::{NodeId, RequestId, SourceHash};
use tokio::sync::{mpsc, oneshot};
use transport::sealed;

use super::archive::{self, Archive, ArchiveError, Head};
use super::{Answered, done};
use crate::agent::node::{Node, stamp};
use crate::agent::requests::{internal, load, not_done, refused};
use crate::cluster::{orders, whole};
use crate::store::{Arrived, PackageStore, StoreError};

/// Writes a backup into a file of this host.
pub(super) async fn backup(
    node: &Arc<Node>,
    path: PathBuf,
    passphrase: Option<String>,
    by: &str,
) -> Answered {
    absolute(&path)?;
    let authority = match passphrase {
        Some(passphrase) => Some(sealed_authority(node, passphrase).await?),
        None => None,
    };
    let (index, mut state) = whole::registry(node, "what is loaded").await?;
    // A rollout that is under way is not in a backup, and neither is what it brings up.
    state
        .sources
        .retain(|_, source| source.state == SourceState::Loaded);
    let mut packages = Vec::new();
    for (hash, source) in &state.sources {
        let mut holders = node.mutual.holdings.holders(*hash);
        // A majority of them has it; what others hold the leader alone knows.
        holders.extend(node.replica.voters());
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
            .map(transport::identity::Authority::to_bundle)
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
    let (_, here) = whole::registry(node, "what is loaded").await?;
    if let Some(group) = taken(&here, &archive.head) {
        return Err(refused(
            format!("group `{group}` of the backup is loaded in this convention already"),
            Some("restore into a convention that has none of its groups loaded"),
        ));
    }
    let head = archive.head.clone();
    let state = &head.state;
    let store = node.store.clone();
    let unpacking = tokio::task::spawn_blocking(move || take_packages(archive, &store));
    let mut arrived = joined(unpacking.await)??;
    let mut notes = Vec::new();
    for (hash, source) in in_order(state) {
        let Some(at) = arrived.iter().position(|arrived| arrived.hash() == hash) else {
            return Err(not_held(&source, hash, "the backup has no such package"));
        };
        let package = arrived.swap_remove(at);
        let (_, now) = whole::registry(node, "what is loaded").await?;
        let Some(request) = request_for(&now, &head, hash, node.id) else {
            notes.push(restored(&source, hash));
            continue;
        };
        notes.push(load_one(node, request, package, &source, &path, by).await?);
    }
    for (name, group) in &state.groups {
        remind(node, name, group).await?;
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

/// A group of the backup that has something loaded here which no restore of this very backup has
/// loaded; any group of it once all of it is here. One that was broken off goes on.
fn taken(here: &State, head: &Head) -> Option<String> {
    let is_new = |hash: &SourceHash| {
        let first = first_request(head, *hash);
        !head.state.sources.contains_key(hash) || given(here, first).is_none()
    };
    let mut loaded = here.sources.iter();
    let foreign =
        loaded.find(|(hash, source)| head.state.groups.contains_key(&source.group) && is_new(hash));
    let sources = head.state.sources.keys();
    let mut missing = sources.filter(|hash| !here.sources.contains_key(*hash));
    let remembered = |(name, group): (&String, &Group)| {
        let here = here.groups.get(name);
        here.is_some_and(|here| {
            let newest = group.history.last();
            newest.is_none_or(|newest| here.history.contains(newest))
        })
    };
    let whole = missing.next().is_none() && head.state.groups.iter().all(remembered);
    let any = head.state.groups.keys().next().filter(|_| whole);
    foreign.map(|(_, source)| &source.group).or(any).cloned()
}

/// Idempotency id of the load of a source by a restore of this backup: a restore that is given
/// again, at this or another node, finds what the one before has begun. Loaded and unloaded since,
/// it is loaded anew. `None`: a restore at another node has done it.
fn request_for(here: &State, head: &Head, hash: SourceHash, me: NodeId) -> Option<RequestId> {
    let mut request = first_request(head, hash).of(me);
    let mut last = None;
    while let Some(before) = given(here, request) {
        last = Some(before);
        request = request.step(0);
    }
    let last = last.filter(|_| is_as_wanted(here, head, hash));
    let begun = || here.rollouts.values().any(|it| it.to == Some(hash));
    match last {
        // It is answered as the first time.
        Some(own) if own.node() == me => Some(own),
        // Behind the rollout it finds the source active.
        Some(_) if !begun() => None,
        _ => Some(request),
    }
}

/// The id under which an order was given that is remembered, at whichever node.
fn given(here: &State, order: RequestId) -> Option<RequestId> {
    if here.requests.contains_key(&order) {
        return Some(order);
    }
    let mut ids = here.requests.keys().copied();
    ids.find(|id| id.drawn() == order.drawn())
}

/// Whether a source is here, and active or about to be if it was so in the backup.
fn is_as_wanted(here: &State, head: &Head, hash: SourceHash) -> bool {
    let Some(source) = here.sources.get(&hash) else {
        return false;
    };
    let active = |state: &State| state.groups.get(&source.group).and_then(|it| it.active);
    let begun = here
        .rollouts
        .values()
        .any(|rollout| rollout.to == Some(hash));
    active(&head.state) != Some(hash) || active(here) == Some(hash) || begun
}

/// The same one at every node, but for the node.
fn first_request(head: &Head, hash: SourceHash) -> RequestId {
    let (index, stamp) = (head.index.to_be_bytes(), head.stamp.0.to_be_bytes());
    let parts: [&[u8]; 4] = [&head.convention.0, &index, &stamp, &hash.0];
    let digest = SourceHash::of(&parts.concat());
    RequestId(digest.0.first_chunk().copied().unwrap_or_default())
}

async fn load_one(
    node: &Arc<Node>,
    request: RequestId,
    package: Arrived,
    source: &Source,
    path: &Path,
    by: &str,
) -> Result<String, RequestError> {
    let (upload, uploaded) = oneshot::channel();
    let hash = package.hash();
    let _receiver_is_here = upload.send(Ok(package));
    let request = Request::Load {
        request,
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
        Response::Loaded { .. } => Ok(restored(source, hash)),
        _ => Err(internal("a load was answered with something else")),
    }
}

fn restored(source: &Source, hash: SourceHash) -> String {
    let version = source.version.as_deref().unwrap_or("without a version");
    format!("`{}` {version}: {hash}", source.group)
}

/// Has the leader remember history and withdrawals of a group.
async fn remind(node: &Arc<Node>, name: &str, group: &Group) -> Result<(), RequestError> {
    let remember = ClusterRequest::Remember {
        group: name.to_owned(),
        history: group.history.clone(),
        withdrawn: group.withdrawn.clone(),
    };
    let given = orders::give(node, Request::Cluster(remember), None);
    given.await.map(drop)
}

/// Puts history and withdrawals of a group into the registry; a second time changes nothing.
pub(super) async fn remember(
    node: &Node,
    group: String,
    history: Vec<HistoryEntry>,
    withdrawn: BTreeSet<SourceHash>,
) -> Answered {
    let command = Command::Remember {
        group,
        history,
        withdrawn,
        stamp: stamp(),
    };
    let proposed = Replica::propose(&*node.replica, command).await;
    proposed
        .map(|_| done(Vec::new()))
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

#[cfg(test)]
mod tests {
    use protocol::registry::{Outcome, Recorded, SourceState};
    use protocol::{ConventionId, Stamp};

    use super::*;

    #[test]
    fn a_restore_that_another_node_has_begun_goes_on_here() {
        let (mine, other) = (NodeId(1), NodeId(2));
        let hash = |n: u8| SourceHash([n; 32]);
        let source = || Source {
            group: "foo".to_owned(),
            version: None,
            bytes: 1,
            definition: protocol::GroupDefinition::default(),
            order: 1,
            loaded: Stamp(1),
            by: "ann".to_owned(),
            state: SourceState::Loaded,
        };
        let mut state = State::default();
        for n in [1, 2] {
            state.sources.insert(hash(n), source());
        }
        state.groups.entry("foo".to_owned()).or_default().active = Some(hash(2));
        let head = Head {
            convention: ConventionId([1; 16]),
            index: 5,
            stamp: Stamp(9),
            release: String::new(),
            state,
            packages: Vec::new(),
            authority: None,
        };
        let mut here = State::default();
        let first = |n: u8| first_request(&head, hash(n));
        assert_eq!(
            request_for(&here, &head, hash(1), mine),
            Some(first(1).of(mine))
        );
        // The other node has loaded the first and died.
        here.sources.insert(hash(1), source());
        here.groups.entry("foo".to_owned()).or_default().active = Some(hash(1));
        let recorded = Recorded {
            stamp: Stamp(10),
            outcome: Outcome::Done,
            told: Vec::new(),
        };
        here.requests.insert(first(1).of(other), recorded);
        assert_eq!(taken(&here, &head), None, "it is of this very restore");
        assert_eq!(request_for(&here, &head, hash(1), mine), None);
        let own = request_for(&here, &head, hash(1), other);
        assert_eq!(own, Some(first(1).of(other)), "answered as the first time");
        let next = request_for(&here, &head, hash(2), mine);
        assert_eq!(next, Some(first(2).of(mine)));
        // Unloaded since, it is loaded anew.
        here.sources.clear();
        let anew = request_for(&here, &head, hash(1), mine);
        assert_eq!(anew, Some(first(1).step(0).of(mine)));
    }
}
