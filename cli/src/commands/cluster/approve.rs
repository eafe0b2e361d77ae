//! `cluster approve`: let a node in that has no token, after a look at its key.

use std::io::{self, Write};

use protocol::control::{ClusterRequest, ClusterResponse, WaitingJoiner};
use serde_json::{Value, json};

use super::super::{Context, Outcome};
use super::asking::{another, ask};
use super::tokens::write_waiting;
use crate::online::{Online, user};
use crate::printer::Report;
use crate::{Exit, Failure};

/// Let a node in that waits for it; without NODE: show who waits, with key fingerprint and address
///
/// Compare the fingerprint with the one that the new node's log shows.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The node's name, or the beginning of its key's fingerprint
    node: Option<String>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let mut online = Online::connect(context)?;
    let (waiting, authority) = match ask(&mut online, ClusterRequest::Tokens)? {
        ClusterResponse::Tokens {
            waiting, authority, ..
        } => (waiting, authority),
        other => return Err(another(other)),
    };
    let Some(node) = &args.node else {
        if waiting.is_empty() {
            context.printer.note("no node waits for approval");
        }
        context.printer.report(&Waiting { waiting, authority });
        return Ok(Exit::Done);
    };
    let joiner = find(&waiting, node)?;
    let request = ClusterRequest::Approve {
        // What was shown is what is approved, whoever else asks by this name meanwhile.
        node: joiner.key.clone(),
        by: user(),
    };
    match ask(&mut online, request)? {
        ClusterResponse::Done { notes } => {
            context.printer.report(&Approved {
                joiner: joiner.clone(),
                notes,
            });
            Ok(Exit::Done)
        }
        other => Err(another(other)),
    }
}

fn find<'a>(waiting: &'a [WaitingJoiner], node: &str) -> Result<&'a WaitingJoiner, Failure> {
    let named = waiting.iter().filter(|joiner| joiner.name == node);
    let mut found: Vec<_> = named.collect();
    if found.is_empty() {
        let keyed = waiting.iter().filter(|joiner| joiner.key.starts_with(node));
        found.extend(keyed);
    }
    match found.as_slice() {
        [one] => Ok(one),
        [] => {
            let text = format!("no node `{node}` waits for approval");
            Err(Failure::text(Exit::Refused, text).hint(
                "`director cluster approve` shows who waits; the node asks while it is started",
            ))
        }
        several => {
            let text = format!("{} nodes that wait are `{node}`", several.len());
            let failure = Failure::text(Exit::Refused, text);
            let failure = several.iter().fold(failure, |failure, joiner| {
                failure.detail(format_args!("{} from {}", joiner.key, joiner.address))
            });
            Err(failure.hint("name it by the beginning of its key's fingerprint"))
        }
    }
}

struct Waiting {
    waiting: Vec<WaitingJoiner>,
    authority: String,
}

impl Report for Waiting {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        write_waiting(out, &self.waiting, &self.authority)
    }

    fn json(&self) -> Value {
        json!({ "waiting": self.waiting, "authority": self.authority })
    }
}

struct Approved {
    joiner: WaitingJoiner,
    notes: Vec<String>,
}

impl Report for Approved {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let WaitingJoiner {
            name, address, key, ..
        } = &self.joiner;
        writeln!(out, "Approved {name} from {address}, key {key}")?;
        self.notes
            .iter()
            .try_for_each(|note| writeln!(out, "  {note}"))
    }

    fn json(&self) -> Value {
        json!({ "approved": self.joiner, "notes": self.notes })
    }
}

#[cfg(test)]
mod tests {
    use protocol::Stamp;

    use super::*;

    fn joiner(name: &str, key: &str) -> WaitingJoiner {
        WaitingJoiner {
            name: name.to_owned(),
            address: "10.0.0.2:1900".to_owned(),
            key: key.repeat(32),
            since: Stamp(0),
        }
    }

    #[test]
    fn a_joiner_is_named_by_name_or_key_and_never_by_guessing() {
        let waiting = [joiner("b", "ab"), joiner("b", "cd"), joiner("c", "ef")];
        assert_eq!(find(&waiting, "c").unwrap(), &waiting[2]);
        assert_eq!(find(&waiting, "cdc").unwrap(), &waiting[1]);
        let several = find(&waiting, "b").unwrap_err().to_string();
        assert!(several.contains(&"ab".repeat(32)), "{several}");
        assert!(find(&waiting, "d").is_err());
    }
}
