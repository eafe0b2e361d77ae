//! `cluster tokens`: the join tokens that are good and who waits for approval; revoking one.

use std::io::{self, Write};

use clap::Subcommand;
use protocol::control::{ClusterRequest, ClusterResponse, ListedToken, WaitingJoiner};
use serde_json::{Value, json};

use super::super::{Context, Outcome};
use super::asking::{another, ask, order};
use super::table;
use crate::Exit;
use crate::online::{Online, moment, user};
use crate::printer::Report;

/// List the join tokens that are good and the nodes that wait for approval, or revoke a token
#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List them; what `tokens` alone does
    List,
    /// Make a token useless; who has joined with it stays
    Revoke {
        /// Its id, or the beginning of it
        id: String,
    },
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    match &args.action {
        None | Some(Action::List) => list(context),
        Some(Action::Revoke { id }) => {
            let request = ClusterRequest::Revoke {
                id: id.clone(),
                by: user(),
            };
            order(context, request, "Revoked", id)
        }
    }
}

fn list(context: &Context) -> Outcome {
    match ask(&mut Online::connect(context)?, ClusterRequest::Tokens)? {
        ClusterResponse::Tokens {
            tokens,
            waiting,
            authority,
        } => {
            context.printer.report(&Tokens {
                tokens,
                waiting,
                authority,
            });
            Ok(Exit::Done)
        }
        other => Err(another(other)),
    }
}

struct Tokens {
    tokens: Vec<ListedToken>,
    waiting: Vec<WaitingJoiner>,
    authority: String,
}

impl Report for Tokens {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let row = |token: &ListedToken| {
            let uses = token.uses_left.to_string();
            vec![
                token.id.clone(),
                uses,
                moment(token.expires),
                token.by.clone(),
            ]
        };
        let rows: Vec<_> = self.tokens.iter().map(row).collect();
        if !rows.is_empty() {
            table::write(out, &["TOKEN", "USES LEFT", "GOOD UNTIL", "BY"], &rows)?;
        }
        write_waiting(out, &self.waiting, &self.authority)
    }

    fn json(&self) -> Value {
        json!({
            "tokens": self.tokens,
            "waiting": self.waiting,
            "authority": self.authority,
        })
    }
}

/// The nodes that wait for approval, with what there is to compare.
pub(super) fn write_waiting(
    out: &mut dyn Write,
    waiting: &[WaitingJoiner],
    authority: &str,
) -> io::Result<()> {
    if waiting.is_empty() {
        return Ok(());
    }
    let row = |joiner: &WaitingJoiner| {
        let since = moment(joiner.since);
        vec![
            joiner.name.clone(),
            joiner.address.clone(),
            since,
            joiner.key.clone(),
        ]
    };
    let rows: Vec<_> = waiting.iter().map(row).collect();
    table::write(out, &["WAITS", "FROM", "SINCE", "KEY"], &rows)?;
    writeln!(out, "AUTHORITY  {authority}")?;
    let next = "Each of these nodes shows its key and this authority in its log: compare both.";
    writeln!(out, "{next}")
}

#[cfg(test)]
mod tests {
    use protocol::Stamp;

    use super::*;

    #[test]
    fn waiting_nodes_show_the_whole_fingerprint() {
        let joiner = WaitingJoiner {
            name: "bravo".to_owned(),
            address: "10.0.0.2:1900".to_owned(),
            key: "ab".repeat(32),
            since: Stamp(0),
        };
        let mut out = Vec::new();
        write_waiting(&mut out, &[joiner], &"cd".repeat(32)).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("bravo  10.0.0.2:1900  "), "{text}");
        for fingerprint in ["ab".repeat(32), "cd".repeat(32)] {
            assert!(text.contains(&fingerprint), "{text}");
        }
    }
}
