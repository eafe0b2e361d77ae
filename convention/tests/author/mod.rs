//! Random commands, with numbers filled in by what the registry has.

use std::collections::BTreeMap;

use protocol::definition::{self, ActorDefinition, AutoUnload};
use protocol::registry::{
    AuthorityCommand, Change, Command, KeyDigest, MemberCommand, Placement, Replacement,
    RolloutKind, Root, State,
};
use protocol::{ActorId, GroupDefinition, Incarnation, NodeId, RequestId, SourceHash, Stamp};

pub(crate) const NODES: u64 = 4;
const VERSIONS: u8 = 4;

/// A command before the numbers of the moment are filled in: what, and which.
pub(crate) type Draft = (u8, u8, u8, u8);

/// Fills numbers in by what the registry has, so that most commands mean something.
#[derive(Default)]
pub(crate) struct Author {
    pub(crate) now: u64,
    fresh: u64,
    incarnations: BTreeMap<NodeId, u64>,
}

impl Author {
    pub(crate) fn actor(&mut self) -> ActorId {
        self.fresh += 1;
        ActorId::allot(Incarnation(9), self.fresh)
    }

    fn request(&mut self, which: u8) -> RequestId {
        // One in eight repeats an earlier one.
        let number = if which.is_multiple_of(8) { 1 } else { self.now };
        RequestId(u128::from(number).to_be_bytes())
    }

    pub(crate) fn write(&mut self, state: &State, draft: Draft) -> Command {
        let (what, first, second, third) = draft;
        self.now += u64::from(third);
        let stamp = Stamp(self.now);
        let node = NodeId(1 + u64::from(first) % NODES);
        let slot = pick(state.slots.keys().copied(), second);
        let actor = state.slots.get(&slot).map_or(ActorId::NONE, |s| s.actor);
        let rollout = pick(state.rollouts.keys().copied(), first);
        let reason = "a reason".to_owned();
        match what % 20 {
            0 => self.load(first, second, third, stamp),
            1 => self.leave(state, first, third, stamp),
            2 => Command::Hold { rollout, stamp },
            3 => Command::Switch { rollout, stamp },
            4 => Command::Finish { rollout, stamp },
            5 => Command::Abort {
                rollout,
                reason,
                stamp,
            },
            6 => Command::Drain {
                request: self.request(third),
                hash: pick(state.sources.keys().copied(), first),
                now: false,
                by: "ann".to_owned(),
                stamp,
            },
            7 => Command::Forget {
                hash: pick(state.sources.keys().copied(), first),
                stamp,
            },
            8 => Command::Start {
                replacement: Replacement {
                    slot,
                    node,
                    actor: self.actor(),
                },
                stamp,
            },
            9 => Command::Started { slot, actor, stamp },
            10 => Command::Ended {
                slot,
                actor,
                reason,
                stamp,
            },
            11 => Command::Extend {
                hash: pick(state.sources.keys().copied(), second),
                placement: Placement {
                    position: u32::from(third % 3),
                    class: "c".to_owned(),
                    node,
                    actor: self.actor(),
                },
                stamp,
            },
            12 => {
                let stop = third.is_multiple_of(2);
                self.ordered(first, Change::Operate { slot, stop }, stamp)
            }
            16 => {
                let until = Stamp(stamp.0 + 60_000);
                self.ordered(first, Change::Rest { slot, actor, until }, stamp)
            }
            17 => {
                let member = match self.member(state, draft, node, stamp) {
                    Command::Member(command) => command,
                    other => return other,
                };
                self.ordered(first, Change::Member(member), stamp)
            }
            13 => Command::Displace {
                slot,
                actor,
                reason,
                stamp,
            },
            14 => self.started(node, second, stamp),
            15 => Command::MemberStopped { node, stamp },
            _ => self.member(state, draft, node, stamp),
        }
    }

    fn ordered(&mut self, which: u8, change: Change, stamp: Stamp) -> Command {
        Command::Ordered {
            request: self.request(which),
            told: vec!["it is done".to_owned()],
            change,
            stamp,
        }
    }

    fn started(&mut self, node: NodeId, second: u8, stamp: Stamp) -> Command {
        let run = self.incarnations.entry(node).or_default();
        *run += u64::from(second % 2);
        Command::MemberStarted {
            node,
            name: format!("member-{node}"),
            address: String::new(),
            incarnation: Incarnation(*run),
            capabilities: "{}".to_owned(),
            stamp,
        }
    }

    fn member(&mut self, state: &State, draft: Draft, node: NodeId, stamp: Stamp) -> Command {
        let (_, first, second, third) = draft;
        let by = "ann".to_owned();
        let key = KeyDigest([1 + first % 5; 32]);
        let id = format!("t{}", second % 3);
        let command = match third % 14 {
            0 | 1 => MemberCommand::Admit {
                node,
                key: KeyDigest([node.0 as u8; 32]),
                name: format!("member-{node}"),
                address: String::new(),
                token: Some(id),
                may_vote: true,
                stamp,
            },
            2 => MemberCommand::Admit {
                node,
                key,
                name: "other".to_owned(),
                address: String::new(),
                token: None,
                may_vote: false,
                stamp,
            },
            3 => MemberCommand::Remove {
                node,
                left: second.is_multiple_of(2),
                by,
                stamp,
            },
            4 | 5 => MemberCommand::Lost {
                node,
                incarnation: state
                    .members
                    .get(&node)
                    .map_or(Incarnation(0), |member| member.incarnation),
                stamp,
            },
            6 => MemberCommand::Drain {
                node,
                on: second.is_multiple_of(2),
                by,
                stamp,
            },
            7 => MemberCommand::Issue {
                id,
                secret: KeyDigest::default(),
                uses: u32::from(second % 3),
                expires: Stamp(stamp.0 + 200),
                authority: key,
                by,
                stamp,
            },
            8 => MemberCommand::Approve {
                key,
                name: "other".to_owned(),
                by,
                stamp,
            },
            9 => MemberCommand::TakeRaftId { node, stamp },
            10 => MemberCommand::Vote {
                node,
                on: second.is_multiple_of(2),
                by,
                stamp,
            },
            11 => MemberCommand::TakeBack { node, by, stamp },
            12 => MemberCommand::Authority(authority(first, second, by, stamp)),
            _ => MemberCommand::Recovered { node, stamp },
        };
        Command::Member(command)
    }

    fn load(&mut self, first: u8, second: u8, third: u8, stamp: Stamp) -> Command {
        let group = if first.is_multiple_of(2) {
            "foo"
        } else {
            "bar"
        };
        let version = second % VERSIONS;
        let each = |position: u8| {
            if (version + position).is_multiple_of(2) {
                definition::Placement::Each
            } else {
                definition::Placement::One
            }
        };
        let actors = (0..2).map(|position| ActorDefinition {
            class: format!("c{position}"),
            role: Some(format!("role-{position}")),
            global_name: (position == 0).then(|| format!("Name-{}", version % 2)),
            placement: each(position),
            ..ActorDefinition::default()
        });
        let definition = GroupDefinition {
            actors: actors.collect(),
            auto_unload: AutoUnload::Keep(2),
            keep_limit: None,
        };
        let mut placements = Vec::new();
        for position in 0..2 {
            let nodes = match each(position) {
                definition::Placement::Each => (1..=NODES).collect(),
                definition::Placement::One => vec![u64::from(third) % (NODES + 1)],
            };
            for node in nodes {
                placements.push(Placement {
                    position: u32::from(position),
                    class: format!("c{position}"),
                    node: NodeId(node),
                    actor: self.actor(),
                });
            }
        }
        Command::Load {
            request: self.request(third),
            hash: SourceHash::of(&[first % 2, version]),
            group: group.to_owned(),
            version: Some(format!("{version}.0")),
            bytes: 1,
            definition,
            placements,
            by: "ann".to_owned(),
            stamp,
        }
    }

    fn leave(&mut self, state: &State, first: u8, third: u8, stamp: Stamp) -> Command {
        let group = if first.is_multiple_of(2) {
            "foo"
        } else {
            "bar"
        };
        let active = state.groups.get(group).and_then(|group| group.active);
        let slots: Vec<_> = state.slots.keys().copied().collect();
        let replacements = slots.into_iter().map(|slot| Replacement {
            slot,
            node: NodeId(1 + u64::from(third) % NODES),
            actor: self.actor(),
        });
        Command::Leave {
            replacements: replacements.collect(),
            request: self.request(third),
            group: group.to_owned(),
            from: active.unwrap_or_default(),
            kind: match third % 2 {
                0 => RolloutKind::Rollback,
                _ => RolloutKind::Unload,
            },
            now: false,
            by: "ann".to_owned(),
            stamp,
        }
    }
}

pub(crate) fn pick<T: Default>(mut all: impl ExactSizeIterator<Item = T>, which: u8) -> T {
    let count = all.len().max(1);
    all.nth(usize::from(which) % count).unwrap_or_default()
}
/// Three members, so that few commands are spent on getting there.
pub(crate) fn founded(author: &mut Author) -> Vec<Command> {
    let mut commands = Vec::new();
    for node in (1..=3).map(NodeId) {
        commands.push(Command::Member(MemberCommand::Approve {
            key: KeyDigest([node.0 as u8; 32]),
            name: "m".to_owned(),
            by: "ann".to_owned(),
            stamp: Stamp(0),
        }));
        commands.push(Command::Member(MemberCommand::Admit {
            node,
            key: KeyDigest([node.0 as u8; 32]),
            name: format!("member-{node}"),
            address: String::new(),
            token: None,
            may_vote: true,
            stamp: Stamp(0),
        }));
        commands.push(author.started(node, 1, Stamp(0)));
    }
    commands
}

/// A step of a rotation, more often than not at the wrong moment.
fn authority(first: u8, second: u8, by: String, stamp: Stamp) -> AuthorityCommand {
    let root = |number: u8| Root {
        key: KeyDigest([1 + number % 3; 32]),
        certificate: vec![number % 3],
    };
    match first % 4 {
        0 => AuthorityCommand::Rotate { by, stamp },
        1 => AuthorityCommand::Drawn {
            current: root(second),
            root: root(second.wrapping_add(1)),
            link: vec![second],
            stamp,
        },
        2 => AuthorityCommand::TakeOver {
            key: root(second).key,
            stamp,
        },
        _ => AuthorityCommand::Retire {
            key: root(second).key,
            by,
            stamp,
        },
    }
}
