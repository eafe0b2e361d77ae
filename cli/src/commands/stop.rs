//! `stop`: the actor of a role ends and stays away.

use protocol::control::RoleAction;

use super::{Context, Outcome, operate};

/// End the actor of a role and start none until `resume`, or until a new version is loaded
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    role: operate::Args,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    operate::run(&args.role, context, RoleAction::Stop, "Stopped")
}
