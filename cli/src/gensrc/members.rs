//! All members of a package to be, by name: own sources first, then dependencies.
//!
//! Two files for one name: the own source wins over a dependency's, the first dependency over the
//! next; equal contents merge silently, which is how namespace packages meet.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{Exit, Failure, Printer};

/// The files of a package by member name.
#[derive(Debug, Default)]
pub(crate) struct Members {
    by_name: BTreeMap<String, (PathBuf, Origin)>,
}

/// Where a member comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The user's sources.
    Own,
    /// A distribution.
    Dependency(String),
}

impl Members {
    /// Adds the user's files; naming one twice is no fault.
    pub(crate) fn add_own(&mut self, files: Vec<(String, PathBuf)>, printer: Printer) {
        for (name, path) in files {
            if name == "thespian.py" || name.starts_with("thespian/") {
                let text = "is left out: every node brings its own `thespian`";
                printer.warning(format_args!("`{name}` {text}"));
                continue;
            }
            self.by_name.insert(name, (path, Origin::Own));
        }
    }

    /// Adds the files of a distribution.
    pub(crate) fn add_dependency(
        &mut self,
        distribution: &str,
        files: Vec<(String, PathBuf)>,
        printer: Printer,
    ) {
        let origin = Origin::Dependency(distribution.to_owned());
        for (name, path) in files {
            match self.by_name.entry(name) {
                Entry::Vacant(place) => {
                    place.insert((path, origin.clone()));
                }
                Entry::Occupied(place) => {
                    let (kept, by) = place.get();
                    if !same_content(kept, &path) {
                        let by = match by {
                            Origin::Own => "the own source",
                            Origin::Dependency(name) => name,
                        };
                        let name = place.key();
                        let why = format!("{by} has another file of that name");
                        printer.warning(format_args!(
                            "`{name}` of {distribution} is left out: {why}"
                        ));
                    }
                }
            }
        }
    }

    /// Name, file and origin of each, in the order of names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Path, &Origin)> {
        self.by_name
            .iter()
            .map(|(name, (path, origin))| (name.as_str(), path.as_path(), origin))
    }

    /// Sum of the files' sizes.
    ///
    /// # Errors
    /// `Failed` for a file that has gone.
    pub(crate) fn bytes(&self) -> Result<u64, Failure> {
        let sizes = self.iter().map(|(_, path, _)| {
            let about = fs::metadata(path);
            about
                .map(|about| about.len())
                .map_err(|cause| unreadable(path, &cause))
        });
        sizes.sum()
    }
}

/// The failure for a source that cannot be read.
pub(crate) fn unreadable(path: &Path, cause: &dyn std::fmt::Display) -> Failure {
    let text = format!("`{}` cannot be read: {cause}", path.display());
    Failure::text(Exit::Failed, text).hint("check that the file exists and may be read")
}

fn same_content(one: &Path, other: &Path) -> bool {
    let size = |path: &Path| fs::metadata(path).ok().map(|about| about.len());
    size(one) == size(other) && matches!((fs::read(one), fs::read(other)), (Ok(a), Ok(b)) if a == b)
}
