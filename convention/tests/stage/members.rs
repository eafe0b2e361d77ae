//! Commands about members in words: `issue t1 2 100`, `join 2 t1`, `up 2`, `lost 2`, `drained 2`.

use protocol::registry::{Command, KeyDigest, MemberCommand, MemberState, State};
use protocol::{Incarnation, NodeId, Stamp};

/// A node by its number.
pub(super) fn node(word: &str) -> NodeId {
    NodeId(word.parse().unwrap())
}

/// A command that needs nothing but its words.
pub(super) fn command(verb: &str, rest: &[&str], stamp: Stamp) -> Option<Command> {
    let by = "ann".to_owned();
    let command = match verb {
        "issue" => MemberCommand::Issue {
            id: rest[0].to_owned(),
            secret: KeyDigest::default(),
            uses: rest[1].parse().unwrap(),
            expires: Stamp(stamp.0 + rest[2].parse::<u64>().unwrap()),
            authority: KeyDigest::default(),
            by,
            stamp,
        },
        "revoke" => MemberCommand::Revoke {
            id: rest[0].to_owned(),
            by,
            stamp,
        },
        "approve" => MemberCommand::Approve {
            key: key(rest[0]),
            name: name(rest[0]),
            by,
            stamp,
        },
        "join" => MemberCommand::Admit {
            node: node(rest[0]),
            key: key(rest[0]),
            name: name(rest[0]),
            address: String::new(),
            token: rest.get(1).map(|id| (*id).to_owned()),
            may_vote: true,
            stamp,
        },
        "join-as" => MemberCommand::Admit {
            node: node(rest[0]),
            key: key(rest[1]),
            name: name(rest[1]),
            address: String::new(),
            token: rest.get(2).map(|id| (*id).to_owned()),
            may_vote: true,
            stamp,
        },
        "remove" | "leave" => MemberCommand::Remove {
            node: node(rest[0]),
            left: verb == "leave",
            by,
            stamp,
        },
        "take-back" => MemberCommand::TakeBack {
            node: node(rest[0]),
            by,
            stamp,
        },
        "drained" | "undrained" => MemberCommand::Drain {
            node: node(rest[0]),
            on: verb == "drained",
            by,
            stamp,
        },
        "promote" | "demote" => MemberCommand::Vote {
            node: node(rest[0]),
            on: verb == "promote",
            by,
            stamp,
        },
        "raft-id" => MemberCommand::TakeRaftId {
            node: node(rest[0]),
            stamp,
        },
        "voters" => MemberCommand::Voters {
            wanted: rest[0].parse().unwrap(),
            by,
            stamp,
        },
        "recovered" => MemberCommand::Recovered {
            node: node(rest[0]),
            stamp,
        },
        "down" => {
            let node = node(rest[0]);
            return Some(Command::MemberStopped { node, stamp });
        }
        _ => return None,
    };
    Some(Command::Member(command))
}

/// A member starts a run of its own.
pub(super) fn started(node: NodeId, now: u64) -> Command {
    Command::MemberStarted {
        node,
        name: name(&node.to_string()),
        address: String::new(),
        incarnation: Incarnation(now),
        capabilities: "{}".to_owned(),
        stamp: Stamp(now),
    }
}

/// A member says of its present run that its settings let it vote, or not.
pub(super) fn described(state: &State, node: NodeId, may_vote: bool, stamp: Stamp) -> Command {
    let member = state.members.get(&node);
    Command::Member(MemberCommand::Describe {
        node,
        incarnation: member.map(|member| member.incarnation).unwrap_or_default(),
        address: String::new(),
        capabilities: "{}".to_owned(),
        may_vote,
        stamp,
    })
}

/// The lease of a member's present run is over.
pub(super) fn lost(state: &State, node: NodeId, stamp: Stamp) -> Command {
    let member = state.members.get(&node);
    Command::Member(MemberCommand::Lost {
        node,
        incarnation: member.map(|member| member.incarnation).unwrap_or_default(),
        stamp,
    })
}

/// The members and how they stand.
pub(super) fn shown(state: &State) -> String {
    let members = state.members.iter().map(|(node, member)| {
        let state = match member.state {
            MemberState::Up => "up",
            MemberState::Down => "down",
            MemberState::Lost => "lost",
        };
        let drained = if member.admission.drained {
            " drained"
        } else {
            ""
        };
        let demoted = if member.admission.demoted {
            " demoted"
        } else {
            ""
        };
        format!(" {node}={state}{drained}{demoted}")
    });
    members.collect()
}

fn key(word: &str) -> KeyDigest {
    KeyDigest([word.parse().unwrap(); 32])
}

fn name(word: &str) -> String {
    format!("member-{word}")
}
