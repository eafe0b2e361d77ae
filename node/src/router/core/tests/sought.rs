//! Roles of which nobody has told: they are looked for, and messages wait meanwhile.

use protocol::RoleId;

use super::net::Net;
use super::world::World;
use super::{TOLD, small};
use crate::router::agent::AgentEvent;
use crate::router::core::Event;
use crate::router::core::ids::Target;

#[test]
fn a_role_that_nobody_told_of_is_looked_for_and_its_messages_wait() {
    let mut net = Net::joined(2, &small());
    let (sender, target) = (net.client(0), net.actor(1));
    let role = RoleId([7; 16]);
    let to = Target::Role(role);
    let sought = |net: &Net| {
        let told = net.worlds[0].told.iter();
        told.filter(|event| matches!(event, AgentEvent::SeekRole { role: it } if *it == role))
            .count()
    };
    for n in 1..=2 {
        net.worlds[0].send(sender.1, to, TOLD, n);
    }
    assert_eq!(sought(&net), 1, "once for all that waits");
    net.bind(0, role, Some(net.address(target)));
    net.worlds[0].release(role);
    net.calm();
    assert_eq!(net.got(target), [1, 2]);

    // It is nothing to this node any more, held or not: the next message has it looked for anew.
    net.worlds[0].hold(role);
    net.worlds[0].send(sender.1, to, TOLD, 3);
    net.worlds[0].event(Event::Forget { roles: vec![role] });
    net.worlds[0].send(sender.1, to, TOLD, 4);
    assert_eq!(sought(&net), 2);
    net.bind(0, role, Some(net.address(target)));
    net.worlds[0].release(role);
    net.calm();
    assert_eq!(net.got(target), [1, 2, 3, 4]);

    // In vain: they are dead, and nobody is asked again.
    net.worlds[0].event(Event::Forget { roles: vec![role] });
    net.worlds[0].send(sender.1, to, TOLD, 5);
    net.worlds[0].bind(role, None);
    net.worlds[0].release(role);
    net.worlds[0].send(sender.1, to, TOLD, 6);
    net.calm();
    assert_eq!(sought(&net), 3);
    assert_eq!(net.worlds[0].core.stats().dead_letters, 2);
}

#[test]
fn without_other_nodes_a_role_that_nobody_told_of_is_nobodys() {
    let mut world = World::new(small());
    let sender = world.client();
    world.send(sender, Target::Role(RoleId([7; 16])), TOLD, 1);
    assert_eq!(world.core.stats().dead_letters, 1);
}
