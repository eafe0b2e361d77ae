//! Decision records: each has a number of its own and a line in the index.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::finding::Finding;

/// The folder of the records.
const FOLDER: &str = "docs/adr";

/// Records without a number, with the number of another, missing in the index or in the folder.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let folder = root.join(FOLDER);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let index = fs::read_to_string(folder.join("README.md")).unwrap_or_default();
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") && name != "README.md" {
            names.push(name);
        }
    }
    names.sort();
    let mut findings = faults_of_names(&names);
    for name in names
        .iter()
        .filter(|name| !listed(&index).any(|it| it == *name))
    {
        findings.push(of(
            name,
            "not listed in docs/adr/README.md: add a line with a link to it",
        ));
    }
    for name in listed(&index).filter(|name| !names.iter().any(|it| it == name)) {
        findings.push(of(
            "README.md",
            format!("links to `{name}`, which is not there"),
        ));
    }
    Ok(findings)
}

fn faults_of_names(names: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut by_number: BTreeMap<&str, &str> = BTreeMap::new();
    for name in names {
        let Some(number) = number(name) else {
            findings.push(of(name, "its name must be `NNNN-what-it-decides.md`"));
            continue;
        };
        if let Some(other) = by_number.insert(number, name) {
            findings.push(of(name, format!("has the number of `{other}`")));
        }
    }
    findings
}

fn of(name: &str, what: impl Into<String>) -> Finding {
    Finding::of(&format!("{FOLDER}/{name}"), what)
}

/// The four digits that a record's name begins with.
fn number(name: &str) -> Option<&str> {
    let (number, rest) = name.split_once('-')?;
    let is_number = number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !rest.starts_with('.')).then_some(number)
}

/// The files of this folder that the index links to.
fn listed(index: &str) -> impl Iterator<Item = &str> {
    let targets = index
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'));
    targets
        .map(|(target, _)| target)
        .filter(|it| it.ends_with(".md") && !it.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&str], index: &str, expected: &[&str]) {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(FOLDER);
        fs::create_dir_all(&folder).unwrap();
        for name in names {
            fs::write(folder.join(name), "# It\n").unwrap();
        }
        fs::write(folder.join("README.md"), index).unwrap();
        let findings = super::check(root.path()).unwrap();
        let found: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn numbered_and_listed_records_are_fine() {
        check(
            &["0001-one.md", "0002-two.md"],
            "- [One](0001-one.md)\n- [Two](0002-two.md), see [design](../design.md)\n",
            &[],
        );
    }

    #[test]
    fn a_record_missing_in_the_index_is_found() {
        check(
            &["0001-one.md"],
            "One is 0001-one.md\n",
            &["docs/adr/0001-one.md: not listed in docs/adr/README.md: \
                 add a line with a link to it"],
        );
    }

    #[test]
    fn a_link_to_no_record_is_found() {
        check(
            &[],
            "[One](0001-one.md)",
            &["docs/adr/README.md: links to `0001-one.md`, which is not there"],
        );
    }

    #[test]
    fn a_record_without_a_number_of_its_own_is_found() {
        check(
            &["0001-one.md", "0001-two.md", "three.md"],
            "[1](0001-one.md) [2](0001-two.md) [3](three.md)",
            &[
                "docs/adr/0001-two.md: has the number of `0001-one.md`",
                "docs/adr/three.md: its name must be `NNNN-what-it-decides.md`",
            ],
        );
    }
}
