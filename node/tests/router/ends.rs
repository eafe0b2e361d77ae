//! Actors and clients that end, are created, stand idle; the node's own messages; closing.

use crate::support::{INCARNATION, Node, text};
use node::router::{AgentEvent, Gone, Serials};
use protocol::control::{Notice, Request, SystemMessage};
use protocol::{ActorId, FrameKind, Incarnation, PayloadKind};

#[tokio::test]
async fn what_a_process_wrote_before_its_end_is_delivered() {
    let mut node = Node::new();
    let mut reader = node.actor().await;
    for _ in 0..20 {
        let mut writer = node.actor().await;
        let (from, to) = (writer.address, reader.address);
        for n in 0..50_u8 {
            writer.send(to, &[n; 1000]).await;
        }
        // As the pidfd says that the process has ended, before the router has read all.
        node.handle.ended(from, "exited");
        drop(writer);
        for n in 0..50_u8 {
            assert_eq!(reader.take().await.payload, [n; 1000]);
        }
    }
    assert_eq!(node.handle.stats().await.dead_letters, 0);
}

#[tokio::test]
async fn an_actor_is_dead_when_the_agent_says_so_and_not_before() {
    let mut node = Node::new();
    let mut parent = node.actor().await;
    let child = node.child(parent.address).await;
    let mut client = node.client().await;
    let actor = child.address;
    drop(child);
    node.until(|event| matches!(event, AgentEvent::Disconnected { actor: a } if *a == actor))
        .await;
    let sequence = client.ask(actor, b"are you there").await;
    while node.handle.stats().await.waiting == 0 {
        tokio::task::yield_now().await;
    }
    let alive = node.handle.alive().await;
    assert!(alive.iter().any(|record| record.actor == actor));
    node.handle.ended(actor, "killed by signal 9");
    let Notice::AskEnded {
        sequence: ended,
        reason,
        ..
    } = client.next_notice().await
    else {
        panic!("another notice")
    };
    assert_eq!((ended, reason.as_str()), (sequence, "killed by signal 9"));
    let news = parent.take().await;
    assert_eq!(news.header.payload_kind, PayloadKind::Json);
    let news: SystemMessage = serde_json::from_slice(&news.payload).unwrap();
    assert_eq!(news, SystemMessage::ChildActorExited { child: actor });
    let (total, letters) = node.handle.dead_letters().await;
    assert_eq!(
        (total, letters[0].reason.as_str()),
        (1, "killed by signal 9")
    );
    assert_eq!(letters[0].sender, client.address);
}

#[tokio::test]
async fn the_address_of_a_client_dies_with_its_connection() {
    let mut node = Node::new();
    let mut actor = node.actor().await;
    let client = node.client().await;
    let gone = client.address;
    drop(client);
    node.until(|event| matches!(event, AgentEvent::ClientGone { client } if *client == gone))
        .await;
    actor.send(gone, b"too late").await;
    let own = actor.address;
    actor.send(own, b"behind it").await;
    assert_eq!(actor.take().await.payload, b"behind it");
    assert_eq!(node.handle.dead_letters().await.0, 1);
}

fn create(actor: ActorId) -> Request {
    Request::CreateActor {
        actor: Some(actor),
        class: "app.Child".to_owned(),
        source: None,
        client: None,
        requirements: None,
        global_name: None,
    }
}

#[tokio::test]
async fn messages_to_a_child_wait_from_its_request_on() {
    let mut node = Node::new();
    let mut parent = node.actor().await;
    let child = ActorId::allot(INCARNATION, node.serials.range() + 3);
    parent.request(0, &create(child)).await;
    parent.send(child, b"first").await;
    parent.send(child, b"second").await;
    let event = node
        .until(|event| matches!(event, AgentEvent::Request { .. }))
        .await;
    assert!(matches!(event, AgentEvent::Request { sequence: 0, .. }));
    let record = node.expect_as(child, parent.address);
    let mut line = node.connect(&record).await;
    line.notice(&Notice::Started).await;
    assert_eq!(line.take().await.payload, b"first");
    assert_eq!(line.take().await.payload, b"second");
}

#[tokio::test]
async fn a_child_that_fails_to_come_up_sends_messages_back() {
    let mut node = Node::new();
    let mut parent = node.actor().await;
    let child = ActorId::allot(INCARNATION, node.serials.range());
    parent.request(0, &create(child)).await;
    parent.send(child, b"first").await;
    // Once the request behind it has come, the message has as well.
    parent.request(1, &Request::Status).await;
    drop(
        node.until(|event| matches!(event, AgentEvent::Request { sequence: 1, .. }))
            .await,
    );
    let unanswered = parent.next().await;
    assert_eq!(unanswered.header.kind, FrameKind::Response);
    node.handle.failed_creation(child, "no such class");
    assert!(text(&parent.take().await).contains("child_actor_exited"));
    let poison = parent.take().await;
    assert_eq!(poison.header.payload_kind, PayloadKind::Envelope);
    assert!(text(&poison).contains("Child Aborted") && poison.payload.ends_with(b"first"));
}

#[tokio::test]
async fn nobody_creates_under_a_foreign_or_used_address() {
    let mut node = Node::new();
    let other = node.actor().await;
    let foreign = ActorId::allot(Incarnation(1), 77);
    let own = ActorId::allot(INCARNATION, Serials::NODE);
    for address in [other.address, foreign, own] {
        let mut parent = node.actor().await;
        parent.request(0, &create(address)).await;
        parent.ends().await;
    }
}

#[tokio::test]
async fn the_nodes_own_messages_are_answered_to_the_agent() {
    let mut node = Node::new();
    let mut actor = node.actor().await;
    node.handle
        .send_literal(actor.address, "{'load': 1}".to_owned());
    let recursive = true;
    let exit = SystemMessage::ActorExitRequest { recursive };
    node.handle.send_system(actor.address, exit.clone());
    let literal = actor.take().await;
    assert_eq!(literal.header.payload_kind, PayloadKind::Literal);
    assert_eq!(text(&literal), "{'load': 1}");
    let got = actor.take().await;
    assert_eq!(
        serde_json::from_slice::<SystemMessage>(&got.payload).unwrap(),
        exit
    );
    assert_eq!((literal.header.sequence, got.header.sequence), (1, 2));
    actor.send(literal.header.sender, b"done").await;
    let event = node
        .until(|event| matches!(event, AgentEvent::Message { .. }))
        .await;
    let AgentEvent::Message { from, frame, .. } = event else {
        unreachable!()
    };
    assert_eq!(
        (from, frame.payload.as_slice()),
        (actor.address, b"done".as_slice())
    );
}

#[tokio::test]
async fn an_agent_that_takes_no_messages_holds_its_senders_back() {
    let mut node = Node::new();
    let mut actor = node.actor().await;
    let to_node = ActorId::allot(INCARNATION, Serials::NODE);
    for _ in 0..protocol::limits::CREDIT_MESSAGES {
        actor.send(to_node, b"").await;
    }
    let mut taken = Vec::new();
    while taken.len() < protocol::limits::CREDIT_MESSAGES as usize {
        taken.push(
            node.until(|event| matches!(event, AgentEvent::Message { .. }))
                .await,
        );
    }
    // No credit comes before the agent has dealt with them: the echo is the next frame.
    let own = actor.address;
    actor.send(own, b"echo").await;
    assert_eq!(actor.next().await.payload, b"echo");
    drop(taken);
    actor.next_of(FrameKind::Credit).await;
}

#[tokio::test]
async fn markers_and_idleness_are_known_by_echo() {
    let mut node = Node::new();
    let mut actor = node.actor().await;
    let mut client = node.client().await;
    let address = actor.address;
    client.ask(address, b"question").await;
    let question = actor.take().await;
    let handle = node.handle.clone();
    let marker = tokio::spawn(async move { handle.marker(address).await });
    let handle = node.handle.clone();
    let idle = tokio::spawn(async move { handle.idle(address).await });
    let echo = actor.next_of(FrameKind::Marker).await;
    assert!(!marker.is_finished());
    actor.frame(&echo).await;
    assert_eq!(marker.await.unwrap(), Ok(()));
    // The ask is unanswered, so nothing is known of idleness until it is.
    assert!(!idle.is_finished());
    actor.send(question.header.sender, b"answer").await;
    client.take().await;
    let echo = actor.next_of(FrameKind::Marker).await;
    actor.frame(&echo).await;
    assert_eq!(idle.await.unwrap(), Ok(()));
    node.handle.ended(address, "over");
    drop(actor);
    assert_eq!(node.handle.marker(address).await, Err(Gone));
}

#[tokio::test]
async fn closing_tells_everyone_and_ends_their_connections() {
    let mut node = Node::new();
    let mut actor = node.actor().await;
    let mut client = node.client().await;
    node.handle.close().await;
    assert_eq!(actor.next_notice().await, Notice::Closing);
    assert_eq!(client.next_notice().await, Notice::Closing);
    actor.ends().await;
    client.ends().await;
    // Calls after it come to nothing, and return.
    assert_eq!(node.handle.marker(actor.address).await, Err(Gone));
    node.handle.hold(Vec::new()).await;
}

#[tokio::test]
async fn last_words_are_read_although_nothing_can_be_written_any_more() {
    let mut node = Node::new();
    let mut reader = node.actor().await;
    for _ in 0..20 {
        let mut writer = node.actor().await;
        let (from, to) = (writer.address, reader.address);
        // The router finds out that the other end is gone by writing to it.
        for n in 0..50_u8 {
            writer.send(to, &[n; 1000]).await;
            reader.send(from, b"not read").await;
        }
        drop(writer);
        reader.send(from, b"too late").await;
        for n in 0..50_u8 {
            assert_eq!(reader.take().await.payload, [n; 1000]);
        }
        node.handle.ended(from, "exited");
    }
}
