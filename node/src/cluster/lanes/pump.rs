//! Carries the batches of one link both ways until either side ends.

use transport::streams::{FrameReceiver, FrameSender, StreamFault};

use crate::router::Link;

/// Longest frame on the stream; longer batches go in parts.
const PART_BYTES: usize = 1 << 20;

/// Longest batch: one frame of the longest kind and what the router puts beside it.
pub(in crate::cluster) const BATCH_BYTES_MAX: u64 =
    protocol::limits::FRAME_BYTES_MAX as u64 + (4 << 20);

/// Why a lane ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the router has let it go")]
    Router,
    #[error("{0}")]
    Stream(#[source] StreamFault),
    #[error("a batch of {0} bytes is longer than any may be")]
    TooLong(u64),
}

pub(super) async fn run(link: Link, sender: FrameSender, receiver: FrameReceiver) -> End {
    let Link { outgoing, incoming } = link;
    tokio::select! {
        end = send(outgoing, sender) => end,
        end = receive(incoming, receiver) => end,
    }
}

async fn send(mut outgoing: tokio::sync::mpsc::Receiver<Vec<u8>>, mut sender: FrameSender) -> End {
    while let Some(batch) = outgoing.recv().await {
        if let Err(fault) = send_batch(&mut sender, &batch).await {
            return End::Stream(fault);
        }
    }
    sender.finish();
    End::Router
}

async fn send_batch(sender: &mut FrameSender, batch: &[u8]) -> Result<(), StreamFault> {
    if batch.is_empty() {
        return Ok(());
    }
    if batch.len() <= PART_BYTES {
        return sender.send_frame(batch).await;
    }
    sender.send_frame(&[]).await?;
    let length = batch.len() as u64;
    sender.send_frame(&length.to_le_bytes()).await?;
    for part in batch.chunks(PART_BYTES) {
        sender.send_frame(part).await?;
    }
    Ok(())
}

async fn receive(incoming: tokio::sync::mpsc::Sender<Vec<u8>>, mut receiver: FrameReceiver) -> End {
    loop {
        let batch = match receive_batch(&mut receiver).await {
            Ok(Ok(batch)) => batch,
            Ok(Err(length)) => return End::TooLong(length),
            Err(fault) => return End::Stream(fault),
        };
        if incoming.send(batch).await.is_err() {
            return End::Router;
        }
    }
}

async fn receive_batch(receiver: &mut FrameReceiver) -> Result<Result<Vec<u8>, u64>, StreamFault> {
    let first = part(receiver).await?;
    if !first.is_empty() {
        return Ok(Ok(first));
    }
    let length = part(receiver).await?;
    let length = <[u8; 8]>::try_from(length.as_slice()).map_err(|_short| StreamFault::Cut)?;
    let length = u64::from_le_bytes(length);
    if length > BATCH_BYTES_MAX {
        return Ok(Err(length));
    }
    let mut batch = Vec::new();
    while (batch.len() as u64) < length {
        let more = part(receiver).await?;
        if more.is_empty() || batch.len() as u64 + more.len() as u64 > length {
            return Err(StreamFault::Cut);
        }
        batch.extend_from_slice(&more);
    }
    Ok(Ok(batch))
}

async fn part(receiver: &mut FrameReceiver) -> Result<Vec<u8>, StreamFault> {
    receiver
        .receive_frame(PART_BYTES)
        .await?
        .ok_or(StreamFault::Cut)
}
