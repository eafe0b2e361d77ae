//! `restart`: the actor of a role ends and a new one starts.

use protocol::control::RoleAction;

use super::{Context, Outcome, operate};

/// End the actor of a role and start a new one
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    role: operate::Args,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    operate::run(&args.role, context, RoleAction::Restart, "Restarted")
}
