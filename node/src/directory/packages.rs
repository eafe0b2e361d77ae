//! The packages of a directory, group by group, newest first.
//!
//! A group exists where there is a `.tli` file or a package; whose package a file is follows from
//! its name (`package::PackageName`).
//! Not here: what is inside the files; nothing is opened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use package::{PackageName, PackageNameError, keep_limit, newest_first};

use super::place::{Directory, DirectoryError};

/// The files of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFiles {
    /// The group's name.
    pub group: String,
    /// Its `.tli` file, where there is one.
    pub tli: Option<PathBuf>,
    /// Its packages, highest version first.
    pub packages: Vec<PackageFile>,
}

/// One package of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    /// Full path.
    pub path: PathBuf,
    /// Group and version, from the file's name.
    pub name: PackageName,
}

/// The groups of a directory, and the files that end in `.tls` and have no group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// The groups by name.
    pub groups: Vec<GroupFiles>,
    /// Files whose name is no package's.
    pub strange: Vec<PackageNameError>,
}

impl Directory {
    /// The names of the groups that have a `.tli` file.
    ///
    /// # Errors
    /// `Missing` and `Unreadable`.
    pub fn tli_groups(&self) -> Result<Vec<String>, DirectoryError> {
        let files = self.names_ending_with(".tli")?;
        Ok(files
            .iter()
            .filter_map(|name| name.strip_suffix(".tli"))
            .map(str::to_owned)
            .collect())
    }

    /// All groups with their packages.
    ///
    /// # Errors
    /// `Missing` and `Unreadable`.
    pub fn listing(&self) -> Result<Listing, DirectoryError> {
        let known = self.tli_groups()?;
        let mut groups: BTreeMap<&str, Vec<PackageName>> = known
            .iter()
            .map(|group| (group.as_str(), Vec::new()))
            .collect();
        let mut strange = Vec::new();
        let mut names = Vec::new();
        for file in self.names_ending_with(".tls")? {
            match PackageName::parse(&file, known.iter().map(String::as_str)) {
                Ok(name) => names.push(name),
                Err(error) => strange.push(error),
            }
        }
        for name in &names {
            groups.entry(name.group()).or_default().push(name.clone());
        }
        let groups = groups.into_iter().map(|(group, mut names)| {
            newest_first(&mut names);
            let tli = known
                .iter()
                .any(|name| name == group)
                .then(|| self.tli(group));
            let packages = names.into_iter().map(|name| self.package(name)).collect();
            GroupFiles {
                group: group.to_owned(),
                tli,
                packages,
            }
        });
        Ok(Listing {
            groups: groups.collect(),
            strange,
        })
    }

    /// The packages of one group, highest version first; none for an unknown group.
    ///
    /// # Errors
    /// `Missing` and `Unreadable`.
    pub fn packages_of(&self, group: &str) -> Result<Vec<PackageFile>, DirectoryError> {
        let found = self
            .listing()?
            .groups
            .into_iter()
            .find(|files| files.group == group);
        Ok(found.map(|files| files.packages).unwrap_or_default())
    }

    /// Group and version of a package file by its name, with this directory's groups.
    ///
    /// # Errors
    /// When the name is no package's.
    pub fn name_of(&self, package: &Path) -> Result<PackageName, PackageNameError> {
        let known = self.tli_groups().unwrap_or_default();
        let file = package.file_name().unwrap_or_default().to_string_lossy();
        PackageName::parse(&file, known.iter().map(String::as_str))
    }

    /// Applies `TLS_Keep_Limit` to one group: deletes all but its newest `limit` packages.
    ///
    /// `spared` are paths that stay: the file just written, the one active. Returns what was
    /// deleted.
    ///
    /// # Errors
    /// When the directory cannot be listed; a file that cannot be deleted.
    pub fn keep_newest(
        &self,
        group: &str,
        limit: Option<u32>,
        spared: &[&Path],
    ) -> Result<Vec<PathBuf>, KeepError> {
        let packages = self.packages_of(group)?;
        let names: Vec<_> = packages.into_iter().map(|package| package.name).collect();
        let spared: Vec<&str> = spared
            .iter()
            .filter_map(|path| self.own_name(path))
            .collect();
        let surplus = keep_limit(&names, group, limit, &spared);
        let mut deleted = Vec::new();
        for name in surplus {
            let path = self.package(name).path;
            match fs::remove_file(&path) {
                Ok(()) => deleted.push(path),
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(KeepError::Delete { path, source }),
            }
        }
        Ok(deleted)
    }

    /// The name of a file that lies in this directory.
    fn own_name<'a>(&self, path: &'a Path) -> Option<&'a str> {
        let name = path.file_name()?.to_str()?;
        (path.parent() == Some(self.path())).then_some(name)
    }

    fn package(&self, name: PackageName) -> PackageFile {
        PackageFile {
            path: self.file(name.file_name()),
            name,
        }
    }
}

/// Why `TLS_Keep_Limit` could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The directory cannot be listed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A package stays although it should go.
    #[error("`{path}` cannot be deleted", path = .path.display())]
    Delete {
        /// The package.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}
