//! `cluster demote`: a member is a voter no longer.

use protocol::control::ClusterRequest;

use super::super::{Context, Outcome};
use super::asking::order;
use crate::online::user;

/// Let a member be a voter no longer; another one that is willing takes its part
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The member's name, or the beginning of its id
    node: String,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let request = ClusterRequest::Demote {
        node: args.node.clone(),
        by: user(),
    };
    order(context, request, "Demoted", &args.node)
}
