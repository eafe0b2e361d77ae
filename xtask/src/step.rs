//! The steps of the gate, in the order in which they run.
//!
//! Cheap ones first. None writes into the tree: every cargo call is `--locked`, and the Python
//! tools keep no caches.

use std::time::Duration;

use anyhow::bail;
use clap::ValueEnum;

use crate::command::{answers, answers_within, cargo_tool, python_tool, run};
use crate::house::{House, cargo};
use crate::{arrows, finding::Finding, tidy};

/// How long the database of advisories may take to arrive before it counts as out of reach.
const ADVISORIES_LIMIT: Duration = Duration::from_secs(90);

/// One check of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// rustfmt has nothing to change
    Fmt,
    /// Clippy has nothing to say, tests included
    Clippy,
    /// Crates depend downwards only, and the pure ones stay pure
    Arrows,
    /// The files keep the house style
    Tidy,
    /// Every document builds, every link in it leads somewhere
    Doc,
    /// Unit and integration tests
    Test,
    /// Examples in documents
    Doctest,
    /// Licences, bans, sources and advisories of the dependencies
    Deny,
    /// Style and format of the Python part
    Ruff,
    /// Tests of the Python part
    Pytest,
}

impl Step {
    /// The order of the gate.
    pub(crate) const ALL: [Self; 10] = [
        Self::Fmt,
        Self::Clippy,
        Self::Arrows,
        Self::Tidy,
        Self::Doc,
        Self::Test,
        Self::Doctest,
        Self::Deny,
        Self::Ruff,
        Self::Pytest,
    ];

    /// Whether `cargo test --workspace` has done it already.
    pub(crate) fn is_rust_test(self) -> bool {
        matches!(self, Self::Test | Self::Doctest)
    }

    /// The word for it on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::Arrows => "arrows",
            Self::Tidy => "tidy",
            Self::Doc => "doc",
            Self::Test => "test",
            Self::Doctest => "doctest",
            Self::Deny => "deny",
            Self::Ruff => "ruff",
            Self::Pytest => "pytest",
        }
    }

    /// Makes the check; an error says what does not hold.
    pub(crate) fn run(self, house: &House) -> anyhow::Result<()> {
        match self {
            Self::Fmt => fmt(house),
            Self::Clippy => clippy(house),
            Self::Arrows => report(&arrows::check(house)?),
            Self::Tidy => report(&tidy::check(house)?),
            Self::Doc => doc(house),
            Self::Test => test(house),
            Self::Doctest => doctest(house),
            Self::Deny => deny(house),
            Self::Ruff => ruff(house),
            Self::Pytest => pytest(house),
        }
    }
}

fn report(findings: &[Finding]) -> anyhow::Result<()> {
    for finding in findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => bail!("1 finding"),
        count => bail!("{count} findings"),
    }
}

fn fmt(house: &House) -> anyhow::Result<()> {
    let mut fmt = cargo_tool(house, "fmt", "rustup component add rustfmt")?;
    run(fmt.args(["--all", "--check"]))
}

fn clippy(house: &House) -> anyhow::Result<()> {
    let mut clippy = cargo_tool(house, "clippy", "rustup component add clippy")?;
    run(clippy.args([
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

fn doc(house: &House) -> anyhow::Result<()> {
    run(cargo()
        .current_dir(house.root())
        .env("RUSTDOCFLAGS", "-D warnings")
        .args(["doc", "--locked", "--workspace", "--no-deps"]))
}

/// By nextest, which kills what hangs; by cargo itself where nextest is not installed.
fn test(house: &House) -> anyhow::Result<()> {
    if answers(cargo().args(["nextest", "--version"])) {
        return run(cargo().current_dir(house.root()).args([
            "nextest",
            "run",
            "--locked",
            "--workspace",
        ]));
    }
    eprintln!("no `cargo nextest` here: by `cargo test`, without its time limits");
    run(cargo().current_dir(house.root()).args([
        "test",
        "--locked",
        "--workspace",
        "--lib",
        "--bins",
        "--tests",
    ]))
}

fn doctest(house: &House) -> anyhow::Result<()> {
    run(cargo()
        .current_dir(house.root())
        .args(["test", "--locked", "--workspace", "--doc"]))
}

fn deny(house: &House) -> anyhow::Result<()> {
    let tool = || cargo_tool(house, "deny", "cargo install cargo-deny --locked");
    run(tool()?.args(["--locked", "check", "bans", "licenses", "sources"]))?;
    if !answers_within(tool()?.args(["fetch", "db"]), ADVISORIES_LIMIT)? {
        eprintln!("advisories: left out, their database cannot be reached from here");
        return Ok(());
    }
    run(tool()?.args(["--locked", "check", "--disable-fetch", "advisories"]))
}

fn ruff(house: &House) -> anyhow::Result<()> {
    let Some(python) = house.python() else {
        return no_python();
    };
    run(python_tool(house, "ruff", &python)?.args(["check", "--no-cache", "."]))?;
    run(python_tool(house, "ruff", &python)?.args(["format", "--check", "--no-cache", "."]))
}

fn pytest(house: &House) -> anyhow::Result<()> {
    let Some(python) = house.python() else {
        return no_python();
    };
    run(python_tool(house, "pytest", &python)?.args(["-q", "-p", "no:cacheprovider"]))
}

fn no_python() -> anyhow::Result<()> {
    eprintln!("no folder `python`: nothing to check");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_fails_its_step() {
        assert!(report(&[]).is_ok());
        let finding = Finding::of("a.rs", "broken");
        assert_eq!(report(&[finding]).unwrap_err().to_string(), "1 finding");
    }
}
