//! `doctor`: what a node of this directory needs, looked at one by one, each with the next step.
//!
//! Not here: the looks themselves (`checkup`).

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{Context, Outcome};
use crate::Exit;
use crate::checkup::{self, Finding, Health};
use crate::printer::Report;

/// Look at all that a node of this directory needs, and say what to do about what is missing
///
/// Exit 1 if something keeps the node from working.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args, context: &Context) -> Outcome {
    let findings = checkup::all(context);
    let ill = findings
        .iter()
        .any(|finding| finding.health == Health::Error);
    context.printer.report(&Findings(findings));
    Ok(if ill { Exit::Refused } else { Exit::Done })
}

struct Findings(Vec<Finding>);

impl Report for Findings {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for Finding {
            what,
            health,
            text,
            step,
        } in &self.0
        {
            writeln!(out, "{:8} {what}: {text}", health.word())?;
            if let Some(step) = step {
                writeln!(out, "         next: {step}")?;
            }
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let finding = |finding: &Finding| {
            let Finding {
                what,
                health,
                text,
                step,
            } = finding;
            json!({ "what": what, "health": health.word(), "text": text, "next": step })
        };
        json!({ "findings": self.0.iter().map(finding).collect::<Vec<_>>() })
    }
}
