//! `cluster voters`: how many voters the convention is to have.

use protocol::control::ClusterRequest;

use super::super::{Context, Outcome};
use super::asking::order;
use crate::online::user;

/// Set how many voters the convention is to have: 3, or 5 to bear the loss of two at once
///
/// Members become voters as they are willing and hold every package; there is never an even
/// number of them. `cluster status` shows who votes and how many are wanted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// 1, 3, 5 or 7
    wanted: u8,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let request = ClusterRequest::Voters {
        wanted: args.wanted,
        by: user(),
    };
    order(context, request, "Set", &format!("voters: {}", args.wanted))
}
