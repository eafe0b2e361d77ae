//! `cluster members`: who belongs to the convention, and how each stands.

use std::io::{self, Write};

use protocol::control::{ClusterRequest, ClusterResponse, ListedMember};
use serde_json::{Value, json};

use super::super::{Context, Outcome};
use super::asking::{another, ask};
use super::table;
use crate::Exit;
use crate::online::{Online, as_of, moment};
use crate::printer::Report;

/// List the members: state, part, actors, address, key, and what a member does not trust
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As this node knows them, without asking the leader
    #[arg(long)]
    stale: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let request = ClusterRequest::Members { stale: args.stale };
    match ask(&mut Online::connect(context)?, request)? {
        ClusterResponse::Members {
            members,
            index,
            age_ms,
        } => {
            if args.stale {
                context.printer.note(as_of(index, age_ms));
            }
            context.printer.report(&Members {
                members,
                index,
                age_ms,
            });
            Ok(Exit::Done)
        }
        other => Err(another(other)),
    }
}

struct Members {
    members: Vec<ListedMember>,
    index: u64,
    age_ms: u64,
}

const HEAD: [&str; 8] = [
    "NAME", "STATE", "PART", "SINCE", "ACTORS", "ADDRESS", "NODE", "KEY",
];

impl Report for Members {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let rows: Vec<_> = self.members.iter().map(row).collect();
        table::write(out, &HEAD, &rows)?;
        for member in &self.members {
            for distrust in &member.distrusts {
                writeln!(out, "{} does not trust {distrust}", member.name)?;
            }
        }
        Ok(())
    }

    fn json(&self) -> Value {
        json!({ "members": self.members, "index": self.index, "age_ms": self.age_ms })
    }
}

fn row(member: &ListedMember) -> Vec<String> {
    let director = member.director_actors;
    let actors = match member.actors {
        Some(actors) => format!("{actors} ({director} of Director)"),
        None => format!("{director} of Director"),
    };
    let address = match member.address.as_str() {
        "" => "dials out only",
        address => address,
    };
    vec![
        member.name.clone(),
        member.state.clone(),
        member.part.clone(),
        moment(member.since),
        actors,
        address.to_owned(),
        short(&member.node.to_string()),
        short(&member.key),
    ]
}

/// Enough of an id to tell it from others, and to name it in a command.
fn short(id: &str) -> String {
    id.chars().take(12).collect()
}
