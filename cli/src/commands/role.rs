//! `role`: who plays a role now.

use std::io::{self, Write};

use protocol::control::Match;
use serde_json::{Value, json};

use super::{Context, Outcome};
use crate::online::Online;
use crate::online::target::{ambiguous, line, matches, nothing};
use crate::printer::Report;
use crate::{Exit, Failure};

/// Show the actor that plays a role
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The role
    role: String,
    /// Only in this group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let mut online = Online::connect(context)?;
    let mut found = matches(&mut online, &args.role, args.group.as_deref())?;
    found.retain(|found| found.kind == "role");
    let played = match found.as_slice() {
        [] => return Err(no_role(args)),
        [played] => played.clone(),
        several => return Err(ambiguous(&args.role, several)),
    };
    context.printer.report(&Role { played });
    Ok(Exit::Done)
}

fn no_role(args: &Args) -> Failure {
    nothing(&args.role, args.group.as_deref())
}

struct Role {
    played: Match,
}

impl Report for Role {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", line(&self.played))
    }

    fn json(&self) -> Value {
        json!(self.played)
    }
}
