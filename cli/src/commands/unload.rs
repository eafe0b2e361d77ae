//! `unload`: a source and all its actors leave.

use std::io::{self, Write};

use protocol::control::{Request, Response};
use protocol::{RequestId, SourceHash};
use serde_json::{Value, json};

use super::{Context, Outcome};
use crate::online::{Online, unexpected, user};
use crate::printer::Report;
use crate::{Exit, Failure};

/// Unload a source: its actors finish what they do, then they are asked to exit
///
/// Where it was active, the highest other loaded version becomes active.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The hash, or its beginning
    hash: String,
    /// Do not wait for its actors to finish
    #[arg(long)]
    now: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    if args.hash.is_empty() || !args.hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let text = format!(
            "`{}` is no beginning of a hash: digits and a to f expected",
            args.hash
        );
        return Err(Failure::text(Exit::Usage, text).hint("`director list` shows the hashes"));
    }
    let request = Request::Unload {
        request: RequestId(rand::random()),
        hash: args.hash.clone(),
        now: args.now,
        by: user(),
    };
    match Online::connect(context)?.request(request)? {
        Response::Unloaded { hash } => context.printer.report(&Unloaded { hash }),
        other => return Err(unexpected(&other)),
    }
    Ok(Exit::Done)
}

struct Unloaded {
    hash: SourceHash,
}

impl Report for Unloaded {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Unloaded {}", self.hash)
    }

    fn json(&self) -> Value {
        json!({ "hash": self.hash.to_string() })
    }
}
