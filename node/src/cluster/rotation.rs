//! One key of the convention's authority replaces another: what each member does, what a voter
//! does besides, and how whoever leads has it go on.
//!
//! The registry says how far it is; every step here is a function of that and of what members say
//! of themselves, so that the next leader goes on. Keys go from voter to voter alone: a voter asks
//! the others for a key that the registry names and that it does not hold.
//! Not here: what lies on the disk (`identity`), renewals (`renew`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use leader::Voter;
use leader::reconcile::Replica;
use protocol::peer::{PeerRequest, PeerResponse, SecretText};
use protocol::registry::{
    Authorities, AuthorityCommand, Command, KeyDigest, MemberCommand, MemberState, Outcome, Root,
    RotationStep, State,
};
use protocol::wire::{Refusal, RefusalCode};
use protocol::{ConventionId, NodeId};
use tokio::time::Instant;

use super::leadership;
use super::peers::told;
use crate::agent::node::{Node, stamp};

/// Follows what the registry says of the authorities, and has a voter get their keys; until
/// shutdown.
pub(crate) async fn run(node: Arc<Node>) {
    let mut applied = node.membership.registry.applied();
    let mut parts = node.membership.registry.parts();
    let mut known = None;
    loop {
        applied.borrow_and_update();
        parts.borrow_and_update();
        let now = node.replica.read(|state| {
            let is_news = known.as_ref().is_none_or(|(convention, known)| {
                *convention != state.convention || *known != state.roll.authorities
            });
            is_news.then(|| (state.convention, state.roll.authorities.clone()))
        });
        if let Some((convention, told)) = now {
            follow(&node, convention.unwrap_or_default(), &told);
            known = Some((convention, told));
        }
        let missing = known.as_ref().and_then(|(_, told)| missing(&node, told));
        let look_again = match missing {
            Some(key) => match get(&node, key).await {
                true => Duration::ZERO,
                false => ASK_AGAIN,
            },
            None => FOR_LONG,
        };
        tokio::select! {
            biased;
            () = node.shutdown.cancelled() => return,
            _changed = applied.changed() => {}
            _changed = parts.changed() => {}
            () = tokio::time::sleep(look_again) => {}
        }
    }
}

fn follow(node: &Node, convention: ConventionId, told_of: &Authorities) {
    let membership = &node.membership;
    let followed = membership.identity().follow(convention, told_of);
    match followed {
        Ok(None) => {}
        Ok(Some(credentials)) => {
            let trusted = credentials.trusted().iter();
            let trusted: Vec<_> = trusted.map(|root| root.key_hash().to_string()).collect();
            tracing::info!(?trusted, "the authorities of the convention have changed");
            membership.credentials.swap(credentials);
            // A proof by a key that issues no more is none.
            membership.peers.vouched().clear();
            membership.renewal.notify_one();
            membership.certified.send_modify(|times| *times += 1);
        }
        Err(error) => {
            let reason = told(&error);
            tracing::error!(reason, "the convention's authorities cannot be followed");
        }
    }
}

/// A key that this node has to hold as a voter, and does not.
fn missing(node: &Node, told_of: &Authorities) -> Option<KeyDigest> {
    node.membership.registry.consensus()?;
    let held = node.membership.identity().held_authorities();
    let issues = told_of.roots.first().map(|root| root.key);
    let next = drawn(told_of).map(|root| root.key);
    let named = issues.into_iter().chain(next);
    named.into_iter().find(|key| !held.contains(key))
}

/// The authority that is to take over.
fn drawn(authorities: &Authorities) -> Option<&Root> {
    match &authorities.rotation.as_ref()?.step {
        RotationStep::Drawn { root, .. } => Some(root),
        _ => None,
    }
}

/// Asks the other voters for a key.
async fn get(node: &Node, key: KeyDigest) -> bool {
    let membership = &node.membership;
    let Some(consensus) = membership.registry.consensus() else {
        return false;
    };
    let standing = consensus.standing().borrow().clone();
    let (leader, voters) = (standing.leader, standing.voters);
    let others = voters
        .into_values()
        .filter(|it| Some(it) != leader.as_ref());
    let others = others.collect::<Vec<_>>();
    for voter in leader.iter().chain(&others) {
        if voter.node == membership.me {
            continue;
        }
        match ask(node, voter, key).await {
            Ok(()) => {
                tracing::info!(%key, from = %voter.node, "a key of the authority has come");
                membership.certified.send_modify(|times| *times += 1);
                return true;
            }
            Err(reason) => {
                tracing::info!(%key, from = %voter.node, reason, "no key of the authority yet");
            }
        }
    }
    false
}

async fn ask(node: &Node, voter: &Voter, key: KeyDigest) -> Result<(), String> {
    let membership = &node.membership;
    let request = PeerRequest::AuthorityKey { key };
    match membership.peers.ask_at(voter, &request, ASK_LIMIT).await {
        Ok(PeerResponse::AuthorityKey { bundle }) => {
            let taken = membership.identity().take_authority(&bundle.0);
            match taken {
                Ok(taken) if taken == key => Ok(()),
                Ok(other) => Err(format!("it gave the key {other}")),
                Err(error) => Err(told(&error)),
            }
        }
        Ok(_) => Err("an answer of another kind".to_owned()),
        Err(fault) => Err(fault.to_string()),
    }
}

/// Gives a key of the authority to another voter, as the log here has it.
///
/// # Errors
/// [`Refusal`]: it does not vote, or the key is not here.
pub(super) fn answer(node: &Node, from: NodeId, key: KeyDigest) -> Result<PeerResponse, Refusal> {
    let consensus = node.membership.registry.consensus();
    let votes = consensus.is_some_and(|consensus| {
        let standing = consensus.standing().borrow().clone();
        standing.voters.values().any(|voter| voter.node == from)
    });
    if !votes {
        let subject = format!("node {from}");
        let text = "it asked for the authority's key and does not vote";
        node.membership.audit.note("false voter", &subject, text);
        let text = "only voters hold the authority's key";
        return Err(Refusal::new(RefusalCode::NotAllowed, text));
    }
    let bundle = node.membership.identity().authority_bundle(key);
    let bundle = bundle.ok_or_else(|| {
        let text = format!("the authority's key {key} is not here");
        Refusal::new(RefusalCode::NotHeld, text)
    })?;
    tracing::info!(%key, to = %from, "a key of the authority goes to a voter");
    Ok(PeerResponse::AuthorityKey {
        bundle: SecretText(bundle),
    })
}

/// Has a rotation go on, as the leader; until it is dropped.
pub(crate) async fn keep(node: &Arc<Node>) {
    leadership::settled(node).await;
    let mut applied = node.membership.registry.applied();
    let mut heard = node.membership.sessions.changed();
    let mut lacking: Option<Instant> = None;
    loop {
        applied.borrow_and_update();
        heard.borrow_and_update();
        let authorities = node.replica.read(|state| state.roll.authorities.clone());
        let Some(rotation) = &authorities.rotation else {
            lacking = None;
            if applied.changed().await.is_err() {
                return;
            }
            continue;
        };
        let next = next_step(node, &authorities, &rotation.step, &mut lacking);
        let reason = match next {
            Ok(Some(command)) => match propose(node, command).await {
                Ok(()) => continue,
                Err(reason) => Some(reason),
            },
            Ok(None) => None,
            Err(reason) => Some(reason),
        };
        if let Some(reason) = reason {
            tracing::warn!(reason, "the authority's key is not replaced yet");
        }
        tokio::select! {
            _moved = applied.changed() => {}
            _moved = heard.changed() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// What is to be done next; `None`: others have something to do first.
fn next_step(
    node: &Node,
    authorities: &Authorities,
    step: &RotationStep,
    lacking: &mut Option<Instant>,
) -> Result<Option<AuthorityCommand>, String> {
    match step {
        RotationStep::Wanted => draw(node).map(Some),
        RotationStep::Drawn { root, .. } => {
            let holds = node.membership.identity().held_authorities();
            if !holds.contains(&root.key) {
                // Whoever drew it has gone; nothing was issued with it.
                let since = *lacking.get_or_insert_with(Instant::now);
                let in_vain = since.elapsed() >= LACKING_LIMIT;
                return in_vain.then(|| draw(node)).transpose();
            }
            *lacking = None;
            let take_over = AuthorityCommand::TakeOver {
                key: root.key,
                stamp: stamp(),
            };
            Ok(lacking_voters(node, root.key)
                .is_ok_and(|lacking| lacking.is_empty())
                .then_some(take_over))
        }
        RotationStep::Issues => {
            let Some(issues) = authorities.roots.first() else {
                return Ok(None);
            };
            let retire = AuthorityCommand::Retire {
                key: issues.key,
                by: String::new(),
                stamp: stamp(),
            };
            Ok(unrenewed(node, issues.key).is_empty().then_some(retire))
        }
    }
}

fn draw(node: &Node) -> Result<AuthorityCommand, String> {
    let drawn = node.membership.identity().draw_authority(stamp());
    let drawn = drawn.map_err(|error| told(&error))?;
    let drawn = drawn.ok_or("this node does not hold the key that issues now")?;
    Ok(AuthorityCommand::Drawn {
        current: drawn.current,
        root: drawn.root,
        link: drawn.link,
        stamp: stamp(),
    })
}

async fn propose(node: &Node, command: AuthorityCommand) -> Result<(), String> {
    let Some(consensus) = node.membership.registry.consensus() else {
        return Err("this node votes no more".to_owned());
    };
    let command = Command::Member(MemberCommand::Authority(command));
    let proposed = Replica::propose(&*consensus, command).await;
    match proposed.map_err(|failure| failure.to_string())? {
        (_, Outcome::Done) => Ok(()),
        (_, outcome) => Err(format!("{outcome:?}")),
    }
}

/// The voters that are up and do not hold a key of the authority.
///
/// # Errors
/// Those that are down, where the others are no majority: whoever leads next has to find the key
/// with somebody.
pub(crate) fn lacking_voters(
    node: &Node,
    key: KeyDigest,
) -> Result<BTreeSet<NodeId>, BTreeSet<NodeId>> {
    let holders = holders(node, key);
    let voters = super::voters::voters(node);
    let (holding, others): (BTreeSet<_>, BTreeSet<_>) =
        voters.iter().partition(|voter| holders.contains(voter));
    let lacking: BTreeSet<_> = node.replica.read(|state| {
        let up = others.iter().filter(|voter| is_up(state, voter));
        up.copied().collect()
    });
    if lacking.is_empty() && holding.len() <= voters.len() / 2 {
        return Err(others);
    }
    Ok(lacking)
}

/// The nodes that say that they hold a key of the authority.
pub(crate) fn holders(node: &Node, key: KeyDigest) -> BTreeSet<NodeId> {
    let mut holders: BTreeSet<_> = node
        .membership
        .sessions
        .reports()
        .into_iter()
        .filter(|(_, report)| report.authorities.contains(&key))
        .map(|(member, _)| member)
        .collect();
    if node.membership.identity().held_authorities().contains(&key) {
        holders.insert(node.id);
    }
    holders
}

/// The members that are up and have no certificate of this authority yet, as far as they say.
pub(crate) fn unrenewed(node: &Node, key: KeyDigest) -> BTreeSet<NodeId> {
    let renewed = renewed(node, key);
    node.replica.read(|state| {
        let members = state.members.keys();
        let up = members.filter(|member| is_up(state, member));
        up.filter(|member| !renewed.contains(member))
            .copied()
            .collect()
    })
}

/// The members that say that their certificate is of this authority.
pub(crate) fn renewed(node: &Node, key: KeyDigest) -> BTreeSet<NodeId> {
    let reports = node.membership.sessions.reports().into_iter();
    let mut renewed: BTreeSet<_> = reports
        .filter(|(_, report)| report.certified_by == Some(key))
        .map(|(member, _)| member)
        .collect();
    let own = node.membership.identity().certified_by();
    if own.is_some_and(|own| own.0 == key.0) {
        renewed.insert(node.id);
    }
    renewed
}

fn is_up(state: &State, member: &NodeId) -> bool {
    let known = state.members.get(member);
    known.is_some_and(|member| member.state == MemberState::Up)
}

/// How long another voter may take to give a key.
const ASK_LIMIT: Duration = Duration::from_secs(2);

/// Between two rounds of asking for a key.
const ASK_AGAIN: Duration = Duration::from_millis(300);

/// Nothing is missing: the next change is waited for.
const FOR_LONG: Duration = Duration::from_secs(3600);

/// Between two looks while a rotation is under way and nobody says anything.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long a leader looks for a key that another one has drawn before it draws one itself.
const LACKING_LIMIT: Duration = Duration::from_secs(5);
