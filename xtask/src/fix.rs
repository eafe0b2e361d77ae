//! The one gate that writes: lets the tools mend what they can.
//!
//! Clippy before rustfmt, because what clippy rewrites wants formatting. What is left after it is
//! for a person; `verify` says what.

use crate::command::{cargo_tool, python_tool, run};
use crate::house::House;
use crate::tidy::protocol_hash;

/// Lets each tool mend, also after one that failed, and answers whether all ran to their end.
pub(crate) fn everything(house: &House) -> bool {
    let mends = [lints(house), format(house), python(house), hash(house)];
    let failures: Vec<_> = mends.into_iter().filter_map(Result::err).collect();
    for failure in &failures {
        eprintln!("error: {failure:#}");
    }
    failures.is_empty()
}

fn lints(house: &House) -> anyhow::Result<()> {
    let mut clippy = cargo_tool(house, "clippy", "rustup component add clippy")?;
    clippy.args(["--fix", "--allow-dirty", "--allow-staged", "--allow-no-vcs"]);
    run(clippy.args(["--workspace", "--all-targets"]))
}

fn format(house: &House) -> anyhow::Result<()> {
    let mut fmt = cargo_tool(house, "fmt", "rustup component add rustfmt")?;
    run(fmt.arg("--all"))
}

fn python(house: &House) -> anyhow::Result<()> {
    let Some(folder) = house.python() else {
        return Ok(());
    };
    let mut check = python_tool(house, "ruff", &folder)?;
    run(check.args(["check", "--no-cache", "--fix", "."]))?;
    let mut format = python_tool(house, "ruff", &folder)?;
    run(format.args(["format", "--no-cache", "."]))
}

fn hash(house: &House) -> anyhow::Result<()> {
    if let Some(path) = protocol_hash::refresh(house.root())? {
        eprintln!("refreshed the hash in {path}");
    }
    Ok(())
}
