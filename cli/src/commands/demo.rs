//! `demo`: the main job in under a minute, with an account of every request at the end.

use std::io::{self, Write};

use clap::Parser;
use serde_json::Value;

use super::{Context, Outcome};
use crate::demo::{self, Account};
use crate::printer::Report;
use crate::{Exit, Failure};

/// Shows the main job on three nodes: pack, load, update, roll back, and survive the leader's kill
/// in the middle of an update, under clients that ask without pause
///
/// Everything happens in a temporary directory with nodes of its own; nothing is left behind.
/// Ends with 1 when a request had no outcome, was handled twice, or was unknown although its node
/// was not killed.
#[derive(Debug, Parser)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args, context: &Context) -> Outcome {
    let account = demo::run(context.printer)
        .map_err(|error| Failure::text(Exit::Refused, format!("{error:#}")))?;
    context.printer.report(&account);
    if account.holds() {
        return Ok(Exit::Done);
    }
    Err(Failure::text(
        Exit::Refused,
        "the account above does not balance",
    ))
}

impl Report for Account {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let row = |out: &mut dyn Write, what: &str, count: String, remark: &str| {
            let line = format!("  {what:<30} {count:>9}  {remark}");
            writeln!(out, "{}", line.trim_end())
        };
        writeln!(out)?;
        row(out, "requests sent", self.sent.to_string(), "")?;
        row(out, "answered", self.answered.to_string(), "")?;
        for (version, count) in &self.by_version {
            row(
                out,
                &format!("  by version {version}"),
                count.to_string(),
                "",
            )?;
        }
        row(
            out,
            "dead-lettered",
            self.dead_lettered.to_string(),
            "said so to the client",
        )?;
        row(
            out,
            "outcome unknown",
            self.unknown.to_string(),
            &format!(
                "in flight at the kill; {} elsewhere",
                self.unknown_elsewhere
            ),
        )?;
        row(
            out,
            "without any outcome",
            self.without_outcome.to_string(),
            "must be 0",
        )?;
        row(
            out,
            "handled twice",
            self.handled_twice.to_string(),
            "must be 0",
        )?;
        row(
            out,
            "answered by the wrong version",
            self.stale.to_string(),
            "must be 0",
        )?;
        row(out, "wrong answers", self.wrong.to_string(), "must be 0")?;
        let gaps = [
            ("longest gap, update", self.gap_update_ms),
            ("longest gap, rollback", self.gap_rollback_ms),
            ("longest gap, leader killed", self.gap_kill_ms),
        ];
        for (what, gap_ms) in gaps {
            row(out, what, format!("{gap_ms} ms"), "between two answers")?;
        }
        let verdict = if self.holds() {
            "every request is accounted for"
        } else {
            "IT FAILED"
        };
        writeln!(out, "\n  {verdict}")
    }

    fn json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}
