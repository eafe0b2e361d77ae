//! Releases of the program, installed on the hosts of a scenario as a package manager does it.
//!
//! The one before is named by `DIRECTOR_BIN_BEFORE`; without it, it is this build as another file,
//! so that what is shown is the replacement under a running node, not the mixture of versions.

use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::name::Node;
use crate::program::director;
use crate::scene::Scene;

/// A release of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The one before.
    Before,
    /// This build.
    Now,
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "the release before",
            Self::Now => "this release",
        })
    }
}

impl Scene {
    /// Installs a release on every host.
    pub fn install_everywhere(&self, release: Release) {
        self.nodes().for_each(|node| self.install(node, release));
    }

    pub(crate) fn install(&self, node: Node, release: Release) {
        let program = match release {
            Release::Before => self.release_before(),
            Release::Now => director().to_owned(),
        };
        let folder = self.path("hosts").join(node.to_string());
        fs::create_dir_all(&folder).unwrap();
        let (fresh, place) = (folder.join("director.new"), folder.join("director"));
        link(&program, &fresh);
        // Two names of one file would both stay.
        let _first_time = fs::remove_file(&place);
        fs::rename(fresh, &place).unwrap();
        self.cast().processes[node.0].run_by(place);
    }

    fn release_before(&self) -> PathBuf {
        if let Some(given) = std::env::var_os("DIRECTOR_BIN_BEFORE") {
            return given.into();
        }
        let copy = self.path("director-before");
        if !copy.exists() {
            fs::copy(director(), &copy).unwrap();
            // What lies behind the last section of a program is nothing to it.
            let mut file = File::options().append(true).open(&copy).unwrap();
            file.write_all(b"the release before").unwrap();
        }
        copy
    }
}

/// The same file under another name where the file system has that, else a copy.
fn link(program: &Path, place: &Path) {
    if fs::hard_link(program, place).is_err() {
        fs::copy(program, place).unwrap();
    }
}
