//! `docs/promises.md`: a promise is held by a test that exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::source::Source;
use crate::finding::Finding;

const PAGE: &str = "docs/promises.md";

/// Rows of the page whose tests are not there, or that name none.
pub(crate) fn check(root: &Path, sources: &[Source]) -> Vec<Finding> {
    let page = fs::read_to_string(root.join(PAGE)).unwrap_or_default();
    let known: BTreeSet<_> = sources.iter().flat_map(functions).collect();
    let mut findings = Vec::new();
    for (line, row) in (1..).zip(page.lines()) {
        let Some(tests) = tests_of(row) else { continue };
        if tests.is_empty() {
            findings.push(at(line, "this promise names no test that holds it"));
        }
        for test in tests.iter().filter(|test| !known.contains(*test)) {
            findings.push(at(line, format!("no test is called `{test}`")));
        }
    }
    findings
}

fn at(line: usize, what: impl Into<String>) -> Finding {
    Finding::of(&format!("{PAGE}:{line}"), what)
}

/// The names in the last column of a row; of a head, a rule or another line `None`.
fn tests_of(row: &str) -> Option<Vec<&str>> {
    let row = row.strip_prefix("| ")?.strip_suffix(" |")?;
    let (promise, tests) = row.rsplit_once(" | ")?;
    (promise != "promise").then(|| tests.split('`').skip(1).step_by(2).collect())
}

/// Names of the functions in a file that are long enough to be sentences.
fn functions(source: &Source) -> impl Iterator<Item = &str> {
    let begins = source.text().split("fn ").skip(1);
    let names = begins.filter_map(|rest| rest.split('(').next());
    names.filter(|name| name.matches('_').count() >= 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(page: &str, expected: &[&str]) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("docs")).unwrap();
        fs::write(root.path().join(PAGE), page).unwrap();
        let source = Source::new("a.rs", "fn it_does_hold_well() {}\n");
        let findings = super::check(root.path(), &[source]);
        let found: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_promise_with_a_test_is_held() {
        check(
            "# P\n\n| promise | test |\n|---|---|\n| it holds | `it_does_hold_well` |\n",
            &[],
        );
    }

    #[test]
    fn a_promise_without_a_test_or_with_one_that_is_gone_is_found() {
        check(
            "| it holds |\n| it holds | none |\n| so | `it_does_hold_well`, `it_did_hold_once` |\n",
            &[
                "docs/promises.md:2: this promise names no test that holds it",
                "docs/promises.md:3: no test is called `it_did_hold_once`",
            ],
        );
    }
}
