//! `ask`: a literal to a role, name or address, and the `repr` of what comes back.

use std::io::{self, Write};
use std::time::Duration;

use node::client::{AskEnd, Reply, ReplyContent};
use protocol::PayloadKind;
use serde_json::{Value, json};

use super::{Context, Outcome, tell};
use crate::online::{Online, Resolved, refusal};
use crate::printer::Report;
use crate::progress::Progress;
use crate::{Exit, Failure};

/// Ask an actor: send it a Python literal and print its reply
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A role, a global name, or an address
    target: String,
    /// The message: a Python literal, such as "'hello'" or "{'n': 1}"
    #[arg(allow_hyphen_values = true)]
    literal: String,
    /// Seconds to wait for the reply
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    timeout: Duration,
    /// The group of the role
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let literal = tell::literal(&args.literal)?;
    let mut online = Online::connect(context)?;
    let target = Resolved::find(&mut online, &args.target, args.group.as_deref())?.target;
    let reply = {
        let _sign_of_life = Progress::spinner("waiting for the reply");
        online.with(async |client| client.ask(target, &literal, Some(args.timeout)).await)
    };
    let reply = reply.map_err(|end| unanswered(args, end))?;
    let (text, is_literal) = match reply.content() {
        ReplyContent::Literal(text) => (text, true),
        ReplyContent::Repr(text) => {
            context
                .printer
                .warning("the reply is no literal; this is its `repr`");
            (text, false)
        }
        ReplyContent::Poison(details) => return Err(poisoned(args, &details)),
        ReplyContent::Opaque(kind) => return Err(unreadable(args, &reply, kind)),
    };
    context.printer.report(&Answer {
        reply,
        text,
        is_literal,
    });
    Ok(Exit::Done)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "a number of seconds expected".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(limit) if !limit.is_zero() => Ok(limit),
        _ => Err("more than 0 seconds expected".to_owned()),
    }
}

/// A reply of an actor that does not know that the command line asked.
fn unreadable(args: &Args, reply: &Reply, kind: PayloadKind) -> Failure {
    let (target, sender) = (&args.target, reply.sender);
    let text = format!("`{target}`: {sender} replied with a {kind:?}, which only Python reads");
    Failure::text(Exit::Refused, text)
        .hint("let the actor that was asked reply itself, or ask from Python: ActorSystem().ask")
}

fn poisoned(args: &Args, details: &str) -> Failure {
    let text = format!("`{}` failed on the message", args.target);
    Failure::text(Exit::Refused, text)
        .detail(details.trim_end())
        .hint("the actor goes on; its code or the message is to be mended")
}

fn unanswered(args: &Args, end: AskEnd) -> Failure {
    let target = &args.target;
    let (exit, hint) = match &end {
        AskEnd::Closed(_) => {
            let AskEnd::Closed(error) = end else {
                return Failure::new(Exit::Bug, end);
            };
            return refusal(error);
        }
        AskEnd::DeadLettered(_) => (Exit::Refused, "`director list` shows what runs"),
        AskEnd::Unknown(_) => (
            Exit::Unavailable,
            "the message may have been handled: look before you repeat it",
        ),
        AskEnd::TimedOut(_) => (
            Exit::Unavailable,
            "`--timeout` waits longer, `director dump` shows where a role stands",
        ),
    };
    Failure::text(exit, format_args!("`{target}`: {end}")).hint(hint)
}

struct Answer {
    reply: Reply,
    text: String,
    is_literal: bool,
}

impl Report for Answer {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.text)
    }

    fn json(&self) -> Value {
        json!({
            "reply": self.text,
            "literal": self.is_literal,
            "sender": self.reply.sender.to_string(),
        })
    }
}
