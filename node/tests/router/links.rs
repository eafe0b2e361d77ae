//! Two routers in one process, joined by pumps that carry batches between their links.

use crate::support::{Line, Node, PATIENCE, text};
use node::router::{AgentEvent, Limits, Link, Rights};
use protocol::control::{AskOutcome, Notice};
use protocol::{ActorId, Flags, FrameKind, Incarnation, NodeId, RoleId, SourceHash};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const HERE: (Incarnation, NodeId) = (Incarnation(0xa1), NodeId(1));
const THERE: (Incarnation, NodeId) = (Incarnation(0xb2), NodeId(2));

/// Carries bytes until it is cut.
struct Wire([JoinHandle<()>; 2]);

impl Wire {
    fn cut(&self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

fn carry(mut from: mpsc::Receiver<Vec<u8>>, to: mpsc::Sender<Vec<u8>>) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(batch) = from.recv().await {
            if to.send(batch).await.is_err() {
                return;
            }
        }
    })
}

fn join(here: &Node, there: &Node) -> Wire {
    let out: Link = here.handle.link_up(THERE.1, THERE.0, false);
    let back: Link = there.handle.link_up(HERE.1, HERE.0, false);
    Wire([
        carry(out.outgoing, back.incoming),
        carry(back.outgoing, out.incoming),
    ])
}

fn two() -> (Node, Node) {
    let node = |(incarnation, node)| {
        let authorize = |_| Some(Rights::Operate);
        let node = Node::of(incarnation, node, Limits::default(), authorize);
        node.handle.peers(vec![HERE, THERE]);
        node
    };
    (node(HERE), node(THERE))
}

/// Answers every message with its payload, until its connection ends.
async fn echo(mut line: Line) {
    while let Some(frame) = line.try_next().await {
        match frame.header.kind {
            FrameKind::Message => {
                line.report(frame.bytes() as u64).await;
                line.send(frame.header.sender, &frame.payload).await;
            }
            FrameKind::Marker => line.frame(&frame).await,
            _ => {}
        }
    }
}

#[tokio::test]
async fn an_ask_is_answered_across() {
    let (here, mut there) = two();
    let _wire = join(&here, &there);
    let actor = there.actor().await;
    let address = actor.address;
    tokio::spawn(echo(actor));
    let mut client = here.client().await;
    for n in 0..100_u32 {
        client.ask(address, &n.to_le_bytes()).await;
        let answer = client.take().await;
        assert_eq!(answer.payload, n.to_le_bytes());
        assert_eq!(answer.header.flags, Flags::REMOTE);
        assert_eq!(answer.header.source, SourceHash([5; 32]));
    }
    there.handle.idle(address).await.unwrap();
    assert_eq!(here.handle.stats().await.unknown, 0);
}

#[tokio::test]
async fn ten_thousand_sends_of_one_handler_cross_in_order() {
    const COUNT: u64 = 10_000;
    let (mut here, mut there) = two();
    let wire = join(&here, &there);
    let mut sender = here.actor().await;
    let mut target = there.actor().await;
    let address = target.address;
    let sending = tokio::spawn(async move {
        let (mut sent, mut back) = (0, 0);
        while sent < COUNT {
            while sent < COUNT && sent - back < u64::from(protocol::limits::CREDIT_MESSAGES) {
                sender.send(address, &sent.to_le_bytes()).await;
                sent += 1;
            }
            if sent < COUNT {
                let credit = sender.next_of(FrameKind::Credit).await;
                let credit = protocol::CreditPayload::from_bytes(&credit.payload).unwrap();
                back += u64::from(credit.messages);
            }
        }
        sender
    });
    for n in 0..COUNT {
        assert_eq!(target.take().await.payload, n.to_le_bytes());
    }
    let _sender = sending.await.unwrap();
    here.handle.flush_links([THERE.1].into()).await;
    let stats = here.handle.stats().await;
    assert_eq!(
        (stats.sent, stats.dead_letters, stats.waiting),
        (COUNT, 0, 0)
    );
    drop(wire);
}

#[tokio::test]
async fn a_cut_in_the_middle_ends_asks_and_loses_nothing_silently() {
    const COUNT: u64 = 2_000;
    let (mut here, mut there) = two();
    let wire = join(&here, &there);
    let mut sender = here.actor().await;
    let mut asker = here.client().await;
    let mut target = there.actor().await;
    let mute = there.actor().await;
    let address = target.address;
    let asked = asker.ask(mute.address, b"?").await;
    for n in 0..COUNT / 2 {
        sender.send(address, &n.to_le_bytes()).await;
    }
    target.take().await;
    wire.cut();
    let Notice::AskEnded {
        sequence, outcome, ..
    } = asker.next_notice().await
    else {
        panic!("another notice")
    };
    assert_eq!((sequence, outcome), (asked, AskOutcome::Unknown));
    for n in COUNT / 2..COUNT {
        sender.send(address, &n.to_le_bytes()).await;
    }
    here.until(|event| matches!(event, AgentEvent::WantLink { node } if *node == THERE.1))
        .await;
    let _wire = join(&here, &there);
    let (mut n_got, mut last) = (1_u64, 0);
    while last < COUNT - 1 {
        let frame = target.take().await;
        let n = u64::from_le_bytes(frame.payload.try_into().unwrap());
        assert!(n > last, "{n} after {last}");
        last = n;
        n_got += 1;
    }
    let stats = here.handle.stats().await;
    assert!(COUNT - n_got <= stats.unknown, "{n_got} came, {stats:?}");
    assert!(
        stats.unknown <= COUNT / 2 + 1 && stats.dead_letters == 0,
        "{stats:?}"
    );
}

#[tokio::test]
async fn large_messages_cross_whole_beside_small_ones() {
    let (mut here, mut there) = two();
    let _wire = join(&here, &there);
    let mut sender = here.actor().await;
    let mut target = there.actor().await;
    let address = target.address;
    for sizes in [
        [10, 70_000, 3_000_000],
        [0, 40_000, 12_000_000],
        [5, 1, 2_500_000],
    ] {
        let sending = tokio::spawn(async move {
            for size in sizes {
                sender.send(address, &vec![size as u8; size]).await;
            }
            sender
        });
        for size in sizes {
            let frame = target.take().await;
            assert!(frame.payload == vec![size as u8; size], "{size}");
        }
        sender = sending.await.unwrap();
        // The next go behind the credit for these.
        sender.next_of(FrameKind::Credit).await;
    }
}

#[tokio::test]
async fn a_parent_hears_of_a_childs_end_across() {
    let (mut here, there) = two();
    let _wire = join(&here, &there);
    let mut parent = here.actor().await;
    let child = ActorId::allot(HERE.0, here.serials.single());
    let record = there.expect_as(child, parent.address);
    here.handle.expect_remote(record.clone(), THERE.1);
    here.handle.stats().await;
    parent.send(child, b"early").await;
    let mut line = there.connect(&record).await;
    line.notice(&Notice::Started).await;
    assert_eq!(line.take().await.payload, b"early");
    line.send(parent.address, b"hello").await;
    assert_eq!(parent.take().await.payload, b"hello");
    there.handle.ended(child, "it is over");
    assert!(text(&parent.take().await).contains("child_actor_exited"));
}

#[tokio::test]
async fn a_role_is_bound_to_an_actor_on_another_node() {
    let (here, mut there) = two();
    let _wire = join(&here, &there);
    let mut player = there.actor().await;
    let role = RoleId::of("app", "Main");
    here.handle.place(player.address, Some(THERE.1));
    here.handle.bind_role(role, Some(player.address)).await;
    let mut client = here.client().await;
    client.send_role(role, b"to the role").await;
    let frame = player.take().await;
    assert_eq!(frame.header.target_role(), Some(role));
    here.handle.link_lost(THERE.1, THERE.0, "the node is gone");
    here.handle.stats().await;
    let mut frame = client.message(protocol::TargetKind::Role, role.0, b"anyone?");
    frame.header.flags = Flags::ASK;
    client.frame(&frame).await;
    let Notice::AskEnded { reason, .. } = client.next_notice().await else {
        panic!("another notice")
    };
    assert_eq!(reason, "the node is gone");
}

#[tokio::test]
async fn bytes_that_are_no_frames_break_the_link_and_nothing_else() {
    let (mut here, mut there) = two();
    let Link {
        mut outgoing,
        incoming,
    } = here.handle.link_up(THERE.1, THERE.0, false);
    incoming.send(vec![7; 500]).await.unwrap();
    let event = here
        .until(|event| matches!(event, AgentEvent::LinkBroken { .. }))
        .await;
    let AgentEvent::LinkBroken { node, reason } = event else {
        panic!("another event")
    };
    assert!(node == THERE.1 && !reason.is_empty(), "{reason}");
    let end = tokio::time::timeout(PATIENCE, outgoing.recv()).await;
    assert!(end.unwrap().is_none());
    let _wire = join(&here, &there);
    let mut target = there.actor().await;
    let mut client = here.client().await;
    client.send(target.address, b"still here").await;
    assert_eq!(target.take().await.payload, b"still here");
}

#[tokio::test]
async fn an_agent_that_knows_no_more_ends_the_search() {
    let (mut here, _there) = two();
    let mut client = here.client().await;
    let nobody = ActorId::allot(Incarnation(0xdead), 9);
    client.ask(nobody, b"?").await;
    here.until(|event| matches!(event, AgentEvent::Locate { actor } if *actor == nobody))
        .await;
    here.handle.located(nobody, None);
    let Notice::AskEnded { outcome, .. } = client.next_notice().await else {
        panic!("another notice")
    };
    assert_eq!(outcome, AskOutcome::DeadLettered);
}
