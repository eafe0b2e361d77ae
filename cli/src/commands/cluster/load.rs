//! `cluster load`: every eligible member pulls and verifies a package, then one switch.

use std::io::{self, Write};
use std::path::PathBuf;

use protocol::control::{MemberProgress, Reach};
use serde_json::{Value, json};

use super::super::{Context, Outcome};
use super::table;
use super::watching::Watching;
use crate::Exit;
use crate::online::{LoadOrder, Loaded, start};
use crate::printer::Report;

/// Load a package on all eligible members first, then switch its group once for all
///
/// Shows a line for each member. Members that are down or drained are skipped, and one where no
/// key validates the package does not block; any other failure does.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A group (its newest package), GROUP.tli, a path, or a file of the Director directory
    #[arg(value_name = "GROUP|FILE")]
    what: PathBuf,
    /// Go on without members that fail
    #[arg(long)]
    partial: bool,
    /// Answer when the load is committed, before the version is active
    #[arg(long)]
    no_wait: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let order = LoadOrder::find(context, &args.what)?;
    let order = LoadOrder {
        no_wait: args.no_wait,
        reach: match args.partial {
            true => Reach::Partial,
            false => Reach::Everywhere,
        },
        ..order
    };
    let mut online = start(context, Exit::Unavailable)?.online;
    let watching = Watching::begin(context, order.request);
    let outcome = order.carry_out(context, &mut online);
    let members = watching.end();
    let loaded = outcome.map_err(|failure| {
        members
            .iter()
            .filter(|member| !member.detail.is_empty())
            .fold(failure, |failure, member| {
                let MemberProgress {
                    name,
                    state,
                    detail,
                } = member;
                failure.detail(format_args!("{name}: {state}: {detail}"))
            })
    })?;
    loaded.tell_notes(context);
    context.printer.report(&Everywhere { loaded, members });
    Ok(Exit::Done)
}

struct Everywhere {
    loaded: Loaded,
    members: Vec<MemberProgress>,
}

impl Report for Everywhere {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let row = |member: &MemberProgress| {
            let detail = member.detail.replace('\n', " ");
            vec![member.name.clone(), member.state.clone(), detail]
        };
        let rows: Vec<_> = self.members.iter().map(row).collect();
        if !rows.is_empty() {
            table::write(out, &["MEMBER", "STATE", "WHY"], &rows)?;
        }
        writeln!(out, "{}", self.loaded.line())
    }

    fn json(&self) -> Value {
        let mut document = self.loaded.to_json();
        if let Some(keys) = document.as_object_mut() {
            keys.insert("members".to_owned(), json!(self.members));
        }
        document
    }
}
