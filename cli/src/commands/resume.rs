//! `resume`: a role that was stopped, or has failed, gets its actor again.

use protocol::control::RoleAction;

use super::{Context, Outcome, operate};

/// Start the actor of a role again after `stop` or a failure
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    role: operate::Args,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    operate::run(&args.role, context, RoleAction::Resume, "Resumed")
}
