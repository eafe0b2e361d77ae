//! `cluster leave`: this node leaves the convention for good.

use protocol::control::ClusterRequest;

use super::super::{Context, Outcome};
use super::asking::order;
use crate::online::user;

/// Let this node leave the convention for good
///
/// Its Director actors are placed elsewhere. It may join again as a new member; a shutdown alone
/// is no leaving.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args, context: &Context) -> Outcome {
    order(
        context,
        ClusterRequest::Leave { by: user() },
        "Left",
        "the convention",
    )
}
