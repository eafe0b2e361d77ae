//! Which members may run an actor, and which of them first, read off the registry.
//!
//! Pure: what only Python can say (capability checks) comes in as an answer for a set of
//! capabilities. Not here: asking members (`fleet`).

use std::collections::BTreeMap;

use protocol::NodeId;
use protocol::registry::{Member, MemberState, SlotState, State};
use pyliteral::Value;

/// Why a member is not considered for actors now; `None`: it is.
pub(crate) fn unfit(member: &Member) -> Option<String> {
    match member.state {
        MemberState::Lost => Some("it is lost".to_owned()),
        MemberState::Down => Some("it is down".to_owned()),
        MemberState::Up if member.admission.drained => Some("it is drained".to_owned()),
        MemberState::Up => None,
    }
}

/// The members that are up and not drained.
pub(crate) fn eligible(state: &State) -> Vec<NodeId> {
    let members = state.members.iter();
    let fit = members.filter(|(_, member)| unfit(member).is_none());
    fit.map(|(node, _)| *node).collect()
}

/// Sorts members for placement: `first` before all, then those with the fewest actors.
pub(crate) fn prefer(
    state: &State,
    nodes: &mut [NodeId],
    first: Option<NodeId>,
    alive: &BTreeMap<NodeId, u64>,
) {
    let mut placed: BTreeMap<NodeId, u64> = BTreeMap::new();
    let slots = state.slots.values().filter(|slot| lives(&slot.state));
    for slot in slots {
        *placed.entry(slot.node).or_default() += 1;
    }
    let load = |node: &NodeId| {
        // Reported actors include placed ones that stand by now.
        let placed = placed.get(node).copied().unwrap_or_default();
        placed.max(alive.get(node).copied().unwrap_or_default())
    };
    nodes.sort_by_key(|node| (first != Some(*node), load(node), *node));
}

fn lives(state: &SlotState) -> bool {
    matches!(
        state,
        SlotState::Starting | SlotState::Standing | SlotState::Running | SlotState::Waiting { .. }
    )
}

/// Members whose Pythons are alike: what one of them finds out holds for all.
pub(crate) fn kinds(state: &State, nodes: &[NodeId]) -> Vec<Vec<NodeId>> {
    let mut kinds: BTreeMap<Vec<String>, Vec<NodeId>> = BTreeMap::new();
    let mut order = Vec::new();
    for node in nodes {
        let Some(member) = state.members.get(node) else {
            continue;
        };
        let kind = kind(&member.capabilities);
        if !kinds.contains_key(&kind) {
            order.push(kind.clone());
        }
        kinds.entry(kind).or_default().push(*node);
    }
    order
        .into_iter()
        .filter_map(|kind| kinds.remove(&kind))
        .collect()
}

fn kind(capabilities: &str) -> Vec<String> {
    let entries = dictionary(capabilities);
    let of = |name: &str| {
        let named = |key: &Value| matches!(key, Value::Str(text) if text == name);
        let found = entries.iter().find(|(key, _)| named(key));
        found.map(|(_, value)| value.repr()).unwrap_or_default()
    };
    KIND.iter().map(|name| of(name)).collect()
}

/// Capabilities that tell one kind of Python from another.
const KIND: [&str; 3] = ["Python Version", "Platform", "Machine"];

/// What of the wanted capabilities is not there or has another value, in words.
pub(crate) fn missing(requirements: Option<&str>, capabilities: &str) -> Option<String> {
    let offered = dictionary(capabilities);
    let wanted = requirements.map(dictionary).unwrap_or_default();
    let lacks = wanted.into_iter().find(|(name, wanted)| {
        let has = |(key, value): &(Value, Value)| key == name && value == wanted;
        !offered.iter().any(has)
    });
    lacks.map(|(name, wanted)| format!("it requires the capability {name}: {wanted}"))
}

fn dictionary(text: &str) -> Vec<(Value, Value)> {
    match pyliteral::parse(text) {
        Ok(Value::Dict(entries)) => entries,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::registry::Admission;
    use protocol::{Incarnation, Stamp};

    fn state(members: &[(u64, MemberState, &str)]) -> State {
        let mut state = State::default();
        for (node, standing, capabilities) in members {
            let member = Member {
                name: format!("n{node}"),
                address: String::new(),
                incarnation: Incarnation(*node),
                capabilities: (*capabilities).to_owned(),
                state: *standing,
                since: Stamp(1),
                admission: Admission::default(),
            };
            state.members.insert(NodeId(*node), member);
        }
        state
    }

    #[test]
    fn only_members_that_are_up_and_not_drained_are_eligible() {
        let mut state = state(&[
            (1, MemberState::Up, "{}"),
            (2, MemberState::Down, "{}"),
            (3, MemberState::Lost, "{}"),
            (4, MemberState::Up, "{}"),
        ]);
        if let Some(member) = state.members.get_mut(&NodeId(4)) {
            member.admission.drained = true;
        }
        assert_eq!(eligible(&state), [NodeId(1)]);
    }

    #[test]
    fn the_origin_comes_first_and_then_the_least_loaded() {
        let state = state(&[
            (1, MemberState::Up, "{}"),
            (2, MemberState::Up, "{}"),
            (3, MemberState::Up, "{}"),
        ]);
        let alive = BTreeMap::from([(NodeId(1), 5), (NodeId(2), 1), (NodeId(3), 9)]);
        let mut nodes = eligible(&state);
        prefer(&state, &mut nodes, Some(NodeId(3)), &alive);
        assert_eq!(nodes, [NodeId(3), NodeId(2), NodeId(1)]);
    }

    #[test]
    fn members_with_the_same_python_are_one_kind() {
        let state = state(&[
            (1, MemberState::Up, "{'Python Version': (3, 11, 2)}"),
            (2, MemberState::Up, "{'Python Version': (3, 12, 0)}"),
            (3, MemberState::Up, "{'Python Version': (3, 11, 2), 'x': 1}"),
        ]);
        let kinds = kinds(&state, &eligible(&state));
        assert_eq!(kinds, [vec![NodeId(1), NodeId(3)], vec![NodeId(2)]]);
    }

    #[test]
    fn a_requirement_wants_the_same_value() {
        let offered = "{'gpu': True, 'disk': 5}";
        assert_eq!(missing(Some("{'gpu': True}"), offered), None);
        assert_eq!(missing(None, offered), None);
        let told = missing(Some("{'disk': 6}"), offered);
        assert_eq!(
            told.as_deref(),
            Some("it requires the capability 'disk': 6")
        );
    }
}
