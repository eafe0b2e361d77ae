//! Conditions that scenarios wait for, looked at through the commands of a node.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::name::Node;
use crate::scene::Scene;

/// Something that may be so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The node answers commands.
    Serves(Node),
    /// As one node sees it, so many members are up.
    Up {
        /// Who is asked.
        on: Node,
        /// How many.
        count: usize,
    },
    /// As one node sees it, a member has this state.
    State {
        /// Who is asked.
        on: Node,
        /// About whom.
        member: Node,
        /// `up`, `down`, `lost`, `drained`, or `gone` for no member.
        state: &'static str,
    },
    /// As one node sees it, there are so many voters.
    Voters {
        /// Who is asked.
        on: Node,
        /// How many.
        count: usize,
    },
    /// As one node sees it, the leader is one of these.
    LedBy {
        /// Who is asked.
        on: Node,
        /// Any of these.
        any: Vec<Node>,
    },
    /// A literal sent to a target is answered by a text that holds this one.
    Answers {
        /// Where it is asked.
        on: Node,
        /// Role, global name or address.
        target: &'static str,
        /// A Python literal.
        literal: &'static str,
        /// Part of the reply.
        reply: &'static str,
    },
    /// As one node sees it, this version is active in the scenario's group.
    Active {
        /// Who is asked.
        on: Node,
        /// The version.
        version: &'static str,
    },
    /// The convention's events have one with these texts in what, subject or detail.
    Told {
        /// Who is asked.
        on: Node,
        /// All of them, in one event.
        texts: Vec<&'static str>,
    },
    /// The node's log holds a text.
    Logged {
        /// Whose log.
        by: Node,
        /// The text.
        text: &'static str,
    },
    /// Somebody with this name waits for approval.
    Waits {
        /// Who is asked.
        on: Node,
        /// Who waits.
        joiner: Node,
    },
}

/// The desk, asked on a node where it is, answers by a text that holds this one.
#[must_use]
pub fn answers(on: Node, reply: &'static str) -> Condition {
    Condition::Answers {
        on,
        target: "Desk",
        literal: "'where'",
        reply,
    }
}

/// What was seen instead, when a condition does not hold.
pub type Seen = Result<(), String>;

/// A look at a node takes no longer: one that hangs is one that does not answer.
const LOOK: Duration = Duration::from_secs(12);

impl Condition {
    /// Whether it is so now.
    ///
    /// # Errors
    /// What was seen instead.
    pub fn look(&self, scene: &Scene) -> Seen {
        match self {
            Self::Serves(node) => document(scene, *node, "dead-letters").map(|_| ()),
            Self::Up { on, count } => {
                let members = members(scene, *on)?;
                let states = members.iter().map(|it| &it["state"]);
                same(states.filter(|it| *it == "up").count(), *count, &members)
            }
            Self::State { on, member, state } => {
                let members = members(scene, *on)?;
                let found = members.iter().find(|it| it["name"] == member.to_string());
                let seen = found.map_or("gone", |it| it["state"].as_str().unwrap_or("?"));
                same(seen, *state, &members)
            }
            Self::Voters { on, count } => {
                let status = document(scene, *on, "cluster status")?;
                let voters = status["voters"].as_array().map_or(0, Vec::len);
                same(voters, *count, &[status])
            }
            Self::LedBy { on, any } => {
                let status = document(scene, *on, "cluster status")?;
                let is_one = any.iter().any(|node| status["leader"] == node.to_string());
                is_one
                    .then_some(())
                    .ok_or_else(|| format!("leader {}", status["leader"]))
            }
            Self::Answers {
                on,
                target,
                literal,
                reply,
            } => is_answered(scene, *on, target, literal, reply),
            Self::Active { on, version } => active(scene, *on, version),
            Self::Told { on, texts } => {
                let events = document(scene, *on, "cluster events")?;
                let events = events["events"].as_array().cloned().unwrap_or_default();
                let told = events.iter().any(|event| {
                    let text = event.to_string();
                    texts.iter().all(|wanted| text.contains(wanted))
                });
                told.then_some(()).ok_or_else(|| shown(&events))
            }
            Self::Logged { by, text } => {
                let log = scene.log(*by);
                let last = log.lines().last().unwrap_or_default();
                log.contains(text)
                    .then_some(())
                    .ok_or_else(|| last.to_owned())
            }
            Self::Waits { on, joiner } => {
                let tokens = document(scene, *on, "cluster tokens list")?;
                let waiting = tokens["waiting"].as_array().cloned().unwrap_or_default();
                let is_there = waiting.iter().any(|it| it["name"] == joiner.to_string());
                is_there.then_some(()).ok_or_else(|| shown(&waiting))
            }
        }
    }
}

fn is_answered(scene: &Scene, on: Node, target: &str, literal: &str, reply: &str) -> Seen {
    let ran = scene.run_words(on, &["ask", target, literal, "--timeout", "5"], LOOK);
    let is_so = ran.code == Some(0) && ran.stdout.contains(reply);
    is_so.then_some(()).ok_or_else(|| ran.shown())
}

fn active(scene: &Scene, on: Node, version: &str) -> Seen {
    let list = document(scene, on, "list --stale")?;
    let groups = list["groups"].as_array().cloned().unwrap_or_default();
    let group = groups.iter().find(|it| it["group"] == scene.group());
    let sources = group.and_then(|it| it["sources"].as_array().cloned());
    let sources = sources.unwrap_or_default();
    let active = sources.iter().find(|it| it["state"] == "active");
    let seen = active.map_or("none", |it| it["version"].as_str().unwrap_or("?"));
    same(seen, version, &sources)
}

fn members(scene: &Scene, on: Node) -> Result<Vec<Value>, String> {
    let document = document(scene, on, "cluster members")?;
    Ok(document["members"].as_array().cloned().unwrap_or_default())
}

fn document(scene: &Scene, on: Node, line: &str) -> Result<Value, String> {
    let words: Vec<_> = std::iter::once("--json").chain(line.split(' ')).collect();
    let ran = scene.run_words(on, &words, LOOK);
    if ran.code == Some(0) {
        serde_json::from_str(&ran.stdout).map_err(|error| format!("{error}: {}", ran.shown()))
    } else {
        Err(ran.shown())
    }
}

fn same<T: PartialEq + fmt::Debug>(seen: T, wanted: T, all: &[Value]) -> Seen {
    let is_so = seen == wanted;
    is_so
        .then_some(())
        .ok_or_else(|| format!("{seen:?} in {}", shown(all)))
}

fn shown(values: &[Value]) -> String {
    let texts: Vec<_> = values.iter().map(Value::to_string).collect();
    texts.join(", ")
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serves(node) => write!(f, "{node} serves"),
            Self::Up { on, count } => write!(f, "{count} members up as {on} sees it"),
            Self::State { on, member, state } => {
                write!(f, "{member} {state} as {on} sees it")
            }
            Self::Voters { on, count } => write!(f, "{count} voters as {on} sees it"),
            Self::LedBy { on, any } => {
                let any: Vec<_> = any.iter().map(Node::to_string).collect();
                write!(f, "led by {} as {on} sees it", any.join(" or "))
            }
            Self::Answers {
                on,
                target,
                literal,
                reply,
            } => write!(f, "{target} asked {literal} on {on} answers {reply}"),
            Self::Active { on, version } => write!(f, "{version} active as {on} sees it"),
            Self::Told { on, texts } => write!(f, "an event on {on} with {texts:?}"),
            Self::Logged { by, text } => write!(f, "{text:?} in the log of {by}"),
            Self::Waits { on, joiner } => write!(f, "{joiner} waits for approval at {on}"),
        }
    }
}
