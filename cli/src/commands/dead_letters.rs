//! `dead-letters`: the messages that could not be delivered.

use std::io::{self, Write};

use protocol::control::{DeadLetter, Request, Response};
use serde_json::{Value, json};

use super::{Context, Outcome};
use crate::Exit;
use crate::online::{Online, moment, unexpected};
use crate::printer::Report;

/// List the latest messages that could not be delivered, newest last
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args, context: &Context) -> Outcome {
    match Online::connect(context)?.request(Request::DeadLetters)? {
        Response::DeadLetters { total, kept } => {
            if total > kept.len() as u64 {
                let n_kept = kept.len();
                context
                    .printer
                    .note(format_args!("{total} since the start; {n_kept} are kept"));
            }
            context.printer.report(&DeadLetters { total, kept });
        }
        other => return Err(unexpected(&other)),
    }
    Ok(Exit::Done)
}

struct DeadLetters {
    total: u64,
    kept: Vec<DeadLetter>,
}

impl Report for DeadLetters {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        self.kept.iter().try_for_each(|letter| {
            let DeadLetter {
                stamp,
                sender,
                target,
                bytes,
                reason,
            } = letter;
            writeln!(
                out,
                "{}  {sender} -> {target}  {bytes} bytes: {reason}",
                moment(*stamp)
            )
        })
    }

    fn json(&self) -> Value {
        json!({ "total": self.total, "kept": self.kept })
    }
}
