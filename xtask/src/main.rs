//! The gates of the workspace: `cargo xtask verify`, `fix`, `arrows` and `tidy`.
//!
//! One binary, so that the gate is the same on every desk and in CI, and each rule is a program
//! with tests rather than a habit. Only `fix` writes into the tree.
//! Not here: what the other tools check (lints in the root `Cargo.toml`, `deny.toml`).
#![expect(clippy::print_stderr, reason = "the report of a gate is its output")]

mod arrows;
mod command;
mod finding;
mod fix;
mod house;
mod step;
mod tidy;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::house::House;
use crate::step::Step;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The gates of the workspace")]
struct Arguments {
    #[command(subcommand)]
    gate: Gate,
}

#[derive(Subcommand)]
enum Gate {
    /// Run every check in order; writes nothing into the tree
    Verify {
        /// Leave out the Rust tests, for a run after `cargo test --workspace`
        #[arg(long)]
        no_tests: bool,
        /// Run this step alone; may be given several times
        #[arg(long, value_name = "STEP")]
        only: Vec<Step>,
    },
    /// Mend what can be mended by a program: formats, lints, the hash in docs/protocol.md
    Fix,
    /// Check who may depend on whom
    Arrows,
    /// Check the house style of the files
    Tidy,
}

fn main() -> ExitCode {
    match run(&Arguments::parse().gate) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Answers whether the gate holds.
fn run(gate: &Gate) -> anyhow::Result<bool> {
    let house = House::find()?;
    match gate {
        Gate::Verify { no_tests, only } => {
            Ok(verify::run(&house, &verify::wanted(only, *no_tests)))
        }
        Gate::Fix => Ok(fix::everything(&house)),
        Gate::Arrows => Ok(verify::run(&house, &[Step::Arrows])),
        Gate::Tidy => Ok(verify::run(&house, &[Step::Tidy])),
    }
}
