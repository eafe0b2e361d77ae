//! One package on its way from other members into a file of the store.

use std::fs::File;
use std::future::{Future, poll_fn};
use std::io::{self, Seek, SeekFrom, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use protocol::SourceHash;
use protocol::limits::TRANSFER_CHUNK_BYTES;
use tokio::io::AsyncWrite;
use tokio::task::{JoinHandle, spawn_blocking};
use transport::bulk::{GetFault, Getter, Pace, PullFault, Sink, Wanted, get};

use super::line::{Dial, Line};
use super::partial::Claim;
use super::{HoldFault, Pull};

/// How long a holder may send nothing before the next is asked.
const STALL: Duration = Duration::from_secs(5);

/// How slow a holder may be before the next is asked: a tenth of a link of 40 KB/s, which others
/// use as well.
const PACE: Pace = Pace {
    bytes: 128 << 10,
    within: Duration::from_secs(30),
};

/// Pulls a package from its holders, behind what the file has of it; whole and right, and so
/// many bytes, when it is answered. Nothing but the sink writes the file meanwhile.
pub(super) async fn pull<D: Dial>(
    dial: &D,
    hash: SourceHash,
    bytes: Option<u64>,
    pull: &Pull,
    mut sink: FileSink,
) -> Result<u64, HoldFault> {
    let wanted = Wanted {
        hash,
        length_bytes: bytes,
        max_bytes: package::Limits::default().package_bytes_max,
        stall: STALL,
        pace: PACE,
    };
    let mut getter = Getter::new(wanted);
    let store = |fault| HoldFault::Pull {
        hash,
        fault: GetFault::Store(fault),
    };
    let mut reader = sink.reader().map_err(|source| {
        let at_bytes = 0;
        store(PullFault::Store { at_bytes, source })
    })?;
    match getter.take_up(&mut reader).await {
        Ok(()) => {}
        // Not what is wanted, whatever it is.
        Err(PullFault::TooLong { .. }) => getter.restart(&mut sink).await.map_err(store)?,
        Err(fault) => return Err(store(fault)),
    }
    let had_bytes = getter.received_bytes();
    if had_bytes > 0 {
        tracing::info!(hash = %hash.short(), had_bytes, "the pull of a package goes on");
    }
    let mut line = Line::new(dial, pull);
    let got = get(&mut getter, &mut line, &mut sink).await;
    let bytes = got.map_err(|fault| HoldFault::Pull { hash, fault })?;
    tracing::info!(hash = %hash.short(), bytes, "package pulled");
    Ok(bytes)
}

/// A file that bytes are appended to, and that can be begun anew. A write that is under way when
/// the sink is dropped holds the claim to the file until it has ended.
pub(super) struct FileSink {
    file: Arc<File>,
    claim: Option<Arc<Claim>>,
    writing: Option<JoinHandle<io::Result<()>>>,
}

impl FileSink {
    /// Over a file that is here, and the claim to it if another pull could have it as well.
    pub(super) fn over(file: &File, claim: Option<Arc<Claim>>) -> io::Result<Self> {
        Ok(Self {
            file: Arc::new(file.try_clone()?),
            claim,
            writing: None,
        })
    }

    /// What the file has, to be read; the sink stands behind it then.
    fn reader(&self) -> io::Result<tokio::fs::File> {
        self.file.try_clone().map(tokio::fs::File::from_std)
    }

    fn begin(&mut self, work: impl FnOnce(&File) -> io::Result<()> + Send + 'static) {
        let (file, claim) = (Arc::clone(&self.file), self.claim.clone());
        self.writing = Some(spawn_blocking(move || {
            let done = work(&file);
            drop(claim);
            done
        }));
    }

    /// The write that is under way has ended.
    fn poll_written(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(writing) = &mut self.writing else {
            return Poll::Ready(Ok(()));
        };
        let ended = ready!(Pin::new(writing).poll(context));
        self.writing = None;
        Poll::Ready(ended.map_err(io::Error::other)?)
    }
}

impl Sink for FileSink {
    async fn restart(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_written(context)).await?;
        self.begin(|mut file| {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0)).map(|_at| ())
        });
        poll_fn(|context| self.poll_written(context)).await
    }
}

impl AsyncWrite for FileSink {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_written(context))?;
        let piece = bytes.get(..TRANSFER_CHUNK_BYTES).unwrap_or(bytes).to_vec();
        let length = piece.len();
        self.begin(move |mut file| file.write_all(&piece));
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_written(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_written(context)
    }
}
