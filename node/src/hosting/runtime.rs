//! Our `thespian` as workers import it: laid out once under the state folder.
//!
//! The folder is named after the hash of what lies in it, so nodes of two versions never share
//! one and nothing in it is ever written again. Python adds its compiled files itself.
//! Not here: the package's code (`python/thespian`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use include_dir::{Dir, DirEntry, include_dir};
use sha2::{Digest, Sha256};

/// The Python side that forkservers are started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// The folder that holds `thespian`.
    pub folder: PathBuf,
    /// The text that a forkserver is started with, by `-c`.
    pub bootstrap: String,
}

/// The Python side cannot be laid out.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A file could not be written.
    #[error(
        "`{}` cannot be written: {cause}; see that the state folder is writable",
        path.display()
    )]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// This program was built without it.
    #[error("this `director` was built without its Python side (`{BOOTSTRAP_NAME}` is missing)")]
    NotEmbedded,
}

impl Runtime {
    /// Lays the embedded package out under `state`, unless it is there.
    ///
    /// # Errors
    /// [`RuntimeError::Write`] names the file.
    pub fn lay_out(state: &Path) -> Result<Self, RuntimeError> {
        let bootstrap = EMBEDDED
            .get_file(BOOTSTRAP_NAME)
            .and_then(|file| file.contents_utf8())
            .ok_or(RuntimeError::NotEmbedded)?;
        let parent = state.join("python");
        let folder = parent.join(tree_hash());
        if !folder.is_dir() {
            write_tree(&parent, &folder).map_err(|cause| RuntimeError::Write {
                path: folder.clone(),
                cause,
            })?;
        }
        Ok(Self {
            folder,
            bootstrap: bootstrap.to_owned(),
        })
    }
}

/// Writes everything beside its place, then moves it there at once.
fn write_tree(parent: &Path, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(parent)?;
    let fresh = tempfile::Builder::new()
        .prefix(".new-")
        .tempdir_in(parent)?;
    let package = fresh.path().join("thespian");
    for file in files(&EMBEDDED) {
        let path = package.join(file.path());
        if let Some(above) = path.parent() {
            fs::create_dir_all(above)?;
        }
        fs::write(path, file.contents())?;
    }
    match fs::rename(fresh.path(), folder) {
        // Another node of this user was faster: the same hash, the same files.
        Err(_) if folder.is_dir() => Ok(()),
        Err(cause) => Err(cause),
        Ok(()) => {
            let _ = fresh.keep();
            Ok(())
        }
    }
}

fn tree_hash() -> String {
    let mut hash = Sha256::new();
    for file in files(&EMBEDDED) {
        hash.update(file.path().as_os_str().as_encoded_bytes());
        hash.update([0]);
        hash.update((file.contents().len() as u64).to_le_bytes());
        hash.update(file.contents());
    }
    let mut text = hex::encode(hash.finalize());
    text.truncate(32);
    text
}

/// All files of the embedded package, in the order of their paths.
fn files<'a>(folder: &'a Dir<'a>) -> Vec<&'a include_dir::File<'a>> {
    let mut out = Vec::new();
    let mut open = vec![folder];
    while let Some(folder) = open.pop() {
        for entry in folder.entries() {
            match entry {
                DirEntry::Dir(inner) => open.push(inner),
                DirEntry::File(file) => out.push(file),
            }
        }
    }
    out.sort_by_key(|file| file.path());
    out
}

/// Only the `*.py` of `python/thespian`: `build.rs` gathers them.
static EMBEDDED: Dir<'_> = include_dir!("$OUT_DIR/thespian");

const BOOTSTRAP_NAME: &str = "system/bootstrap.py";
