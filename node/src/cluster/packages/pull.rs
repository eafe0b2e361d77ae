//! One package on its way from other members into a file of the store.

use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use protocol::SourceHash;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWrite};
use transport::bulk::{GetFault, Getter, PullFault, Sink, Wanted, get};

use super::line::{Dial, Line};
use super::{HoldFault, Pull};

/// How long a holder may send nothing before the next is asked.
const STALL: Duration = Duration::from_secs(5);

/// Pulls a package from its holders, behind what the file has of it; whole and right, and so
/// many bytes, when it is answered.
pub(super) async fn pull<D: Dial>(
    dial: &D,
    hash: SourceHash,
    bytes: Option<u64>,
    pull: &Pull,
    file: &std::fs::File,
) -> Result<u64, HoldFault> {
    let wanted = Wanted {
        hash,
        length_bytes: bytes,
        max_bytes: package::Limits::default().package_bytes_max,
        stall: STALL,
    };
    let mut getter = Getter::new(wanted);
    let store = |fault| HoldFault::Pull {
        hash,
        fault: GetFault::Store(fault),
    };
    let mut sink = FileSink::over(file).map_err(|source| {
        let at_bytes = 0;
        store(PullFault::Store { at_bytes, source })
    })?;
    match getter.take_up(&mut sink.file).await {
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

/// A file that bytes are appended to, and that can be begun anew.
struct FileSink {
    file: File,
}

impl FileSink {
    fn over(file: &std::fs::File) -> io::Result<Self> {
        let file = File::from_std(file.try_clone()?);
        Ok(Self { file })
    }
}

impl Sink for FileSink {
    async fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0).await?;
        self.file.seek(SeekFrom::Start(0)).await.map(|_at| ())
    }
}

impl AsyncWrite for FileSink {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.file).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_shutdown(context)
    }
}
