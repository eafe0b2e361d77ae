//! Messages of one program between nodes: marked where the other node is believed, else not.

use protocol::control::SystemMessage;
use protocol::{Flags, Header, ProgramId, SourceHash};

use super::net::{Net, Place};
use super::world::{PROGRAM, record};
use super::{TOLD, small};
use crate::router::agent::AgentEvent;
use crate::router::core::Event;
use crate::router::core::ids::Target;

/// Two nodes; whether they have proven to run as one user.
fn net(same_user: bool) -> Net {
    let mut net = Net::new(2, &small());
    net.same_user = same_user;
    net.up(0, 1);
    net
}

/// An actor of another program than that of all others.
fn stranger(net: &mut Net, n: usize) -> Place {
    let at = net.actor(n);
    let party = net.worlds[n].processes[at.1].id.unwrap();
    net.worlds[n].core.make_program(party, ProgramId([9; 32]));
    at
}

fn last(net: &Net, at: Place) -> Header {
    let inbox = &net.worlds[at.0].processes[at.1].inbox;
    inbox.last().unwrap().header.clone()
}

#[test]
fn a_message_of_the_same_program_of_the_same_user_is_marked() {
    let mut net = net(true);
    let (one, two) = (net.actor(0), net.actor(1));
    net.tell(one, two);
    net.settle();
    let got = last(&net, two);
    assert_eq!(got.flags, Flags::REMOTE.with(Flags::PROGRAM));
    assert_eq!(got.source, SourceHash::default());
}

#[test]
fn a_node_that_has_proven_nothing_is_not_believed() {
    for (proven_here, proven_there) in [(false, false), (true, false), (false, true)] {
        let mut net = net(false);
        for (n, same_user) in [(0, proven_here), (1, proven_there)] {
            net.same_user = same_user;
            net.side_up(n, 1 - n);
        }
        let (one, two) = (net.actor(0), net.actor(1));
        net.tell(one, two);
        net.settle();
        let got = last(&net, two);
        assert_eq!(got.flags, Flags::REMOTE, "{proven_here} {proven_there}");
        assert_eq!(got.source, SourceHash::default());
    }
}

#[test]
fn another_program_is_another_even_of_the_same_user() {
    let mut net = net(true);
    let (one, two) = (net.actor(0), stranger(&mut net, 1));
    net.tell(one, two);
    net.tell(two, one);
    net.settle();
    assert_eq!(last(&net, two).flags, Flags::REMOTE);
    assert_eq!(last(&net, one).flags, Flags::REMOTE);
}

#[test]
fn a_client_that_may_only_use_a_node_is_of_no_program() {
    let mut net = net(true);
    let (client, actor) = (net.client(0), net.actor(1));
    net.tell(client, actor);
    net.settle();
    let got = last(&net, actor);
    assert_eq!(got.flags, Flags::REMOTE.with(Flags::FOREIGN));
}

#[test]
fn a_dead_letter_of_the_own_program_is_marked_for_its_handler() {
    let mut net = net(true);
    let parent = net.actor(0);
    let child = net.child(parent, 1);
    let target = net.address(child);
    net.worlds[1].event(Event::Ended {
        actor: target,
        reason: "over".to_owned(),
    });
    let handler = net.actor(1);
    net.worlds[1].notice(
        handler.1,
        &protocol::control::Notice::HandleDeadLetters { on: true },
    );
    net.tell(parent, child);
    net.settle();
    let frame = net.worlds[1].processes[handler.1].inbox.last().unwrap();
    let told = u32::from_le_bytes(*frame.payload.first_chunk().unwrap()) as usize + 4;
    let system: SystemMessage = serde_json::from_slice(&frame.payload[4..told]).unwrap();
    assert!(
        matches!(system, SystemMessage::DeadEnvelope { .. }),
        "{system:?}"
    );
    let inner = Header::from_bytes(frame.payload[told..].first_chunk().unwrap()).unwrap();
    assert_eq!(inner.flags, Flags::REMOTE.with(Flags::PROGRAM));
}

#[test]
fn a_message_that_waited_for_its_actor_is_marked_all_the_same() {
    let mut net = net(true);
    let parent = net.actor(0);
    let address = net.worlds[0].next_address();
    net.worlds[0].skip_address();
    let of = net.address(parent);
    let process = net.worlds[1].expect_as(address, of);
    let (record, node) = (Box::new(record(address, of)), super::net::node(1));
    net.worlds[0].event(Event::ExpectRemote { record, node });
    net.tell(parent, (1, process));
    net.settle();
    net.worlds[1].start(process);
    net.settle();
    let got = last(&net, (1, process));
    assert_eq!(got.flags, Flags::REMOTE.with(Flags::PROGRAM));
    assert_ne!(PROGRAM, ProgramId::default());
}

#[test]
fn where_there_may_be_neighbours_an_unknown_address_is_looked_for() {
    let mut net = Net::new(1, &small());
    let sender = net.actor(0);
    net.worlds[0].event(Event::Peers(Vec::new()));
    let strange = protocol::ActorId::allot(protocol::Incarnation(900), 4);
    let sought = |net: &Net| {
        let told = net.worlds[0].told.iter();
        told.filter(|event| matches!(event, AgentEvent::Locate { actor } if *actor == strange))
            .count()
    };
    net.worlds[0].send(sender.1, Target::Actor(strange), TOLD, 3);
    assert_eq!(
        (sought(&net), net.worlds[0].core.stats().dead_letters),
        (0, 1)
    );
    net.worlds[0].core.has_neighbours();
    net.worlds[0].send(sender.1, Target::Actor(strange), TOLD, 3);
    assert_eq!(
        (sought(&net), net.worlds[0].core.stats().dead_letters),
        (1, 1)
    );
}
