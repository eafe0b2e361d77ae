//! `role`: who plays a role now.

use std::io::{self, Write};

use protocol::control::Match;
use serde_json::{Value, json};

use super::{Context, Outcome};
use crate::online::target::{Matches, ambiguous, line, matches, nothing};
use crate::online::{Online, as_of};
use crate::printer::Report;
use crate::{Exit, Failure};

/// Show the actor that plays a role
///
/// As the leader confirms it. Messages to a role (`ask`, `tell`) go by what the node knows, and
/// wait there while the role changes hands.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The role
    role: String,
    /// Only in this group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// As this node knows it, without asking the leader; says how old that is
    #[arg(long)]
    stale: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let mut online = Online::connect(context)?;
    let group = args.group.as_deref();
    let Matches {
        matches: mut found,
        index,
        age_ms,
    } = matches(&mut online, &args.role, group, !args.stale)?;
    if args.stale {
        context.printer.note(as_of(index, age_ms));
    }
    found.retain(|found| found.kind == "role");
    let played = match found.as_slice() {
        [] => return Err(no_role(args)),
        [played] => played.clone(),
        several => return Err(ambiguous(&args.role, several)),
    };
    context.printer.report(&Role {
        played,
        index,
        age_ms,
    });
    Ok(Exit::Done)
}

fn no_role(args: &Args) -> Failure {
    nothing(&args.role, args.group.as_deref())
}

struct Role {
    played: Match,
    index: u64,
    age_ms: u64,
}

impl Report for Role {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", line(&self.played))
    }

    fn json(&self) -> Value {
        let mut role = json!(self.played);
        if let Some(role) = role.as_object_mut() {
            role.insert("index".to_owned(), json!(self.index));
            role.insert("age_ms".to_owned(), json!(self.age_ms));
        }
        role
    }
}
