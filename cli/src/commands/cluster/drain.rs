//! `cluster drain`: the actors of a member move elsewhere, or may come back.

use protocol::control::ClusterRequest;

use super::super::{Context, Outcome};
use super::asking::order;
use crate::online::user;

/// Move the Director actors away from a member and start none there, until `--off`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The member's name, or the beginning of its id
    node: String,
    /// Let actors come back
    #[arg(long)]
    off: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let request = ClusterRequest::Drain {
        node: args.node.clone(),
        on: !args.off,
        by: user(),
    };
    let done = if args.off { "In use again:" } else { "Drained" };
    order(context, request, done, &args.node)
}
