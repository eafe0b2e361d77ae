//! Where the Director directory is, and the paths of the user's files in it.
//!
//! Two directories mean two nodes, also on one machine.
//! Not here: what the files say (`settings`, `keys`, `packages`), our own part of it (`state`).

use std::path::{Path, PathBuf};
use std::{fs, io};

/// The Director directory of a node; nothing is read until it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The variable that names the directory.
    pub const VARIABLE: &'static str = "THESPIAN_DIRECTOR_DIR";

    /// The directory when the variable is unset or empty.
    pub const DEFAULT: &'static str = if cfg!(windows) {
        r"C:\thespian\director"
    } else {
        "/opt/thespian/director"
    };

    /// The directory that `THESPIAN_DIRECTOR_DIR` names, else the default one.
    #[must_use]
    pub fn from_env() -> Self {
        let named = std::env::var_os(Self::VARIABLE).filter(|value| !value.is_empty());
        Self::at(named.map_or_else(|| PathBuf::from(Self::DEFAULT), PathBuf::from))
    }

    /// The directory at `path`; a relative one counts from the current directory of now.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let path = std::path::absolute(&path).unwrap_or(path);
        Self {
            path: path.components().collect(),
        }
    }

    /// Its absolute path, without a trailing slash.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a program made it for a node that it starts on demand: it has no keys then, and
    /// what runs there is for the program's own source authority to decide.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.file("private").is_file()
    }

    /// A file in it; an absolute `name` stays itself.
    pub fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// The `.tli` file of a group, whether it exists or not.
    #[must_use]
    pub fn tli(&self, group: &str) -> PathBuf {
        self.path.join(format!("{group}.tli"))
    }

    /// Names of the plain entries of the directory that end so, sorted; the ending is kept.
    ///
    /// # Errors
    /// `Missing` and `Unreadable`.
    pub fn names_ending_with(&self, ending: &str) -> Result<Vec<String>, DirectoryError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(|cause| self.fault(cause))? {
            let entry = entry.map_err(|cause| self.fault(cause))?;
            if let Ok(name) = entry.file_name().into_string()
                && name.ends_with(ending)
                && name.len() > ending.len()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Checks that the directory is there and can be listed.
    ///
    /// # Errors
    /// `Missing` and `Unreadable`.
    pub fn check(&self) -> Result<(), DirectoryError> {
        fs::read_dir(&self.path)
            .map(drop)
            .map_err(|cause| self.fault(cause))
    }

    pub(super) fn fault(&self, cause: io::Error) -> DirectoryError {
        let path = self.path.clone();
        match cause.kind() {
            io::ErrorKind::NotFound => DirectoryError::Missing { path },
            io::ErrorKind::NotADirectory => DirectoryError::NotADirectory { path },
            _ => DirectoryError::Unreadable {
                path,
                source: cause,
            },
        }
    }
}

/// Why the Director directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// There is none at the path.
    #[error("the Director directory `{path}` does not exist", path = .path.display())]
    Missing {
        /// Its path.
        path: PathBuf,
    },
    /// Something else is at the path.
    #[error("`{path}` is not a directory", path = .path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// It cannot be listed.
    #[error("the Director directory `{path}` cannot be read", path = .path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl DirectoryError {
    /// The next step to take.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { path } => format!(
                "make it with `mkdir -p {}`, or set {} to the directory that you use",
                path.display(),
                Directory::VARIABLE
            ),
            Self::NotADirectory { .. } => format!("set {} to a directory", Directory::VARIABLE),
            Self::Unreadable { path, .. } => format!(
                "run as the user that owns it, or change its mode: `ls -ld {}`",
                path.display()
            ),
        }
    }
}
