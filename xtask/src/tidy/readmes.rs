//! Each crate opens with a README, and a library shows it as its documentation.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::finding::Finding;

/// The line that makes the README the head of the documentation, and so a thing that is tested.
const INCLUDES: &str = "#![doc = include_str!(\"../README.md\")]";

/// Crates, given by their folders under the root, that lack one or do not show it.
pub(crate) fn check(root: &Path, crates: &[PathBuf]) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for folder in crates {
        let readme = folder.join("README.md");
        if fs::read_to_string(root.join(&readme))
            .unwrap_or_default()
            .trim()
            .is_empty()
        {
            let what =
                "missing or empty: what the crate is, what it is not, the first file to open";
            findings.push(Finding::of(&readme.to_string_lossy(), what));
        }
        let library = folder.join("src/lib.rs");
        let path = root.join(&library);
        if path.exists() {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {path:?}"))?;
            if !text.lines().any(|line| line == INCLUDES) {
                let what = format!("does not show the README: add `{INCLUDES}`");
                findings.push(Finding::of(&library.to_string_lossy(), what));
            }
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/src")).unwrap();
        for (path, text) in files {
            fs::write(root.path().join(path), text).unwrap();
        }
        let findings = super::check(root.path(), &["a".into()]).unwrap();
        let found: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_crate_with_a_readme_that_it_shows_is_fine() {
        let shows = format!("{INCLUDES}\n");
        check(
            &[("a/README.md", "# a\n"), ("a/src/lib.rs", shows.as_str())],
            &[],
        );
        check(
            &[("a/README.md", "# a\n"), ("a/src/main.rs", "fn main() {}")],
            &[],
        );
    }

    #[test]
    fn a_crate_without_a_readme_is_found() {
        let missing = "a/README.md: missing or empty: \
                       what the crate is, what it is not, the first file to open";
        check(&[], &[missing]);
        check(&[("a/README.md", "\n")], &[missing]);
    }

    #[test]
    fn a_library_that_does_not_show_its_readme_is_found() {
        check(
            &[("a/README.md", "# a\n"), ("a/src/lib.rs", "//! A.\n")],
            &["a/src/lib.rs: does not show the README: \
               add `#![doc = include_str!(\"../README.md\")]`"],
        );
    }
}
