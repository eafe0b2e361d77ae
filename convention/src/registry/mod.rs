//! The replicated registry: members, groups, loaded sources, Director actors, rollouts.
//!
//! `apply` is a function of state and command alone: no clock, no randomness, no I/O.
//! A refused command changes nothing; a repeated request gives the first outcome again.
//! Not here: the shapes (`protocol::registry`), who proposes what and when (`crate::work`).

use protocol::registry::{
    Command, Group, HISTORY_KEPT, HistoryEntry, Member, MemberState, Outcome, Recorded, Refusal,
    State,
};
use protocol::{RequestId, RolloutId, SlotId, SourceHash, Stamp};

mod actors;
mod load;
mod rollout;
mod sources;
pub use sources::{drained_after_switch, next_active, ranked, version_key};

/// The registry, changed by [`Registry::apply`] only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registry {
    state: State,
}

/// Milliseconds that the outcome of a request is remembered for repeats.
const REQUEST_KEPT_MS: u64 = 3_600_000;

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A registry with the state of a snapshot.
    #[must_use]
    pub fn from_state(state: State) -> Self {
        Self { state }
    }

    /// The state, to read.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Applies one committed command and says what it did.
    pub fn apply(&mut self, command: &Command) -> Outcome {
        let Some((request, stamp)) = command_request(command) else {
            return self.dispatch(command);
        };
        self.state
            .requests
            .retain(|_, recorded| recorded.stamp.0 + REQUEST_KEPT_MS > stamp.0);
        if let Some(recorded) = self.state.requests.get(&request) {
            return recorded.outcome.clone();
        }
        let outcome = self.dispatch(command);
        if !matches!(outcome, Outcome::Refused(_)) {
            self.state.requests.insert(
                request,
                Recorded {
                    stamp,
                    outcome: outcome.clone(),
                },
            );
        }
        outcome
    }

    fn dispatch(&mut self, command: &Command) -> Outcome {
        match command {
            Command::Found {
                convention,
                feature_level,
                ..
            } => {
                if self.state.convention.is_some() {
                    return Outcome::Stale;
                }
                self.state.convention = Some(*convention);
                self.state.feature_level = *feature_level;
                Outcome::Done
            }
            Command::MemberStarted {
                node,
                name,
                address,
                incarnation,
                capabilities,
                stamp,
            } => {
                let member = Member {
                    name: name.clone(),
                    address: address.clone(),
                    incarnation: *incarnation,
                    capabilities: capabilities.clone(),
                    state: MemberState::Up,
                    since: *stamp,
                    admission: self
                        .state
                        .members
                        .get(node)
                        .map(|m| m.admission.clone())
                        .unwrap_or_default(),
                };
                self.state.members.insert(*node, member);
                self.node_started(*node, *stamp)
            }
            Command::MemberStopped { node, .. } => {
                if let Some(member) = self.state.members.get_mut(node) {
                    member.state = MemberState::Down;
                }
                Outcome::Done
            }
            Command::Load { .. } => self.load(command),
            Command::Leave {
                group,
                from,
                kind,
                replacements,
                now,
                by,
                stamp,
                ..
            } => {
                let origin = rollout::Origin {
                    by,
                    stamp: *stamp,
                    now: *now,
                };
                self.leave(group, *from, *kind, replacements, &origin)
            }
            Command::Hold { rollout, .. } => self.hold(*rollout),
            Command::Switch { rollout, stamp } => self.switch(*rollout, *stamp),
            Command::Finish { rollout, stamp } => self.finish(*rollout, *stamp),
            Command::Abort {
                rollout,
                reason,
                stamp,
            } => self.abort(*rollout, reason, *stamp),
            Command::Drain {
                hash,
                now,
                by,
                stamp,
                ..
            } => self.drain(*hash, *now, by, *stamp),
            Command::Forget { hash, stamp } => self.forget(*hash, *stamp),
            Command::Start { replacement, stamp } => self.start(replacement, *stamp),
            Command::Started { slot, actor, stamp } => self.started(*slot, *actor, *stamp),
            Command::Ended {
                slot,
                actor,
                reason,
                stamp,
            } => self.ended(*slot, *actor, reason, *stamp),
            Command::Extend { .. } | Command::Member(_) => Outcome::Stale,
            Command::Operate { slot, stop, stamp } => self.operate(*slot, *stop, *stamp),
        }
    }

    fn next_number(&mut self) -> u64 {
        self.state.last_number += 1;
        self.state.last_number
    }

    fn next_slot(&mut self) -> SlotId {
        SlotId(self.next_number())
    }

    fn next_rollout(&mut self) -> RolloutId {
        RolloutId(self.next_number())
    }

    fn group_mut(&mut self, group: &str) -> &mut Group {
        self.state.groups.entry(group.to_owned()).or_default()
    }

    /// Refuses when the group has a rollout in progress.
    fn free(&self, group: &str) -> Result<(), Refusal> {
        let busy = self
            .state
            .rollouts
            .values()
            .any(|rollout| rollout.group == group);
        if busy {
            Err(Refusal::Busy {
                group: group.to_owned(),
            })
        } else {
            Ok(())
        }
    }

    fn record(&mut self, hash: SourceHash, stamp: Stamp, what: &str, by: &str, detail: &str) {
        let Some(source) = self.state.sources.get(&hash) else {
            return;
        };
        let entry = HistoryEntry {
            stamp,
            what: what.to_owned(),
            hash,
            version: source.version.clone(),
            by: by.to_owned(),
            detail: detail.to_owned(),
        };
        let name = source.group.clone();
        let history = &mut self.group_mut(&name).history;
        history.push(entry);
        let surplus = history.len().saturating_sub(HISTORY_KEPT);
        history.drain(..surplus);
    }
}

/// The idempotency id and stamp of a command that has one.
fn command_request(command: &Command) -> Option<(RequestId, Stamp)> {
    match command {
        Command::Load { request, stamp, .. }
        | Command::Leave { request, stamp, .. }
        | Command::Drain { request, stamp, .. } => Some((*request, *stamp)),
        _ => None,
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

/// A refusal on its way out of a command's checks.
struct Refused(Refusal);

impl From<Refused> for Outcome {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused.0)
    }
}
