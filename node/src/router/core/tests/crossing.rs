//! What a peer may not send over a link, and what it costs it.

use proptest::prelude::*;
use protocol::{
    ActorId, Flags, Frame, FrameKind, Header, Incarnation, PayloadKind, RoleId, TargetKind,
};

use super::net::{Net, Place, node, run_of};
use super::small;
use crate::router::agent::AgentEvent;
use crate::router::core::Event;

fn message(net: &Net, to: Place) -> Frame {
    let header = Header {
        payload_kind: PayloadKind::Pickle,
        target_kind: TargetKind::Actor,
        sender: ActorId::allot(run_of(0), 900),
        target: net.address(to).0,
        incarnation: run_of(0),
        ..Header::control(FrameKind::Message, 1)
    };
    Frame::new(header, vec![0; 3])
}

fn bytes(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.write_to(&mut bytes);
    bytes
}

/// Gives a batch to the second node as from the first; why the link was let go, if it was.
fn give(net: &mut Net, batch: Vec<u8>) -> Option<String> {
    let node = node(0);
    net.worlds[1].event(Event::LinkBytes { node, batch });
    let mut told = net.worlds[1].told.drain(..).rev();
    told.find_map(|event| match event {
        AgentEvent::LinkBroken { reason, .. } => Some(reason),
        _ => None,
    })
}

fn net() -> (Net, Place) {
    let mut net = Net::joined(3, &small());
    let target = net.actor(1);
    (net, target)
}

#[test]
fn an_honest_message_crosses() {
    let (mut net, target) = net();
    let batch = bytes(&message(&net, target));
    assert_eq!(give(&mut net, batch), None);
    net.settle();
    assert_eq!(net.got(target), [3]);
}

#[test]
fn whoever_breaks_a_rule_loses_the_link_and_nothing_else() {
    let (setup, target) = net();
    let honest = message(&setup, target);
    let with = |change: &dyn Fn(&mut Header)| {
        let mut frame = honest.clone();
        change(&mut frame.header);
        bytes(&frame)
    };
    let mut cut = bytes(&honest);
    cut.pop();
    let mut long = bytes(&honest);
    long.extend([1, 2, 3]);
    let mut version = bytes(&honest);
    version[4] = 99;
    let own = setup.address(target);
    let forbidden = [
        (cut, "cut off"),
        (long, "cut off"),
        (version, "version 99"),
        (with(&|h| h.incarnation = run_of(2)), "on another node"),
        (with(&|h| h.incarnation = Incarnation(3)), "on another node"),
        (with(&|h| h.sender = own), "which is here"),
        (
            with(&|h| h.sender = ActorId::allot(run_of(1), 1)),
            "this node",
        ),
        (
            with(&|h| h.target_kind = TargetKind::Peer),
            "without a target",
        ),
        (
            with(&|h| h.target_kind = TargetKind::Role),
            "without its actor",
        ),
        (with(&|h| h.kind = FrameKind::Request), "no router sends"),
        (with(&|h| h.kind = FrameKind::Notice), "does not parse"),
        (with(&|h| h.kind = FrameKind::Credit), "Credit"),
        (with(&|h| h.kind = FrameKind::Window), "Window"),
    ];
    for (batch, wanted) in forbidden {
        let (mut net, target) = net();
        let other = net.client(2);
        let reason = give(&mut net, batch).expect(wanted);
        assert!(reason.contains(wanted), "{reason}");
        net.settle();
        let before = net.got(target).len();
        net.tell(other, target);
        net.settle();
        assert_eq!(net.got(target).len(), before + 1, "{wanted}");
        let batch = bytes(&message(&net, target));
        assert_eq!(
            give(&mut net, batch),
            None,
            "a link that is down takes nothing"
        );
        net.down(0, 1);
        net.up(0, 1);
        let batch = bytes(&message(&net, target));
        assert_eq!(give(&mut net, batch), None);
        net.settle();
        assert_eq!(net.got(target).len(), before + 2, "{wanted}");
    }
}

#[test]
fn a_relayed_message_may_be_of_a_third_node() {
    let (mut net, target) = net();
    let mut frame = message(&net, target);
    frame.header.flags = Flags::RELAYED;
    frame.header.incarnation = run_of(2);
    frame.header.sender = ActorId::allot(run_of(2), 900);
    assert_eq!(give(&mut net, bytes(&frame)), None);
    net.settle();
    assert_eq!(net.got(target), [3]);
    let got = &net.worlds[1].processes[target.1].inbox[0].header;
    assert_eq!(got.flags, Flags::REMOTE);
}

#[test]
fn a_foreign_message_stays_foreign_and_reaches_no_client() {
    let (mut net, target) = net();
    let client = net.client(1);
    let mut frame = message(&net, target);
    frame.header.flags = Flags::FOREIGN;
    assert_eq!(give(&mut net, bytes(&frame)), None);
    frame.header.target = net.address(client).0;
    assert_eq!(give(&mut net, bytes(&frame)), None);
    net.settle();
    let got = &net.worlds[1].processes[target.1].inbox[0].header;
    assert_eq!(got.flags, Flags::FOREIGN.with(Flags::REMOTE));
    assert!(net.got(client).is_empty());
    assert_eq!(net.worlds[1].core.stats().dead_letters, 1);
}

#[test]
fn no_process_sets_the_flags_of_nodes() {
    for flags in [
        Flags::REMOTE,
        Flags::RELAYED,
        Flags::CREDITED,
        Flags::FOREIGN,
        Flags::PROGRAM,
    ] {
        let (mut net, target) = net();
        let sender = net.actor(0);
        net.send(sender, target, flags, 3);
        assert!(net.worlds[0].closed[0].contains("only nodes set"));
    }
}

#[test]
fn credit_that_nobody_is_owed_and_receipts_for_nothing_change_nothing() {
    let (mut net, target) = net();
    let sender = net.actor(1);
    net.tell(sender, target);
    let credit = protocol::CreditPayload {
        target_kind: TargetKind::Role as u8,
        target: RoleId::of("app", "Main").0,
        messages: u32::MAX,
        bytes: u64::MAX,
    };
    let mut header = Header::control(FrameKind::Credit, 0);
    header.target = net.address(sender).0;
    assert_eq!(
        give(&mut net, bytes(&Frame::new(header, credit.to_bytes()))),
        None
    );
    let window = protocol::WindowPayload { bytes: u64::MAX };
    let header = Header::control(FrameKind::Window, 0);
    assert_eq!(
        give(&mut net, bytes(&Frame::new(header, window.to_bytes()))),
        None
    );
    let to_second = Place::from((0, net.actor(0).1));
    net.tell(target, to_second);
    assert!(net.pull(1, 0));
    net.down(0, 1);
    assert_eq!(net.worlds[1].core.stats().unknown, 1);
}

#[test]
fn a_large_message_crosses_alone_and_whole() {
    let (mut net, target) = net();
    let sender = net.actor(0);
    net.send(sender, target, Flags::default(), 90_000);
    net.calm();
    assert_eq!(net.got(target), [90_000]);
}

proptest! {
    #[test]
    fn any_bytes_over_a_link_leave_the_others_alone(
        kind in 0..14_u8,
        at in 4..112_usize,
        patch in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let (mut net, target) = net();
        let other = net.client(2);
        let mut batch = bytes(&message(&net, target));
        batch[5] = kind;
        for (place, byte) in batch.iter_mut().skip(at).zip(patch) {
            *place = byte;
        }
        give(&mut net, batch);
        net.calm();
        let before = net.got(target).len();
        net.tell(other, target);
        net.calm();
        prop_assert_eq!(net.got(target).len(), before + 1);
    }
}
