//! `list`: what is loaded and running, group by group.

use std::io::{self, Write};

use protocol::control::{ListedActor, ListedGroup, ListedSource, NodeStatus, Request, Response};
use serde_json::{Value, json};

use super::{Context, Outcome};
use crate::online::{Online, as_of, moment, unexpected};
use crate::printer::Report;
use crate::{Exit, Failure};

/// List the loaded sources and their actors, newest version first
///
/// The leader confirms that nothing newer was acknowledged; where none is reached, this fails
/// instead of showing what may be old, and `--stale` shows it all the same.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this group
    group: Option<String>,
    /// As this node knows it, without asking the leader; says how old that is
    #[arg(long)]
    stale: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let mut online = Online::connect(context)?;
    let group = args.group.clone();
    let stale = args.stale;
    let (groups, index, age_ms) = match online.request(Request::List { group, stale })? {
        Response::Listed {
            groups,
            index,
            age_ms,
        } => (groups, index, age_ms),
        other => return Err(unexpected(&other)),
    };
    if stale {
        context.printer.note(as_of(index, age_ms));
    }
    if let Some(group) = args.group.as_ref().filter(|_| groups.is_empty()) {
        let text = format!("nothing is loaded for the group `{group}`");
        let hint = "`director list` shows what is loaded, `director avail` what could be";
        return Err(Failure::text(Exit::Refused, text).hint(hint));
    }
    let node = online.status()?;
    for warning in &node.warnings {
        context.printer.warning(warning);
    }
    if stale {
        let text = format!("as of index {index}, {age_ms} ms after the leader was heard");
        context.printer.note(text);
    }
    context.printer.report(&List {
        groups,
        index,
        age_ms,
        node,
    });
    Ok(Exit::Done)
}

struct List {
    groups: Vec<ListedGroup>,
    index: u64,
    age_ms: u64,
    node: NodeStatus,
}

impl Report for List {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for group in &self.groups {
            writeln!(out, "Group {}::", group.group)?;
            for source in &group.sources {
                writeln!(out, "{}", source_line(source))?;
                if let Some(reason) = &source.per_actor_import {
                    writeln!(out, "      imported once per actor: {reason}")?;
                }
                for actor in &source.actors {
                    writeln!(out, "{}", actor_line(actor))?;
                }
            }
        }
        Ok(())
    }

    fn json(&self) -> Value {
        json!({
            "node": self.node,
            "groups": self.groups,
            "index": self.index,
            "age_ms": self.age_ms,
        })
    }
}

fn source_line(source: &ListedSource) -> String {
    let version = source
        .version
        .as_ref()
        .map(|version| format!("  {version}"));
    let state = match source.state.as_str() {
        "loaded" => String::new(),
        "active" => "  [ACTIVE]".to_owned(),
        other => format!("  [{other}]"),
    };
    format!(
        "  Source hash {}{}{state}",
        source.hash,
        version.unwrap_or_default()
    )
}

fn actor_line(actor: &ListedActor) -> String {
    let address = match (actor.actor, actor.state.as_str()) {
        (Some(address), _) => address.to_string(),
        (None, "failed") => "LOAD FAILED... no address".to_owned(),
        (None, _) => "no address".to_owned(),
    };
    let role = actor
        .role
        .as_ref()
        .map(|role| format!(" ({role})"))
        .unwrap_or_default();
    let name = actor
        .global_name
        .as_ref()
        .map(|name| format!("  named {name}"));
    let since = actor
        .started
        .map(|stamp| format!("  (since {})", moment(stamp)));
    let state = match (actor.state.as_str(), &actor.failed) {
        (_, Some(reason)) => format!("  {}: {}", actor.state, reason.replace('\n', "\n        ")),
        ("running", None) => String::new(),
        (state, None) => format!("  {state}"),
    };
    format!(
        "      {address} -- {}{role}{}{}  node {}  restarts {}{state}",
        actor.class,
        name.unwrap_or_default(),
        since.unwrap_or_default(),
        actor.node,
        actor.restarts
    )
}

#[cfg(test)]
mod tests {
    use protocol::{ActorId, SourceHash, Stamp};

    use super::*;

    fn actor() -> ListedActor {
        ListedActor {
            actor: Some(ActorId([1; 16])),
            class: "foo.main.Foo".to_owned(),
            role: Some("Main".to_owned()),
            global_name: None,
            node: "here".to_owned(),
            started: None,
            restarts: 2,
            failed: None,
            state: "running".to_owned(),
        }
    }

    #[test]
    fn an_actor_shows_address_class_role_node_and_restarts() {
        let address = "01".repeat(16);
        assert_eq!(
            actor_line(&actor()),
            format!("      {address} -- foo.main.Foo (Main)  node here  restarts 2")
        );
    }

    #[test]
    fn a_failed_actor_shows_why_it_has_no_address() {
        let failed = ListedActor {
            actor: None,
            failed: Some("it raised\nValueError: x".to_owned()),
            state: "failed".to_owned(),
            ..actor()
        };
        assert_eq!(
            actor_line(&failed),
            "      LOAD FAILED... no address -- foo.main.Foo (Main)  node here  restarts 2  \
             failed: it raised\n        ValueError: x"
        );
    }

    #[test]
    fn a_source_shows_its_whole_hash_its_version_and_its_state() {
        let source = |version: Option<&str>, state: &str| ListedSource {
            hash: SourceHash([0xab; 32]),
            version: version.map(str::to_owned),
            state: state.to_owned(),
            bytes: 1,
            loaded: Stamp(0),
            by: "me".to_owned(),
            per_actor_import: None,
            actors: Vec::new(),
        };
        let hash = "ab".repeat(32);
        let line = |version, state| source_line(&source(version, state));
        assert_eq!(
            line(Some("1.0"), "active"),
            format!("  Source hash {hash}  1.0  [ACTIVE]")
        );
        assert_eq!(line(None, "loaded"), format!("  Source hash {hash}"));
        assert_eq!(
            line(None, "withdrawn"),
            format!("  Source hash {hash}  [withdrawn]")
        );
    }
}
