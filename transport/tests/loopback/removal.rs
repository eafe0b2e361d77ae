//! A node that is removed loses what it has and gets nothing new.

use std::time::{Duration, Instant};

use protocol::NodeId;
use protocol::wire::{Refusal, RefusalCode};
use transport::endpoint::DialFault;
use transport::{Alpn, Closed};

use crate::world::{SOON, World, connected};

#[tokio::test]
async fn a_removed_node_loses_its_live_connections_within_two_seconds() {
    let world = World::new(1);
    let (one, mut two) = (world.host(1), world.host(2));
    let (control, _there) = connected(&one, &mut two, Alpn::Convention).await;
    let (lane, lane_there) = connected(&one, &mut two, Alpn::Lane).await;
    // Dialled in the other direction: closed as well.
    let mut one = one;
    let (_back, back_here) = connected(&two, &mut one, Alpn::Lane).await;
    assert_eq!(two.endpoint.live_nodes().get(&NodeId(1)), Some(&3));

    let refusal = two.ban(1, RefusalCode::Removed);
    let since = Instant::now();
    assert_eq!(two.endpoint.close_node(NodeId(1), &refusal), 3);
    for connection in [&control, &lane, &back_here] {
        let closed = tokio::time::timeout(SOON, connection.closed()).await;
        assert_eq!(closed.unwrap(), Closed::Refused(refusal.clone()));
    }
    assert!(since.elapsed() < Duration::from_secs(2));
    assert_eq!(two.endpoint.live_nodes().get(&NodeId(1)), None);
    drop(lane_there);

    let fault = one.dial(&two, Alpn::Convention).await.unwrap_err();
    assert!(
        matches!(&fault, DialFault::Refused { refusal: said, .. } if *said == refusal),
        "{fault}"
    );
    assert_eq!(two.rejected().await.peer.unwrap().node, NodeId(1));
}

#[tokio::test]
async fn a_stream_of_a_removed_node_is_not_accepted() {
    let world = World::new(1);
    let (one, mut two) = (world.host(1), world.host(2));
    let (here, there) = connected(&one, &mut two, Alpn::Convention).await;
    let mut stream = here.open().await.unwrap();
    stream.sender.send_frame(b"early").await.unwrap();
    there.accept().await.unwrap();
    // The registry has removed it, the connections are not closed yet.
    let refusal = two.ban(1, RefusalCode::Removed);
    let mut stream = here.open().await.unwrap();
    stream.sender.send_frame(b"late").await.unwrap();
    assert_eq!(there.accept().await.unwrap_err(), Closed::Locally);
    assert_eq!(here.closed().await, Closed::Refused(refusal));
}

#[tokio::test]
async fn a_stream_keeps_its_connection_on_the_list() {
    let world = World::new(1);
    let (one, mut two) = (world.host(1), world.host(2));
    let (here, there) = connected(&one, &mut two, Alpn::Convention).await;
    let mut stream = here.open().await.unwrap();
    stream.sender.send_frame(b"x").await.unwrap();
    let mut accepted = there.accept().await.unwrap();
    drop(there);
    let refusal = Refusal::new(RefusalCode::Removed, "removed");
    assert_eq!(two.endpoint.close_node(NodeId(1), &refusal), 1);
    // What had come before may still be read, and nothing after it.
    while let Ok(frame) = accepted.receiver.receive_frame(9).await {
        assert!(frame.is_some(), "the stream looked finished");
    }
    drop(accepted);
    assert_eq!(two.endpoint.close_node(NodeId(1), &refusal), 0);
}

#[tokio::test]
async fn a_node_that_stops_says_so() {
    let world = World::new(1);
    let (one, mut two) = (world.host(1), world.host(2));
    let (here, _there) = connected(&one, &mut two, Alpn::Convention).await;
    let stopping = Refusal::new(RefusalCode::Stopping, "node `2` is stopping");
    two.endpoint.close(&stopping).await;
    assert_eq!(here.closed().await, Closed::Refused(stopping));
}
