//! `cluster refresh`: `refresh`, with every eligible member ready before each switch.

use protocol::control::Reach;

use super::super::{Context, Outcome};
use crate::online::{refresh, start};

/// Load the newest package of every group on all eligible members, where it is higher
///
/// Every eligible member pulls and verifies a package before its group is switched.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Go on without members that fail
    #[arg(long)]
    partial: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let reach = match args.partial {
        true => Reach::Partial,
        false => Reach::Everywhere,
    };
    let mut online = start(context, crate::Exit::Unavailable)?.online;
    let refreshed = refresh(context, &mut online, reach)?;
    context.printer.report(&refreshed);
    Ok(refreshed.exit())
}
