//! A Rust file of the workspace: its text, and its tokens without comments and strings.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use proc_macro2::{LexError, TokenStream};

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 3] = ["target", "node_modules", "__pycache__"];

/// One `.rs` file, read once for all rules.
#[derive(Debug)]
pub(crate) struct Source {
    path: String,
    text: String,
    tokens: Result<TokenStream, LexError>,
}

impl Source {
    /// From a path relative to the root, with `/` between its parts, and what the file holds.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            tokens: text.parse(),
        }
    }

    /// Relative to the root of the workspace.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// All of it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Its tokens; none when it is no Rust, which is a finding of `text`.
    pub(crate) fn tokens(&self) -> TokenStream {
        self.tokens.as_ref().map(Clone::clone).unwrap_or_default()
    }

    /// Why and in which line it cannot be cut into tokens.
    pub(crate) fn broken(&self) -> Option<(usize, String)> {
        let error = self.tokens.as_ref().err()?;
        Some((error.span().start().line, error.to_string()))
    }
}

/// Every `.rs` file under the root, in the order of their paths.
pub(crate) fn all(root: &Path) -> anyhow::Result<Vec<Source>> {
    let paths = below(root, "rs")?;
    paths.iter().map(|path| read(root, path)).collect()
}

/// The files below a folder whose names end in `.extension`, sorted, hidden folders left out.
pub(crate) fn below(folder: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {folder:?}"))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if !name.starts_with('.') && !SKIPPED.contains(&name.as_ref()) {
                found.extend(below(&path, extension)?);
            }
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read(root: &Path, path: &Path) -> anyhow::Result<Source> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path:?}"))?;
    let relative = path.strip_prefix(root).unwrap_or(path);
    Ok(Source::new(
        &relative.to_string_lossy().replace('\\', "/"),
        &text,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_are_found_and_what_is_built_or_hidden_is_not() {
        let folder = tempfile::tempdir().unwrap();
        for path in [
            "a/src/lib.rs",
            "a/src/b/c.rs",
            "target/x.rs",
            ".git/y.rs",
            "a/README.md",
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let sources = all(folder.path()).unwrap();
        let paths: Vec<_> = sources.iter().map(Source::path).collect();
        assert_eq!(paths, ["a/src/b/c.rs", "a/src/lib.rs"]);
    }
}
