//! `cluster events`: what happened in the convention, and what happens.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use protocol::control::{ClusterRequest, ClusterResponse, ListedEvent};
use serde_json::{Value, json};

use super::super::{Context, Outcome};
use super::asking::{another, ask};
use crate::online::{Online, moment};
use crate::printer::Report;
use crate::{Exit, Failure};

/// Show what happened, oldest first; with `--follow` also what happens from now on
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Go on until interrupted; with `--json` one document for each event
    #[arg(long, short)]
    follow: bool,
    /// Only events after this number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: u64,
}

/// How long one question may wait for news.
const WAIT_MS: u64 = 20_000;

/// Between two tries to reach a node or a leader that is not there.
const RETRY: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let mut online = Online::connect(context)?;
    let events = fetch(&mut online, args.after, 0)?;
    if !args.follow {
        context.printer.report(&Events { events });
        return Ok(Exit::Done);
    }
    let mut after = args.after;
    show(context, events, &mut after);
    loop {
        match fetch(&mut online, after, WAIT_MS) {
            Ok(events) => show(context, events, &mut after),
            Err(failure) if failure.exit() == Exit::Unavailable => {
                context.printer.note(&failure);
                online = again(context)?;
            }
            Err(failure) => return Err(failure),
        }
    }
}

fn fetch(online: &mut Online, after: u64, wait_ms: u64) -> Result<Vec<ListedEvent>, Failure> {
    match ask(online, ClusterRequest::Events { after, wait_ms })? {
        ClusterResponse::Events { events } => Ok(events),
        other => Err(another(other)),
    }
}

/// A leader or node that has gone is expected back by whoever follows.
fn again(context: &Context) -> Result<Online, Failure> {
    loop {
        thread::sleep(RETRY);
        match Online::connect(context) {
            Err(failure) if failure.exit() == Exit::Unavailable => {}
            outcome => return outcome,
        }
    }
}

fn show(context: &Context, events: Vec<ListedEvent>, after: &mut u64) {
    for event in events {
        *after = event.number.max(*after);
        context.printer.report(&One(event));
    }
}

struct Events {
    events: Vec<ListedEvent>,
}

impl Report for Events {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        self.events
            .iter()
            .try_for_each(|event| writeln!(out, "{}", line(event)))
    }

    fn json(&self) -> Value {
        json!({ "events": self.events })
    }
}

struct One(ListedEvent);

impl Report for One {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", line(&self.0))
    }

    fn json(&self) -> Value {
        json!(self.0)
    }
}

fn line(event: &ListedEvent) -> String {
    let mut line = format!(
        "{:>5}  {}  {}",
        event.number,
        moment(event.stamp),
        event.what
    );
    if !event.subject.is_empty() {
        line.push_str(&format!("  {}", event.subject));
    }
    if !event.by.is_empty() {
        line.push_str(&format!("  by {}", event.by));
    }
    if !event.detail.is_empty() {
        line.push_str(&format!("  {}", event.detail.replace('\n', "\n         ")));
    }
    line
}

#[cfg(test)]
mod tests {
    use protocol::Stamp;

    use super::*;

    #[test]
    fn an_event_is_a_line_with_what_subject_and_who() {
        let event = ListedEvent {
            number: 7,
            stamp: Stamp(0),
            what: "join refused".to_owned(),
            subject: "b".to_owned(),
            by: String::new(),
            detail: "the token was used".to_owned(),
        };
        let line = line(&event);
        assert!(line.starts_with("    7  19"), "{line}");
        assert!(
            line.ends_with("  join refused  b  the token was used"),
            "{line}"
        );
    }
}
