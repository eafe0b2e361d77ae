//! `cluster authority`: who issues the convention's certificates, and a new key for it.

use std::io::{self, Write};

use clap::Subcommand;
use protocol::control::{AuthorityStatus, ClusterRequest, ClusterResponse, ListedAuthority};
use serde_json::{Value, json};

use super::super::{Context, Outcome};
use super::asking::{another, ask, order};
use super::table;
use crate::Exit;
use crate::online::{Online, moment, user};
use crate::printer::Report;

/// Show the fingerprint of the convention's authority and who has what of it; give it a new key
///
/// A member that voted holds the authority's key. After one was removed because it is not trusted
/// any more: `cluster authority rotate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum What {
    /// Replace the authority's key: voters, then members go over to it by themselves
    Rotate,
    /// Have the key from before count no more at once, whoever that is up has not renewed yet
    Retire,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    match args.what {
        None => show(context),
        Some(What::Rotate) => {
            let request = ClusterRequest::Rotate { by: user() };
            order(context, request, "Began", "to replace the authority's key")
        }
        Some(What::Retire) => {
            let request = ClusterRequest::Retire { by: user() };
            order(
                context,
                request,
                "Retired",
                "the authority's key from before",
            )
        }
    }
}

fn show(context: &Context) -> Outcome {
    match ask(&mut Online::connect(context)?, ClusterRequest::Authority)? {
        ClusterResponse::Authority(status) => {
            context.printer.report(&Shown(status));
            Ok(Exit::Done)
        }
        other => Err(another(other)),
    }
}

struct Shown(AuthorityStatus);

impl Report for Shown {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let status = &self.0;
        writeln!(out, "Issues:   {}", status.issues)?;
        if let Some(next) = &status.next {
            writeln!(out, "Next:     {next}")?;
        }
        for before in &status.before {
            writeln!(out, "Before:   {before} (its certificates still count)")?;
        }
        for retired in &status.retired {
            writeln!(out, "Retired:  {retired}")?;
        }
        if let (Some(step), Some(by), Some(since)) = (&status.step, &status.by, status.since) {
            writeln!(
                out,
                "Rotation: {} (asked by {by}, {})",
                words(step),
                moment(since)
            )?;
            if !status.waits_for.is_empty() {
                writeln!(out, "Waits for: {}", status.waits_for.join(", "))?;
            }
        }
        let rows: Vec<_> = status.members.iter().map(row).collect();
        table::write(out, &["MEMBER", "UP", "CERTIFICATE", "KEY"], &rows)
    }

    fn json(&self) -> Value {
        json!(self.0)
    }
}

fn words(step: &str) -> &str {
    match step {
        "wanted" => "the leader is to draw a key",
        "drawn" => "the voters are getting the key",
        "issues" => "the members are getting certificates of the new key",
        other => other,
    }
}

fn row(member: &ListedAuthority) -> Vec<String> {
    let certificate = match (member.renewed, member.is_up) {
        (true, _) => "current",
        (false, true) => "from before",
        (false, false) => "not known",
    };
    let key = match member.holds_key {
        Some(true) => "held",
        Some(false) => "missing",
        None => "-",
    };
    let up = if member.is_up { "yes" } else { "no" };
    let cells = [member.name.as_str(), up, certificate, key];
    cells.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use protocol::{NodeId, Stamp};

    use super::*;

    #[test]
    fn a_rotation_says_how_far_it_is_and_whom_it_waits_for() {
        let member = |node, name: &str, is_up, renewed, holds_key| ListedAuthority {
            node: NodeId(node),
            name: name.to_owned(),
            is_up,
            renewed,
            holds_key,
        };
        let status = AuthorityStatus {
            issues: "abcd".to_owned(),
            next: None,
            before: vec!["0123".to_owned()],
            retired: Vec::new(),
            step: Some("issues".to_owned()),
            by: Some("ann".to_owned()),
            since: Some(Stamp(0)),
            waits_for: vec!["b".to_owned()],
            members: vec![
                member(1, "a", true, true, Some(true)),
                member(2, "b", true, false, None),
                member(3, "c", false, false, Some(false)),
            ],
        };
        let mut out = Vec::new();
        Shown(status).text(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for part in [
            "Issues:   abcd",
            "Before:   0123 (its certificates still count)",
            "getting certificates of the new key (asked by ann",
            "Waits for: b",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let rows: Vec<Vec<_>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert!(
            rows.contains(&vec!["a", "yes", "current", "held"]),
            "{text}"
        );
        assert!(
            rows.contains(&vec!["b", "yes", "from", "before", "-"]),
            "{text}"
        );
        assert!(
            rows.contains(&vec!["c", "no", "not", "known", "missing"]),
            "{text}"
        );
    }
}
