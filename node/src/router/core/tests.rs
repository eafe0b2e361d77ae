//! Tests of the machine, without sockets or clocks.

use protocol::control::{AskOutcome, Notice, SystemMessage};
use protocol::{ActorId, Flags, FrameKind, PayloadKind, RoleId};

use super::Event;
use super::ids::Target;
use crate::router::config::Limits;
use crate::router::moment::Moment;

mod conservation;
mod crossing;
mod far_conservation;
mod flush;
mod links;
mod net;
mod programs;
mod sought;
mod world;
use world::World;

fn small() -> Limits {
    Limits {
        credit_messages: 8,
        credit_bytes: 100_000,
        window_bytes: 1_000,
        hold_bytes_max: 1_000,
        dead_letters_kept: 10,
        ..Limits::default()
    }
}

fn role() -> RoleId {
    RoleId::of("app", "Main")
}

const TOLD: Flags = Flags(0);

#[test]
fn a_stuck_target_holds_back_only_those_who_send_to_it() {
    let mut world = World::new(small());
    let (sender, stuck, lively) = (world.actor(), world.actor(), world.actor());
    let to_stuck = Target::Actor(world.address(stuck));
    while world.may_send(sender, to_stuck) {
        world.send(sender, to_stuck, TOLD, 100);
        world.write_all(sender);
    }
    for _ in 0..100 {
        world.tell(sender, lively);
        world.write_all(lively);
        world.handle(lively);
        world.write_all(sender);
        let to_lively = Target::Actor(world.address(lively));
        assert!(world.may_send(sender, to_lively));
    }
    assert_eq!(world.processes[lively].inbox.len(), 100);
    assert!(!world.may_send(sender, to_stuck));
    world.settle();
    assert!(world.may_send(sender, to_stuck));
}

#[test]
fn a_sender_far_beyond_its_credit_is_disconnected() {
    let mut world = World::new(small());
    let (sender, stuck) = (world.actor(), world.expect(ActorId::NONE));
    (0..16).for_each(|_| world.tell(sender, stuck));
    assert_eq!(world.closed.len(), 0);
    world.tell(sender, stuck);
    assert!(world.closed[0].contains("beyond its credit"));
}

#[test]
fn a_message_under_another_name_or_source_ends_the_connection() {
    for forge in [0, 1] {
        let mut world = World::new(small());
        let (sender, other) = (world.actor(), world.actor());
        let mut frame =
            protocol::Frame::new(protocol::Header::control(FrameKind::Message, 1), Vec::new());
        frame.header.target_kind = protocol::TargetKind::Actor;
        frame.header.target = world.address(other).0;
        frame.header.sender = world.address(if forge == 0 { other } else { sender });
        frame.header.source.0[0] = forge;
        world.frame(sender, &frame);
        assert_eq!(world.closed.len(), 1);
        world.write_all(other);
        assert!(world.processes[other].inbox.is_empty());
    }
}

#[test]
fn quiet_pairs_are_settled_before_they_become_many() {
    let mut world = World::new(small());
    let sender = world.actor();
    for n in 0..10_000 {
        let nobody = Target::Actor(ActorId::allot(world::INCARNATION, 1_000_000 + n));
        world.send(sender, nobody, TOLD, 0);
        world.write_all(sender);
    }
    let open = world.processes[sender].counts().filter(|count| count.0 > 0);
    assert!(open.count() <= super::credit::PAIRS_SWEPT);
    assert_eq!(world.core.stats().dead_letters, 10_000);
    assert_eq!(world.core.dead_letters().1.len(), 10);
}

fn flood(world: &mut World, from: usize, to: usize) {
    let target = Target::Actor(world.address(to));
    while world.may_send(from, target) {
        world.send(from, target, TOLD, 400);
        world.write_all(from);
    }
}

fn block(world: &mut World, n: usize, on: usize, inbox_full: bool) {
    let target = Some(world.address(on).to_string());
    world.notice(n, &Notice::Blocked { target, inbox_full });
}

#[test]
fn a_circle_of_full_inboxes_is_broken_at_the_youngest_wait() {
    let mut world = World::new(small());
    let actors = [world.actor(), world.actor(), world.actor()];
    for n in 0..3 {
        flood(&mut world, actors[n], actors[(n + 1) % 3]);
    }
    block(&mut world, actors[0], actors[1], true);
    block(&mut world, actors[2], actors[0], true);
    block(&mut world, actors[1], actors[2], false);
    assert_eq!(world.core.stats().unblocked, 0);
    block(&mut world, actors[1], actors[2], true);
    assert_eq!(world.unblocked(actors[1]), 1);
    assert_eq!(world.unblocked(actors[0]) + world.unblocked(actors[2]), 0);
    let stats = world.core.stats();
    assert_eq!((stats.unblocked, stats.dead_letters), (1, 1));
}

#[test]
fn a_circle_through_a_role_to_itself_is_broken() {
    let mut world = World::new(small());
    let own = world.actor();
    world.bind(role(), Some(own));
    while world.may_send(own, Target::Role(role())) {
        world.send(own, Target::Role(role()), TOLD, 400);
    }
    let target = Some(role().to_string());
    let inbox_full = true;
    world.notice(own, &Notice::Blocked { target, inbox_full });
    assert_eq!(world.unblocked(own), 1);
}

#[test]
fn a_wait_of_five_minutes_is_broken() {
    let mut world = World::new(small());
    let (sender, stuck) = (world.actor(), world.actor());
    flood(&mut world, sender, stuck);
    block(&mut world, sender, stuck, false);
    world.pass_ms(299_999);
    assert_eq!(world.unblocked(sender), 0);
    world.pass_ms(1);
    assert_eq!(world.unblocked(sender), 1);
    assert_eq!(world.core.poll_timeout(), None);
}

#[test]
fn one_that_waits_gets_all_credit_at_once() {
    let mut world = World::new(small());
    let (sender, target) = (world.actor(), world.actor());
    world.tell(sender, target);
    let to = Target::Actor(world.address(target));
    world.write_all(sender);
    assert_eq!(world.outstanding(sender, to).0, 1);
    block(&mut world, sender, target, false);
    world.write_all(sender);
    assert_eq!(world.outstanding(sender, to), (0, 0));
}

#[test]
fn a_short_hold_costs_no_credit_and_a_long_one_pushes_back() {
    let mut world = World::new(small());
    let (sender, player) = (world.client(), world.actor());
    world.bind(role(), Some(player));
    world.hold(role());
    let to = Target::Role(role());
    let mut n_sent = 0;
    while world.may_send(sender, to) {
        world.send(sender, to, TOLD, 10);
        world.write_all(sender);
        n_sent += 1;
    }
    assert!(n_sent > world.limits.credit_messages, "{n_sent}");
    world.write_all(player);
    assert!(world.processes[player].inbox.is_empty());
    world.release(role());
    world.settle();
    assert_eq!(world.processes[player].inbox.len(), n_sent as usize);
    assert!(world.may_send(sender, to));
}

#[test]
fn a_hold_with_a_limit_is_released_when_it_is_over() {
    let mut world = World::new(small());
    let (sender, player) = (world.client(), world.actor());
    world.bind(role(), Some(player));
    let limit_ms = Some(1_000);
    world.event(Event::Hold {
        roles: vec![role()],
        limit_ms,
    });
    world.send(sender, Target::Role(role()), TOLD, 10);
    world.pass_ms(999);
    assert_eq!(world.core.stats().waiting, 1);
    world.pass_ms(1);
    assert_eq!(world.core.stats().waiting, 0);
}

#[test]
fn nothing_is_delivered_by_role_after_the_lease_however_late_that_is_noticed() {
    let mut world = World::new(small());
    let (sender, player) = (world.client(), world.actor());
    let other = RoleId::of("app", "Other");
    world.bind(role(), Some(player));
    world.event(Event::ServeUntil(Some(Moment(6_000))));
    // The process was stopped: its clock is the first to know.
    world.now = Moment(16_000);
    world.send(sender, Target::Role(role()), TOLD, 10);
    world.bind(other, Some(player));
    world.send(sender, Target::Role(other), TOLD, 10);
    world.settle();
    assert!(world.processes[player].inbox.is_empty());
    // What the agent says meanwhile opens nothing; one that it holds stays held.
    world.release(role());
    world.hold(other);
    world.settle();
    assert_eq!(world.core.stats().waiting, 2);
    world.event(Event::ServeUntil(Some(Moment(22_000))));
    world.settle();
    assert_eq!(world.processes[player].inbox.len(), 1);
    world.release(other);
    world.settle();
    assert_eq!(world.processes[player].inbox.len(), 2);
}

#[test]
fn asks_end_as_dead_letters_unknown_or_answered() {
    let mut world = World::new(small());
    let (asker, target, starting) = (world.client(), world.actor(), world.expect(ActorId::NONE));
    let nobody = Target::Actor(ActorId([3; 16]));
    let first = world.send(asker, nobody, Flags::ASK, 1);
    assert_eq!(
        world.ask_outcomes(asker),
        [(first, AskOutcome::DeadLettered)]
    );

    let to_starting = Target::Actor(world.address(starting));
    let waits = world.send(asker, to_starting, Flags::ASK, 1);
    world.end(starting);
    assert_eq!(
        world.ask_outcomes(asker),
        [(waits, AskOutcome::DeadLettered)]
    );

    let to_target = Target::Actor(world.address(target));
    let written = world.send(asker, to_target, Flags::ASK, 1);
    world.write_all(target);
    let in_outbox = world.send(asker, to_target, Flags::ASK, 2);
    world.end(target);
    let mut outcomes = world.ask_outcomes(asker);
    outcomes.sort_by_key(|(sequence, _)| *sequence);
    let wanted = [
        (written, AskOutcome::Unknown),
        (in_outbox, AskOutcome::DeadLettered),
    ];
    assert_eq!(outcomes, wanted);
}

#[test]
fn an_answered_or_overdue_ask_has_no_other_end() {
    for answer in [true, false] {
        let mut world = World::new(small());
        let (asker, target) = (world.client(), world.actor());
        let to = Target::Actor(world.address(target));
        world.send(asker, to, Flags::ASK, 1);
        world.write_all(target);
        if answer {
            world.tell(target, asker);
        } else {
            world.pass_ms(10_000);
        }
        world.end(target);
        assert_eq!(world.ask_outcomes(asker), []);
    }
}

#[test]
fn the_last_handler_gets_dead_letters_until_it_goes() {
    let mut world = World::new(small());
    let (sender, one, two) = (world.actor(), world.actor(), world.actor());
    let nobody = Target::Actor(ActorId([3; 16]));
    world.notice(one, &Notice::HandleDeadLetters { on: true });
    world.notice(two, &Notice::HandleDeadLetters { on: true });
    world.notice(one, &Notice::HandleDeadLetters { on: false });
    world.send(sender, nobody, TOLD, 5);
    world.send(sender, nobody, Flags::RETURNED, 6);
    world.settle();
    assert!(world.processes[one].inbox.is_empty());
    let got = &world.processes[two].inbox;
    assert_eq!(
        (got.len(), got[0].header.payload_kind),
        (1, PayloadKind::Envelope)
    );
    assert!(got[0].header.flags.contains(Flags::RETURNED));
    let json = String::from_utf8_lossy(&got[0].payload).into_owned();
    assert!(
        json.contains("dead_envelope") && json.contains(&"03".repeat(16)),
        "{json}"
    );
    world.end(two);
    world.send(sender, nobody, TOLD, 5);
    assert_eq!(world.core.stats().dead_letters, 3);
}

#[test]
fn a_parent_hears_of_its_childs_end_once() {
    let mut world = World::new(small());
    let parent = world.actor();
    let child = world.expect(world.address(parent));
    world.start(child);
    world.end(child);
    world.end(child);
    world.settle();
    let inbox = &world.processes[parent].inbox;
    assert_eq!(inbox.len(), 1);
    let json = String::from_utf8_lossy(&inbox[0].payload).into_owned();
    assert!(
        json.contains("child_actor_exited") && json.contains(&world.address(child).to_string())
    );
    world.end(parent);
    assert_eq!(world.core.stats().dead_letters, 0);
}

#[test]
fn what_the_node_asks_of_an_actor_that_has_gone_is_no_dead_letter() {
    let mut world = World::new(small());
    let (one, two) = (world.actor(), world.actor());
    let target = world.address(one);
    let exit = || Event::System {
        target,
        message: SystemMessage::ActorExitRequest { recursive: true },
    };
    world.event(exit());
    world.event(exit());
    world.send(two, Target::Actor(target), TOLD, 5);
    world.end(one);
    world.event(exit());
    let (total, letters) = world.core.dead_letters();
    assert_eq!(total, 1, "{letters:?}");
    assert_eq!(letters[0].sender, world.address(two));
}

#[test]
fn messages_to_a_failed_creation_go_back_behind_the_news() {
    let mut world = World::new(small());
    let parent = world.actor();
    let child = world.expect(world.address(parent));
    world.tell(parent, child);
    let actor = world.address(child);
    let reason = "it does not import".to_owned();
    world.event(Event::FailedCreation { actor, reason });
    world.settle();
    let texts: Vec<_> = world.processes[parent]
        .inbox
        .iter()
        .map(|frame| String::from_utf8_lossy(&frame.payload).into_owned())
        .collect();
    assert_eq!(texts.len(), 2);
    assert!(texts[0].contains("child_actor_exited"));
    assert!(texts[1].contains("poison_message") && texts[1].contains("Child Aborted"));
    let stats = world.core.stats();
    assert_eq!((stats.returned, stats.dead_letters), (1, 0));
}

#[test]
fn a_marker_comes_back_behind_everything_before() {
    let mut world = World::new(small());
    let (sender, target) = (world.actor(), world.actor());
    flood(&mut world, sender, target);
    let actor = world.address(target);
    world.event(Event::Marker { actor, ticket: 1 });
    world.write_all(target);
    assert!(world.tickets.is_empty());
    world.settle();
    assert_eq!(world.tickets, [(1, true)]);
    world.event(Event::Marker { actor, ticket: 2 });
    world.end(target);
    world.event(Event::Marker { actor, ticket: 3 });
    assert_eq!(world.tickets[1..], [(2, false), (3, false)]);
}

#[test]
fn an_actor_with_an_unanswered_ask_is_not_idle() {
    let mut world = World::new(small());
    let (asker, target) = (world.client(), world.actor());
    let to = Target::Actor(world.address(target));
    world.send(asker, to, Flags::ASK, 1);
    let actor = world.address(target);
    world.event(Event::Idle { actor, ticket: 1 });
    world.settle();
    assert!(world.tickets.is_empty());
    world.tell(target, asker);
    world.settle();
    assert_eq!(world.tickets, [(1, true)]);
}

#[test]
fn one_that_reports_what_it_did_not_read_is_disconnected() {
    let mut limits = small();
    limits.unread_bytes_max = 2_000;
    let mut world = World::new(limits);
    let (sender, liar) = (world.actor(), world.client());
    for _ in 0..20 {
        flood(&mut world, sender, liar);
        let payload = protocol::WindowPayload { bytes: 1_000 }.to_bytes();
        let header = protocol::Header::control(FrameKind::Window, 0);
        world.frame(liar, &protocol::Frame::new(header, payload));
    }
    assert!(world.closed.iter().any(|reason| reason.contains("unread")));
}
