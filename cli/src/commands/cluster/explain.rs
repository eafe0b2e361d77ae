//! `cluster explain`: why an actor runs where it does, and why not elsewhere.

use std::io::{self, Write};

use protocol::control::{Candidate, ClusterRequest, ClusterResponse, Explanation};
use serde_json::{Value, json};

use super::super::{Context, Outcome};
use super::asking::{another, ask};
use super::table;
use crate::online::Online;
use crate::printer::Report;
use crate::{Exit, Failure};

/// Say for each member why a role or class may run there or not, and where it runs
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A role, or a class of a loaded source
    #[arg(value_name = "ROLE|CLASS")]
    what: String,
    /// Only in this group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let request = ClusterRequest::Explain {
        what: args.what.clone(),
        group: args.group.clone(),
    };
    let found = match ask(&mut Online::connect(context)?, request)? {
        ClusterResponse::Explained { found } => found,
        other => return Err(another(other)),
    };
    if found.is_empty() {
        let text = format!("no loaded source has a role or class `{}`", args.what);
        let hint = "`director list` shows roles and classes";
        return Err(Failure::text(Exit::Refused, text).hint(hint));
    }
    context.printer.report(&Explained { found });
    Ok(Exit::Done)
}

struct Explained {
    found: Vec<Explanation>,
}

impl Report for Explained {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for one in &self.found {
            let role = one.role.iter();
            let role: String = role.map(|role| format!(" ({role})")).collect();
            writeln!(
                out,
                "{}{role} of {}, source {}",
                one.class, one.group, one.source
            )?;
            one.placed
                .iter()
                .try_for_each(|line| writeln!(out, "  {line}"))?;
            let rows: Vec<_> = one.members.iter().map(row).collect();
            table::write(out, &["  MEMBER", "MAY", "WHY"], &rows)?;
        }
        Ok(())
    }

    fn json(&self) -> Value {
        json!({ "found": self.found })
    }
}

fn row(member: &Candidate) -> Vec<String> {
    let may = if member.eligible { "yes" } else { "no" };
    vec![
        format!("  {}", member.name),
        may.to_owned(),
        member.reason.clone(),
    ]
}
