//! What `restart`, `stop`, `resume` and `dump` share: one action on the actor of a role.

use std::io::{self, Write};

use protocol::control::{Request, Response, RoleAction};
use serde_json::{Value, json};

use super::{Context, Outcome};
use crate::Exit;
use crate::online::{Online, unexpected, user};
use crate::printer::Report;

/// The role of an action.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The role
    role: String,
    /// The role's group, where several groups have it
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
}

/// Has the node do it, and says that it is done.
pub(super) fn run(
    args: &Args,
    context: &Context,
    action: RoleAction,
    done: &'static str,
) -> Outcome {
    let request = Request::Role {
        action,
        role: args.role.clone(),
        group: args.group.clone(),
        by: user(),
    };
    match Online::connect(context)?.request(request)? {
        Response::Done { text } => {
            let role = args.role.clone();
            context.printer.report(&Done {
                action: done,
                role,
                text,
            });
        }
        other => return Err(unexpected(&other)),
    }
    Ok(Exit::Done)
}

struct Done {
    action: &'static str,
    role: String,
    text: String,
}

impl Report for Done {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.text.is_empty() {
            writeln!(out, "{} \"{}\"", self.action, self.role)
        } else {
            writeln!(out, "{}", self.text.trim_end())
        }
    }

    fn json(&self) -> Value {
        json!({ "done": self.action.to_lowercase(), "role": self.role, "text": self.text })
    }
}
