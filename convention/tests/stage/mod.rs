//! A stage for the registry: commands in words, what they did and what stands afterwards in text.
//!
//! One line is one command: `load foo 1.0 a b:Role` begins a rollout of group `foo` with the
//! actors `a` and `b`; sources, slots and rollouts are named by group and version.
//! `a@2` is actor `a` on member 2, `e*@1,2` an actor on each member, now on 1 and 2. Members and
//! places are shown as soon as there are several.

use std::fmt::Write as _;

use convention::registry::ranked;
use convention::{Registry, Standing, role_standings, work};
use protocol::definition::{self, ActorDefinition, AutoUnload};
use protocol::registry::{
    Change, Command, Outcome, Placement, Replacement, RolloutKind, SlotState, SourceState, State,
};
use protocol::{
    ActorId, ConventionId, GroupDefinition, Incarnation, NodeId, RequestId, RolloutId, SlotId,
    SourceHash, Stamp,
};

mod members;

/// The node that is meant when none is named.
const NODE: NodeId = NodeId(1);

/// A registry, a clock and a counter of fresh addresses.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    pub(crate) registry: Registry,
    pub(crate) log: Vec<Command>,
    now: u64,
    fresh: u64,
    requests: u8,
}

impl Stage {
    /// Plays one line and says what it did.
    pub(crate) fn play(&mut self, line: &str) -> String {
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap_or_default();
        let rest: Vec<&str> = words.collect();
        if verb == "wait" {
            self.now += rest[0].parse::<u64>().unwrap();
            return self.show();
        }
        if verb == "audit" {
            return self.audit();
        }
        let command = self.command(verb, &rest);
        let outcome = self.registry.apply(&command);
        self.log.push(command);
        format!("{}{}", shown(&outcome), self.show())
    }

    fn command(&mut self, verb: &str, rest: &[&str]) -> Command {
        self.now += 1;
        let stamp = Stamp(self.now);
        let by = "ann".to_owned();
        self.requests += 1;
        let request = RequestId([self.requests; 16]);
        if let Some(command) = members::command(verb, rest, stamp) {
            return command;
        }
        // `order 7 drained 2`: under an id that may be given again.
        if let ("order", [id, verb, rest @ ..]) = (verb, rest) {
            let request = RequestId([100 + id.parse::<u8>().unwrap(); 16]);
            let command = members::command(verb, rest, stamp);
            let Some(Command::Member(change)) = command else {
                panic!("no order `{verb}`");
            };
            return ordered(request, Change::Member(change), stamp);
        }
        match verb {
            "found" => Command::Found {
                convention: ConventionId([1; 16]),
                feature_level: 1,
                stamp,
            },
            "boot" => members::started(NODE, self.now),
            "up" => members::started(members::node(rest[0]), self.now),
            "lost" => members::lost(self.state(), members::node(rest[0]), stamp),
            "votes" | "votes-not" => {
                let node = members::node(rest[0]);
                members::described(self.state(), node, verb == "votes", stamp)
            }
            "load" => self.load(request, rest, stamp),
            "hold" => Command::Hold {
                rollout: self.rollout(),
                stamp,
            },
            "switch" => Command::Switch {
                rollout: self.rollout(),
                stamp,
            },
            "finish" => Command::Finish {
                rollout: self.rollout(),
                stamp,
            },
            "abort" => Command::Abort {
                rollout: self.rollout(),
                reason: rest.join(" "),
                stamp,
            },
            "rollback" | "unload-active" => {
                let group = rest[0].to_owned();
                let from = self.state().groups[&group].active.unwrap();
                let kind = match verb {
                    "rollback" => RolloutKind::Rollback,
                    _ => RolloutKind::Unload,
                };
                let replacements = self.replacements();
                Command::Leave {
                    request,
                    group,
                    from,
                    kind,
                    replacements,
                    now: false,
                    by,
                    stamp,
                }
            }
            "drain" => Command::Drain {
                request,
                hash: hash(rest),
                now: false,
                by,
                stamp,
            },
            "forget" => Command::Forget {
                hash: hash(rest),
                stamp,
            },
            "start" => {
                let slot = self.slot(rest);
                let replacement = Replacement {
                    slot,
                    node: rest.get(3).map_or(NODE, |node| members::node(node)),
                    actor: self.fresh_actor(),
                };
                Command::Start { replacement, stamp }
            }
            "started" | "ended" => {
                let slot = self.slot(rest);
                let actor = self.state().slots[&slot].actor;
                match verb {
                    "started" => Command::Started { slot, actor, stamp },
                    _ => Command::Ended {
                        slot,
                        actor,
                        reason: "it crashed".to_owned(),
                        stamp,
                    },
                }
            }
            "displace" => {
                let slot = self.slot(rest);
                let found = self.state().slots.get(&slot);
                let actor = found.map_or(ActorId::NONE, |slot| slot.actor);
                let reason = "no member can run it".to_owned();
                Command::Displace {
                    slot,
                    actor,
                    reason,
                    stamp,
                }
            }
            "extend" => Command::Extend {
                hash: hash(rest),
                placement: Placement {
                    position: 0,
                    class: rest[2].to_owned(),
                    node: members::node(rest[3]),
                    actor: self.fresh_actor(),
                },
                stamp,
            },
            "stop" | "resume" => {
                let (slot, stop) = (self.slot(rest), verb == "stop");
                ordered(request, Change::Operate { slot, stop }, stamp)
            }
            other => panic!("no command `{other}`"),
        }
    }

    fn load(&mut self, request: RequestId, rest: &[&str], stamp: Stamp) -> Command {
        let (group, version) = (rest[0], rest[1]);
        let mut definition = GroupDefinition::default();
        let mut placements = Vec::new();
        for word in &rest[2..] {
            if let Some(count) = word.strip_prefix("keep=") {
                definition.auto_unload = AutoUnload::Keep(count.parse().unwrap());
                continue;
            }
            let (word, nodes) = word.split_once('@').unwrap_or((word, "1"));
            let mut parts = word.split(':');
            let class = parts.next().unwrap();
            let placement = match class.ends_with('*') {
                true => definition::Placement::Each,
                false => definition::Placement::One,
            };
            for node in nodes.split(',') {
                placements.push(Placement {
                    position: definition.actors.len() as u32,
                    class: class.trim_end_matches('*').to_owned(),
                    node: members::node(node),
                    actor: self.fresh_actor(),
                });
            }
            definition.actors.push(ActorDefinition {
                class: class.trim_end_matches('*').to_owned(),
                role: parts
                    .next()
                    .filter(|part| !part.is_empty())
                    .map(str::to_owned),
                global_name: parts.next().map(str::to_owned),
                placement,
                ..ActorDefinition::default()
            });
        }
        Command::Load {
            request,
            hash: hash(rest),
            group: group.to_owned(),
            version: (version != "-").then(|| version.to_owned()),
            bytes: 1,
            placements,
            definition,
            by: "ann".to_owned(),
            stamp,
        }
    }

    fn replacements(&mut self) -> Vec<Replacement> {
        let gone: Vec<_> = self
            .state()
            .slots
            .iter()
            .filter(|(_, s)| s.state == SlotState::Gone)
            .map(|(id, _)| *id)
            .collect();
        gone.into_iter()
            .map(|slot| Replacement {
                slot,
                node: NODE,
                actor: self.fresh_actor(),
            })
            .collect()
    }

    fn audit(&self) -> String {
        let mut out = String::new();
        for entry in &self.state().roll.audit {
            let parts = [&entry.what, &entry.subject, &entry.by, &entry.detail];
            let parts = parts.map(String::as_str).into_iter();
            let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
            let _ = writeln!(out, "    {} {}", entry.number, parts.join(" | "));
        }
        out
    }

    fn state(&self) -> &State {
        self.registry.state()
    }

    fn rollout(&self) -> RolloutId {
        self.state()
            .rollouts
            .keys()
            .next()
            .copied()
            .unwrap_or_default()
    }

    /// `foo 1.0 a`: the slot of actor `a`; `a@2` the one on member 2.
    fn slot(&self, rest: &[&str]) -> SlotId {
        let hash = hash(rest);
        let (class, node) = match rest[2].split_once('@') {
            Some((class, node)) => (class, Some(members::node(node))),
            None => (rest[2], None),
        };
        let found = self.state().slots.iter().find(|(_, slot)| {
            let there = node.is_none_or(|node| slot.node == node);
            slot.source == hash && slot.class == class && there
        });
        found.map(|(id, _)| *id).unwrap_or_default()
    }

    fn fresh_actor(&mut self) -> ActorId {
        self.fresh += 1;
        ActorId::allot(Incarnation(9), self.fresh)
    }

    /// What stands, a line a source, a rollout, a role; then what there is to do.
    fn show(&self) -> String {
        let mut out = String::new();
        let state = self.state();
        let several = state.members.len() > 1;
        if several {
            let _ = writeln!(out, "    members:{}", members::shown(state));
        }
        for (name, group) in &state.groups {
            for (hash, source) in ranked(state, name) {
                let active = if group.active == Some(hash) {
                    " ACTIVE"
                } else {
                    ""
                };
                let withdrawn = if group.withdrawn.contains(&hash) {
                    " withdrawn"
                } else {
                    ""
                };
                let shown = match source.state {
                    SourceState::Loading => " loading",
                    SourceState::Loaded => "",
                    SourceState::Draining { .. } => " draining",
                };
                let version = source.version.as_deref().unwrap_or("-");
                let _ = write!(out, "    {name} {version}{active}{withdrawn}{shown}:");
                for slot in state.slots.values().filter(|slot| slot.source == hash) {
                    let place = several.then(|| format!("@{}", slot.node));
                    let (class, place) = (&slot.class, place.unwrap_or_default());
                    let _ = write!(out, " {class}{place}={}", standing(&slot.state));
                }
                out.push('\n');
            }
        }
        for rollout in state.rollouts.values() {
            let _ = writeln!(out, "    rollout of {}: {:?}", rollout.group, rollout.step);
        }
        for role in role_standings(state, None).values() {
            let shown = match &role.standing {
                Standing::Bound(actor) => format!("bound to {}", actor.0[15]),
                Standing::Held => "held".to_owned(),
                Standing::Unbound(reason) => format!("unbound: {reason}"),
            };
            let _ = writeln!(out, "    role {}/{}: {shown}", role.group, role.role);
        }
        let due: Vec<_> = work(state, Stamp(self.now))
            .iter()
            .map(|w| word(&format!("{w:?}")))
            .collect();
        if !due.is_empty() {
            let _ = writeln!(out, "    to do: {}", due.join(", "));
        }
        out
    }
}

fn ordered(request: RequestId, change: Change, stamp: Stamp) -> Command {
    let told = Vec::new();
    Command::Ordered {
        request,
        told,
        change,
        stamp,
    }
}

fn standing(state: &SlotState) -> String {
    match state {
        SlotState::Waiting { not_before, .. } => format!("waiting until {}", not_before.0),
        SlotState::Failed { .. } => "failed".to_owned(),
        other => word(&format!("{other:?}")).to_lowercase(),
    }
}

fn word(debug: &str) -> String {
    debug
        .split(['(', ' ', '{'])
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn shown(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Refused(refusal) => format!("refused: {refusal}\n"),
        Outcome::Began { .. } => "began\n".to_owned(),
        other => format!("{other:?}\n").to_lowercase(),
    }
}

/// The hash of `group version`, readable in refusals only by its start.
fn hash(rest: &[&str]) -> SourceHash {
    SourceHash::of(format!("{} {}", rest[0], rest[1]).as_bytes())
}
