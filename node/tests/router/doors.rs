//! Who may connect to the router, and what a bad connection costs: itself.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Line, Node, hello, text};
use node::router::{AgentEvent, Limits, Rights};
use protocol::control::{ConnectionRole, Notice, Request, Welcome};
use protocol::limits::{PROTOCOL_VERSION, PROTOCOL_VERSION_OLDEST};
use protocol::{ActorId, Flags, Frame, FrameKind, Header, PayloadKind};
use tokio::io::AsyncWriteExt;

fn impatient() -> Limits {
    Limits {
        greeting_ms: 200,
        greeting_max: 2,
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_client_without_rights_is_told_what_to_do() {
    let node = Node::with(Limits::default(), |_| None);
    let hello = hello(ConnectionRole::Client, None);
    let mut line = Line::dial(node.control(), &hello).await;
    let answer = line.next().await;
    assert_eq!(answer.header.kind, FrameKind::Response);
    let answer = text(&answer);
    assert!(
        answer.contains("forbidden") && answer.contains("clientgroup.cfg"),
        "{answer}"
    );
    line.ends().await;
}

#[tokio::test]
async fn another_protocol_version_is_named() {
    let node = Node::new();
    for (oldest, newest) in [(None, 99), (Some(98), 99), (None, 0)] {
        let mut hello = hello(ConnectionRole::Client, None);
        (hello.oldest, hello.protocol) = (oldest, newest);
        let mut line = Line::dial(node.control(), &hello).await;
        let answer = text(&line.next().await);
        assert!(answer.contains(&format!("`{newest}`")), "{answer}");
        line.ends().await;
    }
}

#[tokio::test]
async fn the_newest_version_that_both_speak_is_spoken() {
    let node = Node::new();
    let (own, before) = (PROTOCOL_VERSION, PROTOCOL_VERSION_OLDEST);
    assert_eq!(before, own - 1);
    let known = [
        (None, before, before),
        (Some(before - 1), before, before),
        (Some(before), own, own),
        (None, own, own),
        (Some(own), own + 1, own),
        (Some(before), own + 3, own),
    ];
    for (oldest, newest, spoken) in known {
        let mut hello = hello(ConnectionRole::Client, None);
        (hello.oldest, hello.protocol) = (oldest, newest);
        let mut line = Line::dial(node.control(), &hello).await;
        let welcome = line.next().await;
        assert_eq!(welcome.header.kind, FrameKind::Welcome, "{hello:?}");
        let welcome: Welcome = serde_json::from_slice(&welcome.payload).unwrap();
        assert_eq!(welcome.protocol, spoken, "{hello:?}");
    }
}

#[tokio::test]
async fn a_token_is_good_once_and_only_if_known() {
    let mut node = Node::new();
    let stranger = hello(ConnectionRole::Worker, Some("guess".to_owned()));
    let mut line = Line::dial(node.workers(), &stranger).await;
    assert!(text(&line.next().await).contains("expects no worker"));
    line.ends().await;
    let record = node.expect(ActorId::NONE);
    let mut worker = node.connect(&record).await;
    assert_eq!(worker.address, record.actor);
    let again = hello(ConnectionRole::Worker, Some(record.token.clone()));
    let mut line = Line::dial(node.workers(), &again).await;
    assert!(text(&line.next().await).contains("expects no worker"));
    line.ends().await;
    worker.notice(&Notice::Started).await;
    node.until(|event| matches!(event, AgentEvent::Started { .. }))
        .await;
}

#[tokio::test]
async fn each_socket_takes_its_own_kind_only() {
    let node = Node::new();
    let doors = [
        (node.control(), ConnectionRole::Worker),
        (node.control(), ConnectionRole::Forkserver),
        (node.workers(), ConnectionRole::Client),
    ];
    for (path, role) in doors {
        let mut line = Line::dial(path, &hello(role, None)).await;
        assert!(text(&line.next().await).contains("may not connect to this socket"));
        line.ends().await;
    }
}

#[tokio::test]
async fn a_silent_connection_is_closed_and_too_many_are_not_let_in() {
    let node = Node::with(impatient(), |_| Some(Rights::Use));
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(
            tokio::net::UnixStream::connect(node.control())
                .await
                .unwrap(),
        );
    }
    for stream in silent {
        let mut stream = stream.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        let ended = tokio::task::spawn_blocking(move || stream.read(&mut [0; 8]));
        assert_eq!(ended.await.unwrap().unwrap_or(0), 0);
    }
    // There is room again.
    drop(node.client().await);
}

#[tokio::test]
async fn garbage_ends_its_own_connection_only() {
    let mut node = Node::new();
    let mut witness = node.client().await;
    let mut early = tokio::net::UnixStream::connect(node.control())
        .await
        .unwrap();
    early.write_all(&[0xff; 400]).await.unwrap();
    let mut late = node.client().await;
    late.stream.write_all(&[0xee; 400]).await.unwrap();
    late.ends().await;
    let mut forger = node.client().await;
    let mut frame = forger.message(protocol::TargetKind::Actor, witness.address.0, b"x");
    frame.header.sender = witness.address;
    forger.frame(&frame).await;
    forger.ends().await;
    let gone = forger.address;
    node.until(|event| matches!(event, AgentEvent::ClientGone { client } if *client == gone))
        .await;
    let own = witness.address;
    witness.send(own, b"still here").await;
    assert_eq!(witness.take().await.payload, b"still here");
}

#[tokio::test]
async fn forkservers_and_standard_output_are_handed_over() {
    let mut node = Node::new();
    let token = Some("secret of the hosting".to_owned());
    let mut line = Line::dial(node.workers(), &hello(ConnectionRole::Stdio, token.clone())).await;
    line.stream.write_all(b"printed").await.unwrap();
    let event = node
        .until(|event| matches!(event, AgentEvent::Stdio(_)))
        .await;
    let AgentEvent::Stdio(mut handover) = event else {
        unreachable!()
    };
    assert_eq!(handover.hello.token, token);
    assert_eq!(handover.pid, std::process::id());
    line.stream.shutdown().await.unwrap();
    handover.stream.set_nonblocking(false).unwrap();
    let mut rest = Vec::new();
    handover.stream.read_to_end(&mut rest).unwrap();
    assert_eq!([handover.read_ahead, rest].concat(), b"printed");

    let forkserver = hello(ConnectionRole::Forkserver, token.clone());
    let line = Line::open(node.workers(), &forkserver).await;
    assert!(line.address.is_none());
    let event = node
        .until(|event| matches!(event, AgentEvent::Forkserver(_)))
        .await;
    let AgentEvent::Forkserver(handover) = event else {
        unreachable!()
    };
    assert_eq!(handover.hello.token, token);
}

fn chunk(sequence: u64, payload: Vec<u8>) -> Frame {
    let mut header = Header::control(FrameKind::Upload, sequence);
    header.payload_kind = PayloadKind::Raw;
    Frame::new(header, payload)
}

#[tokio::test]
async fn an_upload_comes_before_its_request_and_holds_back_its_client_only() {
    let mut node = Node::new();
    let mut client = node.client().await;
    let mut other = node.client().await;
    let upload = tokio::spawn(async move {
        for n in 0..64 {
            client.frame(&chunk(5, vec![n; 200_000])).await;
        }
        client.request(5, &Request::Status).await;
        client
    });
    let event = node
        .until(|event| matches!(event, AgentEvent::Upload { .. }))
        .await;
    let AgentEvent::Upload {
        sequence: 5,
        mut chunks,
        ..
    } = event
    else {
        unreachable!()
    };
    // Nobody takes the chunks, and yet the others are served.
    let own = other.address;
    other.send(own, b"served").await;
    assert_eq!(other.take().await.payload, b"served");
    for n in 0..64 {
        assert!(chunks.recv().await.unwrap() == vec![n; 200_000]);
    }
    assert_eq!(chunks.recv().await, None);
    node.until(|event| matches!(event, AgentEvent::Request { sequence: 5, .. }))
        .await;
    drop(upload.await.unwrap());
}

#[tokio::test]
async fn an_upload_without_rights_leads_nowhere() {
    let mut node = Node::with(Limits::default(), |_| Some(Rights::Use));
    let mut client = node.client().await;
    client.frame(&chunk(5, vec![1; 1000])).await;
    client.request(5, &Request::Status).await;
    let upload_or_request = |event: &AgentEvent| {
        matches!(
            event,
            AgentEvent::Upload { .. } | AgentEvent::Request { .. }
        )
    };
    let event = node.until(upload_or_request).await;
    assert!(matches!(event, AgentEvent::Request { sequence: 5, .. }));
}

/// A node whose first client may use it and whose later ones may operate it.
fn first_is_foreign() -> Node {
    let met = AtomicBool::new(false);
    Node::with(Limits::default(), move |_| {
        let rights = [Rights::Use, Rights::Operate];
        Some(rights[usize::from(met.swap(true, Ordering::Relaxed))])
    })
}

#[tokio::test]
async fn messages_of_a_client_that_may_only_use_the_node_are_marked_foreign() {
    let mut node = first_is_foreign();
    let mut foreign = node.client().await;
    let mut own = node.client().await;
    let mut actor = node.actor().await;
    foreign.send(actor.address, b"from a stranger").await;
    let got = actor.take().await;
    assert!(got.header.flags.contains(Flags::FOREIGN), "{got:?}");
    assert_eq!(text(&got), "from a stranger");
    // Large frames are passed on without a copy, and asks keep their own flags.
    let large = vec![7; 300_000];
    foreign.ask(actor.address, &large).await;
    let got = actor.take().await;
    assert_eq!(got.header.flags, Flags::ASK.with(Flags::FOREIGN));
    assert!(got.payload == large);
    foreign.send(foreign.address, b"to itself").await;
    let got = foreign.take().await;
    assert!(got.header.flags.contains(Flags::FOREIGN), "{got:?}");
    own.send(actor.address, b"from the operator").await;
    assert_eq!(actor.take().await.header.flags, Flags::default());
    actor.send(foreign.address, b"from an actor").await;
    assert_eq!(foreign.take().await.header.flags, Flags::default());
}

#[tokio::test]
async fn nobody_else_answers_for_an_actor() {
    let mut node = first_is_foreign();
    let mut foreign = node.client().await;
    let mut own = node.client().await;
    let mut actor = node.actor().await;
    let asked = own.ask(actor.address, b"the question").await;
    actor.take().await;
    foreign.send(own.address, b"forged").await;
    foreign.send(actor.address, b"a marker").await;
    actor.take().await;
    let (total, letters) = node.handle.dead_letters().await;
    assert_eq!((asked, total), (1, 1));
    assert!(letters[0].reason.contains("only actors"), "{letters:?}");
    actor.send(own.address, b"the answer").await;
    assert_eq!(text(&own.take().await), "the answer");
}

#[tokio::test]
async fn a_foreign_message_that_waits_or_comes_back_stays_foreign() {
    let mut node = first_is_foreign();
    let mut foreign = node.client().await;
    let record = node.expect(ActorId::NONE);
    node.handle.stats().await;
    foreign.send(record.actor, b"early").await;
    let mut actor = node.connect(&record).await;
    actor.notice(&Notice::Started).await;
    let got = actor.take().await;
    assert!(got.header.flags.contains(Flags::FOREIGN), "{got:?}");
    let mut keeper = node.actor().await;
    keeper.notice(&Notice::HandleDeadLetters { on: true }).await;
    keeper.send(keeper.address, b"registered").await;
    keeper.take().await;
    foreign.send(ActorId::NONE, b"to nobody").await;
    let letter = keeper.take().await;
    let (length, rest) = letter.payload.split_first_chunk::<4>().unwrap();
    let inner = &rest[u32::from_le_bytes(*length) as usize..];
    let inner = Header::from_bytes(inner.first_chunk().unwrap()).unwrap();
    assert!(inner.flags.contains(Flags::FOREIGN), "{inner:?}");
}

#[tokio::test]
async fn who_sets_the_flag_of_foreign_messages_itself_is_disconnected() {
    let node = Node::new();
    let mut forger = node.client().await;
    let mut frame = forger.message(protocol::TargetKind::Actor, forger.address.0, b"x");
    frame.header.flags = Flags::FOREIGN;
    forger.frame(&frame).await;
    forger.ends().await;
}

#[tokio::test]
async fn dead_letters_are_not_given_to_clients() {
    let node = Node::new();
    let mut client = node.client().await;
    client.notice(&Notice::HandleDeadLetters { on: true }).await;
    client.ends().await;
}

#[tokio::test]
async fn the_socket_of_the_workers_takes_no_other_users_process() {
    let node = Node::with(Limits::default(), |_| Some(Rights::Use));
    let record = node.expect(ActorId::NONE);
    node.handle.stats().await;
    let roles = [
        ConnectionRole::Worker,
        ConnectionRole::Forkserver,
        ConnectionRole::Stdio,
    ];
    for role in roles {
        let hello = hello(role, Some(record.token.clone()));
        let mut line = Line::dial(node.workers(), &hello).await;
        assert!(text(&line.next().await).contains("forbidden"));
        line.ends().await;
    }
}
