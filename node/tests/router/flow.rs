//! Streams of messages: switches of a role, floods, and those who do not read.

use std::collections::HashMap;

use crate::support::{INCARNATION, Line, Node};
use node::router::{Limits, Rights};
use protocol::control::Notice;
use protocol::{ActorId, Frame, FrameKind, Header, PayloadKind, RoleId, TargetKind};
use tokio::sync::mpsc;

fn role() -> RoleId {
    RoleId::of("app", "Main")
}

/// Handles messages as a worker does, and passes on what it handled, until its connection ends.
async fn play(mut line: Line, name: usize, handled: mpsc::UnboundedSender<(usize, Frame)>) {
    while let Some(frame) = line.try_next().await {
        match frame.header.kind {
            FrameKind::Message => {
                line.report(frame.bytes() as u64).await;
                handled.send((name, frame)).unwrap();
            }
            FrameKind::Marker => line.frame(&frame).await,
            _ => {}
        }
    }
}

/// Sends numbered messages to the role with half of the credit, the rest as credit comes back.
async fn stream(mut line: Line, count: u64) {
    let window = u64::from(protocol::limits::CREDIT_MESSAGES);
    let (mut sent, mut back) = (0, 0);
    while sent < count {
        while sent < count && sent - back < window {
            line.send_role(role(), &sent.to_le_bytes()).await;
            sent += 1;
        }
        if sent < count {
            let credit = line.next_of(FrameKind::Credit).await;
            let credit = protocol::CreditPayload::from_bytes(&credit.payload).unwrap();
            back += u64::from(credit.messages);
        }
    }
    // Stays connected: its messages are on their way.
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_is_switched_under_four_streams_with_nothing_lost_or_reordered() {
    const COUNT: u64 = 10_000;
    let mut node = Node::new();
    let (handled, mut got) = mpsc::unbounded_channel();
    let mut players = Vec::new();
    for name in 0..5 {
        let line = node.actor().await;
        players.push(line.address);
        tokio::spawn(play(line, name, handled.clone()));
    }
    node.handle.bind_role(role(), Some(players[0])).await;
    let mut senders = Vec::new();
    for _ in 0..4 {
        let line = node.client().await;
        senders.push(line.address);
        tokio::spawn(stream(line, COUNT));
    }
    let handle = node.handle.clone();
    let switches = tokio::spawn(async move {
        for pair in players.windows(2) {
            handle.hold(vec![role()]).await;
            handle.marker(pair[0]).await.unwrap();
            handle.bind_role(role(), Some(pair[1])).await;
            handle.release(vec![role()]).await;
        }
    });
    let mut next: HashMap<ActorId, u64> = HashMap::new();
    let mut last_player = 0;
    for _ in 0..4 * COUNT {
        let received = tokio::time::timeout(crate::support::PATIENCE, got.recv());
        let (name, frame) = received.await.unwrap().unwrap();
        // The marker was echoed by the old one before the new one got anything.
        assert!(name >= last_player);
        last_player = name;
        let wanted = next.entry(frame.header.sender).or_default();
        assert_eq!(frame.payload, wanted.to_le_bytes());
        *wanted += 1;
    }
    switches.await.unwrap();
    assert_eq!(next.len(), senders.len());
    assert_eq!(node.handle.stats().await.dead_letters, 0);
}

#[tokio::test]
async fn an_unbound_role_makes_dead_letters_with_its_reason() {
    let node = Node::new();
    let mut client = node.client().await;
    node.handle
        .unbind_role(role(), "the version is withdrawn")
        .await;
    let mut frame = client.message(TargetKind::Role, role().0, b"anyone?");
    frame.header.flags = protocol::Flags::ASK;
    client.frame(&frame).await;
    let Notice::AskEnded { target, reason, .. } = client.next_notice().await else {
        panic!("another notice")
    };
    assert_eq!(
        (target, reason.as_str()),
        (role().to_string(), "the version is withdrawn")
    );
}

#[tokio::test]
async fn two_that_flood_each_other_are_untied() {
    let limits = Limits {
        credit_messages: 16,
        window_bytes: 4_000,
        ..Limits::default()
    };
    let mut node = Node::with(limits, |_| Some(Rights::Operate));
    let mut one = node.actor().await;
    let mut two = node.actor().await;
    let (to_one, to_two) = (one.address, two.address);
    // Each sends until no credit is left, and takes nothing; then both say that they are stuck.
    for _ in 0..16 {
        one.send(to_two, &[0; 1000]).await;
        two.send(to_one, &[0; 1000]).await;
    }
    let inbox_full = true;
    let target = Some(to_two.to_string());
    one.notice(&Notice::Blocked { target, inbox_full }).await;
    node.handle.stats().await;
    let own = one.address;
    one.send(own, b"behind the notice").await;
    let target = Some(to_one.to_string());
    two.notice(&Notice::Blocked { target, inbox_full }).await;
    let notice = tokio::select! {
        notice = one.next_notice() => notice,
        notice = two.next_notice() => notice,
    };
    assert!(matches!(notice, Notice::Unblock { .. }));
    assert_eq!(node.handle.stats().await.unblocked, 1);
}

#[tokio::test]
async fn a_client_that_does_not_read_stalls_nobody_else() {
    let mut node = Node::new();
    let mut actor = node.actor().await;
    let mut reader = node.client().await;
    let asleep = node.client().await;
    // As much as credit allows: more than window and socket take.
    let sleeper = asleep.address;
    for _ in 0..30 {
        actor.send(sleeper, &[1; 100_000]).await;
    }
    for n in 0..200_u32 {
        let to = reader.address;
        actor.send(to, &n.to_le_bytes()).await;
        assert_eq!(reader.take().await.payload, n.to_le_bytes());
    }
    assert!(node.handle.stats().await.waiting > 0);
    drop(asleep);
    while node.handle.stats().await.waiting > 0 {
        tokio::task::yield_now().await;
    }
    assert!(node.handle.dead_letters().await.0 >= 19);
}

#[tokio::test]
async fn a_hundred_thousand_small_messages_pass_in_order() {
    const COUNT: u64 = 100_000;
    let mut node = Node::new();
    let sender = node.actor().await;
    let receiver = node.actor().await;
    let address = receiver.address;
    node.handle.bind_role(role(), Some(address)).await;
    let (handled, mut got) = mpsc::unbounded_channel();
    tokio::spawn(play(receiver, 0, handled));
    tokio::spawn(stream(sender, COUNT));
    for n in 0..COUNT {
        let (_, frame) = got.recv().await.unwrap();
        assert_eq!(frame.payload, n.to_le_bytes());
    }
}

#[tokio::test]
async fn a_frame_that_is_not_for_the_node_ends_the_connection() {
    let node = Node::new();
    for kind in [FrameKind::Credit, FrameKind::Welcome, FrameKind::PathSwitch] {
        let mut client = node.client().await;
        let mut header = Header::control(kind, 0);
        header.payload_kind = PayloadKind::Empty;
        client.frame(&Frame::new(header, Vec::new())).await;
        client.ends().await;
    }
    let mut client = node.client().await;
    let nobody = ActorId::allot(INCARNATION, 999);
    let mut frame = client.message(TargetKind::Peer, nobody.0, b"");
    frame.header.target_kind = TargetKind::Peer;
    client.frame(&frame).await;
    client.ends().await;
}
