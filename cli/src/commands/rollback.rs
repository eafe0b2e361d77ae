//! `rollback`: a group goes back to the version before.

use std::io::{self, Write};

use protocol::control::{Request, Response};
use protocol::{RequestId, SourceHash};
use serde_json::{Value, json};

use super::{Context, Outcome};
use crate::Exit;
use crate::online::{Online, unexpected, user};
use crate::printer::Report;

/// Switch a group back to its highest other loaded version
///
/// The version that it leaves is withdrawn: `refresh` skips it until `load` names it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The group
    group: String,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let group = args.group.clone();
    let request = Request::Rollback {
        request: RequestId(rand::random()),
        group: group.clone(),
        by: user(),
    };
    match Online::connect(context)?.request(request)? {
        Response::RolledBack { from, to } => context.printer.report(&Back { group, from, to }),
        other => return Err(unexpected(&other)),
    }
    Ok(Exit::Done)
}

struct Back {
    group: String,
    from: SourceHash,
    to: SourceHash,
}

impl Report for Back {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "Rolled back \"{}\" from {} to {}",
            self.group, self.from, self.to
        )
    }

    fn json(&self) -> Value {
        let (from, to) = (self.from.to_string(), self.to.to_string());
        json!({ "group": self.group, "from": from, "to": to })
    }
}
