//! The holder's side: packages out of the store, a few transfers at a time.

use std::io::SeekFrom;
use std::sync::Arc;

use protocol::wire::{Refusal, RefusalCode};
use tokio::fs::File;
use tokio::io::AsyncSeekExt;
use tokio::task::JoinSet;
use transport::Connection;
use transport::bulk::{ProvideFault, provide, refuse, wanted};
use transport::streams::BiStream;

use super::Packages;

impl Packages {
    /// Serves a `bulk/1` connection until it ends.
    pub(crate) async fn serve(self: Arc<Self>, connection: Connection) {
        let mut transfers = JoinSet::new();
        while let Ok(stream) = connection.accept().await {
            let packages = Arc::clone(&self);
            transfers.spawn(async move {
                if let Err(fault) = packages.transfer(stream).await {
                    tracing::info!(%fault, "a transfer was not carried through");
                }
            });
            while transfers.try_join_next().is_some() {}
        }
        transfers.join_all().await;
    }

    async fn transfer(&self, mut stream: BiStream) -> Result<(), ProvideFault> {
        let request = wanted(&mut stream).await?;
        let Ok(_place) = self.served.try_acquire() else {
            let text = "as many transfers as this node serves are under way; ask another holder";
            refuse(stream, Refusal::new(RefusalCode::Busy, text)).await?;
            return Ok(());
        };
        // Held until all is sent: its file goes with it.
        let lent = self.lent(request.hash);
        let (path, length) = match &lent {
            Some(lent) => (lent.path().to_owned(), Some(lent.bytes())),
            None => (
                self.store.path(request.hash),
                self.store.length(request.hash),
            ),
        };
        let opened = File::open(path).await;
        let (Ok(mut file), Some(length_bytes)) = (opened, length) else {
            let text = format!("package {} is not held here", request.hash.short());
            refuse(stream, Refusal::new(RefusalCode::NotHeld, text)).await?;
            return Ok(());
        };
        let at_bytes = request.offset_bytes;
        let read_fault = |source| ProvideFault::Read { at_bytes, source };
        file.seek(SeekFrom::Start(at_bytes))
            .await
            .map_err(read_fault)?;
        let sent = provide(stream, &mut file, at_bytes, length_bytes).await?;
        tracing::debug!(hash = %request.hash.short(), bytes = sent, "package served");
        Ok(())
    }
}
