//! `tell`: a literal to a role, name or address, without waiting for a reply.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{Context, Outcome};
use crate::online::{Online, Resolved, refusal};
use crate::printer::Report;
use crate::{Exit, Failure};

/// Tell an actor: send it a Python literal and wait for nothing
///
/// Ends when the node has the message. `director dead-letters` shows what could not be delivered.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A role, a global name, or an address
    target: String,
    /// The message: a Python literal, such as "'hello'" or "{'n': 1}"
    #[arg(allow_hyphen_values = true)]
    literal: String,
    /// The group of the role
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let literal = literal(&args.literal)?;
    let mut online = Online::connect(context)?;
    let target = Resolved::find(&mut online, &args.target, args.group.as_deref())?.target;
    online
        .with(async |client| client.tell(target, &literal).await)
        .map_err(refusal)?;
    // Answered behind the message on the same connection: the node has it.
    online.status()?;
    context.printer.report(&Told {
        target: &args.target,
    });
    Ok(Exit::Done)
}

/// The text that is sent for a literal, checked before anything else is done.
///
/// # Errors
/// `Usage` with the place of the fault.
pub(super) fn literal(text: &str) -> Result<String, Failure> {
    match pyliteral::parse(text) {
        Ok(value) => Ok(value.repr()),
        Err(error) => {
            let failure = Failure::text(
                Exit::Usage,
                format_args!("`{text}` is no Python literal: {error}"),
            );
            let quotes = "a string wants quotes of its own: director ask ROLE \"'hello'\"";
            Err(failure.hint(error.hint().unwrap_or(quotes)))
        }
    }
}

struct Told<'a> {
    target: &'a str,
}

impl Report for Told<'_> {
    fn text(&self, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn json(&self) -> Value {
        json!({ "told": self.target })
    }
}
