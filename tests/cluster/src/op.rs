//! The operations of a scenario: each is printed in the timeline as it is carried out.

use std::fmt;
use std::time::Duration;

use crate::condition::Condition;
use crate::name::Node;
use crate::relay::Weather;
use crate::release::Release;

/// One step of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Start the node's process and wait until it serves commands.
    Start(Node),
    /// Start the node's process; the scenario goes on at once.
    Launch(Node),
    /// Invite on one node, start another with the token and wait until both know it as `up`.
    Join {
        /// Who joins.
        node: Node,
        /// Who invites; the leader's address is not needed.
        at: Node,
    },
    /// `director shutdown`; waits until the process has ended.
    Stop(Node),
    /// SIGTERM to the agent; waits until the process has ended.
    Terminate(Node),
    /// Put this release of the program in the place of the one that is installed, as a package
    /// manager does: a node that runs goes on with the file that it was started from.
    Install {
        /// On whose host.
        node: Node,
        /// Which.
        release: Release,
    },
    /// SIGKILL to the agent.
    Kill(Node),
    /// SIGKILL to several agents at once.
    KillAll(Vec<Node>),
    /// SIGSTOP to the agent.
    Pause(Node),
    /// SIGCONT to the agent.
    Continue(Node),
    /// Nothing passes in one direction.
    Cut {
        /// From here.
        from: Node,
        /// To there.
        to: Node,
    },
    /// Nothing passes between this node and any other, in either direction.
    Isolate(Node),
    /// One direction gets its own weather.
    Blow {
        /// From here.
        from: Node,
        /// To there.
        to: Node,
        /// What happens to packets.
        weather: Weather,
    },
    /// Every direction gets this weather.
    BlowAll(Weather),
    /// Fine weather everywhere.
    Heal,
    /// From now on the node is reached by nobody; it dials out only.
    Shelter(Node),
    /// What one node sends another comes from another address from now on.
    Rebind {
        /// Who sends.
        from: Node,
        /// Who receives.
        to: Node,
    },
    /// A command that ends with this exit code, and says these texts on either output.
    Run {
        /// Where.
        on: Node,
        /// The words after `director`.
        line: String,
        /// The exit code wanted.
        code: i32,
        /// Texts wanted.
        says: Vec<String>,
    },
    /// Load a version of the scenario's application.
    Load {
        /// The verb, `load` or `cluster load`.
        verb: &'static str,
        /// Where.
        on: Node,
        /// Which version.
        version: &'static str,
    },
    /// Wait until something is so.
    Await {
        /// What.
        until: Condition,
        /// Why it must become so.
        because: &'static str,
        /// How long it may take.
        limit: Duration,
    },
}

/// How long anything may take that has no limit of its own: the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

impl Op {
    /// A command that succeeds.
    #[must_use]
    pub fn run(on: Node, line: impl Into<String>) -> Self {
        Self::Run {
            on,
            line: line.into(),
            code: 0,
            says: Vec::new(),
        }
    }

    /// A command that is refused, and says why.
    #[must_use]
    pub fn refused(on: Node, line: impl Into<String>, says: &[&str]) -> Self {
        Self::Run {
            on,
            line: line.into(),
            code: 1,
            says: says.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    /// `load` of a version of the scenario's application.
    #[must_use]
    pub fn load(on: Node, version: &'static str) -> Self {
        Self::Load {
            verb: "load",
            on,
            version,
        }
    }

    /// `cluster load` of a version of the scenario's application.
    #[must_use]
    pub fn cluster_load(on: Node, version: &'static str) -> Self {
        Self::Load {
            verb: "cluster load",
            on,
            version,
        }
    }

    /// Waits with patience.
    #[must_use]
    pub fn until(until: Condition, because: &'static str) -> Self {
        Self::within(PATIENCE, until, because)
    }

    /// Waits no longer than the limit.
    #[must_use]
    pub fn within(limit: Duration, until: Condition, because: &'static str) -> Self {
        Self::Await {
            until,
            because,
            limit,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(node) => write!(f, "start {node}"),
            Self::Launch(node) => write!(f, "launch {node}"),
            Self::Join { node, at } => write!(f, "join {node}, invited by {at}"),
            Self::Stop(node) => write!(f, "stop {node}"),
            Self::Terminate(node) => write!(f, "terminate {node}"),
            Self::Install { node, release } => write!(f, "install {release} on {node}"),
            Self::Kill(node) => write!(f, "kill {node}"),
            Self::KillAll(nodes) => {
                f.write_str("kill")?;
                nodes.iter().try_for_each(|node| write!(f, " {node}"))
            }
            Self::Pause(node) => write!(f, "pause {node}"),
            Self::Continue(node) => write!(f, "continue {node}"),
            Self::Cut { from, to } => write!(f, "cut {from} -> {to}"),
            Self::Isolate(node) => write!(f, "isolate {node}"),
            Self::Blow { from, to, weather } => write!(f, "blow {from} -> {to}: {weather}"),
            Self::BlowAll(weather) => write!(f, "blow everywhere: {weather}"),
            Self::Heal => f.write_str("heal"),
            Self::Shelter(node) => write!(f, "shelter {node}: it dials out only"),
            Self::Rebind { from, to } => write!(f, "rebind {from} -> {to}"),
            Self::Run { on, line, code, .. } => write!(f, "run on {on}, exit {code}: {line}"),
            Self::Load { verb, on, version } => write!(f, "{verb} {version} on {on}"),
            Self::Await {
                until,
                because,
                limit,
            } => write!(f, "await {until}, within {limit:?}: {because}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{A, B};

    #[test]
    fn operations_are_printed_as_they_are_said() {
        let ops = [
            Op::Join { node: B, at: A },
            Op::Cut { from: A, to: B },
            Op::KillAll(vec![A, B]),
            Op::cluster_load(B, "2.0"),
            Op::run(A, "list"),
        ];
        let shown = ops.map(|op| op.to_string()).join("; ");
        assert_eq!(
            shown,
            "join b, invited by a; cut a -> b; kill a b; cluster load 2.0 on b; \
             run on a, exit 0: list"
        );
    }
}
