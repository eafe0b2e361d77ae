//! `cluster promote`: a member may be a voter.

use protocol::control::ClusterRequest;

use super::super::{Context, Outcome};
use super::asking::order;
use crate::online::user;

/// Let a member be a voter, when one is wanted
///
/// It becomes one when it has caught up and holds every package.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The member's name, or the beginning of its id
    node: String,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let request = ClusterRequest::Promote {
        node: args.node.clone(),
        by: user(),
    };
    order(context, request, "Promoted", &args.node)
}
