//! `cluster restore`: everything that a backup holds, loaded into this convention.

use std::path::PathBuf;

use protocol::control::ClusterRequest;

use super::super::{Context, Outcome};
use super::asking::order;
use crate::online::user;
use crate::{Exit, Failure};

/// Load everything that a backup holds into this convention
///
/// Meant for a fresh convention: what is loaded here already under the same group is refused.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file that `cluster backup` wrote
    file: PathBuf,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let shown = args.file.display().to_string();
    if !args.file.is_file() {
        let text = format!("`{shown}` is no file");
        return Err(Failure::text(Exit::Refused, text).hint("name what `cluster backup` wrote"));
    }
    let path = std::path::absolute(&args.file).unwrap_or_else(|_| args.file.clone());
    let request = ClusterRequest::Restore {
        path: path.display().to_string(),
        by: user(),
    };
    order(context, request, "Restored", &shown)
}
