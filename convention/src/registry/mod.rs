//! The replicated registry: members, groups, loaded sources, Director actors, rollouts.
//!
//! `apply` is a function of state and command alone: no clock, no randomness, no I/O.
//! A refused command changes nothing (a refused joiner is in the audit); a repeated request gives
//! the first outcome again, or the end of the rollout that it began.
//! Not here: the shapes (`protocol::registry`), who proposes what and when (`crate::work`).

use protocol::limits::{ORDERS_KEPT_MAX, ORDERS_KEPT_PER_NODE_MAX, ORDERS_OF_EACH_NODE};
use protocol::registry::{
    Change, Command, Group, HISTORY_KEPT, HistoryEntry, Outcome, Recorded, Refusal, Rollout, State,
};
use protocol::view;
use protocol::{RequestId, RolloutId, SlotId, SourceHash, Stamp};

mod actors;
pub use actors::RESUMED;
mod audit;
mod authorities;
mod joining;
mod load;
mod members;
mod rollout;
mod sources;
mod vacate;
pub use sources::{drained_after_switch, next_active, ranked, version_key};

/// The registry, changed by [`Registry::apply`] only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registry {
    state: State,
}

/// Milliseconds that the outcome of a request is remembered for repeats.
const REQUEST_KEPT_MS: u64 = 3_600_000;

/// So many are remembered whatever the stamps say: the clock of the next leader may be hours ahead
/// of the one that carried a request out.
const REQUESTS_KEPT_MIN: usize = 256;

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

    /// Takes in what a leader says has changed of the view that this registry is.
    pub fn take_in(&mut self, changes: Vec<view::Change>) {
        crate::view::take_in(&mut self.state, changes);
    }

    /// Applies one committed command and says what it did.
    pub fn apply(&mut self, command: &Command) -> Outcome {
        let Some((request, told, stamp)) = command_request(command) else {
            return self.dispatch(command);
        };
        if self.state.requests.len() > REQUESTS_KEPT_MIN {
            self.state
                .requests
                .retain(|_, recorded| recorded.stamp.0.abs_diff(stamp.0) < REQUEST_KEPT_MS);
        }
        if let Some(recorded) = self.state.requests.get(&request) {
            return recorded.outcome.clone();
        }
        if let Err(refusal) = self.remembers_one_more(request) {
            return Outcome::Refused(refusal);
        }
        let outcome = self.dispatch(command);
        if !matches!(outcome, Outcome::Refused(_)) {
            self.state.requests.insert(
                request,
                Recorded {
                    stamp,
                    outcome: outcome.clone(),
                    told: told.to_vec(),
                },
            );
        }
        outcome
    }

    /// Refuses what could not be remembered: a record that was pushed out would let its order be
    /// done twice. A node uses up its own share, and never the last part of another's.
    fn remembers_one_more(&self, request: RequestId) -> Result<(), Refusal> {
        let (node, requests) = (request.node(), &self.state.requests);
        let all_of_it = RequestId::all_of(node);
        let share = match requests.len() < ORDERS_KEPT_MAX {
            true => ORDERS_KEPT_PER_NODE_MAX,
            false => ORDERS_OF_EACH_NODE,
        };
        let kept = requests.range(all_of_it).count();
        if kept < share {
            return Ok(());
        }
        let kept = kept as u64;
        Err(Refusal::TooManyOrders { node, kept })
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
            Command::MemberStarted { .. } => self.member_started(command),
            Command::MemberStopped { node, stamp } => self.member_stopped(*node, *stamp),
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
            Command::Hold { rollout, stamp } => self.hold(*rollout, *stamp),
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
            Command::Extend {
                hash, placement, ..
            } => self.extend(*hash, placement),
            Command::Remember {
                group,
                history,
                withdrawn,
                ..
            } => self.remember(group, history, withdrawn),
            Command::Member(command) => self.member(command),
            Command::Displace {
                slot,
                actor,
                reason,
                stamp,
            } => self.displace(*slot, *actor, reason, *stamp),
            Command::Ordered { change, stamp, .. } => self.change(change, *stamp),
        }
    }

    fn change(&mut self, change: &Change, stamp: Stamp) -> Outcome {
        match change {
            Change::Member(command) => self.member(command),
            Change::Operate { slot, stop } => self.operate(*slot, *stop, stamp),
            Change::Rest { slot, actor, until } => self.ended(*slot, *actor, RESTARTED, *until),
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

    /// What a repeat of the request that began the rollout is told from now on.
    fn record_end(&mut self, id: RolloutId, rollout: &Rollout, failure: Option<&str>) {
        let began = Outcome::Began { rollout: id };
        let mut requests = self.state.requests.values_mut();
        if let Some(recorded) = requests.find(|recorded| recorded.outcome == began) {
            recorded.outcome = Outcome::Ended {
                rollout: id,
                from: rollout.from,
                to: rollout.to,
                failure: failure.map(str::to_owned),
            };
        }
    }

    fn audit_source(&mut self, entry: &HistoryEntry, group: &str) {
        let version = entry.version.as_deref().unwrap_or("-");
        let mut detail = format!("version {version}, {}", entry.hash.short());
        if !entry.detail.is_empty() {
            detail.push_str(": ");
            detail.push_str(&entry.detail);
        }
        let event = audit::Event {
            what: event_of(&entry.what),
            subject: group,
            by: &entry.by,
            detail: &detail,
        };
        self.audit(entry.stamp, &event);
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
        self.audit_source(&entry, &name);
        let history = &mut self.group_mut(&name).history;
        history.push(entry);
        let surplus = history.len().saturating_sub(HISTORY_KEPT);
        history.drain(..surplus);
    }
}

/// What the audit calls an entry of a group's history.
fn event_of(what: &str) -> &str {
    match what {
        "active" => "switched",
        "refused" => "load refused",
        other => other,
    }
}

/// Why an actor ends that an operator restarts.
const RESTARTED: &str = "a restart was asked for";

/// The idempotency id of a command that has one, what it tells, and its stamp.
fn command_request(command: &Command) -> Option<(RequestId, &[String], Stamp)> {
    match command {
        Command::Load { request, stamp, .. }
        | Command::Leave { request, stamp, .. }
        | Command::Drain { request, stamp, .. } => Some((*request, &[], *stamp)),
        Command::Ordered {
            request,
            told,
            stamp,
            ..
        } => Some((*request, told, *stamp)),
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

#[cfg(test)]
mod tests {
    use protocol::NodeId;
    use protocol::registry::MemberCommand;

    use super::*;

    /// An order whose outcome is `Stale`, which is remembered as any other.
    fn order(number: u64, stamp: u64) -> Command {
        Command::Leave {
            request: RequestId(u128::from(number).to_be_bytes()),
            group: "foo".to_owned(),
            from: SourceHash([0; 32]),
            kind: protocol::registry::RolloutKind::Rollback,
            replacements: Vec::new(),
            now: false,
            by: String::new(),
            stamp: Stamp(stamp),
        }
    }

    #[test]
    fn an_order_is_known_again_by_a_leader_whose_clock_is_hours_ahead() {
        let mut registry = Registry::new();
        let outcome = Outcome::Began {
            rollout: RolloutId(7),
        };
        let recorded = |stamp| Recorded {
            stamp: Stamp(stamp),
            outcome: outcome.clone(),
            told: Vec::new(),
        };
        let request = |number: u64| RequestId(u128::from(number).to_be_bytes());
        registry.state.requests.insert(request(1), recorded(1_000));
        let later = 1_000 + 3 * REQUEST_KEPT_MS;
        assert_eq!(registry.apply(&order(1, later)), outcome);
        // Many go with time all the same.
        for number in 2..=REQUESTS_KEPT_MIN as u64 + 1 {
            registry
                .state
                .requests
                .insert(request(number), recorded(1_000));
        }
        assert_ne!(registry.apply(&order(1, later)), outcome);
        assert!(registry.state.requests.is_empty());
    }

    fn voters(request: RequestId, wanted: u8, stamp: u64) -> Command {
        let stamp = Stamp(stamp);
        let by = "ann".to_owned();
        Command::Ordered {
            request,
            told: vec![format!("{wanted} at {}", stamp.0)],
            change: Change::Member(MemberCommand::Voters { wanted, by, stamp }),
            stamp,
        }
    }

    #[test]
    fn an_order_given_twice_is_done_once_and_tells_the_same() {
        let mut registry = Registry::new();
        let (one, another) = (RequestId([1; 16]), RequestId([2; 16]));
        assert_eq!(registry.apply(&voters(one, 3, 10)), Outcome::Done);
        let done = registry.clone();
        // The next leader stamps and says it anew.
        assert_eq!(registry.apply(&voters(one, 3, 99)), Outcome::Done);
        assert_eq!(registry, done);
        assert_eq!(registry.state.requests[&one].told, ["3 at 10"]);
        assert_eq!(registry.state.roll.audit.len(), 1);
        assert_eq!(registry.apply(&voters(another, 3, 99)), Outcome::Done);
        assert_eq!(registry.state.roll.audit.len(), 2);
    }

    #[test]
    fn a_refused_order_is_not_remembered_and_may_be_done_later() {
        let mut registry = Registry::new();
        let id = RequestId([1; 16]);
        assert!(matches!(
            registry.apply(&voters(id, 4, 10)),
            Outcome::Refused(_)
        ));
        assert!(registry.state.requests.is_empty());
        assert_eq!(registry.apply(&voters(id, 5, 11)), Outcome::Done);
        assert_eq!(registry.state.roll.voters_wanted, 5);
    }

    #[test]
    fn an_order_is_forgotten_with_time_and_then_a_new_one() {
        let mut registry = Registry::new();
        let request = |number: u64| RequestId(u128::from(number).to_be_bytes());
        for number in 0..=REQUESTS_KEPT_MIN as u64 {
            registry.apply(&voters(request(number), 3, 10));
        }
        let count = registry.state.roll.audit.len();
        registry.apply(&voters(request(0), 3, 9 + REQUEST_KEPT_MS));
        assert_eq!(registry.state.roll.audit.len(), count, "still known");
        registry.apply(&voters(request(0), 3, 10 + REQUEST_KEPT_MS));
        assert_eq!(registry.state.roll.audit.len(), count + 1, "forgotten");
        assert_eq!(registry.state.requests.len(), 1);
    }

    /// So many orders of a node, remembered at this stamp.
    fn remember(registry: &mut Registry, node: u64, count: usize, stamp: u64) {
        for number in 0..count as u64 {
            let recorded = Recorded {
                stamp: Stamp(stamp),
                outcome: Outcome::Done,
                told: Vec::new(),
            };
            let id = RequestId(u128::from(number).to_be_bytes()).of(NodeId(node));
            registry.state.requests.insert(id, recorded);
        }
    }

    #[test]
    fn a_flood_of_orders_ends_at_the_share_of_its_node_and_no_order_is_forgotten() {
        let mut registry = Registry::new();
        let id = |node: u64, number: u8| RequestId([number; 16]).of(NodeId(node));
        let done = registry.apply(&voters(id(2, 200), 5, 10));
        assert_eq!(done, Outcome::Done);
        let mut taken = 0;
        let refused = (0..).find_map(|number| {
            let id = RequestId(u128::from(number as u64).to_be_bytes()).of(NodeId(1));
            let outcome = registry.apply(&voters(id, 3, 11));
            taken += usize::from(outcome == Outcome::Done);
            (outcome != Outcome::Done).then_some(outcome)
        });
        let (node, kept) = (NodeId(1), ORDERS_KEPT_PER_NODE_MAX as u64);
        let too_many = Outcome::Refused(Refusal::TooManyOrders { node, kept });
        assert_eq!(refused, Some(too_many.clone()));
        assert_eq!(taken, ORDERS_KEPT_PER_NODE_MAX);
        let full = registry.clone();
        // What was done is known, of this node and of another, and is not done again.
        let first = RequestId(0_u128.to_be_bytes()).of(NodeId(1));
        for known in [first, id(2, 200)] {
            assert_eq!(registry.apply(&voters(known, 7, 12)), Outcome::Done);
        }
        assert_eq!(registry.apply(&voters(id(1, 201), 7, 12)), too_many);
        assert_eq!(registry, full, "nothing of that has changed anything");
        // Others give orders all the while, and it as well once its own are an hour old.
        assert_eq!(registry.apply(&voters(id(2, 202), 7, 12)), Outcome::Done);
        let later = 11 + REQUEST_KEPT_MS;
        assert_eq!(registry.apply(&voters(id(1, 201), 3, later)), Outcome::Done);
        assert!(registry.state.requests.len() < 4);
    }

    #[test]
    fn many_nodes_that_flood_leave_each_other_node_its_share() {
        let mut registry = Registry::new();
        let nodes = ORDERS_KEPT_MAX.div_ceil(ORDERS_KEPT_PER_NODE_MAX) as u64;
        for node in 1..=nodes {
            remember(&mut registry, node, ORDERS_KEPT_PER_NODE_MAX, 10);
        }
        let quiet = nodes + 1;
        remember(&mut registry, quiet, ORDERS_OF_EACH_NODE - 1, 10);
        let order = |node: u64, number: u8| {
            let id = RequestId([number; 16]).of(NodeId(node));
            voters(id, 3, 10)
        };
        assert!(matches!(
            registry.apply(&order(1, 255)),
            Outcome::Refused(_)
        ));
        assert_eq!(registry.apply(&order(quiet, 254)), Outcome::Done);
        let node = NodeId(quiet);
        let kept = ORDERS_OF_EACH_NODE as u64;
        let too_many = Outcome::Refused(Refusal::TooManyOrders { node, kept });
        assert_eq!(registry.apply(&order(quiet, 255)), too_many);
    }

    #[test]
    fn the_steps_of_an_order_are_as_many_ids() {
        let id = RequestId([1; 16]);
        assert_eq!(id.step(1), id.step(1));
        assert_ne!(id.step(1), id.step(2));
        assert_ne!(id.step(1), RequestId([2; 16]).step(1));
        assert_ne!(id.step(1), id);
    }
}
