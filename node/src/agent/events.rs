//! What comes from the router and from hosting, each to its place.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::ActorId;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::binder;
use super::node::Node;
use super::requests::{self, Asked};
use crate::cluster::{lanes, neighbours};
use crate::hosting::Ends;
use crate::router::AgentEvent;
use crate::store::{Arrived, StoreError};

/// A package that is arriving, by client and number of the request that will name it.
pub(super) type Uploads = HashMap<(ActorId, u64), oneshot::Receiver<Result<Arrived, StoreError>>>;

/// Handles events until the router ends.
pub(super) async fn from_router(node: Arc<Node>, mut events: mpsc::UnboundedReceiver<AgentEvent>) {
    let mut uploads = Uploads::new();
    while let Some(event) = events.recv().await {
        match event {
            AgentEvent::Request {
                from,
                sequence,
                request,
                respond,
            } => {
                let upload = uploads.remove(&(from.address, sequence));
                let asked = Asked {
                    from,
                    request,
                    respond,
                    upload,
                };
                requests::begin(&node, asked);
            }
            AgentEvent::Upload {
                client,
                sequence,
                chunks,
            } => {
                let (done, arrived) = oneshot::channel();
                uploads.insert((client, sequence), arrived);
                let store = node.store.clone();
                node.tasks
                    .spawn_blocking(move || done.send(store.receive(chunks)).is_ok());
            }
            AgentEvent::Started { actor } => node.actors.started(actor),
            AgentEvent::StartFailed { actor, failure } => {
                node.actors.start_failed(actor, failure);
            }
            AgentEvent::Exiting { actor } => node.exits(actor),
            AgentEvent::Disconnected { actor } => node.actors.disconnected(actor),
            AgentEvent::ClientGone { client } => uploads.retain(|(from, _), _| *from != client),
            AgentEvent::ClientConnected { client } => {
                tracing::debug!(client = %client.address, pid = client.pid, "client connected");
            }
            AgentEvent::Message { from, frame, taken } => {
                requests::delivered(&node, from, frame, taken);
            }
            AgentEvent::Forkserver(handover) => node.hosting.forkserver_connected(
                &handover.hello,
                handover.pid,
                handover.stream,
                handover.read_ahead,
            ),
            AgentEvent::Stdio(handover) => node.hosting.stdio_connected(
                &handover.hello,
                handover.pid,
                handover.stream,
                handover.read_ahead,
            ),
            AgentEvent::Neighbour(handover) => neighbours::came(&node, handover),
            AgentEvent::Locate { actor } => lanes::map::locate(&node, actor),
            AgentEvent::SeekRole { role } => binder::seek(&node, role),
            AgentEvent::WantLink { node: whom } => lanes::want(&node, whom),
            AgentEvent::LinkBroken { node: whom, reason } => lanes::broken(&node, whom, &reason),
        }
    }
}

/// Settles the end of every worker's process, until `stopped`: then none is left.
pub(super) async fn from_hosting(node: Arc<Node>, mut ends: Ends, stopped: CancellationToken) {
    while let Some(Some(end)) = stopped.run_until_cancelled(ends.recv()).await {
        let settling = Arc::clone(&node);
        node.tasks.spawn(async move { settling.settle(end).await });
    }
}
