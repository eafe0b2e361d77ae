//! The one gate that writes: lets the tools mend what they can.
//!
//! Clippy before rustfmt, because what clippy rewrites wants formatting. What is left after it is
//! for a person; `verify` says what.

use crate::command::{cargo_tool, python_tool, run};
use crate::house::House;
use crate::tidy::protocol_hash;

/// Mends and answers true; an error names the tool that could not run to its end.
pub(crate) fn everything(house: &House) -> anyhow::Result<bool> {
    rust(house)?;
    python(house)?;
    if let Some(path) = protocol_hash::refresh(house.root())? {
        eprintln!("refreshed the hash in {path}");
    }
    Ok(true)
}

fn rust(house: &House) -> anyhow::Result<()> {
    let mut clippy = cargo_tool(house, "clippy", "rustup component add clippy")?;
    clippy.args(["--fix", "--allow-dirty", "--allow-staged"]);
    run(clippy.args(["--workspace", "--all-targets"]))?;
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
