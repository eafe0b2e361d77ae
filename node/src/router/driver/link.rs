//! One link on the router's thread: batches of whole frames in and out, by bounded channels.
//!
//! Whoever holds the other ends carries the bytes to the node and back. Not here: what a frame
//! means (`core`), the network.

use std::rc::Rc;

use protocol::NodeId;
use tokio::sync::{Notify, mpsc};

use super::shared::Shared;
use crate::router::core::Event;

/// The way out of one link, and how others wake its task.
#[derive(Debug)]
pub(super) struct LinkLine {
    outgoing: mpsc::Sender<Vec<u8>>,
    full: Notify,
    closing: Notify,
}

/// Batches taken in a row, after which the others have their turn.
const BATCHES_IN_A_ROW: u32 = 8;

impl LinkLine {
    pub(super) fn new(outgoing: mpsc::Sender<Vec<u8>>) -> Self {
        Self {
            outgoing,
            full: Notify::new(),
            closing: Notify::new(),
        }
    }

    /// Has the link's task end; it takes and gives nothing more.
    pub(super) fn close(&self) {
        self.closing.notify_one();
    }

    /// Hands over what the channel takes now.
    pub(super) fn write(&self, shared: &Shared, node: NodeId) {
        loop {
            match self.outgoing.try_reserve() {
                Ok(permit) => {
                    let batch = shared.core.borrow_mut().link_batch(node);
                    let Some(batch) = batch else { return };
                    permit.send(batch);
                }
                Err(mpsc::error::TrySendError::Full(())) => return self.full.notify_one(),
                // The task sees it as well.
                Err(mpsc::error::TrySendError::Closed(())) => return,
            }
        }
    }

    async fn write_when_possible(&self, shared: &Shared, node: NodeId) {
        loop {
            self.full.notified().await;
            // A permit that is dropped is free again.
            if self.outgoing.reserve().await.is_err() {
                return;
            }
            self.write(shared, node);
            shared.settle();
        }
    }
}

/// Serves one link until it is let go or the other ends of its channels are.
pub(super) async fn serve(
    shared: Rc<Shared>,
    node: NodeId,
    line: Rc<LinkLine>,
    mut incoming: mpsc::Receiver<Vec<u8>>,
) {
    tokio::select! {
        biased;
        () = line.closing.notified() => return,
        () = line.outgoing.closed() => {}
        () = line.write_when_possible(&shared, node) => {}
        () = read(&shared, node, &mut incoming) => {}
    }
    if shared.forget_link(node, &line) {
        shared.handle(Event::LinkDown { node });
        shared.settle();
    }
}

async fn read(shared: &Shared, node: NodeId, incoming: &mut mpsc::Receiver<Vec<u8>>) {
    let mut n_batches = 0;
    while let Some(batch) = incoming.recv().await {
        shared.handle(Event::LinkBytes { node, batch });
        shared.settle();
        n_batches += 1;
        if n_batches >= BATCHES_IN_A_ROW {
            n_batches = 0;
            tokio::task::yield_now().await;
        }
    }
}
