//! Waiting until what went to links is with the other routers.

use super::net::{Net, node};
use super::small;
use crate::router::core::Event;

fn flush(ticket: u64) -> Event<'static> {
    let to = [node(1)].into();
    Event::FlushLinks { to, ticket }
}

#[test]
fn a_flush_waits_for_no_link_but_those_it_is_about() {
    let mut net = Net::joined(3, &small());
    let (sender, target) = (net.actor(0), net.actor(2));
    net.down(0, 2);
    net.tell(sender, target);
    net.worlds[0].event(flush(1));
    net.settle();
    assert_eq!(net.worlds[0].tickets, [(1, true)], "another link is down");
}

#[test]
fn a_flush_waits_for_the_other_router_or_the_end_of_the_link() {
    let mut net = Net::joined(2, &small());
    let (sender, target) = (net.actor(0), net.actor(1));
    net.tell(sender, target);
    net.worlds[0].event(flush(1));
    net.pull(0, 1);
    assert_eq!(net.worlds[0].tickets, []);
    net.settle();
    assert_eq!(net.worlds[0].tickets, [(1, true)]);
    net.tell(sender, target);
    net.worlds[0].event(flush(2));
    net.pull(0, 1);
    net.down(0, 1);
    assert_eq!(net.worlds[0].tickets[1..], [(2, true)]);
    // What waits for a link that is down may still leave.
    net.tell(sender, target);
    net.worlds[0].event(flush(3));
    net.settle();
    assert_eq!(net.worlds[0].tickets.len(), 2);
    net.up(0, 1);
    net.settle();
    assert_eq!(net.worlds[0].tickets[2..], [(3, true)]);
}
