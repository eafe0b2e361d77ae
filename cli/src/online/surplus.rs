//! `TLS_Keep_Limit` after a load: old packages of the group leave the directory.
//!
//! The package just loaded stays, and so does the one that is active, found by its hash.

use std::fs::File;
use std::path::{Path, PathBuf};

use package::source_hash;
use protocol::SourceHash;
use protocol::control::{Request, Response};

use super::refusal::unexpected;
use super::session::Online;
use crate::commands::Context;
use crate::{Exit, Failure};

/// Deletes what is over the limit; returns the paths.
pub(super) fn delete(
    context: &Context,
    online: &mut Online,
    group: &str,
    limit: Option<u32>,
    loaded: &Path,
) -> Result<Vec<PathBuf>, Failure> {
    let Some(limit) = limit.filter(|limit| *limit > 0) else {
        return Ok(Vec::new());
    };
    let packages = context
        .directory
        .packages_of(group)
        .map_err(|error| Failure::new(Exit::Refused, error))?;
    let older = packages
        .iter()
        .skip(usize::try_from(limit).unwrap_or(usize::MAX));
    let older: Vec<_> = older.map(|package| package.path.as_path()).collect();
    if older.iter().all(|path| *path == loaded) {
        return Ok(Vec::new());
    }
    let mut spared = vec![loaded];
    if let Some(active) = active(online, group)? {
        spared.extend(older.into_iter().filter(|path| hash(path) == Some(active)));
    }
    let deleted = context.directory.keep_newest(group, Some(limit), &spared);
    deleted.map_err(|error| Failure::new(Exit::Refused, error))
}

/// The hash of the group's active source.
fn active(online: &mut Online, group: &str) -> Result<Option<SourceHash>, Failure> {
    let group = Some(group.to_owned());
    // It was loaded just now, by this node.
    match online.request(Request::List { group, stale: true })? {
        Response::Listed { groups, .. } => {
            let mut sources = groups.into_iter().flat_map(|group| group.sources);
            Ok(sources
                .find(|source| source.state == "active")
                .map(|source| source.hash))
        }
        other => Err(unexpected(&other)),
    }
}

pub(super) fn hash(path: &Path) -> Option<SourceHash> {
    let (hash, _bytes) = source_hash(&mut File::open(path).ok()?).ok()?;
    Some(hash)
}
