//! `cluster remove`: a member goes for good.

use protocol::control::ClusterRequest;

use super::super::{Context, Outcome};
use super::asking::order;
use crate::online::user;

/// Remove a member for good: its certificate is worth nothing from then on
///
/// Its Director actors are placed elsewhere. The same host may join again as a new member.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The member's name, or the beginning of its id
    node: String,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let request = ClusterRequest::Remove {
        node: args.node.clone(),
        by: user(),
    };
    order(context, request, "Removed", &args.node)
}
