//! `history`: what happened to a group, when, and who asked.

use std::io::{self, Write};

use protocol::control::{Request, Response};
use protocol::registry::HistoryEntry;
use serde_json::{Value, json};

use super::{Context, Outcome};
use crate::Exit;
use crate::online::{Online, as_of, moment, unexpected};
use crate::printer::Report;

/// Show what happened to a group, newest last
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The group
    group: String,
    /// As this node knows it, without asking the leader; says how old that is
    #[arg(long)]
    stale: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let group = args.group.clone();
    let stale = args.stale;
    match Online::connect(context)?.request(Request::History { group, stale })? {
        Response::History {
            entries,
            index,
            age_ms,
        } => {
            if stale {
                context.printer.note(as_of(index, age_ms));
            }
            let group = args.group.clone();
            context.printer.report(&History {
                group,
                entries,
                index,
                age_ms,
            });
        }
        other => return Err(unexpected(&other)),
    }
    Ok(Exit::Done)
}

struct History {
    group: String,
    entries: Vec<HistoryEntry>,
    index: u64,
    age_ms: u64,
}

impl Report for History {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        self.entries.iter().try_for_each(|entry| {
            let HistoryEntry {
                stamp,
                what,
                hash,
                version,
                by,
                detail,
            } = entry;
            let version = version.as_deref().unwrap_or("no version");
            write!(out, "{}  {what}  {version}  {hash}", moment(*stamp))?;
            if !by.is_empty() {
                write!(out, "  by {by}")?;
            }
            if !detail.is_empty() {
                write!(out, "  {}", detail.replace('\n', "\n    "))?;
            }
            writeln!(out)
        })
    }

    fn json(&self) -> Value {
        json!({
            "group": self.group,
            "entries": self.entries,
            "index": self.index,
            "age_ms": self.age_ms,
        })
    }
}
