//! Single decisions, and what holds for every convention.

use super::*;

const NOW: Stamp = Stamp(1_000_000);

fn up(since: u64) -> Willing {
    Willing {
        is_up: true,
        since: Stamp(since),
        holds_packages: true,
        caught_up: true,
    }
}

fn gone(for_ms: u64) -> Willing {
    Willing {
        is_up: false,
        since: Stamp(NOW.0 - for_ms),
        ..up(0)
    }
}

fn members<const N: usize>(all: [(u64, Willing); N]) -> BTreeMap<NodeId, Willing> {
    all.map(|(node, member)| (NodeId(node), member)).into()
}

/// Raft ids are ten times the node's number.
fn electorate<const V: usize, const L: usize>(
    voters: [u64; V],
    learners: [u64; L],
) -> Electorate<u64> {
    Electorate {
        voters: voters.map(|node| (node * 10, NodeId(node))).into(),
        learners: learners.map(|node| (node * 10, NodeId(node))).into(),
        leader: voters[0] * 10,
    }
}

#[track_caller]
fn check<const N: usize>(
    all: [(u64, Willing); N],
    electorate: &Electorate<u64>,
    expected: Option<VoterChange<u64>>,
) {
    let settings = VoterSettings::default();
    assert_eq!(
        next_change(&members(all), electorate, settings, NOW),
        expected
    );
}

fn set<const N: usize>(ids: [u64; N]) -> Option<VoterChange<u64>> {
    Some(VoterChange::SetVoters(ids.into()))
}

#[test]
fn one_votes_until_three_are_willing() {
    let alone = electorate([1], []);
    check([(1, up(1))], &alone, None);
    check([(1, up(1)), (2, up(2))], &alone, None);
    let three = [(1, up(1)), (2, up(2)), (3, up(3))];
    check(three, &alone, Some(VoterChange::AddLearner(NodeId(2))));
    check(
        three,
        &electorate([1], [2]),
        Some(VoterChange::AddLearner(NodeId(3))),
    );
    check(three, &electorate([1], [2, 3]), set([10, 20, 30]));
    check(three, &electorate([1, 2, 3], []), None);
}

#[test]
fn a_learner_waits_for_its_log_and_its_packages() {
    let slow = Willing {
        caught_up: false,
        ..up(3)
    };
    let poor = Willing {
        holds_packages: false,
        ..up(3)
    };
    for not_ready in [slow, poor] {
        let all = [(1, up(1)), (2, up(2)), (3, not_ready)];
        check(all, &electorate([1], [2, 3]), None);
    }
}

#[test]
fn a_dead_voter_is_replaced_after_the_grace_time_and_never_merely_removed() {
    let three = electorate([1, 2, 3], []);
    check([(1, up(1)), (2, up(2)), (3, gone(90_000))], &three, None);
    let spare = |for_ms| [(1, up(1)), (2, up(2)), (3, gone(for_ms)), (4, up(4))];
    check(spare(59_999), &three, None);
    check(
        spare(60_000),
        &three,
        Some(VoterChange::AddLearner(NodeId(4))),
    );
    check(
        spare(60_000),
        &electorate([1, 2, 3], [4]),
        set([10, 20, 40]),
    );
    // It came back in time: the one that was to replace it is not wanted any more.
    let back = [(1, up(1)), (2, up(2)), (3, up(9)), (4, up(4))];
    check(
        back,
        &electorate([1, 2, 3], [4]),
        Some(VoterChange::RemoveLearner(40)),
    );
}

#[test]
fn who_is_willing_no_more_is_demoted_once_another_is_ready() {
    let three = electorate([1, 2, 3], []);
    check([(1, up(1)), (2, up(2))], &three, set([10]));
    let coming = [(1, up(1)), (2, up(2)), (4, up(4))];
    check(coming, &three, Some(VoterChange::AddLearner(NodeId(4))));
    check(coming, &electorate([1, 2, 3], [4]), set([10, 20, 40]));
}

#[test]
fn without_a_live_majority_nothing_is_changed() {
    let all = [
        (1, up(1)),
        (2, gone(90_000)),
        (3, gone(90_000)),
        (4, up(4)),
        (5, up(5)),
    ];
    check(all, &electorate([1, 2, 3], [4, 5]), None);
}

#[test]
fn fewer_wanted_keeps_the_leader_and_the_oldest() {
    let all = [(1, up(9)), (2, up(2)), (3, up(3)), (4, up(1)), (5, up(8))];
    check(all, &electorate([1, 2, 3, 4, 5], []), set([10, 20, 40]));
}

/// A convention that is drawn: for each node what it is (0 to 5) and since when.
fn drawn(nodes: &[(u8, u16)]) -> (BTreeMap<NodeId, Willing>, Electorate<u64>) {
    let (mut members, mut voters, mut learners) =
        (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (number, (kind, since)) in (1_u64..).zip(nodes) {
        let member = match kind % 4 {
            0 | 1 => Some(up(u64::from(*since))),
            2 => Some(gone(u64::from(*since) * 2)),
            _ => None,
        };
        members.extend(member.map(|it| (NodeId(number), it)));
        match kind / 4 % 3 {
            0 => _ = voters.insert(number * 10, NodeId(number)),
            1 => _ = learners.insert(number * 10, NodeId(number)),
            _ => {}
        }
    }
    let leader = voters.keys().next().copied().unwrap_or_default();
    let electorate = Electorate {
        voters,
        learners,
        leader,
    };
    (members, electorate)
}

fn live(members: &BTreeMap<NodeId, Willing>, node: Option<&NodeId>) -> bool {
    let member = node.and_then(|node| members.get(node));
    member.is_some_and(|member| member.is_up)
}

proptest::proptest! {
    #[test]
    fn changes_are_odd_live_and_end(
        nodes in proptest::collection::vec((0_u8..12, 0_u16..u16::MAX), 1..9),
        five in proptest::bool::ANY,
    ) {
        let (members, mut electorate) = drawn(&nodes);
        proptest::prop_assume!(!electorate.voters.is_empty());
        let wanted = if five { 5 } else { 3 };
        let settings = VoterSettings { wanted, ..VoterSettings::default() };
        let mut fresh = 1_000;
        let mut steps = 0;
        while let Some(change) = next_change(&members, &electorate, settings, NOW) {
            steps += 1;
            assert!(steps < 40, "no end: {electorate:?}");
            match change {
                VoterChange::AddLearner(node) => {
                    assert!(live(&members, Some(&node)), "{node} is not there");
                    assert!(!electorate.voters.values().any(|it| *it == node));
                    fresh += 1;
                    electorate.learners.insert(fresh, node);
                }
                VoterChange::RemoveLearner(id) => {
                    assert!(electorate.learners.remove(&id).is_some());
                }
                VoterChange::SetVoters(ids) => {
                    assert_eq!(ids.len() % 2, 1, "an even number: {ids:?}");
                    assert!(ids.len() <= wanted);
                    let old = std::mem::take(&mut electorate.voters);
                    let known = |id| old.get(id).or_else(|| electorate.learners.get(id)).copied();
                    let new: BTreeMap<u64, NodeId> =
                        ids.iter().map(|id| (*id, known(id).unwrap())).collect();
                    for side in [&old, &new] {
                        let count = side.values().filter(|it| live(&members, Some(it))).count();
                        assert!(count > side.len() / 2, "no live majority: {side:?}");
                    }
                    electorate.learners.retain(|id, _| !new.contains_key(id));
                    electorate.voters = new;
                    // A leader that goes out leaves the lead to another.
                    electorate.leader = *electorate.voters.keys().next().unwrap();
                }
            }
        }
        // As many vote as can, unless too few of today's voters live to change anything.
        let votes = electorate.voters.values().filter(|it| live(&members, Some(it))).count();
        if votes > electorate.voters.len() / 2 {
            let could = members.iter().filter(|(node, member)| {
                member.is_up || electorate.voters.values().any(|it| it == *node)
            });
            let could = could.count().min(wanted);
            let expected = if could % 2 == 0 { could - 1 } else { could };
            assert_eq!(electorate.voters.len(), expected);
            assert!(electorate.learners.is_empty(), "{electorate:?}");
        }
    }
}

#[test]
fn a_dead_voter_is_replaced_whichever_way_the_clocks_of_two_leaders_differ() {
    let ahead = Willing {
        is_up: false,
        ..up(NOW.0 + 3_600_000)
    };
    let all = [(1, up(1)), (2, up(2)), (3, ahead), (4, up(4))];
    check(
        all,
        &electorate([1, 2, 3], []),
        Some(VoterChange::AddLearner(NodeId(4))),
    );
    check(all, &electorate([1, 2, 3], [4]), set([10, 20, 40]));
}
