//! `cluster voters`: how many members are to vote.

use protocol::control::ClusterRequest;

use super::super::{Context, Outcome};
use super::asking::order;
use crate::online::user;

/// Set how many members vote once so many are willing: 3 or 5
///
/// `convvoters.cfg` says it when a convention is founded; afterwards this does.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// 3, or 5 for a convention that is to survive two lost voters
    wanted: u8,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let request = ClusterRequest::Voters {
        wanted: args.wanted,
        by: user(),
    };
    order(context, request, "Set", &format!("voters: {}", args.wanted))
}
