//! `completions SHELL`: the script that lets a shell complete commands and options.

use clap_complete::{Shell, generate};

use super::{Context, Outcome, line};
use crate::Exit;

/// Print the completion script for a shell
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let mut script = Vec::new();
    generate(args.shell, &mut line(), "director", &mut script);
    context.printer.raw(&script);
    Ok(Exit::Done)
}
