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

    /// A workspace planted by a test.
    #[cfg(test)]
    pub(crate) fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
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

    /// The members of the workspace and their targets.
    pub(crate) fn members(&self) -> anyhow::Result<Metadata> {
        self.metadata(["--no-deps".to_owned()])
    }

    /// The graph of dependencies as resolved for this machine: for another platform cargo would
    /// have to download what is never built here.
    pub(crate) fn graph(&self) -> anyhow::Result<Metadata> {
        self.metadata(["--filter-platform".to_owned(), host_triple()?])
    }

    fn metadata<const N: usize>(&self, options: [String; N]) -> anyhow::Result<Metadata> {
        let locked = std::iter::once("--locked".to_owned());
        MetadataCommand::new()
            .manifest_path(self.root.join("Cargo.toml"))
            .other_options(locked.chain(options).collect::<Vec<_>>())
            .exec()
            .context("`cargo metadata --locked` failed")
    }
}

/// What cargo calls this machine, such as `x86_64-unknown-linux-gnu`.
fn host_triple() -> anyhow::Result<String> {
    let version = cargo()
        .arg("-vV")
        .output()
        .context("cannot start `cargo -vV`")?;
    let text = String::from_utf8(version.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`cargo -vV` names no host")?.to_owned())
}

/// The cargo that started this gate.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
