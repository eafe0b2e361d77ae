//! `dump`: where the process of a role's actor stands.

use protocol::control::RoleAction;

use super::{Context, Outcome, operate};

/// Show where the actor of a role stands: the stacks of its threads
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    role: operate::Args,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    operate::run(&args.role, context, RoleAction::Dump, "Dumped")
}
