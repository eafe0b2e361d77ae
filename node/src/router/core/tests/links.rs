//! Messages, asks and ends over links that stand, break and are lost.

use protocol::control::AskOutcome;
use protocol::{ActorId, Flags, NodeId, RoleId};

use super::net::{Net, node, run_of};
use super::{TOLD, role, small};
use crate::router::agent::AgentEvent;
use crate::router::core::Event;
use crate::router::core::ids::Target;

fn wants(net: &Net, n: usize) -> usize {
    let told = net.worlds[n].told.iter();
    told.filter(|e| matches!(e, AgentEvent::WantLink { .. }))
        .count()
}

#[test]
fn messages_cross_in_order_and_are_marked_as_remote() {
    let mut net = Net::joined(2, &small());
    let (one, two) = (net.actor(0), net.actor(1));
    for n in 1..=5 {
        net.send(one, two, TOLD, n);
    }
    net.settle();
    net.send(two, one, TOLD, 9);
    net.settle();
    assert_eq!(net.got(two), [1, 2, 3, 4, 5]);
    assert_eq!(net.got(one), [9]);
    let first = &net.worlds[1].processes[two.1].inbox[0].header;
    assert_eq!((first.flags, first.incarnation), (Flags::REMOTE, run_of(0)));
    assert_eq!(net.worlds[0].core.stats().unknown, 0);
}

#[test]
fn a_link_is_wanted_once_and_messages_wait_for_it() {
    let mut net = Net::new(2, &small());
    let (one, two) = (net.actor(0), net.actor(1));
    for n in 1..=3 {
        net.send(one, two, TOLD, n);
    }
    net.settle();
    assert_eq!((wants(&net, 0), net.got(two)), (1, vec![]));
    net.up(0, 1);
    net.settle();
    assert_eq!(net.got(two), [1, 2, 3]);
    net.down(0, 1);
    net.tell(one, two);
    assert_eq!(wants(&net, 0), 2);
    net.pass_ms(9_999);
    assert_eq!(net.worlds[0].core.stats().dead_letters, 0);
    net.pass_ms(1);
    let (total, letters) = net.worlds[0].core.dead_letters();
    assert!(total == 1 && letters[0].reason.contains("no link to node `2`"));
}

#[test]
fn a_stuck_actor_elsewhere_holds_back_only_those_who_send_to_it() {
    let mut net = Net::joined(2, &small());
    let (sender, lively) = (net.actor(0), net.actor(1));
    let stuck = (1, net.worlds[1].expect(ActorId::NONE));
    let to_stuck = Target::Actor(net.address(stuck));
    let mut n_sent = 0;
    while net.worlds[0].may_send(sender.1, to_stuck) {
        net.send(sender, stuck, TOLD, 100);
        net.calm();
        n_sent += 1;
    }
    assert_eq!(n_sent, net.worlds[0].limits.credit_messages);
    for _ in 0..100 {
        net.tell(sender, lively);
        net.calm();
        let to_lively = Target::Actor(net.address(lively));
        assert!(net.worlds[0].may_send(sender.1, to_lively));
    }
    assert_eq!(net.got(lively).len(), 100);
    assert!(!net.worlds[0].may_send(sender.1, to_stuck));
    net.worlds[1].start(stuck.1);
    net.calm();
    assert!(net.worlds[0].may_send(sender.1, to_stuck));
    assert_eq!(net.got(stuck).len(), n_sent as usize);
}

#[test]
fn a_slow_link_pushes_back_on_its_senders() {
    let mut net = Net::joined(2, &small());
    let (sender, target) = (net.actor(0), net.actor(1));
    let to = Target::Actor(net.address(target));
    let mut n_sent = 0;
    while net.worlds[0].may_send(sender.1, to) {
        net.send(sender, target, TOLD, 30_000);
        net.worlds[0].settle();
        n_sent += 1;
    }
    assert_eq!(n_sent, 4);
    net.calm();
    assert!(net.worlds[0].may_send(sender.1, to));
    assert_eq!(net.got(target).len(), 4);
}

#[test]
fn asks_are_answered_or_end_with_the_actor() {
    let mut net = Net::joined(2, &small());
    let (asker, other, target) = (net.client(0), net.client(0), net.actor(1));
    net.send(asker, target, Flags::ASK, 1);
    let open = net.send(other, target, Flags::ASK, 2);
    net.settle();
    net.tell(target, asker);
    net.settle();
    let starting = (1, net.worlds[1].expect(ActorId::NONE));
    let waits = net.send(asker, starting, Flags::ASK, 3);
    net.settle();
    net.worlds[1].end(target.1);
    net.worlds[1].end(starting.1);
    net.settle();
    let unknown = [(open, AskOutcome::Unknown)];
    assert_eq!(net.worlds[0].ask_outcomes(other.1), unknown);
    let dead = [(waits, AskOutcome::DeadLettered)];
    assert_eq!(net.worlds[0].ask_outcomes(asker.1), dead);
}

#[test]
fn asks_over_a_broken_link_are_unknown_and_those_that_wait_go_on() {
    let mut net = Net::joined(2, &small());
    let (asker, target) = (net.client(0), net.actor(1));
    let handed = net.send(asker, target, Flags::ASK, 1);
    net.settle();
    net.send(asker, target, Flags::ASK, 2);
    net.down(0, 1);
    let outcomes = net.worlds[0].ask_outcomes(asker.1);
    assert_eq!(outcomes, [(handed, AskOutcome::Unknown)]);
    net.up(0, 1);
    net.settle();
    assert_eq!(net.got(target), [1, 2]);
    net.tell(target, asker);
    net.settle();
    assert_eq!(net.worlds[0].ask_outcomes(asker.1), []);
}

#[test]
fn asks_to_a_lost_node_end() {
    let mut net = Net::joined(2, &small());
    let (asker, target) = (net.client(0), net.actor(1));
    let handed = net.send(asker, target, Flags::ASK, 1);
    net.settle();
    net.down(0, 1);
    let waits = net.send(asker, target, Flags::ASK, 2);
    net.lose(1);
    let late = net.send(asker, target, Flags::ASK, 3);
    let wanted = [
        (handed, AskOutcome::Unknown),
        (waits, AskOutcome::DeadLettered),
        (late, AskOutcome::DeadLettered),
    ];
    assert_eq!(net.worlds[0].ask_outcomes(asker.1), wanted);
}

#[test]
fn what_a_broken_link_may_have_lost_is_counted_and_its_credit_comes_back() {
    let mut net = Net::joined(2, &small());
    let (sender, target) = (net.actor(0), net.actor(1));
    (0..5).for_each(|_| net.tell(sender, target));
    assert!(net.pull(0, 1));
    (0..2).for_each(|_| net.tell(sender, target));
    net.down(0, 1);
    assert_eq!(net.worlds[0].core.stats().unknown, 5);
    net.up(0, 1);
    net.calm();
    assert_eq!(net.got(target).len(), 2);
    let to = Target::Actor(net.address(target));
    assert!(net.worlds[0].outstanding(sender.1, to).0 < 4);
    assert_eq!(net.worlds[0].core.stats().unknown, 5);
}

#[test]
fn what_has_a_receipt_is_not_unknown() {
    let mut net = Net::joined(2, &small());
    let (sender, target) = (net.actor(0), net.actor(1));
    (0..5).for_each(|_| net.tell(sender, target));
    net.calm();
    net.down(0, 1);
    net.lose(1);
    assert_eq!(net.worlds[0].core.stats().unknown, 0);
}

#[test]
fn what_waits_on_a_node_that_is_lost_is_unknown() {
    let mut net = Net::joined(2, &small());
    let sender = net.actor(0);
    let starting = (1, net.worlds[1].expect(ActorId::NONE));
    (0..5).for_each(|_| net.tell(sender, starting));
    net.calm();
    net.down(0, 1);
    assert_eq!(net.worlds[0].core.stats().unknown, 0);
    net.lose(1);
    assert_eq!(net.worlds[0].core.stats().unknown, 5);
}

#[test]
fn a_role_is_played_on_another_node_that_resolves_it_otherwise() {
    let mut net = Net::joined(2, &small());
    let (sender, player, other) = (net.client(0), net.actor(1), net.actor(1));
    let (played_by, other) = (net.address(player), net.address(other));
    net.bind(0, role(), Some(played_by));
    net.bind(1, role(), Some(other));
    net.worlds[1].hold(role());
    net.worlds[0].send(sender.1, Target::Role(role()), TOLD, 3);
    net.calm();
    assert_eq!(net.got(player), [3]);
    let header = &net.worlds[1].processes[player.1].inbox[0].header;
    assert_eq!(header.target_role(), Some(role()));
}

#[test]
fn a_released_hold_may_send_more_than_credit_and_all_arrives() {
    let mut net = Net::joined(2, &small());
    let (sender, player) = (net.client(0), net.actor(1));
    let actor = net.address(player);
    net.bind(0, role(), Some(actor));
    net.worlds[0].hold(role());
    let to = Target::Role(role());
    let mut n_sent = 0;
    while net.worlds[0].may_send(sender.1, to) {
        net.worlds[0].send(sender.1, to, TOLD, 10);
        net.worlds[0].write_all(sender.1);
        n_sent += 1;
    }
    net.worlds[0].release(role());
    net.calm();
    assert_eq!(net.got(player).len(), n_sent);
    assert!(net.worlds[0].may_send(sender.1, to));
}

#[test]
fn a_parent_hears_once_of_the_end_of_a_child_elsewhere() {
    for way in 0..4 {
        let mut net = Net::joined(2, &small());
        let parent = net.actor(0);
        let child = net.child(parent, 1);
        net.tell(parent, child);
        net.settle();
        assert_eq!(net.got(child).len(), 1);
        match way {
            0 => net.worlds[1].end(child.1),
            1 => {
                // The news is lost with the link, and comes with the next.
                net.worlds[1].end(child.1);
                net.pull(1, 0);
                net.down(0, 1);
                net.up(0, 1);
            }
            2 => {
                // It has come, and that it was noted is lost.
                net.worlds[1].end(child.1);
                net.pull(1, 0);
                net.carry(1, 0);
                net.pull(0, 1);
                net.down(0, 1);
                net.up(0, 1);
            }
            _ => net.lose(1),
        }
        net.calm();
        net.down(0, 1);
        net.up(0, 1);
        net.lose(1);
        net.calm();
        assert_eq!(net.heard(parent, "child_actor_exited"), 1, "way {way}");
    }
}

#[test]
fn what_was_sent_to_a_child_before_it_was_placed_goes_there() {
    let mut net = Net::joined(2, &small());
    let parent = net.actor(0);
    let address = net.worlds[0].next_address();
    let of = net.address(parent);
    net.worlds[0].skip_address();
    net.worlds[0].core.announce(address, of);
    let target = Target::Actor(address);
    net.worlds[0].send(parent.1, target, TOLD, 3);
    let child = net.worlds[1].expect_as(address, of);
    net.worlds[1].start(child);
    let record = Box::new(super::world::record(address, of));
    let node = node(1);
    net.worlds[0].event(Event::ExpectRemote { record, node });
    net.worlds[0].send(parent.1, target, TOLD, 4);
    net.calm();
    assert_eq!(net.got((1, child)), [3, 4]);
}

#[test]
fn a_child_that_fails_elsewhere_sends_messages_back() {
    let mut net = Net::joined(2, &small());
    let parent = net.actor(0);
    let address = net.worlds[0].next_address();
    let of = net.address(parent);
    net.worlds[0].skip_address();
    net.worlds[1].expect_as(address, of);
    let record = Box::new(super::world::record(address, of));
    let node = node(1);
    net.worlds[0].event(Event::ExpectRemote { record, node });
    net.worlds[0].send(parent.1, Target::Actor(address), TOLD, 3);
    net.calm();
    let reason = "it does not import".to_owned();
    let actor = address;
    net.worlds[1].event(Event::FailedCreation { actor, reason });
    net.calm();
    assert_eq!(net.heard(parent, "child_actor_exited"), 1);
    assert_eq!(net.heard(parent, "Child Aborted"), 1);
    assert_eq!(net.worlds[1].core.stats().returned, 1);
}

#[test]
fn a_message_is_relayed_by_who_allotted_the_address_and_answered_directly() {
    let mut net = Net::joined(3, &small());
    let (asker, parent) = (net.client(0), net.actor(1));
    let child = net.child(parent, 2);
    for n in 0..20 {
        assert!(
            net.worlds[0].may_send(asker.1, Target::Actor(net.address(child))),
            "{n}"
        );
        net.send(asker, child, Flags::ASK, 5);
        net.settle();
        net.tell(child, asker);
        net.calm();
    }
    assert_eq!((net.got(child).len(), net.got(asker).len()), (20, 20));
    // The answers went straight, and everybody knows that nobody waits.
    assert_eq!(net.worlds[1].core.stats().arrived, 20);
    let actor = net.address(child);
    net.worlds[2].event(Event::Idle { actor, ticket: 7 });
    net.calm();
    assert_eq!(net.worlds[2].tickets, [(7, true)]);
}

#[test]
fn asks_over_two_links_end_when_either_breaks() {
    for (a, b) in [(0, 1), (1, 2)] {
        let mut net = Net::joined(3, &small());
        let (asker, parent) = (net.client(0), net.actor(1));
        let child = net.child(parent, 2);
        let asked = net.send(asker, child, Flags::ASK, 5);
        net.settle();
        net.down(a, b);
        net.settle();
        let outcomes = net.worlds[0].ask_outcomes(asker.1);
        assert_eq!(outcomes, [(asked, AskOutcome::Unknown)], "{a} {b}");
    }
}

#[test]
fn a_message_that_nobody_knows_does_not_go_in_circles() {
    let mut net = Net::joined(3, &small());
    let (sender, parent) = (net.client(0), net.actor(1));
    let address = net.worlds[1].next_address();
    net.worlds[1].skip_address();
    let of = net.address(parent);
    let record = Box::new(super::world::record(address, of));
    // The third node never heard of the actor.
    let node = node(2);
    net.worlds[1].event(Event::ExpectRemote { record, node });
    let asked = net.worlds[0].send(sender.1, Target::Actor(address), Flags::ASK, 3);
    net.worlds[1].send(parent.1, Target::Actor(address), TOLD, 3);
    net.calm();
    let outcomes = net.worlds[0].ask_outcomes(sender.1);
    assert_eq!(outcomes, [(asked, AskOutcome::DeadLettered)]);
    let dead = net.worlds.iter().map(|w| w.core.stats().dead_letters);
    assert_eq!(dead.sum::<u64>(), 2);
}

#[test]
fn an_unknown_address_waits_until_the_agent_says_where_it_is() {
    let mut net = Net::joined(2, &small());
    let sender = net.client(0);
    let address = ActorId::allot(protocol::Incarnation(77), 5);
    let target = net.worlds[1].expect_as(address, ActorId::NONE);
    net.worlds[1].start(target);
    let to = Target::Actor(address);
    for n in 1..=3 {
        net.worlds[0].send(sender.1, to, TOLD, n);
    }
    let located = |e: &&AgentEvent| matches!(e, AgentEvent::Locate { actor } if *actor == address);
    assert_eq!(net.worlds[0].told.iter().filter(located).count(), 1);
    let there = Some(node(1));
    net.worlds[0].event(Event::Located {
        actor: address,
        node: there,
    });
    net.calm();
    assert_eq!(net.got((1, target)), [1, 2, 3]);

    let nobody = ActorId::allot(protocol::Incarnation(78), 5);
    net.worlds[0].send(sender.1, Target::Actor(nobody), TOLD, 1);
    net.worlds[0].event(Event::Located {
        actor: nobody,
        node: None,
    });
    assert_eq!(net.worlds[0].core.stats().dead_letters, 1);
    net.worlds[0].send(sender.1, Target::Actor(nobody), TOLD, 1);
    net.pass_ms(10_000);
    assert_eq!(net.worlds[0].core.stats().dead_letters, 2);
}

#[test]
fn an_ask_from_elsewhere_keeps_an_actor_busy_until_nobody_waits() {
    let mut net = Net::joined(2, &small());
    let (asker, friend, target) = (net.client(0), net.actor(0), net.actor(1));
    net.send(asker, target, Flags::ASK, 1);
    net.calm();
    let actor = net.address(target);
    net.worlds[1].event(Event::Idle { actor, ticket: 1 });
    net.worlds[1].event(Event::Marker { actor, ticket: 2 });
    net.calm();
    assert_eq!(net.worlds[1].tickets, [(2, true)]);
    // Any message ends the wait of the asker.
    net.tell(friend, asker);
    net.calm();
    assert_eq!(net.worlds[1].tickets, [(2, true), (1, true)]);
}

#[test]
fn thousands_of_clients_elsewhere_leave_nothing_behind() {
    let mut net = Net::joined(2, &small());
    let target = net.actor(1);
    for _ in 0..40 {
        for _ in 0..100 {
            let client = net.client(0);
            net.send(client, target, Flags::ASK, 1);
        }
        net.settle();
        for frame in std::mem::take(&mut net.worlds[1].processes[target.1].inbox) {
            let back = Target::Actor(frame.header.sender);
            net.worlds[1].send(target.1, back, TOLD, 1);
        }
        net.settle();
        net.pass_ms(1_000);
    }
    let most = net.worlds[1].core.stats().proxies;
    assert!(most <= 1_000, "{most}");
    for _ in 0..10 {
        net.pass_ms(1_000);
        net.settle();
    }
    assert_eq!(net.worlds[1].core.stats().proxies, 0);
    assert_eq!(net.worlds[0].core.stats().proxies, 0);
    assert_eq!(net.worlds[0].core.poll_timeout(), None);
    assert_eq!(net.worlds[0].core.stats().dead_letters, 0);
}

#[test]
fn a_role_of_a_lost_node_is_played_by_nobody_though_its_proxy_was_forgotten() {
    let mut net = Net::joined(2, &small());
    let (sender, player) = (net.client(0), net.actor(1));
    let actor = net.address(player);
    net.bind(0, role(), Some(actor));
    net.lose(1);
    net.worlds[0].send(sender.1, Target::Role(role()), TOLD, 3);
    let (total, letters) = net.worlds[0].core.dead_letters();
    assert!(total == 1 && letters[0].reason == "the node is lost");
}

#[test]
fn a_node_that_started_again_is_another() {
    let mut net = Net::joined(2, &small());
    let (asker, target) = (net.client(0), net.actor(1));
    let asked = net.send(asker, target, Flags::ASK, 1);
    net.settle();
    let incarnation = protocol::Incarnation(500);
    net.worlds[0].event(Event::LinkUp {
        node: node(1),
        incarnation,
        same_user: false,
    });
    let outcomes = net.worlds[0].ask_outcomes(asker.1);
    assert_eq!(outcomes, [(asked, AskOutcome::Unknown)]);
    assert_eq!(net.worlds[0].core.stats().proxies, 0);
}

#[test]
fn an_actor_placed_elsewhere_is_reached_there() {
    let mut net = Net::joined(3, &small());
    let sender = net.client(0);
    let address = ActorId::allot(run_of(2), 500);
    let target = net.worlds[1].expect_as(address, ActorId::NONE);
    net.worlds[1].start(target);
    let there: Option<NodeId> = Some(node(1));
    net.worlds[0].event(Event::Place {
        actor: address,
        node: there,
    });
    let role: RoleId = role();
    net.bind(0, role, Some(address));
    net.worlds[0].send(sender.1, Target::Role(role), TOLD, 3);
    net.calm();
    assert_eq!(net.got((1, target)), [3]);
    assert_eq!(net.worlds[2].core.stats().arrived, 0);
}

#[test]
fn a_lost_node_that_is_a_member_again_is_written_to() {
    let mut net = Net::new(2, &small());
    let (sender, target) = (net.client(0), net.actor(1));
    let (run, lost) = (run_of(1), node(1));
    let reason = "its lease has ended".to_owned();
    net.worlds[0].event(Event::LinkLost {
        node: lost,
        run,
        reason,
    });
    net.tell(sender, target);
    assert_eq!(net.worlds[0].core.stats().dead_letters, 1);
    net.worlds[0].event(Event::Peers(vec![]));
    net.worlds[0].event(Event::Peers(vec![(run, lost)]));
    net.tell(sender, target);
    assert_eq!(
        (wants(&net, 0), net.worlds[0].core.stats().dead_letters),
        (1, 1)
    );
}

#[test]
fn a_new_run_whose_link_is_up_before_the_agent_knows_of_it_is_written_to() {
    let mut net = Net::new(2, &small());
    let there = node(1);
    let next = protocol::Incarnation(500);
    let sender = net.client(0);
    let child = net.actor(0);
    let of_before = net.child(child, 1);
    net.worlds[0].event(Event::LinkUp {
        node: there,
        incarnation: next,
        same_user: false,
    });
    net.settle();
    // What lived in the run before is gone, though that never had a link.
    assert_eq!(net.worlds[0].core.stats().proxies, 0);
    assert_eq!(net.heard(child, "child_actor_exited"), 1);
    assert_eq!(net.got(of_before), [0_usize; 0]);
    let target = ActorId::allot(next, 7);
    let asked = net.worlds[0].send(sender.1, Target::Actor(target), Flags::ASK, 1);
    net.worlds[0].event(Event::LinkLost {
        node: there,
        run: run_of(1),
        reason: "the node has started again".to_owned(),
    });
    net.worlds[0].event(Event::Peers(vec![(run_of(0), node(0)), (next, there)]));
    net.worlds[0].send(sender.1, Target::Actor(target), TOLD, 2);
    let ends = net.worlds[0].ask_outcomes(sender.1);
    assert_eq!((asked, ends.as_slice()), (asked, [].as_slice()));
    assert_eq!(net.worlds[0].core.stats().dead_letters, 0);
    assert_eq!(net.heard(child, "child_actor_exited"), 1);
}

#[test]
fn a_run_that_is_a_member_is_written_to_whatever_was_heard_before() {
    let mut net = Net::new(2, &small());
    let (sender, target) = (net.client(0), net.actor(1));
    let (run, there) = (run_of(1), node(1));
    let reason = "its lease has ended".to_owned();
    net.worlds[0].event(Event::LinkLost {
        node: there,
        run,
        reason,
    });
    net.worlds[0].event(Event::Peers(vec![(run, there)]));
    net.tell(sender, target);
    assert_eq!(net.worlds[0].core.stats().dead_letters, 0);
}
