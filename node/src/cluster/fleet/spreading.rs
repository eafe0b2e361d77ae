//! Packages to members: whom a load needs, in an order that spares every holder.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use protocol::control::{ActorFailure, Reach};
use protocol::peer::{Step, StepOutcome};
use protocol::{NodeId, RequestId, SourceHash};
use tokio::sync::mpsc;

use super::spread::Spread;
use super::{ClusterFleet, up};
use crate::cluster::placement;
use crate::cluster::steps::failure;
use crate::cluster::voters;

/// What came of one member: whether it trusts the package that it holds now, or why it has none.
type Outcome = (NodeId, Result<Option<String>, String>);

impl ClusterFleet {
    /// Has those hold a package that a load needs. Gives notes for the operator.
    pub(super) async fn spread_for(
        &self,
        source: SourceHash,
        bytes: u64,
        reach: Reach,
        request: RequestId,
        origin: NodeId,
    ) -> Result<Vec<String>, ActorFailure> {
        let here = self.node.hold_package(source, Some(bytes), &[origin]).await;
        let here = here.map_err(|fault| failure(fault.to_string()))?;
        let me = self.node.id;
        let holdings = &self.node.mutual.holdings;
        let known = |state: &protocol::registry::State| state.sources.contains_key(&source);
        if !self.node.replica.read(known) {
            // What members held of a load before is cleared away with it.
            holdings.forget_source(source);
        }
        holdings.holds(me, source, here.distrust.clone());
        if origin != me && holdings.judgement(origin, source).is_none() {
            // It verified the package before it sent the order.
            holdings.holds(origin, source, None);
        }
        self.majority_is_there().await;
        let voters = voters::voters(&self.node);
        let wanted = match reach {
            Reach::OnDemand => BTreeSet::new(),
            Reach::Everywhere | Reach::Partial => {
                let present = self.present().await;
                self.list_all(request, &present);
                let (state, distrust) = (state_of(&here.distrust), here.distrust.as_deref());
                let name = self.name(me);
                holdings.proceed(request, &name, state, distrust.unwrap_or_default());
                let eligible = self.node.replica.read(placement::eligible);
                let there = eligible.into_iter().filter(|it| present.contains(it));
                there.collect()
            }
        };
        let mut missing: BTreeSet<NodeId> = voters.union(&wanted).copied().collect();
        missing.remove(&me);
        let mut outcomes = self.bring(source, bytes, missing.clone(), Some(request));
        let mut held = BTreeSet::from([me]);
        let mut failed = Vec::new();
        while !self.enough(&held, &voters, &wanted, &missing) {
            let Some((member, outcome)) = outcomes.recv().await else {
                break;
            };
            missing.remove(&member);
            match outcome {
                Ok(_) => {
                    held.insert(member);
                }
                Err(reason) => failed.push((member, reason)),
            }
        }
        self.verdict(&held, &voters, &wanted, &failed, reach)
    }

    /// Has a majority of those that vote now hold a package. Nothing is sent where that is known.
    pub(super) async fn hold_by_majority(
        &self,
        source: SourceHash,
        bytes: u64,
    ) -> Result<(), ActorFailure> {
        let holdings = &self.node.mutual.holdings;
        let voters = voters::voters(&self.node);
        let holds = |voter: &NodeId| holdings.judgement(*voter, source).is_some();
        let (mut held, missing): (BTreeSet<_>, BTreeSet<_>) =
            voters.iter().copied().partition(holds);
        if is_majority(&held, &voters) {
            return Ok(());
        }
        let mut failed = Vec::new();
        let mut outcomes = self.bring(source, bytes, missing, None);
        while !is_majority(&held, &voters) {
            match outcomes.recv().await {
                Some((member, Ok(_))) => drop(held.insert(member)),
                Some((member, Err(reason))) => failed.push((member, reason)),
                None => break,
            }
        }
        let nobody = BTreeSet::new();
        let counted = self.verdict(&held, &voters, &nobody, &failed, Reach::OnDemand);
        counted.map(|_notes| ())
    }

    /// Gives a majority of the voters, which answers this leader, a moment to begin sessions too:
    /// right after a partition or an election it may not have done so yet.
    async fn majority_is_there(&self) {
        let sessions = &self.node.membership.sessions;
        let mut begun = sessions.begun();
        let there = || {
            let voters = voters::voters(&self.node);
            let here = |voter: &NodeId| {
                let is_up = self.node.replica.read(|state| up(state, *voter).is_some());
                *voter == self.node.id || (is_up && sessions.has_begun(*voter))
            };
            voters.iter().filter(|voter| here(voter)).count() > voters.len() / 2
        };
        let come = async { while !there() && begun.changed().await.is_ok() {} };
        let _in_time = tokio::time::timeout(MAJORITY_LIMIT, come).await;
    }

    /// Whether there is nothing left to wait for.
    fn enough(
        &self,
        held: &BTreeSet<NodeId>,
        voters: &BTreeSet<NodeId>,
        wanted: &BTreeSet<NodeId>,
        missing: &BTreeSet<NodeId>,
    ) -> bool {
        wanted.is_disjoint(missing) && (voters.is_disjoint(missing) || is_majority(held, voters))
    }

    fn verdict(
        &self,
        held: &BTreeSet<NodeId>,
        voters: &BTreeSet<NodeId>,
        wanted: &BTreeSet<NodeId>,
        failed: &[(NodeId, String)],
        reach: Reach,
    ) -> Result<Vec<String>, ActorFailure> {
        let told =
            |(member, reason): &(NodeId, String)| format!("`{}`: {reason}", self.name(*member));
        if !is_majority(held, voters) {
            let reasons: Vec<_> = failed.iter().map(told).collect();
            let count = held.intersection(voters).count();
            return Err(failure(format!(
                "only {count} of {} voters hold the package ({})",
                voters.len(),
                reasons.join("; ")
            )));
        }
        let failed = failed.iter().filter(|(member, _)| wanted.contains(member));
        // Who is lost meanwhile is skipped like one that was down: it verifies on its return.
        let is_up = |member: NodeId| self.node.replica.read(|state| up(state, member).is_some());
        let blocks = failed.clone().any(|(member, _)| is_up(*member));
        let failed: Vec<_> = failed.map(told).collect();
        if reach == Reach::Everywhere && blocks {
            return Err(failure(format!(
                "not every member could get the package: {}",
                failed.join("; ")
            )));
        }
        Ok(failed)
    }

    /// Says of each member how a load will treat it.
    fn list_all(&self, request: RequestId, present: &BTreeSet<NodeId>) {
        let listed: Vec<_> = self.node.replica.read(|state| {
            let members = state.members.iter();
            members
                .map(|(id, member)| match standing(member) {
                    // Nothing is brought to this one: it has verified the package already.
                    "waiting" if *id == self.node.id => (member.name.clone(), "verified"),
                    "waiting" if !present.contains(id) => (member.name.clone(), "down"),
                    standing => (member.name.clone(), standing),
                })
                .collect()
        });
        for (name, standing) in listed {
            self.node
                .mutual
                .holdings
                .proceed(request, &name, standing, "");
        }
    }

    /// Has each of these get the package; goes on though nobody listens any more.
    fn bring(
        &self,
        source: SourceHash,
        bytes: u64,
        members: BTreeSet<NodeId>,
        request: Option<RequestId>,
    ) -> mpsc::UnboundedReceiver<Outcome> {
        let (tell, outcomes) = mpsc::unbounded_channel();
        for member in members {
            let (fleet, tell) = (self.clone(), tell.clone());
            let node = Arc::clone(&self.node);
            node.tasks.clone().spawn(async move {
                let bringing = fleet.ensure_held(member, source, bytes, request);
                let outcome = node.shutdown.run_until_cancelled(bringing).await;
                let outcome = outcome.unwrap_or_else(|| Err("this node stops".to_owned()));
                let _unheard = tell.send((member, outcome));
            });
        }
        outcomes
    }

    /// Has a member hold a package, unless it is known to; says why it does not trust it, if so.
    pub(crate) async fn ensure_held(
        &self,
        member: NodeId,
        source: SourceHash,
        bytes: u64,
        request: Option<RequestId>,
    ) -> Result<Option<String>, String> {
        let holdings = &self.node.mutual.holdings;
        let proceed = |state: &str, detail: &str| {
            if let Some(request) = request {
                holdings.proceed(request, &self.name(member), state, detail);
            }
        };
        if member == self.node.id {
            let holders = self.holders(source);
            let held = self.node.hold_package(source, Some(bytes), &holders);
            let distrust = held.await.map_err(|fault| fault.to_string())?.distrust;
            holdings.holds(member, source, distrust.clone());
            proceed(state_of(&distrust), distrust.as_deref().unwrap_or_default());
            return Ok(distrust);
        }
        let known = holdings.judgement(member, source);
        // One that did not trust it may have got a key since.
        if let Some(None) = known {
            proceed("verified", "");
            return Ok(None);
        }
        // Who may be dead takes no holder's time from those that are there.
        self.begun_or_gone(member).await;
        let spread = self.spread(source);
        let holders = match known {
            Some(_) => self.holders(source),
            None => spread.place().await,
        };
        proceed("pulling", "");
        let step = Step::Hold {
            hash: source,
            bytes,
            holders: holders.clone(),
        };
        let chosen = holders.first().copied().filter(|_| known.is_none());
        let leaving = spread.taken(chosen, member);
        let outcome = match self.step(member, step).await {
            Ok(StepOutcome::Held { distrust }) => Ok(distrust),
            Ok(StepOutcome::Failed(failure)) => Err(failure.message),
            Ok(_) => Err("an answer of another kind".to_owned()),
            Err(fault) => Err(fault.told()),
        };
        leaving.end(outcome.is_ok());
        match &outcome {
            Ok(distrust) => {
                holdings.holds(member, source, distrust.clone());
                proceed(state_of(distrust), distrust.as_deref().unwrap_or_default());
            }
            Err(reason) => {
                holdings.holds_not(member, source);
                proceed("failed", reason);
            }
        }
        outcome
    }

    /// Waits until a member has begun a session with this node as the leader, or is not up.
    pub(super) async fn begun_or_gone(&self, member: NodeId) {
        let sessions = &self.node.membership.sessions;
        let Some(incarnation) = self.node.replica.read(|state| up(state, member)) else {
            return;
        };
        let mut begun = sessions.begun();
        let has_begun =
            async { while !sessions.has_begun(member) && begun.changed().await.is_ok() {} };
        tokio::select! {
            () = has_begun => {}
            () = self.gone(member, incarnation) => {}
        }
    }

    /// Those known to hold a package, this node last.
    pub(super) fn holders(&self, source: SourceHash) -> Vec<NodeId> {
        let mut holders = self.live_holders(source);
        holders.retain(|member| *member != self.node.id);
        holders.truncate(HOLDERS_NAMED);
        holders.push(self.node.id);
        holders
    }

    /// Those known to hold a package that are up, as far as is known.
    fn live_holders(&self, source: SourceHash) -> Vec<NodeId> {
        let mut holders = self.node.mutual.holdings.holders(source);
        let me = self.node.id;
        let registry = &self.node.replica;
        registry.read(|state| holders.retain(|it| *it == me || up(state, *it).is_some()));
        holders
    }

    fn spread(&self, source: SourceHash) -> Arc<Spread> {
        let mut spreads = self.spreads.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody waits for or serves is begun anew from what is known then.
        spreads.retain(|hash, spread| *hash == source || Arc::strong_count(spread) > 1);
        let fresh = || {
            let me = self.node.id;
            let holders = self.live_holders(source);
            Arc::new(Spread::new(me, holders.into_iter().chain([me])))
        };
        Arc::clone(spreads.entry(source).or_insert_with(fresh))
    }
}

/// How long a majority of the voters may take to begin sessions.
const MAJORITY_LIMIT: Duration = Duration::from_secs(8);

/// Holders named to a member that is to construct an actor.
const HOLDERS_NAMED: usize = 4;

fn is_majority(held: &BTreeSet<NodeId>, voters: &BTreeSet<NodeId>) -> bool {
    held.intersection(voters).count() > voters.len() / 2
}

fn state_of(distrust: &Option<String>) -> &'static str {
    match distrust {
        None => "verified",
        Some(_) => "not trusted here",
    }
}

fn standing(member: &protocol::registry::Member) -> &'static str {
    use protocol::registry::MemberState;
    match member.state {
        MemberState::Up if member.admission.drained => "drained",
        MemberState::Up => "waiting",
        MemberState::Down | MemberState::Lost => "down",
    }
}
