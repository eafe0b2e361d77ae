//! `load`: a package becomes the active version of its group, on the whole convention.

use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::Value;

use super::{Context, Outcome};
use crate::Exit;
use crate::online::{LoadOrder, Loaded, start};
use crate::printer::Report;

/// Load a package and switch its group to it; starts the node if it does not run
///
/// Answers when the new version is active. Where it is refused, or cannot be brought up, the
/// version that was active goes on.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A group (its newest package), GROUP.tli, a path, or a file of the Director directory
    #[arg(value_name = "GROUP|FILE")]
    what: PathBuf,
    /// Answer when the load is committed, before the version is active
    #[arg(long)]
    no_wait: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let order = LoadOrder::find(context, &args.what)?;
    let order = LoadOrder {
        no_wait: args.no_wait,
        ..order
    };
    let mut online = start(context, Exit::Unavailable)?.online;
    context
        .printer
        .detail(format_args!("loading {}", order.path.display()));
    let loaded = order.carry_out(context, &mut online)?;
    loaded.tell_notes(context);
    context.printer.report(&loaded);
    Ok(Exit::Done)
}

impl Report for Loaded {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.line())
    }

    fn json(&self) -> Value {
        self.to_json()
    }
}
