//! What the convention looks like to an operator: status, members, tokens, events.
//!
//! Read off the registry and what the leader has heard; no I/O.

use std::collections::{BTreeMap, BTreeSet};

use protocol::control::{
    ConventionStatus, ListedEvent, ListedMember, ListedToken, RequestError, WaitingJoiner,
};
use protocol::registry::{Member, MemberState, SlotState, State};
use protocol::{NodeId, SourceHash, Stamp};

use crate::agent::requests::refused;
use crate::cluster::fleet::name_of;

/// Who has which part in the consensus.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parts {
    /// The leader, if one is known.
    pub(crate) leader: Option<NodeId>,
    /// Its term.
    pub(crate) term: u64,
    /// The voters.
    pub(crate) voters: BTreeSet<NodeId>,
    /// Those who are filled up to become voters.
    pub(crate) learners: BTreeSet<NodeId>,
}

/// What the leader last heard of a member.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard {
    /// Last index applied there.
    pub(crate) bound: u64,
    /// Actors alive there.
    pub(crate) actors: u64,
    /// Packages that no key there validates, and why.
    pub(crate) distrusted: Vec<(SourceHash, String)>,
}

/// What covers an answer: the applied index, and how long ago the leader was heard of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Age {
    pub(crate) index: u64,
    pub(crate) age_ms: u64,
}

/// How the convention stands.
pub(crate) fn status(
    state: &State,
    parts: &Parts,
    authority: String,
    age: Age,
) -> ConventionStatus {
    let name = |node: &NodeId| name_of(state, *node);
    let in_state = |wanted| {
        let members = state.members.values();
        members.filter(|member| member.state == wanted).count() as u64
    };
    let running = |slot: &&protocol::registry::Slot| slot.state == SlotState::Running;
    ConventionStatus {
        convention: state
            .convention
            .map(|id| id.to_string())
            .unwrap_or_default(),
        authority,
        leader: parts.leader.as_ref().map(name),
        term: parts.term,
        voters: parts.voters.iter().map(name).collect(),
        voters_wanted: voters_wanted(state),
        up: in_state(MemberState::Up),
        members: state.members.len() as u64,
        sources: state.sources.len() as u64,
        running: state.slots.values().filter(running).count() as u64,
        actors: state.slots.len() as u64,
        index: age.index,
        age_ms: age.age_ms,
        feature_level: state.feature_level,
        warnings: warnings(state, parts),
    }
}

/// Voters that the convention is to have.
pub(crate) fn voters_wanted(state: &State) -> u8 {
    match state.roll.voters_wanted {
        0 => 3,
        wanted => wanted,
    }
}

fn warnings(state: &State, parts: &Parts) -> Vec<String> {
    let mut warnings = Vec::new();
    if parts.leader.is_none() {
        warnings.push("no leader is known: nothing can be loaded until one is elected".to_owned());
    }
    if parts.voters.len() == 1 && state.members.len() > 1 {
        warnings.push(
            "one voter only: losing its disk loses the convention; three willing members make \
             three voters"
                .to_owned(),
        );
    }
    for (node, member) in &state.members {
        if member.state == MemberState::Lost {
            let part = if parts.voters.contains(node) {
                "voter"
            } else {
                "member"
            };
            warnings.push(format!("{part} `{}` is lost", member.name));
        }
    }
    for slot in state.slots.values() {
        if let SlotState::Failed { reason } = &slot.state {
            let line = reason.lines().next().unwrap_or_default();
            warnings.push(format!(
                "`{}` of `{}` failed: {line}",
                slot.class, slot.group
            ));
        }
    }
    warnings
}

/// The members by name.
pub(crate) fn members(
    state: &State,
    parts: &Parts,
    heard: &BTreeMap<NodeId, Heard>,
) -> Vec<ListedMember> {
    let mut listed: Vec<_> = state
        .members
        .iter()
        .map(|(node, member)| listed_member(state, parts, *node, member, heard.get(node)))
        .collect();
    listed.sort_by(|a, b| (&a.name, a.node).cmp(&(&b.name, b.node)));
    listed
}

fn listed_member(
    state: &State,
    parts: &Parts,
    node: NodeId,
    member: &Member,
    heard: Option<&Heard>,
) -> ListedMember {
    let shown = match member.state {
        MemberState::Up if member.admission.drained => "drained",
        MemberState::Up => "up",
        MemberState::Down => "down",
        MemberState::Lost => "lost",
    };
    let part = if parts.leader == Some(node) {
        "leader"
    } else if parts.voters.contains(&node) {
        "voter"
    } else if parts.learners.contains(&node) {
        "learner"
    } else {
        "member"
    };
    let placed = state.slots.values().filter(|slot| slot.node == node);
    ListedMember {
        node,
        name: member.name.clone(),
        address: member.address.clone(),
        state: shown.to_owned(),
        part: part.to_owned(),
        since: member.since,
        actors: heard.map(|heard| heard.actors),
        director_actors: placed.count() as u64,
        index: heard.map(|heard| heard.bound),
        capabilities: member.capabilities.clone(),
        key: member.admission.key.to_string(),
        distrusts: heard
            .map(|heard| distrusts(state, heard))
            .unwrap_or_default(),
    }
}

fn distrusts(state: &State, heard: &Heard) -> Vec<String> {
    let shown = heard.distrusted.iter().map(|(hash, reason)| {
        let source = state.sources.get(hash);
        let group = source.map_or("?", |source| source.group.as_str());
        format!("{group} {}: {reason}", hash.short())
    });
    shown.collect()
}

/// The tokens that are good at `now`.
pub(crate) fn tokens(state: &State, now: Stamp) -> Vec<ListedToken> {
    let good = state
        .roll
        .tokens
        .iter()
        .filter(|(_, token)| token.uses_left > 0 && token.expires > now);
    good.map(|(id, token)| ListedToken {
        id: id.clone(),
        uses_left: token.uses_left,
        expires: token.expires,
        by: token.by.clone(),
    })
    .collect()
}

/// What happened after that number, oldest first.
pub(crate) fn events(state: &State, after: u64) -> Vec<ListedEvent> {
    let entries = state.roll.audit.iter();
    let wanted = entries.filter(|entry| entry.number > after);
    wanted
        .map(|entry| ListedEvent {
            number: entry.number,
            stamp: entry.stamp,
            what: entry.what.clone(),
            subject: entry.subject.clone(),
            by: entry.by.clone(),
            detail: entry.detail.clone(),
        })
        .collect()
}

/// The member with this name, or whose id starts so.
pub(crate) fn find_member(state: &State, text: &str) -> Result<NodeId, RequestError> {
    let hint = Some("`director cluster members` shows names and ids");
    let named: Vec<_> = state
        .members
        .iter()
        .filter(|(_, member)| member.name == text)
        .map(|(node, _)| *node)
        .collect();
    let starting = || {
        let nodes = state.members.keys().copied();
        nodes
            .filter(|node| node.to_string().starts_with(text))
            .collect()
    };
    let found: Vec<NodeId> = if named.is_empty() && !text.is_empty() {
        starting()
    } else {
        named
    };
    match found.as_slice() {
        [node] => Ok(*node),
        [] => Err(refused(format!("no member is called `{text}`"), hint)),
        several => {
            let ids: Vec<_> = several.iter().map(ToString::to_string).collect();
            let message = format!("`{text}` means several members: {}", ids.join(", "));
            Err(refused(message, Some("name one by its id")))
        }
    }
}

/// The waiting joiner with this name, or whose key's fingerprint starts so.
pub(crate) fn find_waiting<'a>(
    waiting: &'a [WaitingJoiner],
    text: &str,
) -> Result<&'a WaitingJoiner, RequestError> {
    let is_meant = |joiner: &&WaitingJoiner| {
        joiner.name == text || (text.len() >= 4 && joiner.key.starts_with(text))
    };
    let found: Vec<_> = waiting.iter().filter(is_meant).collect();
    match found.as_slice() {
        [joiner] => Ok(joiner),
        [] => Err(refused(
            format!("no node called `{text}` waits for approval"),
            Some(
                "`director cluster tokens` shows who waits; a node asks once a second while \
                 it is being started",
            ),
        )),
        several => {
            let keys: Vec<_> = several
                .iter()
                .map(|joiner| format!("{} ({})", joiner.key, joiner.address))
                .collect();
            Err(refused(
                format!("`{text}` means several joiners: {}", keys.join(", ")),
                Some("name one by the fingerprint of its key"),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::Incarnation;
    use protocol::registry::{Admission, AuditEntry, Token};

    use super::*;

    fn state(names: &[(u64, &str)]) -> State {
        let mut state = State::default();
        for (node, name) in names {
            let member = Member {
                name: (*name).to_owned(),
                address: String::new(),
                incarnation: Incarnation(*node),
                capabilities: "{}".to_owned(),
                state: MemberState::Up,
                since: Stamp(1),
                admission: Admission::default(),
            };
            state.members.insert(NodeId(*node), member);
        }
        state
    }

    #[test]
    fn a_member_is_found_by_name_before_its_id() {
        let state = state(&[(12, "a"), (34, "12"), (345, "c")]);
        assert_eq!(find_member(&state, "a").unwrap(), NodeId(12));
        assert_eq!(find_member(&state, "12").unwrap(), NodeId(34));
        let several = find_member(&state, "34").unwrap_err();
        assert!(several.message.contains("34, 345"), "{}", several.message);
        let nobody = find_member(&state, "x").unwrap_err();
        assert!(nobody.message.contains("`x`"), "{}", nobody.message);
    }

    #[test]
    fn one_voter_of_several_members_is_a_warning() {
        let state = state(&[(1, "a"), (2, "b")]);
        let parts = Parts {
            leader: Some(NodeId(1)),
            voters: BTreeSet::from([NodeId(1)]),
            ..Parts::default()
        };
        let shown = status(&state, &parts, String::new(), Age::default());
        assert_eq!(shown.leader.as_deref(), Some("a"));
        assert!(shown.warnings[0].starts_with("one voter only"));
        let listed = members(&state, &parts, &BTreeMap::new());
        let parts: Vec<_> = listed.iter().map(|member| member.part.as_str()).collect();
        assert_eq!(parts, ["leader", "member"]);
    }

    #[test]
    fn used_and_old_tokens_are_not_shown() {
        let mut state = State::default();
        for (id, uses_left, expires) in [("a", 1, 10), ("b", 0, 10), ("c", 1, 5)] {
            let token = Token {
                secret: Default::default(),
                uses_left,
                expires: Stamp(expires),
                issued: Stamp(0),
                by: "root".to_owned(),
                authority: Default::default(),
            };
            state.roll.tokens.insert(id.to_owned(), token);
        }
        let shown = tokens(&state, Stamp(5));
        assert_eq!(shown.len(), 1);
        assert_eq!(shown[0].id, "a");
    }

    #[test]
    fn events_go_on_where_the_last_answer_ended() {
        let mut state = State::default();
        for number in 1..=3 {
            state.roll.audit.push(AuditEntry {
                number,
                stamp: Stamp(number),
                what: "loaded".to_owned(),
                subject: "foo".to_owned(),
                by: String::new(),
                detail: String::new(),
            });
        }
        let numbers = |after| {
            events(&state, after)
                .iter()
                .map(|e| e.number)
                .collect::<Vec<_>>()
        };
        assert_eq!(numbers(0), [1, 2, 3]);
        assert_eq!(numbers(2), [3]);
    }
}
