//! `cluster unload`: `unload`, which acts on the whole convention anyway.

use super::super::{Context, Outcome, unload};

pub(crate) use unload::Args;

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    unload::run(args, context)
}
