//! The provider's side: read a request, announce the length, send the bytes.
//!
//! The caller finds the package and limits how many it serves at a time; one that has too much to
//! do refuses with `Busy`, and the getter goes on with another.

use protocol::limits::TRANSFER_CHUNK_BYTES;
use protocol::wire::{Answer, Refusal, RefusalCode, TransferRequest, TransferResponse};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::streams::{BiStream, StreamFault};

/// A transfer that a provider could not carry through.
#[derive(Debug, thiserror::Error)]
pub enum ProvideFault {
    /// The getter or the connection went away.
    #[error("the getter went away")]
    Stream(#[from] StreamFault),
    /// The package cannot be read.
    #[error("the package cannot be read at byte {at_bytes}")]
    Read {
        /// Where.
        at_bytes: u64,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The package is shorter than announced.
    #[error("the package ends at byte {at_bytes} of {length_bytes}")]
    Short {
        /// Where it ends.
        at_bytes: u64,
        /// What was announced.
        length_bytes: u64,
    },
}

/// What the getter wants on this stream.
///
/// # Errors
/// [`StreamFault`].
pub async fn wanted(stream: &mut BiStream) -> Result<TransferRequest, StreamFault> {
    stream.request().await
}

/// Says that nothing comes, and why.
///
/// # Errors
/// [`StreamFault`].
pub async fn refuse(stream: BiStream, refusal: Refusal) -> Result<(), StreamFault> {
    stream.answer::<TransferResponse>(Err(refusal)).await
}

/// Sends the package of `length_bytes` from `offset_bytes` on; `bytes` stands at the offset.
///
/// Answers the bytes sent, once the getter has them all.
///
/// # Errors
/// [`ProvideFault`]; the stream ends before its announced length, so that the getter knows.
pub async fn provide<R: AsyncRead + Unpin + Send>(
    mut stream: BiStream,
    bytes: &mut R,
    offset_bytes: u64,
    length_bytes: u64,
) -> Result<u64, ProvideFault> {
    let Some(left) = length_bytes.checked_sub(offset_bytes) else {
        let text = format!("offset {offset_bytes} lies beyond the end, {length_bytes}");
        refuse(stream, Refusal::new(RefusalCode::BadRequest, text)).await?;
        return Ok(0);
    };
    let answer = Answer::Done(TransferResponse { length_bytes });
    stream.sender.send(&answer).await?;
    if let Err(fault) = send(&mut stream, bytes, offset_bytes, length_bytes).await {
        // Not a reset: that would take from the getter what is on its way. It knows the length.
        stream.sender.finish();
        return Err(fault);
    }
    stream.sender.finish_and_wait().await?;
    Ok(left)
}

async fn send<R: AsyncRead + Unpin + Send>(
    stream: &mut BiStream,
    bytes: &mut R,
    offset_bytes: u64,
    length_bytes: u64,
) -> Result<(), ProvideFault> {
    let mut chunk = Vec::with_capacity(TRANSFER_CHUNK_BYTES);
    let mut at_bytes = offset_bytes;
    while at_bytes < length_bytes {
        chunk.clear();
        let most = (length_bytes - at_bytes).min(TRANSFER_CHUNK_BYTES as u64);
        let mut piece = (&mut *bytes).take(most);
        let read = piece.read_to_end(&mut chunk).await;
        let read = read.map_err(|source| ProvideFault::Read { at_bytes, source })? as u64;
        stream.sender.send_raw(&chunk).await?;
        at_bytes += read;
        if read < most {
            return Err(ProvideFault::Short {
                at_bytes,
                length_bytes,
            });
        }
    }
    Ok(())
}
