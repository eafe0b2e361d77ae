//! Who votes: the member's side of becoming a voter, and the leader's care that there are enough.
//!
//! A candidate opens an empty log, gets it filled while it still follows the stream, and reads from
//! it only once it is as far; it votes once it has caught up and holds every package. One voter
//! until three can be, never an even number; whoever was dead for the grace time is replaced.
//! Not here: the joint change itself (`leader::raft`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use convention::{Electorate, VoterChange, VoterSettings, Willing, next_change};
use leader::reconcile::Replica;
use leader::{AnswerFault, Config, Consensus, Identity, RaftId, Sender, Start, Voter};
use protocol::NodeId;
use protocol::control::ActorFailure;
use protocol::peer::{PeerResponse, SecretText, Step, StepOutcome};
use protocol::registry::{Command, Member, MemberCommand, MemberState, Outcome, State};
use protocol::wire::{Refusal, RefusalCode};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use transport::identity::{Authority, PeerIdentity};

use super::fleet::ClusterFleet;
use super::follow;
use super::steps::failure;
use super::view::View;
use super::voter_calls::{NO_VOTER, VoterCalls};
use super::vouching::is_trusted;
use crate::agent::node::{Node, stamp};

/// How often the voters are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Answers a message of another voter, whose connection it came by.
///
/// # Errors
/// [`Refusal`]: this node is no voter, or cannot take it.
pub(crate) async fn answer(
    node: &Node,
    peer: &PeerIdentity,
    message: &[u8],
) -> Result<PeerResponse, Refusal> {
    let consensus = learner(node).or_else(|| node.membership.registry.consensus());
    let Some(consensus) = consensus else {
        return Err(Refusal::new(RefusalCode::NotAllowed, NO_VOTER));
    };
    let sender = |is_trusted| Sender {
        node: peer.node,
        is_trusted,
    };
    let answered = match consensus.answer(sender(false), message).await {
        Err(AnswerFault::Stranger { .. }) if is_trusted(node, &consensus, peer).await => {
            consensus.answer(sender(true), message).await
        }
        answered => answered,
    };
    match answered {
        Ok(message) => Ok(PeerResponse::Raft { message }),
        Err(fault @ (AnswerFault::Stranger { .. } | AnswerFault::NotItsOwn { .. })) => {
            let (text, subject) = (fault.to_string(), format!("node {}", peer.node));
            node.membership.audit.note("false voter", &subject, &text);
            Err(Refusal::new(RefusalCode::NotAllowed, text))
        }
        Err(fault) => Err(Refusal::new(RefusalCode::BadRequest, fault.to_string())),
    }
}

/// The nodes that vote, as far as this one knows.
pub(crate) fn voters(node: &Node) -> BTreeSet<NodeId> {
    let Some(consensus) = node.membership.registry.consensus() else {
        return BTreeSet::from([node.id]);
    };
    let standing = consensus.standing().borrow().clone();
    standing.voters.values().map(|voter| voter.node).collect()
}

fn learner(node: &Node) -> Option<Arc<Consensus>> {
    let held = node.mutual.learner.lock();
    held.unwrap_or_else(PoisonError::into_inner).clone()
}

fn set_learner(node: &Node, learner: Option<Arc<Consensus>>) {
    let held = node.mutual.learner.lock();
    *held.unwrap_or_else(PoisonError::into_inner) = learner;
}

/// Opens the log of a voter to be; it is read from once it is as far as the stream.
pub(crate) async fn open_log(
    node: &Arc<Node>,
    raft: u64,
    recoveries: u64,
    authority: &str,
) -> Result<(), ActorFailure> {
    let raft = RaftId(raft);
    let _alone = node.mutual.log_changes.lock().await;
    let registry = &node.membership.registry;
    let open = learner(node).or_else(|| registry.consensus());
    if let Some(open) = &open {
        if open.identity().raft == raft {
            return Ok(());
        }
        drop_log(node).await?;
    }
    let convention = node.membership.identity().convention().unwrap_or_default();
    let kept = node.membership.identity().take_authority(authority);
    kept.map_err(|error| failure(error.to_string()))?;
    let path = node.directory.state().raft();
    remove_file(&path)?;
    let identity = Identity {
        convention,
        recovery_epoch: recoveries,
        raft,
        founder: false,
    };
    let voter = Voter {
        node: node.id,
        address: node.membership.address().to_owned(),
    };
    let config = Config::single(path, Start::Join(identity), voter);
    let calls = VoterCalls::new(&node.membership.peers);
    let consensus = Consensus::open(config, calls).await;
    let consensus = Arc::new(consensus.map_err(|error| failure(error.to_string()))?);
    go_on(node, consensus);
    Ok(())
}

/// Becomes a voter by this log once it is filled.
pub(crate) fn go_on(node: &Arc<Node>, consensus: Arc<Consensus>) {
    set_learner(node, Some(Arc::clone(&consensus)));
    let raft = consensus.identity().raft.0;
    tracing::info!(raft, "this node is to become a voter");
    let (node, tracker) = (Arc::clone(node), node.tasks.clone());
    tracker.spawn(async move {
        let shutdown = node.shutdown.clone();
        shutdown
            .run_until_cancelled(take_over(&node, consensus))
            .await;
    });
}

/// Lets the registry be read from the new log as soon as that is no step back.
async fn take_over(node: &Arc<Node>, consensus: Arc<Consensus>) {
    let registry = &node.membership.registry;
    let mut filled = consensus.applied();
    loop {
        let followed = *registry.applied().borrow();
        let as_far = filled.wait_for(|index| *index > 0 && *index >= followed);
        if as_far.await.is_err() {
            return;
        }
        let still = learner(node).is_some_and(|held| Arc::ptr_eq(&held, &consensus));
        if !still {
            return;
        }
        if registry.become_voter(Arc::clone(&consensus)) {
            break;
        }
        // The stream was faster just now.
        tokio::task::yield_now().await;
    }
    set_learner(node, None);
    tracing::info!("the registry is read from this node's own log");
}

/// Drops this node's log of this raft id and the authority's key: it is no voter any more. A log
/// that was opened since under another id stays.
pub(crate) async fn close_log(node: &Arc<Node>, raft: RaftId) -> Result<(), ActorFailure> {
    let _alone = node.mutual.log_changes.lock().await;
    let open = learner(node).or_else(|| node.membership.registry.consensus());
    if let Some(open) = open.filter(|open| open.identity().raft != raft) {
        let now = open.identity().raft.0;
        tracing::info!(
            raft = raft.0,
            now,
            "an older log than this node's was to be dropped"
        );
        return Ok(());
    }
    stop_log(node).await;
    // A crash between any two of these leaves a node that its next session sets right; without
    // the log, a founder that still counts as one would begin an empty one.
    let state = node.directory.state();
    let kept = follow::keep_now(&state, &node.membership.registry);
    kept.map_err(|cause| failure(format!("the copy of the registry is not kept: {cause}")))?;
    let dropped = node.membership.identity().drop_authority();
    dropped.map_err(|error| failure(error.to_string()))?;
    remove_file(&state.raft())
}

async fn drop_log(node: &Arc<Node>) -> Result<(), ActorFailure> {
    stop_log(node).await;
    remove_file(&node.directory.state().raft())
}

/// A log that is not read from yet is for nothing any more.
pub(super) async fn let_learner_go(node: &Node) {
    if let Some(learner) = learner(node) {
        set_learner(node, None);
        learner.shutdown().await;
    }
}

/// From now on this node follows, whatever part it had.
async fn stop_log(node: &Arc<Node>) {
    let_learner_go(node).await;
    let registry = &node.membership.registry;
    if let Some(consensus) = registry.consensus() {
        let voters = consensus.standing().borrow().voters.clone();
        let voters = voters.values().map(|voter| voter.node);
        registry.become_follower(View {
            voters: voters.collect(),
            ..registry.copy()
        });
        consensus.shutdown().await;
        tracing::info!("this node votes no more");
    }
}

fn remove_file(path: &std::path::Path) -> Result<(), ActorFailure> {
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            Err(failure(format!("`{}`: {cause}", path.display())))
        }
        _ => Ok(()),
    }
}

/// Keeps as many voters as are wanted, and every package on all of them; until it is dropped.
pub(crate) async fn keep(node: &Arc<Node>, fleet: &ClusterFleet) {
    let mut applied = node.membership.registry.applied();
    loop {
        applied.borrow_and_update();
        take_reports(node);
        if let Err(reason) = improve(node, fleet).await {
            tracing::info!(reason, "the voters stay as they are for now");
        }
        repair(node, fleet).await;
        // One that is alone sleeps until somebody comes.
        let alone = node.replica.read(|state| state.members.len() < 2);
        if !alone {
            tokio::time::sleep(LOOK).await;
        } else if applied.changed().await.is_err() {
            return;
        }
    }
}

/// What members said with their heartbeats of the packages that they hold.
fn take_reports(node: &Node) {
    let reports = node.membership.sessions.reports();
    for (member, report) in reports.iter().filter(|(_, report)| report.heard.is_some()) {
        let holdings = &node.mutual.holdings;
        holdings.reported(*member, &report.held, &report.distrusted, report.actors);
    }
}

/// Has every voter, and who is to be one, hold what the registry names.
async fn repair(node: &Arc<Node>, fleet: &ClusterFleet) {
    let me = node.id;
    let Some(consensus) = node.membership.registry.consensus() else {
        return;
    };
    let standing = consensus.standing().borrow().clone();
    let sides = standing.voters.values().chain(standing.learners.values());
    let voters: BTreeSet<_> = sides
        .map(|voter| voter.node)
        .filter(|id| *id != me)
        .collect();
    let reports = node.membership.sessions.reports();
    let missing = node.replica.read(|state| {
        let holdings = &node.mutual.holdings;
        // What one holds that has said nothing yet in this lead is known in a moment.
        let heard = |id: &NodeId| reports.get(id).is_some_and(|it| it.heard.is_some());
        let there = |id: &NodeId| is_up(state, *id) && heard(id);
        let voters: Vec<_> = voters.iter().copied().filter(there).collect();
        let sources = state.sources.iter();
        let pairs = sources.flat_map(|(hash, source)| {
            let lacking = voters
                .iter()
                .filter(|voter| holdings.judgement(**voter, *hash).is_none());
            lacking.map(|voter| (*voter, *hash, source.bytes))
        });
        pairs.collect::<Vec<_>>()
    });
    let mut repairs = JoinSet::new();
    let mut lacking = Lacking::new();
    for (voter, hash, bytes) in missing {
        if repairs.len() >= REPAIRS_AT_ONCE {
            note(&mut lacking, repairs.join_next().await);
        }
        let fleet = fleet.clone();
        repairs.spawn(async move {
            let bringing = fleet.ensure_held(voter, hash, bytes, None);
            let brought = tokio::time::timeout(REPAIR_LIMIT, bringing).await;
            let seconds = REPAIR_LIMIT.as_secs();
            let slow = |_elapsed| Err(format!("it has not come within {seconds} s"));
            (voter, brought.unwrap_or_else(slow).map(drop))
        });
    }
    while let Some(done) = repairs.join_next().await {
        note(&mut lacking, Some(done));
    }
    for (voter, (count, reason)) in lacking {
        tracing::warn!(%voter, count, reason, "a voter lacks packages");
    }
}

/// How many packages a voter lacks, and why it lacks the first.
type Lacking = BTreeMap<NodeId, (u32, String)>;

type Repaired = (NodeId, Result<(), String>);

fn note(lacking: &mut Lacking, done: Option<Result<Repaired, JoinError>>) {
    if let Some(Ok((voter, Err(reason)))) = done {
        lacking.entry(voter).or_insert((0, reason)).0 += 1;
    }
}

/// Packages on their way to voters at a time: one that is slow keeps back no other.
const REPAIRS_AT_ONCE: usize = 8;

/// How long one package may keep the look at the voters.
const REPAIR_LIMIT: Duration = Duration::from_secs(60);

/// One change towards the voters that are wanted.
async fn improve(node: &Arc<Node>, fleet: &ClusterFleet) -> Result<(), String> {
    let Some(consensus) = node.membership.registry.consensus() else {
        return Ok(());
    };
    let standing = consensus.standing().borrow().clone();
    let nodes = |side: &BTreeMap<RaftId, Voter>| -> BTreeMap<RaftId, NodeId> {
        side.iter()
            .map(|(raft, voter)| (*raft, voter.node))
            .collect()
    };
    let electorate = Electorate {
        voters: nodes(&standing.voters),
        learners: nodes(&standing.learners),
        leader: consensus.identity().raft,
    };
    node.membership.peers.logless().keep(|member| {
        let mut sent = electorate
            .voters
            .values()
            .chain(electorate.learners.values());
        sent.any(|id| *id == member)
    });
    let (members, settings) = node.replica.read(|state| {
        (
            willing(node, state, &consensus, &electorate),
            settings(state),
        )
    });
    match next_change(&members, &electorate, settings, stamp()) {
        None => Ok(()),
        Some(VoterChange::AddLearner(member)) => begin(node, fleet, &consensus, member).await,
        Some(VoterChange::RemoveLearner(raft)) => {
            let removed = consensus.remove_learner(raft).await;
            removed.map_err(|error| error.to_string())?;
            let gone = electorate.learners.get(&raft).map(|member| (raft, *member));
            close_logs(node, fleet, gone);
            Ok(())
        }
        Some(VoterChange::SetVoters(rafts)) => {
            let gone = electorate
                .voters
                .iter()
                .filter(|(raft, _)| !rafts.contains(raft));
            let gone: Vec<_> = gone.map(|(raft, member)| (*raft, *member)).collect();
            let changed = consensus.change_voters(rafts.clone()).await;
            changed.map_err(|error| error.to_string())?;
            tracing::info!(?rafts, "the voters are changed");
            close_logs(node, fleet, gone);
            Ok(())
        }
    }
}

/// Tells former voters and learners to drop their logs; who cannot hear is told when its next
/// session begins (`sessions`).
fn close_logs(node: &Node, fleet: &ClusterFleet, gone: impl IntoIterator<Item = (RaftId, NodeId)>) {
    for (raft, member) in gone {
        let fleet = fleet.clone();
        node.tasks.spawn(async move {
            let closing = fleet.step(member, Step::CloseLog { raft: raft.0 });
            let _unless_gone = tokio::time::timeout(CLOSE_LIMIT, closing).await;
        });
    }
}

/// How long a former voter is told to drop its log.
const CLOSE_LIMIT: Duration = Duration::from_secs(20);

/// The members that may vote, and how far each is.
fn willing(
    node: &Node,
    state: &State,
    consensus: &Consensus,
    electorate: &Electorate<RaftId>,
) -> BTreeMap<NodeId, Willing> {
    let holdings = &node.mutual.holdings;
    let caught_up = |member: NodeId| {
        let mut learners = electorate.learners.iter();
        learners.any(|(raft, id)| *id == member && consensus.caught_up(*raft))
    };
    let holds = |member: NodeId| {
        let mut sources = state.sources.keys();
        sources.all(|hash| holdings.judgement(member, *hash).is_some())
    };
    // As good as dead, until it begins anew under a fresh raft id.
    let logless = |member: NodeId| node.membership.peers.logless().has(member);
    let reachable = |member: &Member| member.admission.is_willing() && !member.address.is_empty();
    let members = state.members.iter();
    let willing = members.filter(|(id, member)| reachable(member) || **id == node.id);
    willing
        .map(|(id, member)| {
            let willing = Willing {
                is_up: member.state == MemberState::Up && !logless(*id),
                since: member.since,
                holds_packages: *id == node.id || holds(*id),
                caught_up: caught_up(*id),
            };
            (*id, willing)
        })
        .collect()
}

fn settings(state: &State) -> VoterSettings {
    let mut settings = VoterSettings::default();
    if state.roll.voters_wanted > 0 {
        settings.wanted = usize::from(state.roll.voters_wanted);
    }
    settings
}

/// Gives a member a fresh raft id and the authority's key, and begins to send it the log.
async fn begin(
    node: &Arc<Node>,
    fleet: &ClusterFleet,
    consensus: &Arc<Consensus>,
    member: NodeId,
) -> Result<(), String> {
    let take = Command::Member(MemberCommand::TakeRaftId {
        node: member,
        stamp: stamp(),
    });
    let taken = Replica::propose(&**consensus, take).await;
    let raft = match taken.map_err(|error| error.to_string())? {
        (_, Outcome::RaftId(raft)) => raft,
        (_, outcome) => return Err(format!("no raft id for `{member}`: {outcome:?}")),
    };
    let authority = {
        let identity = node.membership.identity();
        identity.authority().map(Authority::to_bundle)
    };
    let Some(authority) = authority else {
        return Err("the authority's key is not on this node".to_owned());
    };
    let address = node.replica.read(|state| {
        let address = state.members.get(&member).map(|m| m.address.clone());
        address.unwrap_or_default()
    });
    let _begun = Beginning::of(node, raft);
    let step = Step::OpenLog {
        raft,
        recoveries: consensus.identity().recovery_epoch,
        authority: SecretText(authority.to_string()),
    };
    match fleet.step(member, step).await {
        Ok(StepOutcome::Done) => {}
        Ok(StepOutcome::Failed(failure)) => return Err(failure.message),
        other => return Err(format!("{other:?}")),
    }
    let voter = Voter {
        node: member,
        address,
    };
    let added = consensus.add_learner(RaftId(raft), voter).await;
    added.map_err(|error| error.to_string())?;
    tracing::info!(%member, raft, "a member gets the log");
    Ok(())
}

/// While it stands, the raft id that it names is on its way into the membership: a session with
/// that log is not one of a former voter.
struct Beginning<'a>(&'a Node);

impl<'a> Beginning<'a> {
    fn of(node: &'a Node, raft: u64) -> Self {
        node.mutual.beginning.store(raft, Ordering::Release);
        Self(node)
    }
}

impl Drop for Beginning<'_> {
    fn drop(&mut self) {
        self.0.mutual.beginning.store(0, Ordering::Release);
    }
}

/// Waits until nobody votes or learns any more under the raft id that a member names last.
pub(super) async fn until_one_is_out(node: &Node, mut logs: watch::Receiver<Option<u64>>) -> u64 {
    loop {
        let log = *logs.borrow_and_update();
        let out = async {
            match log {
                Some(raft) => until_out(node, RaftId(raft)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = out => return log.unwrap_or_default(),
            changed = logs.changed() => if changed.is_err() {
                return std::future::pending().await;
            },
        }
    }
}

/// Waits until this leader is sure that nobody votes or learns under a raft id any more.
async fn until_out(node: &Node, raft: RaftId) {
    let mut applied = node.membership.registry.applied();
    while let Some(consensus) = node.membership.registry.consensus() {
        applied.borrow_and_update();
        consensus.until_out(raft).await;
        if is_out(node, raft) {
            return;
        }
        if applied.changed().await.is_err() {
            break;
        }
    }
    std::future::pending().await
}

/// Whether nobody votes or learns under a raft id any more, as this leader has committed.
pub(super) fn is_out(node: &Node, raft: RaftId) -> bool {
    let begins = node.mutual.beginning.load(Ordering::Acquire) == raft.0;
    let consensus = node.membership.registry.consensus();
    !begins && consensus.is_some_and(|consensus| consensus.is_out(raft))
}

fn is_up(state: &State, member: NodeId) -> bool {
    let known = state.members.get(&member);
    known.is_some_and(|member| member.state == MemberState::Up)
}
