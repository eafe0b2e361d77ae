//! `refresh`: the newest package of every group that it moves upwards.

use protocol::control::Reach;

use super::{Context, Outcome};
use crate::Exit;
use crate::online::{refresh, start};

/// Load the newest package of every group, where it is higher than the active version
///
/// Goes on after a group that fails; ends with the exit code of the first one. A version that a
/// rollback left is skipped until `load` names it. Starts the node if it does not run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args, context: &Context) -> Outcome {
    let mut online = start(context, Exit::Unavailable)?.online;
    let refreshed = refresh(context, &mut online, Reach::OnDemand)?;
    context.printer.report(&refreshed);
    Ok(refreshed.exit())
}
