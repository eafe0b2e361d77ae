//! In which order members pull a package, so that no holder sends it more often than it has to.
//!
//! Whoever has it serves others: members are started as holders have room, each is told of the
//! holder that has served least, and the leader serves only while nobody else can. The number of
//! holders so grows threefold with each round, and the leader sends the package about twice.
//! Pure. Not here: the transfers (`packages`), who is to hold what (`fleet`).

use std::collections::{BTreeMap, BTreeSet};

use protocol::NodeId;

/// Members that one holder serves at a time.
pub(crate) const AT_ONCE: u32 = 2;

/// Holders named to a member besides the chosen one.
const OTHERS_MAX: usize = 4;

/// One package on its way to many members.
#[derive(Debug)]
pub(crate) struct Distribution {
    leader: NodeId,
    holders: BTreeMap<NodeId, Served>,
    /// The holders, those with the least to do first.
    order: BTreeSet<(Served, NodeId)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Served {
    now: u32,
    total: u32,
}

impl Distribution {
    /// `holders` have the package already.
    pub(crate) fn new(leader: NodeId, holders: impl IntoIterator<Item = NodeId>) -> Self {
        let mut distribution = Self {
            leader,
            holders: BTreeMap::new(),
            order: BTreeSet::new(),
        };
        for node in holders {
            distribution.set(node, Served::default());
        }
        distribution
    }

    /// Whom the next member is to ask, in this order; `None`: all have enough to do now.
    pub(crate) fn begin(&mut self) -> Option<Vec<NodeId>> {
        let leaders = self.holders.contains_key(&self.leader);
        let others = self.holders.len() > usize::from(leaders);
        let mut free = self.order.iter();
        let chosen = free.find(|(_, node)| !(others && *node == self.leader));
        let (mut served, chosen) = *chosen.filter(|(served, _)| served.now < AT_ONCE)?;
        served.now += 1;
        served.total += 1;
        self.set(chosen, served);
        let mut named = vec![chosen];
        let rest = self.order.iter().map(|(_, node)| *node);
        let rest = rest.filter(|node| *node != chosen && *node != self.leader);
        named.extend(rest.take(OTHERS_MAX));
        if leaders && chosen != self.leader {
            named.push(self.leader);
        }
        Some(named)
    }

    /// The member that was told to ask `chosen` has the package now, or has failed.
    pub(crate) fn ended(&mut self, chosen: NodeId, member: NodeId, has_it: bool) {
        if let Some(mut served) = self.holders.get(&chosen).copied() {
            served.now = served.now.saturating_sub(1);
            self.set(chosen, served);
        }
        if has_it && !self.holders.contains_key(&member) {
            self.set(member, Served::default());
        }
    }

    fn set(&mut self, node: NodeId, served: Served) {
        if let Some(before) = self.holders.insert(node, served) {
            self.order.remove(&(before, node));
        }
        self.order.insert((served, node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds and leader's share until `members` have it.
    fn spread(members: u64) -> (u32, u32) {
        let leader = NodeId(0);
        let mut distribution = Distribution::new(leader, [leader]);
        let (mut next, mut rounds, mut leaders) = (1, 0, 0);
        while next <= members {
            let mut under_way = Vec::new();
            while next <= members
                && let Some(named) = distribution.begin()
            {
                let chosen = *named.first().unwrap();
                leaders += u32::from(chosen == leader);
                assert!(!named.contains(&NodeId(next)));
                under_way.push((chosen, NodeId(next)));
                next += 1;
            }
            assert!(!under_way.is_empty());
            rounds += 1;
            for (chosen, member) in under_way {
                distribution.ended(chosen, member, true);
            }
        }
        (rounds, leaders)
    }

    #[test]
    fn twenty_members_cost_the_leader_two_sizes() {
        assert_eq!(spread(20), (4, 2));
    }

    #[test]
    fn a_thousand_members_take_few_rounds() {
        let (rounds, leaders) = spread(1_000);
        assert!(rounds <= 8 && leaders <= 2, "{rounds} {leaders}");
    }

    #[test]
    fn a_failed_member_frees_its_holder() {
        let leader = NodeId(0);
        let mut distribution = Distribution::new(leader, [leader]);
        assert!(distribution.begin().is_some() && distribution.begin().is_some());
        assert_eq!(distribution.begin(), None);
        distribution.ended(leader, NodeId(7), false);
        assert_eq!(distribution.begin(), Some(vec![leader]));
    }
}
