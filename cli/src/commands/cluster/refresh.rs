//! `cluster refresh`: the newest packages of all live members' directories, with every eligible
//! member ready before each switch.

use protocol::control::Reach;

use super::super::{Context, Outcome};
use crate::online::{refresh, start};

/// Load the newest package of every group in any live member's directory, where it is higher
///
/// The Director directories of all members that are up are looked at; a package counts with the
/// `.tli` that lies beside it, which is evaluated here, with the environment of this command.
/// This node's own keys have to validate it, as the leader's, before anything is loaded, and every
/// eligible member pulls and verifies it before its group is switched.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Go on without members that fail, or do not tell what their directory has
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
