//! Messages between workers and clients over real sockets.

use crate::support::{Node, text};
use node::router::{AgentEvent, CallerKind, Rights};
use protocol::control::{Notice, Request, Response};
use protocol::{ActorId, FrameKind, TargetKind};

#[tokio::test]
async fn messages_go_between_two_workers_and_a_client() {
    let mut node = Node::new();
    let mut one = node.actor().await;
    let mut two = node.actor().await;
    let mut client = node.client().await;
    client.send(one.address, b"from client").await;
    let got = one.take().await;
    assert_eq!(
        (text(&got).as_str(), got.header.sender),
        ("from client", client.address)
    );
    one.send(two.address, b"from one").await;
    let got = two.take().await;
    assert_eq!(
        (text(&got).as_str(), got.header.sender),
        ("from one", one.address)
    );
    two.send(client.address, b"from two").await;
    let got = client.take().await;
    assert_eq!(
        (text(&got).as_str(), got.header.sender),
        ("from two", two.address)
    );
    let stats = node.handle.stats().await;
    assert_eq!(
        (stats.messages, stats.delivered, stats.dead_letters),
        (3, 3, 0)
    );
    assert_eq!((stats.actors, stats.clients), (2, 1));
}

#[tokio::test]
async fn messages_wait_for_started_and_keep_their_order() {
    let mut node = Node::new();
    let mut client = node.client().await;
    let record = node.expect(ActorId::NONE);
    node.handle.stats().await;
    for n in 0..500 {
        client.send(record.actor, format!("{n}").as_bytes()).await;
    }
    let mut line = node.connect(&record).await;
    for n in 500..600 {
        client.send(record.actor, format!("{n}").as_bytes()).await;
    }
    line.notice(&Notice::Started).await;
    for n in 0..600 {
        let got = line.take().await;
        assert_eq!((text(&got), got.header.sequence), (n.to_string(), n + 1));
    }
    node.until(|event| matches!(event, AgentEvent::Started { .. }))
        .await;
}

#[tokio::test]
async fn a_request_reaches_the_agent_and_its_answer_the_caller() {
    let mut node = Node::new();
    let mut client = node.client().await;
    client.request(41, &Request::Status).await;
    let event = node
        .until(|event| matches!(event, AgentEvent::Request { .. }))
        .await;
    let AgentEvent::Request {
        from,
        sequence,
        request,
        respond,
    } = event
    else {
        unreachable!()
    };
    assert_eq!(
        (from.address, from.kind),
        (client.address, CallerKind::Client)
    );
    assert_eq!(
        (from.rights, from.pid),
        (Rights::Operate, std::process::id())
    );
    assert_eq!((sequence, request), (41, Request::Status));
    respond.respond(Response::Done {
        text: "yes".to_owned(),
    });
    let answer = client.next_of(FrameKind::Response).await;
    assert_eq!(answer.header.sequence, 41);
    assert!(text(&answer).contains("yes"));
}

#[tokio::test]
async fn a_request_that_is_dropped_or_not_understood_is_answered() {
    let mut node = Node::new();
    let mut client = node.client().await;
    client.control(FrameKind::Request, 1, &"nonsense").await;
    let answer = text(&client.next_of(FrameKind::Response).await);
    assert!(
        answer.contains("usage") && answer.contains("not understood"),
        "{answer}"
    );
    client.request(2, &Request::Status).await;
    drop(
        node.until(|event| matches!(event, AgentEvent::Request { .. }))
            .await,
    );
    let answer = text(&client.next_of(FrameKind::Response).await);
    assert!(answer.contains("internal"), "{answer}");
}

#[tokio::test]
async fn large_messages_pass_whole_and_in_order() {
    let mut node = Node::new();
    let mut one = node.actor().await;
    let mut two = node.actor().await;
    let large: Vec<u8> = (0..100 << 20).map(|n: u32| (n % 251) as u8).collect();
    one.send(two.address, b"before").await;
    let frame = one.message(TargetKind::Actor, two.address.0, &large);
    let after = one.message(TargetKind::Actor, two.address.0, b"after");
    tokio::join!(
        async {
            one.frame(&frame).await;
            one.frame(&after).await;
        },
        async {
            assert_eq!(two.take().await.payload, b"before");
            assert!(two.take().await.payload == large);
            assert_eq!(two.take().await.payload, b"after");
        }
    );
}
