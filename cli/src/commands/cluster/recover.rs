//! `cluster recover`: a survivor goes on alone where the quorum is lost for good.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use node::Recovery;
use protocol::Stamp;
use serde_json::{Value, json};

use super::super::{Context, Outcome};
use crate::printer::Report;
use crate::{Exit, Failure};

/// Make this node, which does not run, the only voter: the quorum is lost for good
///
/// What the lost voters acknowledged without this node is lost. They must never come back as they
/// were: `state/` of each is moved away, then it joins anew. Members that were no voters find
/// this node again by themselves. Afterwards `director start`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Yes, the other voters will not come back
    #[arg(long)]
    quorum_is_lost: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    if !args.quorum_is_lost {
        let text = "recovering gives up what only the other voters know";
        return Err(Failure::text(Exit::Refused, text).hint(
            "start enough of the other voters if you can; if they are lost for good, repeat with \
             `--quorum-is-lost` on the survivor that was in touch last",
        ));
    }
    let recovery = node::recover(&context.directory, now()).map_err(|error| {
        let hint = error.hint();
        Failure::new(Exit::Refused, error).hint(hint)
    })?;
    if !recovery.has_authority {
        context.printer.warning(
            "the key of the convention's authority is not here: no node can join, no member \
             follows and no certificate is renewed; `cluster restore` a backup with it, or found \
             anew",
        );
    }
    context.printer.report(&Recovered(recovery));
    Ok(Exit::Done)
}

fn now() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since.unwrap_or_default().as_millis();
    Stamp(u64::try_from(ms).unwrap_or_default())
}

struct Recovered(Recovery);

impl Report for Recovered {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Recovery {
            convention,
            recovery,
            index,
            voters_before,
            kept,
            ..
        } = &self.0;
        writeln!(
            out,
            "Recovered convention {convention} at index {index}: one voter instead of \
             {voters_before}, recovery {recovery}"
        )?;
        writeln!(out, "  the log from before is kept as {}", kept.display())
    }

    fn json(&self) -> Value {
        let recovery = &self.0;
        json!({
            "convention": recovery.convention,
            "recovery": recovery.recovery,
            "index": recovery.index,
            "voters_before": recovery.voters_before,
            "kept": recovery.kept,
            "has_authority": recovery.has_authority,
        })
    }
}
