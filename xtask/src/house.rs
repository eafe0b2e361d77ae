//! The house: the root of the workspace and what `cargo metadata` says of it.
//!
//! Found at run time, not compiled in: one target folder may serve several clones.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use cargo_metadata::{Metadata, MetadataCommand};

/// The clone that the gate was started in.
#[derive(Debug)]
pub(crate) struct House {
    root: PathBuf,
}

impl House {
    /// The workspace around the current directory.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let located = cargo()
            .args(["locate-project", "--workspace", "--message-format", "plain"])
            .output()
            .context("cannot start `cargo locate-project`")?;
        ensure!(
            located.status.success(),
            "no workspace here: {}",
            String::from_utf8_lossy(&located.stderr).trim()
        );
        let manifest = PathBuf::from(String::from_utf8(located.stdout)?.trim());
        let root = manifest
            .parent()
            .context("the root manifest has no folder")?;
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// The folder of the root `Cargo.toml`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the Python part, when there is one.
    pub(crate) fn python(&self) -> Option<PathBuf> {
        let folder = self.root.join("python");
        folder.is_dir().then_some(folder)
    }

    /// Members, targets and the resolved graph of dependencies.
    pub(crate) fn metadata(&self) -> anyhow::Result<Metadata> {
        MetadataCommand::new()
            .manifest_path(self.root.join("Cargo.toml"))
            .other_options(["--locked".to_owned()])
            .exec()
            .context("`cargo metadata --locked` failed")
    }
}

/// The cargo that started this gate.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
