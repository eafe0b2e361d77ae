//! Roles of which nobody has told: they are looked for, and messages wait meanwhile.

use protocol::RoleId;

use super::net::Net;
use super::world::World;
use super::{TOLD, small};
use crate::router::agent::AgentEvent;
use crate::router::config::Limits;
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

#[test]
fn a_flood_of_unknown_roles_is_refused_and_does_not_stay() {
    let limits = Limits {
        roles_sought_max: 8,
        roles_kept: 20,
        ..small()
    };
    let mut net = Net::joined(2, &limits);
    let (sender, target) = (net.client(0), net.actor(1));
    let role = |n: u8| RoleId([n; 16]);
    // In use, and held for a while.
    let (played, held) = (role(201), role(202));
    net.bind(0, played, Some(net.address(target)));
    net.worlds[0].hold(held);
    for n in 0..8 {
        net.worlds[0].send(sender.1, Target::Role(role(n)), TOLD, 1);
    }
    let dead = |net: &Net| net.worlds[0].core.stats().dead_letters;
    assert_eq!(dead(&net), 0, "all of them are looked for");
    net.worlds[0].send(sender.1, Target::Role(role(8)), TOLD, 1);
    assert_eq!(dead(&net), 1);
    let (_total, letters) = net.worlds[0].core.dead_letters();
    let told = &letters.last().unwrap().reason;
    assert!(told.contains("too many other roles"), "{told}");
    net.worlds[0].send(sender.1, Target::Role(played), TOLD, 1);
    net.calm();
    assert_eq!(net.got(target), [1], "who is known is not concerned");
    // Each is found to be nobody's, and others are named, and so on.
    for n in 0..200 {
        if n >= 8 {
            net.worlds[0].send(sender.1, Target::Role(role(n)), TOLD, 1);
        }
        net.worlds[0].bind(role(n), None);
        net.worlds[0].release(role(n));
        assert!(net.worlds[0].core.roles.len() <= 20 + 8, "after {n}");
    }
    assert_eq!(dead(&net), 201, "each is a dead letter with its reason");
    for known in [played, held] {
        assert!(net.worlds[0].core.roles.contains_key(&known));
    }
    net.worlds[0].send(sender.1, Target::Role(played), TOLD, 2);
    net.calm();
    assert_eq!(net.got(target), [1, 2]);
}
