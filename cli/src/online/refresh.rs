//! The newest package of every group, loaded if that moves the group upwards.

use std::io::{self, Write};
use std::path::PathBuf;

use protocol::control::{ListedSource, Reach, Request, Response};
use serde_json::{Value, json};

use super::load::{LoadOrder, Loaded};
use super::refusal::unexpected;
use super::session::Online;
use super::surplus::hash;
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

/// Refreshes every group that has a `.tli` and a package; goes on after one that fails.
///
/// # Errors
/// When the directory cannot be listed.
pub(crate) fn refresh(
    context: &Context,
    online: &mut Online,
    reach: Reach,
) -> Result<Refreshed, Failure> {
    let listing = context.directory.listing().map_err(|error| {
        let hint = error.hint();
        Failure::new(Exit::Refused, error).hint(hint)
    })?;
    let mut refreshed = Refreshed::default();
    for group in listing.groups {
        let Some(newest) = group.packages.into_iter().next() else {
            continue;
        };
        if group.tli.is_none() {
            let (path, group) = (newest.path.display(), &group.group);
            context.printer.note(format_args!(
                "{path} is left alone: there is no `{group}.tli`"
            ));
            continue;
        }
        let outcome = match standing(online, &group.group, &newest.path) {
            Ok(Some(notes)) => Ok(Err(notes)),
            Ok(None) => LoadOrder::new(context, newest.path.clone(), newest.name)
                .and_then(|order| {
                    let order = LoadOrder {
                        upwards_only: true,
                        reach,
                        ..order
                    };
                    order.carry_out(context, online)
                })
                .map(|loaded| {
                    if loaded.changed {
                        Ok(loaded)
                    } else {
                        Err(loaded.notes)
                    }
                }),
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(Ok(loaded)) => {
                loaded.tell_notes(context);
                refreshed.changed.push(loaded);
            }
            Ok(Err(notes)) => {
                refreshed.unchanged.push(Left {
                    group: group.group,
                    path: newest.path,
                    notes,
                });
            }
            Err(failure) => {
                context
                    .printer
                    .error(format_args!("{}: {failure}", group.group));
                refreshed.failed.push((group.group, failure.to_string()));
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
    group: &str,
    path: &std::path::Path,
) -> Result<Option<Vec<String>>, Failure> {
    let answer = online.request(Request::List {
        group: Some(group.to_owned()),
        stale: false,
    })?;
    let Response::Listed { groups, .. } = answer else {
        return Err(unexpected(&answer));
    };
    let sources: Vec<ListedSource> = groups.into_iter().flat_map(|group| group.sources).collect();
    if sources.is_empty() {
        return Ok(None);
    }
    let Some(hash) = hash(path) else {
        return Ok(None);
    };
    let same = sources.iter().find(|source| source.hash == hash);
    Ok(match same.map(|source| source.state.as_str()) {
        Some("active") => Some(Vec::new()),
        Some("withdrawn") => {
            let note = format!(
                "`{}` was withdrawn by a rollback; `load` brings it back",
                path.display()
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
