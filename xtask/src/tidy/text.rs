//! Rules on the plain text of a file: its first line, its width, its length.

use super::source::Source;
use crate::finding::Finding;

/// Characters in a line; a link may be longer, since it cannot be broken.
const COLUMNS_MAX: usize = 100;

/// Lines in a file: past this, a second noun is hiding in it.
const LINES_MAX: usize = 600;

/// Marks of work put off, spelt in halves so that this file does not carry them.
const PUT_OFF: [&str; 2] = [concat!("TO", "DO"), concat!("XX", "X")];

/// Everything that can be said without understanding the code.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(first_line(source));
    findings.extend(length(source));
    for (index, line) in source.text().lines().enumerate() {
        let say = |what| Finding::at(source.path(), index + 1, what);
        findings.extend(faults(line).into_iter().map(say));
    }
    if let Some((line, reason)) = source.broken() {
        findings.push(Finding::at(
            source.path(),
            line,
            format!("not Rust: {reason}"),
        ));
    }
    findings
}

fn first_line(source: &Source) -> Option<Finding> {
    let line = source.text().lines().next().unwrap_or_default();
    let says_what_it_is = line
        .strip_prefix("//! ")
        .is_some_and(|rest| !rest.trim().is_empty());
    let is_readme = line.starts_with("#![doc = include_str!(");
    let what = "the first line must say what the file is: `//! …`";
    (!says_what_it_is && !is_readme).then(|| Finding::at(source.path(), 1, what))
}

fn length(source: &Source) -> Option<Finding> {
    let count = source.text().lines().count();
    let what = format!("{count} lines, {LINES_MAX} at most: split it by its second noun");
    (count > LINES_MAX).then(|| Finding::of(source.path(), what))
}

fn faults(line: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let columns = line.chars().count();
    if columns > COLUMNS_MAX && !line.contains("://") {
        faults.push(format!("{columns} columns, {COLUMNS_MAX} at most"));
    }
    if line.contains('\t') {
        faults.push("a tab: write `\\t` in a literal, spaces elsewhere".to_owned());
    }
    if line.trim_end() != line {
        faults.push("white space at the end of the line".to_owned());
    }
    if let Some(mark) = PUT_OFF.iter().find(|mark| line.contains(**mark)) {
        faults.push(format!(
            "`{mark}`: do it, or write it where work is planned"
        ));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let findings = super::check(&Source::new("a.rs", text));
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_file_that_says_what_it_is_is_fine() {
        check("//! Lease of one member.\n", &[]);
        check("#![doc = include_str!(\"../README.md\")]\n\nmod a;\n", &[]);
    }

    #[test]
    fn a_file_that_does_not_say_what_it_is_is_found() {
        let what = "a.rs:1: the first line must say what the file is: `//! …`";
        for text in [
            "",
            "use std::fs;\n",
            "//!\n//! Late.\n",
            "// Not a document.\n",
        ] {
            check(text, &[what]);
        }
    }

    #[test]
    fn a_line_of_101_columns_is_found_and_one_of_100_is_not() {
        let of = |columns: usize| format!("//! A.\n// {}\n", "ä".repeat(columns - 3));
        check(&of(100), &[]);
        check(&of(101), &["a.rs:2: 101 columns, 100 at most"]);
    }

    #[test]
    fn a_link_may_be_long() {
        check(&format!("//! See https://{}\n", "a".repeat(120)), &[]);
    }

    #[test]
    fn tabs_and_trailing_white_space_are_found() {
        check(
            "//! A.\n\tfn\n// end \n",
            &[
                "a.rs:2: a tab: write `\\t` in a literal, spaces elsewhere",
                "a.rs:3: white space at the end of the line",
            ],
        );
    }

    #[test]
    fn a_file_of_601_lines_is_found_and_one_of_600_is_not() {
        let of = |lines: usize| format!("//! A.\n{}", "//\n".repeat(lines - 1));
        check(&of(600), &[]);
        check(
            &of(601),
            &["a.rs: 601 lines, 600 at most: split it by its second noun"],
        );
    }

    #[test]
    fn work_put_off_is_found() {
        let text = format!("//! A.\n// {}: later\n", PUT_OFF[0]);
        let findings = super::check(&Source::new("a.rs", &text));
        assert_eq!(findings.len(), 1, "{findings:?}");
    }

    #[test]
    fn a_file_that_is_not_rust_is_found() {
        check(
            "//! A.\nfn a( {}\n",
            &["a.rs:2: not Rust: cannot parse string into token stream"],
        );
    }
}
