//! The answer to a `Thespian_StatusReq` that was sent to the node's own address.

use protocol::control::{SystemMessage, SystemStatus};
use protocol::registry::{Member, MemberState};
use protocol::view::Wish;
use protocol::{ActorId, Frame, PayloadKind};

use crate::agent::node::Node;
use crate::router::Serials;

/// Whether a message to the node asks for its status.
pub(super) fn is_asked(frame: &Frame) -> bool {
    let is_json = frame.header.payload_kind == PayloadKind::Json;
    let read = || serde_json::from_slice::<SystemMessage>(&frame.payload).ok();
    is_json && read() == Some(SystemMessage::StatusRequest)
}

/// Tells an actor or client how this system is.
pub(super) async fn tell(node: &Node, to: ActorId) {
    let status = status(node).await;
    node.router
        .send_system(to, SystemMessage::SystemStatus(status));
}

async fn status(node: &Node) -> SystemStatus {
    let all = node.replica.want_all([Wish::Members, Wish::Groups]);
    let (alive, _not_told) = tokio::join!(node.router.alive(), all);
    let actors = alive.iter().filter(|it| it.parent == ActorId::NONE);
    let actors = actors.map(|it| it.actor).collect();
    let named = alive.iter();
    let named = named.filter_map(|it| Some((it.global_name.clone()?, it.actor)));
    let named = named.collect();
    let shown = node.shown_applications();
    let leader = node.membership.registry.standing().borrow().leader.clone();
    let others = |members: &std::collections::BTreeMap<_, Member>| {
        let others = members.iter().filter(|(id, _)| **id != node.id);
        let told = others.map(|(id, member)| (*id, admin_of(member), state_of(member)));
        told.collect::<Vec<_>>()
    };
    let others = node.replica.read(|state| others(&state.members));
    let leads = |(id, admin, _): &(_, ActorId, String)| {
        let is_leader = leader.as_ref().is_some_and(|(leader, _)| leader == id);
        is_leader.then_some(*admin)
    };
    SystemStatus {
        admin: ActorId::allot(node.incarnation, Serials::NODE),
        leader: others.iter().find_map(leads),
        capabilities: node.capabilities(),
        stopping: node.shutdown.is_cancelled(),
        members: others.into_iter().map(|(_, who, how)| (who, how)).collect(),
        actors,
        named,
        sources: shown.sources.into_iter().collect(),
        authority: shown.authority,
        told_of_members: shown.told_of_members,
    }
}

fn admin_of(member: &Member) -> ActorId {
    ActorId::allot(member.incarnation, Serials::NODE)
}

fn state_of(member: &Member) -> String {
    let state = match member.state {
        MemberState::Up => "up",
        MemberState::Down => "down",
        MemberState::Lost => "lost",
    };
    state.to_owned()
}
