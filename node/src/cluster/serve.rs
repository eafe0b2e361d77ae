//! What other members ask of this node: each request on a stream of its own.
//!
//! Whoever asks was admitted by `endpoint::gate`; what each may ask is said here, arm by arm. Steps
//! are the leader's, and the voters' messages the voters'.

use std::sync::Arc;
use std::time::Duration;

use leader::reconcile::{ProposeFailure, Replica};
use protocol::NodeId;
use protocol::peer::{LinkKind, PeerRequest, PeerResponse};
use protocol::registry::{Change, Command, MemberCommand, State};
use protocol::wire::{Refusal, RefusalCode};
use tokio::time::timeout;
use transport::Connection;
use transport::identity::PeerIdentity;
use transport::streams::BiStream;

use super::peers::{PeerFault, VOTERS_TOLD};
use super::{
    admission, creation, endpoint, lanes, orders, rotation, sessions, steps, voters, vouching,
    warnings, whole,
};
use crate::agent::node::{Node, stamp};

/// Serves the streams of a `convention/1` connection until it ends.
pub(super) async fn requests(node: &Arc<Node>, connection: &Connection) {
    let Some(peer) = connection.peer().copied() else {
        return;
    };
    while let Ok(stream) = connection.accept().await {
        node.membership.peers.heard_on(connection);
        let answering = one(Arc::clone(node), peer, stream);
        let ended = node.shutdown.clone();
        node.tasks.spawn(async move {
            let _stopped = ended.run_until_cancelled(answering).await;
        });
    }
}

async fn one(node: Arc<Node>, peer: PeerIdentity, mut stream: BiStream) {
    let from = peer.node;
    let request = match timeout(REQUEST_LIMIT, stream.request()).await {
        Ok(Ok(request)) => request,
        Ok(Err(fault)) => {
            tracing::debug!(%from, %fault, "a request cannot be read");
            let refusal = Refusal::new(RefusalCode::BadRequest, fault.to_string());
            let _gone = stream.answer::<PeerResponse>(Err(refusal)).await;
            return;
        }
        Err(_elapsed) => return,
    };
    if let Err(refusal) = may_ask(&node, &peer, &request).await {
        let _gone = stream.answer::<PeerResponse>(Err(refusal)).await;
        return;
    }
    let outcome = match request {
        PeerRequest::Raft { message } => voters::answer(&node, &peer, &message).await,
        PeerRequest::Session(open) => return sessions::serve(&node, from, open, stream).await,
        PeerRequest::Renew(request) => {
            admission::renew(&node, from, peer.key, &request).map(PeerResponse::Renewed)
        }
        PeerRequest::Registry => {
            if let Err(fault) = whole::serve(&node, stream).await {
                tracing::debug!(%from, %fault, "the registry did not arrive");
            }
            return;
        }
        request => answer(&node, from, request).await,
    };
    if let Err(fault) = stream.answer(outcome).await {
        tracing::debug!(%from, %fault, "an answer did not arrive");
    }
}

/// Serves a `lane/1` connection until it ends.
pub(super) async fn lane(node: &Arc<Node>, connection: &Connection) {
    node.membership.lane(connection.clone());
    connection.closed().await;
}

/// Serves a `bulk/1` connection until it ends.
pub(super) async fn packages(node: &Arc<Node>, connection: &Connection) {
    let packages = Arc::clone(&node.packages);
    packages.serve(connection.clone()).await;
}

/// Answers a request of the member `from`.
pub(crate) async fn answer(
    node: &Arc<Node>,
    from: NodeId,
    request: PeerRequest,
) -> Result<PeerResponse, Refusal> {
    match request {
        PeerRequest::Leader => Ok(leader(node)),
        PeerRequest::Propose { command } => propose(node, from, command).await,
        PeerRequest::CallBack { node: whom, link } => call_back(node, from, whom, link).await,
        PeerRequest::Dial {
            node: whom,
            address,
            link,
        } => {
            // Who asks for a call back asks the leader, which knows where each member is.
            leads_this_node(node, from)?;
            if link == LinkKind::Lane {
                // Only a dial that is followed by a greeting makes a lane.
                lanes::want(node, whom);
                return Ok(PeerResponse::Done);
            }
            let dialling = Arc::clone(node);
            node.tasks.spawn(async move {
                let peers = &dialling.membership.peers;
                if let Err(fault) = peers.dial(whom, &address, alpn_of(link)).await {
                    tracing::info!(node = %whom, %fault, "a member that asked cannot be dialled");
                }
            });
            Ok(PeerResponse::Done)
        }
        PeerRequest::Join { request, from: at } => {
            must_lead(node)?;
            let admitted = admission::admit(node, &request, &at).await;
            admitted.map(PeerResponse::Joined)
        }
        PeerRequest::Order {
            id,
            request,
            package,
        } => orders::answer(node, from, id, &request, package).await,
        PeerRequest::Control { request } => orders::control(node, &request).await,
        PeerRequest::Step { term, step } => {
            if let Err(refusal) = leads_this_node(node, from) {
                vouching::hear_of_lead(node, from, term).await;
                return Err(refusal);
            }
            steps::execute(node, from, term, step).await
        }
        PeerRequest::Warnings {
            run,
            number,
            records,
            dropped,
        } => {
            let batch = warnings::Batch {
                number,
                records,
                dropped,
            };
            warnings::answer(node, from, run, &batch).await
        }
        PeerRequest::Create(creation) => creation::answer(node, from, creation).await,
        PeerRequest::Source { hash, proof } => Ok(node.answer_source(from, hash, proof)),
        PeerRequest::UnloadSource { hash, proof } => node.answer_unload(from, hash, proof).await,
        PeerRequest::Locate { actor } => Ok(lanes::map::answer(node, actor)),
        PeerRequest::Vouch => vouching::vouch(node),
        PeerRequest::AuthorityKey { key } => rotation::answer(node, from, key),
        PeerRequest::Knows { node: whom, key } => Ok(vouching::knows(node, whom, key)),
        PeerRequest::Session(_)
        | PeerRequest::Renew(_)
        | PeerRequest::Raft { .. }
        | PeerRequest::Registry => {
            let text = "that is asked on a stream of its own kind";
            Err(Refusal::new(RefusalCode::BadRequest, text))
        }
    }
}

/// Refuses what a node may not ask that the registry here does not know, after a moment: it may
/// have been admitted just now. What proves by itself who may ask it does not wait.
async fn may_ask(node: &Node, peer: &PeerIdentity, request: &PeerRequest) -> Result<(), Refusal> {
    match request {
        PeerRequest::Leader
        | PeerRequest::Vouch
        | PeerRequest::Raft { .. }
        | PeerRequest::Renew(_) => Ok(()),
        PeerRequest::Step { .. } if leads_this_node(node, peer.node).is_ok() => Ok(()),
        _ => endpoint::known(&node.membership, peer).await,
    }
}

/// Refuses steps of everybody but the leader, as this node's session or the voters' log has it. A
/// leader that this node has yet to hear of tries again.
fn leads_this_node(node: &Node, from: NodeId) -> Result<(), Refusal> {
    let membership = &node.membership;
    let leader = membership.registry.standing().borrow().leader.clone();
    let heard = leader.is_some_and(|(leader, _)| leader == from);
    if heard || *membership.session_with.borrow() == Some(from) {
        return Ok(());
    }
    let text = format!(
        "`{}` does not know node `{from}` as the leader now",
        membership.name
    );
    Err(Refusal::new(RefusalCode::Busy, text))
}

/// Refuses where another node leads.
pub(crate) fn must_lead(node: &Node) -> Result<(), Refusal> {
    if node.membership.leads() {
        return Ok(());
    }
    let text = format!(
        "node `{}` does not lead the convention",
        node.membership.name
    );
    Err(Refusal::new(RefusalCode::NotLeader, text))
}

fn leader(node: &Node) -> PeerResponse {
    let leader = node.membership.registry.standing().borrow().leader.clone();
    let voters = node.membership.registry.read(|state| {
        let able = state.members.iter();
        let able = able.filter(|(_, m)| m.admission.may_vote && !m.address.is_empty());
        able.map(|(node, member)| (*node, member.address.clone()))
            .take(VOTERS_TOLD)
            .collect()
    });
    PeerResponse::Leader { leader, voters }
}

async fn propose(
    node: &Arc<Node>,
    from: NodeId,
    command: Command,
) -> Result<PeerResponse, Refusal> {
    must_lead(node)?;
    let registry = &node.membership.registry;
    let Some(command) = registry.read(|state| allowed(state, from, command)) else {
        let text = "a member may change what is its own; this is for the leader to decide";
        return Err(Refusal::new(RefusalCode::NotAllowed, text));
    };
    if matches!(command, Command::MemberStopped { .. }) {
        node.membership.sessions.forget(from);
    }
    let consensus = registry.consensus();
    let consensus = consensus.ok_or_else(|| must_lead(node).err().unwrap_or_else(not_leader))?;
    match Replica::propose(&*consensus, command).await {
        Ok((index, outcome)) => Ok(PeerResponse::Proposed { index, outcome }),
        Err(ProposeFailure::Unknown { reason }) => Err(Refusal::new(RefusalCode::Unknown, reason)),
        Err(failure) => Err(Refusal::new(RefusalCode::NotLeader, failure.to_string())),
    }
}

fn not_leader() -> Refusal {
    Refusal::new(RefusalCode::NotLeader, "this node leads no longer")
}

/// What a member may propose: what concerns itself. The time is the leader's.
fn allowed(state: &State, from: NodeId, mut command: Command) -> Option<Command> {
    let own = match &mut command {
        Command::MemberStarted {
            node, stamp: at, ..
        }
        | Command::MemberStopped { node, stamp: at } => {
            *at = stamp();
            *node == from
        }
        Command::Ended {
            slot, stamp: at, ..
        } => {
            *at = stamp();
            state.slots.get(slot).is_some_and(|slot| slot.node == from)
        }
        Command::Member(command) => is_own(state, from, command),
        Command::Ordered {
            request,
            change: Change::Member(command),
            stamp: at,
            told,
        } => {
            *at = stamp();
            // In nobody else's name.
            *request = request.of(from);
            // Nobody is answered by it.
            told.clear();
            is_own(state, from, command)
        }
        _ => false,
    };
    own.then_some(command)
}

fn is_own(state: &State, from: NodeId, command: &mut MemberCommand) -> bool {
    match command {
        MemberCommand::Describe {
            node, stamp: at, ..
        }
        | MemberCommand::Vote {
            node,
            on: false,
            stamp: at,
            ..
        }
        | MemberCommand::Remove {
            node,
            left: true,
            stamp: at,
            ..
        } => {
            *at = stamp();
            *node == from
        }
        MemberCommand::Note { by, stamp: at, .. } => {
            *at = stamp();
            let name = state.members.get(&from).map(|member| member.name.clone());
            *by = name.unwrap_or_else(|| from.to_string());
            true
        }
        _ => false,
    }
}

/// Has `whom` dial `from`, which cannot dial it.
async fn call_back(
    node: &Arc<Node>,
    from: NodeId,
    whom: NodeId,
    link: LinkKind,
) -> Result<PeerResponse, Refusal> {
    must_lead(node)?;
    let membership = &node.membership;
    let address = membership
        .registry
        .read(|state| state.members.get(&from).map(|m| m.address.clone()));
    let request = PeerRequest::Dial {
        node: from,
        address: address.unwrap_or_default(),
        link,
    };
    match membership.peers.ask(whom, &request, DIAL_LIMIT).await {
        Ok(_) => Ok(PeerResponse::Done),
        Err(PeerFault::Refused(refusal)) => Err(refusal),
        Err(fault) => Err(Refusal::new(RefusalCode::Busy, fault.to_string())),
    }
}

/// The kind of connection that a member is asked to dial.
fn alpn_of(link: LinkKind) -> transport::Alpn {
    match link {
        LinkKind::Control => transport::Alpn::Convention,
        LinkKind::Lane => transport::Alpn::Lane,
        LinkKind::Bulk => transport::Alpn::Bulk,
    }
}

/// How long a stream may stay without its request.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// How long a member may take to say that it dials.
const DIAL_LIMIT: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use protocol::registry::{Slot, SlotState};
    use protocol::{ActorId, Incarnation, SlotId, SourceHash, Stamp};

    use super::*;

    fn state() -> State {
        let mut state = State::default();
        let slot = Slot {
            source: SourceHash::default(),
            group: "foo".to_owned(),
            position: 0,
            class: "app.Main".to_owned(),
            node: NodeId(2),
            actor: ActorId::NONE,
            state: SlotState::Running,
            started: None,
            restarts: 0,
            recent: Vec::new(),
        };
        state.slots.insert(SlotId(1), slot);
        state
    }

    fn may(from: u64, command: Command) -> bool {
        allowed(&state(), NodeId(from), command).is_some()
    }

    #[test]
    fn a_member_proposes_what_is_its_own_and_nothing_else() {
        let stopped = |node| Command::MemberStopped {
            node: NodeId(node),
            stamp: Stamp(0),
        };
        assert!(may(2, stopped(2)));
        assert!(!may(2, stopped(3)));
        let ended = Command::Ended {
            slot: SlotId(1),
            actor: ActorId::NONE,
            reason: String::new(),
            stamp: Stamp(0),
        };
        assert!(may(2, ended.clone()));
        assert!(!may(3, ended));
        let lost = Command::Member(MemberCommand::Lost {
            node: NodeId(2),
            incarnation: Incarnation(1),
            stamp: Stamp(0),
        });
        assert!(!may(2, lost));
    }

    #[test]
    fn a_note_bears_the_name_of_who_made_it_and_the_leaders_time() {
        let note = Command::Member(MemberCommand::Note {
            what: "x".to_owned(),
            subject: "y".to_owned(),
            by: "root".to_owned(),
            detail: String::new(),
            stamp: Stamp(0),
        });
        let noted = allowed(&state(), NodeId(2), note).unwrap();
        let Command::Member(MemberCommand::Note { by, stamp, .. }) = noted else {
            panic!("{noted:?}");
        };
        assert_eq!(by, "2");
        assert!(stamp > Stamp(0));
    }
}
