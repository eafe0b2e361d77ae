//! The newest package of every group, loaded if that moves the group upwards.

use std::io::{self, Write};
use std::path::PathBuf;

use protocol::control::{ListedSource, Reach, Request, Response};
use serde_json::{Value, json};

use super::load::{LoadOrder, Loaded};
use super::newest::{Newest, newest};
use super::refusal::unexpected;
use super::session::Online;
use crate::commands::Context;
use crate::printer::Report;
use crate::{Exit, Failure};

/// What a refresh changed, left, and could not do.
#[derive(Debug, Default)]
pub(crate) struct Refreshed {
    changed: Vec<Loaded>,
    unchanged: Vec<Left>,
    failed: Vec<(String, String)>,
    first_failure: Option<Exit>,
}

/// A group that stays as it is.
#[derive(Debug)]
struct Left {
    group: String,
    path: PathBuf,
    notes: Vec<String>,
}

/// Refreshes every group that has a `.tli` and a package; goes on after one that fails. With a
/// reach beyond this node, the newest of all live members' directories counts.
///
/// # Errors
/// When the directory cannot be listed, or a member does not tell of its own.
pub(crate) fn refresh(
    context: &Context,
    online: &mut Online,
    reach: Reach,
) -> Result<Refreshed, Failure> {
    let mut refreshed = Refreshed::default();
    for newest in newest(context, online, reach)? {
        let group = newest.name.group().to_owned();
        // A node that has just started may know no leader yet, and need none.
        let stale = reach == Reach::OnDemand;
        let outcome = match standing(online, &newest, stale) {
            Ok(Some(notes)) => Ok(Err(notes)),
            Ok(None) => newest.order(context).and_then(|order| {
                let order = LoadOrder {
                    upwards_only: true,
                    reach,
                    ..order
                };
                let loaded = order.carry_out(context, online)?;
                Ok(match loaded.changed {
                    true => Ok(loaded),
                    false => Err(loaded.notes),
                })
            }),
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(Ok(loaded)) => {
                loaded.tell_notes(context);
                refreshed.changed.push(loaded);
            }
            Ok(Err(notes)) => {
                let path = newest.path;
                refreshed.unchanged.push(Left { group, path, notes });
            }
            Err(failure) => {
                context.printer.error(format_args!("{group}: {failure}"));
                refreshed.failed.push((group, failure.to_string()));
                let exit = failure.exit();
                refreshed.first_failure.get_or_insert(exit);
            }
        }
    }
    refreshed.tell(context);
    Ok(refreshed)
}

/// Why a package need not be sent at all; `None`: the node shall decide.
fn standing(
    online: &mut Online,
    newest: &Newest,
    stale: bool,
) -> Result<Option<Vec<String>>, Failure> {
    let answer = online.request(Request::List {
        group: Some(newest.name.group().to_owned()),
        stale,
    })?;
    let Response::Listed { groups, .. } = answer else {
        return Err(unexpected(&answer));
    };
    let sources: Vec<ListedSource> = groups.into_iter().flat_map(|group| group.sources).collect();
    if sources.is_empty() {
        return Ok(None);
    }
    let Some(hash) = newest.hash() else {
        return Ok(None);
    };
    let same = sources.iter().find(|source| source.hash == hash);
    Ok(match same.map(|source| source.state.as_str()) {
        Some("active") => Some(Vec::new()),
        Some("withdrawn") => {
            let note = format!(
                "`{}` was withdrawn by a rollback; `load` brings it back",
                newest.path.display()
            );
            Some(vec![note])
        }
        _ => None,
    })
}

impl Refreshed {
    /// The exit of the first group that failed.
    pub(crate) fn exit(&self) -> Exit {
        self.first_failure.unwrap_or(Exit::Done)
    }

    fn tell(&self, context: &Context) {
        for left in &self.unchanged {
            let path = left.path.display();
            context
                .printer
                .detail(format_args!("{}: unchanged ({path})", left.group));
            for note in &left.notes {
                context.printer.note(format_args!("{}: {note}", left.group));
            }
        }
    }
}

impl Report for Refreshed {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        self.changed
            .iter()
            .try_for_each(|loaded| writeln!(out, "{}", loaded.line()))
    }

    fn json(&self) -> Value {
        let left =
            |left: &Left| json!({ "group": left.group, "path": left.path, "notes": left.notes });
        let failed =
            |(group, message): &(String, String)| json!({ "group": group, "message": message });
        json!({
            "loaded": self.changed.iter().map(Loaded::to_json).collect::<Vec<_>>(),
            "unchanged": self.unchanged.iter().map(left).collect::<Vec<_>>(),
            "failed": self.failed.iter().map(failed).collect::<Vec<_>>(),
        })
    }
}
