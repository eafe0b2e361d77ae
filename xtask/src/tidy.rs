//! The house style as a program: what a reviewer would otherwise have to say again and again.
//!
//! Each rule is a file with the tests that show it catch a planted violation.
//! Not here: what rustfmt, clippy, ruff and cargo-deny check.

mod adr;
mod attributes;
mod orphans;
mod promises;
pub(crate) mod protocol_hash;
mod readmes;
mod source;
mod text;
mod words;

use std::collections::BTreeSet;
use std::path::PathBuf;

use cargo_metadata::Metadata;

use crate::finding::Finding;
use crate::house::House;

/// Where the files of the workspace are not tidy.
pub(crate) fn check(house: &House) -> anyhow::Result<Vec<Finding>> {
    let metadata = house.members()?;
    let sources = source::all(house.root())?;
    let mut findings = Vec::new();
    for source in &sources {
        findings.extend(text::check(source));
        findings.extend(words::check(source));
        findings.extend(attributes::check(source));
    }
    findings.extend(orphans::check(&sources, &roots(house, &metadata)));
    findings.extend(readmes::check(house.root(), &crates(house, &metadata))?);
    findings.extend(adr::check(house.root())?);
    findings.extend(protocol_hash::check(house.root())?);
    findings.extend(promises::check(house.root(), &sources));
    findings.sort();
    Ok(findings)
}

/// The files that cargo compiles from: `src/lib.rs`, `tests/x.rs`, `build.rs` and so on.
fn roots(house: &House, metadata: &Metadata) -> BTreeSet<PathBuf> {
    let targets = metadata
        .workspace_packages()
        .into_iter()
        .flat_map(|it| it.targets.clone());
    targets
        .map(|target| relative(house, target.src_path.as_std_path()))
        .collect()
}

/// The folders of the crates.
fn crates(house: &House, metadata: &Metadata) -> Vec<PathBuf> {
    let manifests = metadata
        .workspace_packages()
        .into_iter()
        .map(|it| &it.manifest_path);
    let folders = manifests.filter_map(|manifest| manifest.parent());
    folders
        .map(|folder| relative(house, folder.as_std_path()))
        .collect()
}

fn relative(house: &House, path: &std::path::Path) -> PathBuf {
    path.strip_prefix(house.root()).unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_tidy() {
        let findings = check(&House::find().unwrap()).unwrap();
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "\n{}", lines.join("\n"));
    }

    #[test]
    fn the_check_sees_every_crate_and_its_files() {
        let house = House::find().unwrap();
        let metadata = house.members().unwrap();
        let roots = roots(&house, &metadata);
        assert!(
            roots.contains(&PathBuf::from("xtask/src/main.rs")),
            "{roots:?}"
        );
        assert!(crates(&house, &metadata).contains(&PathBuf::from("protocol")));
        let sources = source::all(house.root()).unwrap();
        assert!(
            sources
                .iter()
                .any(|source| source.path() == "xtask/src/tidy.rs")
        );
    }

    /// A workspace with the crate `protocol` that breaks each rule once.
    const UNTIDY: &[(&str, &str)] = &[
        ("Cargo.toml", "[workspace]\nmembers = [\"protocol\"]\n"),
        ("protocol/Cargo.toml", "[package]\nname = \"protocol\"\n"),
        ("protocol/src/lib.rs", "struct TlsFile;\n"),
        ("protocol/src/orphan.rs", "//! O.\n#[ignore]\nfn o() {}\n"),
        ("docs/protocol.md", "# P\n"),
        ("docs/adr/0001-one.md", "# One\n"),
        ("docs/promises.md", "| it holds | `no_such_test_here` |\n"),
    ];

    #[test]
    fn every_rule_is_part_of_the_check() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in UNTIDY {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let root = root.path().canonicalize().unwrap();
        let findings = check(&House::at(&root)).unwrap();
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        let begins = [
            "docs/adr/0001-one.md: not listed",
            "docs/promises.md:1: no test is called",
            "docs/protocol.md: does not say which state",
            "protocol/README.md: missing",
            "protocol/src/lib.rs: does not show the README",
            "protocol/src/lib.rs:1: `TlsFile`: for `tls`",
            "protocol/src/lib.rs:1: the first line",
            "protocol/src/orphan.rs: no `mod` line",
            "protocol/src/orphan.rs:2: `#[ignore]`",
        ];
        assert_eq!(lines.len(), begins.len(), "{lines:#?}");
        for (line, begin) in lines.iter().zip(begins) {
            assert!(line.starts_with(begin), "{line} should begin with {begin}");
        }
    }
}
