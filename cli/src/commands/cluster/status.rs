//! `cluster status`: how the convention stands.

use std::io::{self, Write};

use protocol::control::{ClusterRequest, ClusterResponse, ConventionStatus};
use serde_json::{Value, json};

use super::super::{Context, Outcome};
use super::asking::{another, ask};
use crate::Exit;
use crate::online::Online;
use crate::printer::Report;

/// Show leader, voters, members and what runs
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As this node knows it, without asking the leader; shows how old that is
    #[arg(long)]
    stale: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let request = ClusterRequest::Status { stale: args.stale };
    match ask(&mut Online::connect(context)?, request)? {
        ClusterResponse::Status(status) => {
            for warning in &status.warnings {
                context.printer.warning(warning);
            }
            context.printer.report(&Shown(status));
            Ok(Exit::Done)
        }
        other => Err(another(other)),
    }
}

struct Shown(ConventionStatus);

impl Report for Shown {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let status = &self.0;
        let leader = match &status.leader {
            Some(name) => format!("{name} (term {})", status.term),
            None => "none known".to_owned(),
        };
        let voters = status.voters.join(", ");
        let age = match status.age_ms {
            0 => String::new(),
            age_ms => format!(", {age_ms} ms old"),
        };
        let lines = [
            ("Convention", status.convention.clone()),
            ("Authority", status.authority.clone()),
            ("Leader", leader),
            (
                "Voters",
                format!("{voters} ({} wanted)", status.voters_wanted),
            ),
            ("Members", format!("{} up of {}", status.up, status.members)),
            ("Sources", status.sources.to_string()),
            (
                "Actors",
                format!("{} running of {}", status.running, status.actors),
            ),
            ("Index", format!("{}{age}", status.index)),
            ("Feature level", status.feature_level.to_string()),
        ];
        lines
            .iter()
            .try_for_each(|(name, value)| writeln!(out, "{:15}{value}", format!("{name}:")))
    }

    fn json(&self) -> Value {
        json!(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_names_leader_voters_and_age() {
        let status = ConventionStatus {
            convention: "0123".to_owned(),
            authority: "abcd".to_owned(),
            leader: Some("a".to_owned()),
            term: 3,
            voters: vec!["a".to_owned(), "b".to_owned()],
            voters_wanted: 3,
            up: 2,
            members: 4,
            sources: 1,
            running: 5,
            actors: 6,
            index: 77,
            age_ms: 1500,
            feature_level: 1,
            warnings: Vec::new(),
        };
        let mut out = Vec::new();
        Shown(status).text(&mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
        Convention:    0123
        Authority:     abcd
        Leader:        a (term 3)
        Voters:        a, b (3 wanted)
        Members:       2 up of 4
        Sources:       1
        Actors:        5 running of 6
        Index:         77, 1500 ms old
        Feature level: 1
        ");
    }
}
