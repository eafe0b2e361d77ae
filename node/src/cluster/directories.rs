//! The Director directories of the live members: what the newest package of each group is there,
//! and that package for who loads it from elsewhere.
//!
//! A member tells what lies in its own directory and takes one of those files into its store when
//! it is asked for it, so that the asker can pull it as any package. Whether it is to be trusted,
//! everybody's own keys say; nothing of a package is read here but its bytes for the hash.
//! Not here: which of them is loaded (`cli`), the load itself (`agent::requests::load`).

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use package::source_hash;
use protocol::control::{
    ClusterRequest, ClusterResponse, ErrorCode, Lies, MemberDirectory, OfferedGroup, Request,
    RequestError, Response,
};
use protocol::registry::{MemberState, State};
use protocol::view::Wish;
use protocol::{NodeId, SourceHash};
use tokio::task::JoinSet;

use super::orders;
use crate::agent::node::Node;
use crate::agent::requests::{internal, refused};
use crate::directory::Directory;
use crate::store::{Arrived, PackageStore, StoreError};

/// A `.tli` is a page of text; one beyond this is none, and would fill an answer.
const TLI_BYTES_MAX: u64 = 256 * 1024;

/// Members that are asked at a time.
const ASKED_AT_ONCE: usize = 16;

/// How long an offered package stays in the store for the load that wanted it to be committed.
const OFFERED: Duration = Duration::from_secs(300);

/// What the other live members' directories hold; one that does not tell is listed with why.
pub(crate) async fn others(node: &Arc<Node>) -> ClusterResponse {
    let me = node.id;
    let _not_told = node.replica.want(Wish::Members).await;
    let members: Vec<_> = node.replica.read(|state| {
        let up = state
            .members
            .iter()
            .filter(|(id, member)| **id != me && member.state == MemberState::Up);
        up.map(|(id, member)| (*id, member.name.clone())).collect()
    });
    let mut directories = Vec::new();
    for some in members.chunks(ASKED_AT_ONCE) {
        let mut asking = JoinSet::new();
        for (member, name) in some.iter().cloned() {
            let node = Arc::clone(node);
            asking.spawn(async move { of_member(&node, member, name).await });
        }
        directories.extend(asking.join_all().await);
    }
    directories.sort_by(|a, b| (&a.name, a.node).cmp(&(&b.name, b.node)));
    ClusterResponse::Directories { directories }
}

async fn of_member(node: &Arc<Node>, member: NodeId, name: String) -> MemberDirectory {
    let request = Request::Cluster(ClusterRequest::Directory);
    let fault = match orders::ask_member(node, member, &request).await {
        Ok(Response::Cluster(ClusterResponse::Directories { mut directories })) => {
            if let Some(directory) = directories.pop() {
                return directory;
            }
            "it told of no directory".to_owned()
        }
        Ok(_) => "it gave an answer of another kind".to_owned(),
        Err(error) => error.message,
    };
    MemberDirectory {
        node: member,
        name,
        path: String::new(),
        groups: Vec::new(),
        fault: Some(fault),
    }
}

/// What the own directory holds.
pub(crate) async fn own(node: &Node) -> ClusterResponse {
    let directory = node.directory.clone();
    let looking = tokio::task::spawn_blocking(move || newest(&directory)).await;
    let looked = looking.unwrap_or_else(|error| Err(error.to_string()));
    let (groups, fault) = match looked {
        Ok(groups) => (groups, None),
        Err(fault) => (Vec::new(), Some(fault)),
    };
    let directory = MemberDirectory {
        node: node.id,
        name: node.settings.node_name.clone(),
        path: node.directory.path().display().to_string(),
        groups,
        fault,
    };
    ClusterResponse::Directories {
        directories: vec![directory],
    }
}

/// The newest package of each group. Blocks.
fn newest(directory: &Directory) -> Result<Vec<OfferedGroup>, String> {
    if directory.is_private() {
        return Ok(Vec::new());
    }
    // Who may write there decides what a `.tli` says: not everybody.
    directory.key_files().map_err(|error| error.to_string())?;
    let listing = directory.listing().map_err(|error| error.to_string())?;
    let mut groups = Vec::new();
    for group in listing.groups {
        let Some(package) = group.packages.into_iter().next() else {
            continue;
        };
        let path = package.path;
        let hash = hash(&path).map_err(|cause| cannot_be_read(&path, &cause))?;
        let tli = match group.tli {
            Some(tli) => Some(text(&tli).map_err(|cause| cannot_be_read(&tli, &cause))?),
            None => None,
        };
        groups.push(OfferedGroup {
            group: group.group,
            file: package.name.file_name(),
            hash,
            tli,
        });
    }
    Ok(groups)
}

/// Takes a package of the own directory into the store, and keeps it there for a while.
///
/// # Errors
/// `Refused`: the directory has no such file, or other bytes under its name.
pub(crate) async fn offer(
    node: &Arc<Node>,
    file: &str,
    hash: SourceHash,
) -> Result<ClusterResponse, RequestError> {
    let pin = node.pins.pin(hash).await;
    node.replica.note(Wish::Source(hash));
    let (directory, store, file) = (node.directory.clone(), node.store.clone(), file.to_owned());
    let taking = tokio::task::spawn_blocking(move || take(&directory, &store, &file, hash));
    taking
        .await
        .map_err(|error| internal(&error.to_string()))??;
    let (keeping, tracker) = (Arc::clone(node), node.tasks.clone());
    tracker.spawn(async move {
        let named = || {
            let state = |state: &State| state.sources.contains_key(&hash);
            keeping.replica.read(state)
        };
        let mut applied = keeping.replica.applied();
        let loaded = async { while !named() && applied.changed().await.is_ok() {} };
        let waited = tokio::time::timeout(OFFERED, loaded);
        let _stops = keeping.shutdown.run_until_cancelled(waited).await;
        drop(pin);
        keeping.clear_away(hash).await;
    });
    Ok(ClusterResponse::Done { notes: Vec::new() })
}

/// Has a member offer a package and pulls it from there; says why the own keys distrust it, if so.
///
/// # Errors
/// `Refused` by that member, `Unavailable` where it cannot be had.
pub(crate) async fn fetch(node: &Arc<Node>, lies: &Lies) -> Result<Option<String>, RequestError> {
    let Lies {
        node: member,
        file,
        hash,
    } = lies;
    if !node.packages.has(*hash) {
        let offer = ClusterRequest::Offer {
            file: file.clone(),
            hash: *hash,
        };
        orders::ask_member(node, *member, &Request::Cluster(offer)).await?;
    }
    let held = node.hold_package(*hash, None, &[*member]).await;
    let held = held.map_err(|fault| RequestError {
        code: ErrorCode::Unavailable,
        ..refused(
            format!("`{file}` could not be had from node `{member}`: {fault}"),
            Some("`director cluster members` shows who is up; then refresh again"),
        )
    })?;
    Ok(held.distrust)
}

/// Copies a package of the directory into the store, if it has these bytes. Blocks.
fn take(
    directory: &Directory,
    store: &PackageStore,
    file: &str,
    hash: SourceHash,
) -> Result<(), RequestError> {
    let path = directory.path().display();
    let hint = Some("refresh again: it takes what the directories hold then");
    let gone = || refused(format!("`{path}` has no package `{file}` any more"), hint);
    if store.path(hash).is_file() {
        return Ok(());
    }
    directory
        .key_files()
        .map_err(|error| refused(error.to_string(), Some(&error.hint())))?;
    // Only what the listing names: a name is no path.
    let listing = directory.listing().map_err(|_error| gone())?;
    let packages = listing.groups.into_iter().flat_map(|group| group.packages);
    let package = packages.into_iter().find(|it| it.name.file_name() == file);
    let path = package.ok_or_else(gone)?.path;
    let arrived = copy(&path, store)?;
    if arrived.hash() != hash {
        let text = format!("`{}` has other bytes by now", path.display());
        return Err(refused(text, hint));
    }
    store.keep(arrived)?;
    Ok(())
}

fn copy(path: &Path, store: &PackageStore) -> Result<Arrived, RequestError> {
    let unreadable = |cause| refused(cannot_be_read(path, &cause), None);
    let mut from = open(path).map_err(unreadable)?;
    let mut to = store.incoming()?;
    let bytes = std::io::copy(&mut from, &mut to).map_err(|cause| {
        let error = StoreError::Io {
            folder: store.path(SourceHash::default()),
            cause,
        };
        RequestError::from(error)
    })?;
    let hash = hash(to.path()).map_err(unreadable)?;
    Ok(Arrived::checked(to, hash, bytes))
}

/// Opens a file that is one: nothing blocks on a pipe.
fn open(path: &Path) -> std::io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is no ordinary file"));
    }
    File::open(path)
}

fn hash(path: &Path) -> std::io::Result<SourceHash> {
    let (hash, _bytes) = source_hash(&mut open(path)?)?;
    Ok(hash)
}

fn text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    open(path)?
        .take(TLI_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > TLI_BYTES_MAX {
        let reason = format!("it has more than {TLI_BYTES_MAX} bytes");
        return Err(std::io::Error::other(reason));
    }
    Ok(text)
}

fn cannot_be_read(path: &Path, cause: &std::io::Error) -> String {
    format!("`{}` cannot be read: {cause}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Directory) {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let directory = Directory::at(folder.path());
        (folder, directory)
    }

    #[test]
    fn the_newest_of_each_group_is_told_with_the_tli_beside_it() {
        let (_folder, directory) = directory(&[
            ("foo-1.9.tls", b"old"),
            ("foo-1.10.tls", b"new"),
            ("foo.tli", b"{}"),
            ("bar-1.0.tls", b"bar"),
            ("baz.tli", b"{}"),
        ]);
        let groups = newest(&directory).unwrap();
        let told = |group: &OfferedGroup| (group.file.clone(), group.hash, group.tli.clone());
        let told: Vec<_> = groups.iter().map(told).collect();
        let wanted = [
            ("bar-1.0.tls".to_owned(), SourceHash::of(b"bar"), None),
            (
                "foo-1.10.tls".to_owned(),
                SourceHash::of(b"new"),
                Some("{}".to_owned()),
            ),
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn only_a_package_of_the_directory_with_the_bytes_meant_is_given() {
        let (folder, directory) = directory(&[("foo-1.0.tls", b"one"), ("secret", b"s")]);
        let packages = folder.path().join("packages");
        std::fs::create_dir(&packages).unwrap();
        std::fs::write(packages.join("foo-2.0.tls"), b"two").unwrap();
        let store = PackageStore::new(packages.clone(), None);
        let one = SourceHash::of(b"one");
        for (file, hash) in [
            ("secret", SourceHash::of(b"s")),
            ("packages/foo-2.0.tls", SourceHash::of(b"two")),
            ("foo-1.0.tls", SourceHash::of(b"two")),
        ] {
            take(&directory, &store, file, hash).unwrap_err();
            assert!(!store.path(hash).exists(), "{file}");
        }
        take(&directory, &store, "foo-1.0.tls", one).unwrap();
        assert_eq!(std::fs::read(store.path(one)).unwrap(), b"one");
    }
}
