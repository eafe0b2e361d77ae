//! Keeps `docs/protocol.md` in step with `protocol/src`, by a hash at its end.
//!
//! Whoever changes what leaves a process is made to look at its description. The hash is over the
//! names and bytes of the sources, so a moved file counts as well.

use std::fs;
use std::path::Path;

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::source::below;
use crate::finding::Finding;

const DOCUMENT: &str = "docs/protocol.md";
const SOURCES: &str = "protocol/src";
const OPENS: &str = "<!-- protocol-sources: ";
const CLOSES: &str = " -->";

/// A finding when the document holds another hash, or none; nothing without a document.
pub(crate) fn check(root: &Path) -> anyhow::Result<Option<Finding>> {
    let Some(text) = document(root)? else {
        return Ok(None);
    };
    let hash = hash_of_sources(root)?;
    let what = match recorded(&text) {
        Some(recorded) if recorded == hash => return Ok(None),
        Some(_) => "describes other sources than protocol/src holds now",
        None => "does not say which state of protocol/src it describes",
    };
    let cure = "bring it up to date, then run `cargo xtask fix`";
    Ok(Some(Finding::of(DOCUMENT, format!("{what}: {cure}"))))
}

/// Writes the hash into the document and answers its path, when it held another one or none.
pub(crate) fn refresh(root: &Path) -> anyhow::Result<Option<&'static str>> {
    let Some(text) = document(root)? else {
        return Ok(None);
    };
    let hash = hash_of_sources(root)?;
    if recorded(&text) == Some(&hash) {
        return Ok(None);
    }
    let mut lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with(OPENS))
        .collect();
    while lines.last().is_some_and(|line| line.trim().is_empty()) {
        lines.pop();
    }
    let body = lines.join("\n");
    fs::write(
        root.join(DOCUMENT),
        format!("{body}\n\n{OPENS}{hash}{CLOSES}\n"),
    )?;
    Ok(Some(DOCUMENT))
}

fn document(root: &Path) -> anyhow::Result<Option<String>> {
    let path = root.join(DOCUMENT);
    if !path.exists() {
        return Ok(None);
    }
    Ok(Some(
        fs::read_to_string(&path).with_context(|| format!("cannot read {path:?}"))?,
    ))
}

fn recorded(text: &str) -> Option<&str> {
    let line = text.lines().rev().find(|line| line.starts_with(OPENS))?;
    line.strip_prefix(OPENS)?.strip_suffix(CLOSES)
}

fn hash_of_sources(root: &Path) -> anyhow::Result<String> {
    let mut hasher = Sha256::new();
    for path in below(&root.join(SOURCES), "rs")? {
        let name = path
            .strip_prefix(root)?
            .to_string_lossy()
            .replace('\\', "/");
        let bytes = fs::read(&path).with_context(|| format!("cannot read {path:?}"))?;
        hasher.update(format!("{name}\n{}\n", bytes.len()));
        hasher.update(&bytes);
    }
    Ok(hex::encode(hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn house() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join(SOURCES)).unwrap();
        fs::create_dir_all(root.path().join("docs")).unwrap();
        fs::write(root.path().join("protocol/src/lib.rs"), "//! A.\n").unwrap();
        root
    }

    fn document_of(root: &Path, text: &str) {
        fs::write(root.join(DOCUMENT), text).unwrap();
    }

    fn found(root: &Path) -> Option<String> {
        check(root).unwrap().map(|finding| finding.to_string())
    }

    #[test]
    fn without_a_document_there_is_nothing_to_keep_in_step() {
        let root = house();
        assert_eq!(found(root.path()), None);
        assert_eq!(refresh(root.path()).unwrap(), None);
    }

    #[test]
    fn a_document_without_a_hash_is_found_and_mended() {
        let root = house();
        document_of(root.path(), "# Protocol\n\nFrames.\n\n");
        assert_eq!(
            found(root.path()).unwrap(),
            "docs/protocol.md: does not say which state of protocol/src it describes: \
             bring it up to date, then run `cargo xtask fix`"
        );
        assert_eq!(refresh(root.path()).unwrap(), Some(DOCUMENT));
        assert_eq!(found(root.path()), None);
        let text = fs::read_to_string(root.path().join(DOCUMENT)).unwrap();
        assert!(
            text.starts_with("# Protocol\n\nFrames.\n\n<!-- protocol-sources: "),
            "{text}"
        );
    }

    #[test]
    fn a_changed_or_moved_source_is_found_until_the_hash_is_refreshed() {
        let root = house();
        document_of(root.path(), "# Protocol\n");
        refresh(root.path()).unwrap();
        let what = "describes other sources than protocol/src holds now";
        let sources = root.path().join(SOURCES);
        fs::write(sources.join("lib.rs"), "//! B.\n").unwrap();
        assert!(found(root.path()).unwrap().contains(what));
        refresh(root.path()).unwrap();
        assert_eq!(found(root.path()), None);
        fs::rename(sources.join("lib.rs"), sources.join("moved.rs")).unwrap();
        assert!(found(root.path()).unwrap().contains(what));
    }

    #[test]
    fn refreshing_twice_writes_once() {
        let root = house();
        document_of(root.path(), "# Protocol\n");
        assert_eq!(refresh(root.path()).unwrap(), Some(DOCUMENT));
        assert_eq!(refresh(root.path()).unwrap(), None);
    }
}
