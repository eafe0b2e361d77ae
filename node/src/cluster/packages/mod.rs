//! Packages of this node as one of many: held on disk, judged by its own keys, served to others.
//!
//! `hold` is what every member does before it runs or stores a source: pull what is missing from
//! whoever has it, keep it under its hash, and let this node's own authority say whether it is
//! trusted. Not trusted is a state with a reason, not an error: such a package is stored and
//! served, never parsed or run, and judged anew when the key files change.
//! Not here: which members are to hold what (`fleet`), the files themselves (`store`).

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use package::Verified;
use protocol::{NodeId, SourceHash};
use tempfile::NamedTempFile;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use transport::bulk::GetFault;

use crate::authority::SourceAuthority;
use crate::store::{Arrived, PackageStore, StoreError};

mod line;
pub(crate) use line::Dial;
use line::Holders;

mod partial;

mod pull;
use pull::FileSink;

mod serve;

/// Transfers that a node serves at a time; a getter beyond them is told to go on with another.
const SERVED_AT_ONCE: usize = 4;

/// How often the key files are looked at.
const KEYS_LOOK: Duration = Duration::from_secs(2);

/// The packages of a node.
#[derive(Debug)]
pub(crate) struct Packages {
    store: PackageStore,
    authority: SourceAuthority,
    // Both held for look-ups and insertions only.
    pulls: Mutex<HashMap<SourceHash, Arc<Pull>>>,
    judged: Mutex<HashMap<SourceHash, Judgement>>,
    /// Files outside of the store that are served as long as their owners keep them.
    lent: Mutex<HashMap<SourceHash, Weak<Arrived>>>,
    arriving: partial::Arriving,
    served: Semaphore,
}

/// One package that somebody here wants; whoever comes later waits for the same transfer.
#[derive(Debug, Default)]
struct Pull {
    turn: tokio::sync::Mutex<()>,
    holders: Mutex<Holders>,
}

/// What the own keys, as they were then, said of a package.
#[derive(Debug, Clone)]
struct Judgement {
    keys: SourceHash,
    distrust: Option<String>,
    /// Its bytes are not those that were kept.
    is_damaged: bool,
}

/// A package that is held here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    /// Why no own key validates it; `None`: it is trusted.
    pub(crate) distrust: Option<String>,
}

/// A package that could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HoldFault {
    /// Nobody brought it.
    #[error("package {} could not be pulled: {}", hash.short(), line::told(fault))]
    Pull {
        /// Which.
        hash: SourceHash,
        /// Why not.
        fault: GetFault,
    },
    /// It has another length than the registry says.
    #[error("package {} has {found} bytes here; {wanted} are known", hash.short())]
    Length {
        /// Which.
        hash: SourceHash,
        /// Bytes of the file.
        found: u64,
        /// Bytes known.
        wanted: u64,
    },
    /// Its bytes have changed on the disk.
    #[error(
        "`{path}` is damaged: its bytes are not those of package {} any more; it is replaced as \
         soon as a member brings it, or when the package is loaded again",
        hash.short(), path = path.display()
    )]
    Damaged {
        /// Which.
        hash: SourceHash,
        /// Its file.
        path: PathBuf,
    },
    /// The disk.
    #[error("{}", line::told(.0))]
    Store(StoreError),
    /// A task of it ended by a bug.
    #[error("a task of the package store ended early")]
    Task(#[from] tokio::task::JoinError),
}

impl From<StoreError> for HoldFault {
    fn from(fault: StoreError) -> Self {
        Self::Store(fault)
    }
}

impl Packages {
    /// Over this store, with the keys of this authority.
    pub(crate) fn new(store: PackageStore, authority: SourceAuthority) -> Self {
        Self {
            store,
            authority,
            pulls: Mutex::default(),
            judged: Mutex::default(),
            lent: Mutex::default(),
            arriving: partial::Arriving::default(),
            served: Semaphore::new(SERVED_AT_ONCE),
        }
    }

    /// Gets a package unless it is here, keeps it durably and judges it by the own keys. What an
    /// earlier pull or run had of it is taken up.
    ///
    /// # Errors
    /// [`HoldFault`]; what had come of it is there for the next pull.
    pub(crate) async fn hold<D: Dial>(
        &self,
        dial: &D,
        hash: SourceHash,
        bytes: Option<u64>,
        holders: &[NodeId],
    ) -> Result<Held, HoldFault> {
        if self.is_wanting(hash).await? {
            let pull = self.pull_of(hash);
            pull.lock_holders().add(holders);
            let _turn = pull.turn.lock().await;
            if self.is_wanting(hash).await? {
                let pulled = self.bring(dial, hash, bytes, &pull).await;
                self.forget_pull(hash);
                if self.has(hash) && matches!(&pulled, Err(HoldFault::Pull { .. })) {
                    // Nobody brings what would replace it: that it is damaged is what to tell.
                    self.judge(hash).await?;
                }
                pulled?;
            }
        }
        if let (Some(wanted), Some(found)) = (bytes, self.store.length(hash))
            && found != wanted
        {
            return Err(HoldFault::Length {
                hash,
                found,
                wanted,
            });
        }
        let distrust = self.judge(hash).await?;
        Ok(Held { distrust })
    }

    /// Gets a file of these bytes from a member that lends it; nothing of it enters the store.
    ///
    /// # Errors
    /// [`HoldFault`]; what had come of it is gone then.
    pub(crate) async fn borrow<D: Dial>(
        &self,
        dial: &D,
        hash: SourceHash,
        bytes: u64,
        holder: NodeId,
    ) -> Result<Arrived, HoldFault> {
        let pull = Pull::default();
        pull.lock_holders().add(&[holder]);
        let file = self.store.incoming()?;
        let sink = self.sink(&file)?;
        let bytes = pull::pull(dial, hash, Some(bytes), &pull, sink).await?;
        Ok(Arrived::checked(file, hash, bytes))
    }

    /// Serves a file until its owner lets it go.
    pub(crate) fn lend(&self, file: &Arc<Arrived>) {
        let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        lent.retain(|_, file| file.strong_count() > 0);
        lent.insert(file.hash(), Arc::downgrade(file));
    }

    fn lent(&self, hash: SourceHash) -> Option<Arc<Arrived>> {
        let lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        lent.get(&hash)?.upgrade()
    }

    /// Whether the package lies in the store, whole.
    pub(crate) fn has(&self, hash: SourceHash) -> bool {
        self.store.path(hash).is_file()
    }

    /// Whether the package is not here, or not as it was.
    async fn is_wanting(&self, hash: SourceHash) -> Result<bool, HoldFault> {
        if !self.has(hash) {
            return Ok(true);
        }
        match self.judge(hash).await {
            Err(HoldFault::Damaged { .. }) => Ok(true),
            judged => judged.map(|_| false),
        }
    }

    /// Looks again at a package that could not be used; says so if it is damaged.
    pub(crate) async fn doubt(&self, hash: SourceHash) -> Option<HoldFault> {
        self.judged().remove(&hash);
        let judged = self.judge(hash).await;
        judged
            .err()
            .filter(|fault| matches!(fault, HoldFault::Damaged { .. }))
    }

    /// Those of `named` that are held here, and those among them that are not trusted.
    pub(crate) fn report(
        &self,
        named: &BTreeSet<SourceHash>,
    ) -> (Vec<SourceHash>, Vec<(SourceHash, String)>) {
        let judged = self.judged();
        let is_damaged = |hash: &SourceHash| judged.get(hash).is_some_and(|it| it.is_damaged);
        let held = named.iter().copied();
        let held: Vec<_> = held.filter(|h| self.has(*h) && !is_damaged(h)).collect();
        let distrusted = held.iter().filter_map(|hash| {
            let distrust = judged.get(hash)?.distrust.clone()?;
            Some((*hash, distrust))
        });
        let distrusted = distrusted.collect();
        (held, distrusted)
    }

    /// What the own keys say of a held package: `None` is trusted. Judged once for the keys there
    /// are.
    ///
    /// # Errors
    /// [`HoldFault::Damaged`] when it is not what it was.
    pub(crate) async fn judge(&self, hash: SourceHash) -> Result<Option<String>, HoldFault> {
        let (authority, path) = (self.authority.clone(), self.store.path(hash));
        let store = self.store.clone();
        let known = self.judged().get(&hash).cloned();
        let judging = move || {
            let keys = authority.mark();
            if let Some(known) = known.filter(|known| known.keys == keys && !known.is_damaged) {
                return known;
            }
            let distrust = match authority.verify(&path) {
                Ok(trusted) if Verified::hash(&trusted.verified) == hash => None,
                Ok(_) => Some("it is another package".to_owned()),
                Err(error) => Some(error.to_string()),
            };
            let is_damaged = distrust.is_some() && !store.is_whole(hash).unwrap_or(false);
            Judgement {
                keys,
                distrust,
                is_damaged,
            }
        };
        let judgement = tokio::task::spawn_blocking(judging).await?;
        let (distrust, is_damaged) = (judgement.distrust.clone(), judgement.is_damaged);
        let before = self.judged().insert(hash, judgement);
        if is_damaged {
            let path = self.store.path(hash);
            let fault = HoldFault::Damaged { hash, path };
            if before.is_none_or(|before| !before.is_damaged) {
                tracing::warn!(hash = %hash.short(), %fault, "a package of the store is not used");
            }
            return Err(fault);
        }
        if let Some(reason) = &distrust
            && before.is_none_or(|before| before.distrust != distrust)
        {
            tracing::warn!(hash = %hash.short(), reason, "package held, not trusted here");
        }
        Ok(distrust)
    }

    /// Judges the held packages that the registry names, at the start and whenever a key file
    /// changes; runs until `shutdown`.
    pub(crate) async fn follow_keys(
        &self,
        named: impl Fn() -> BTreeSet<SourceHash>,
        shutdown: CancellationToken,
    ) {
        let mut last = None;
        loop {
            let authority = self.authority.clone();
            let mark = tokio::task::spawn_blocking(move || authority.mark()).await;
            if let Ok(mark) = mark
                && last.replace(mark) != Some(mark)
            {
                for hash in named().into_iter().filter(|hash| self.has(*hash)) {
                    match self.judge(hash).await {
                        Ok(_) | Err(HoldFault::Damaged { .. }) => {}
                        Err(fault) => tracing::warn!(%fault, "a held package was not judged"),
                    }
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(KEYS_LOOK) => {}
            }
        }
    }

    /// A package of the store was verified just now, by the keys that this mark stands for.
    pub(crate) fn verified(&self, hash: SourceHash, keys: SourceHash) {
        let judgement = Judgement {
            keys,
            distrust: None,
            is_damaged: false,
        };
        self.judged().insert(hash, judgement);
    }

    /// Forgets what was thought of a package that is removed.
    pub(crate) fn forget(&self, hash: SourceHash) {
        self.judged().remove(&hash);
        self.drop_partial(hash);
    }

    async fn bring<D: Dial>(
        &self,
        dial: &D,
        hash: SourceHash,
        bytes: Option<u64>,
        pull: &Pull,
    ) -> Result<(), HoldFault> {
        let store = self.store.clone();
        let Some(partial) = self.partial(hash)? else {
            // Another pull of the same bytes has not ended yet.
            let file = store.incoming()?;
            let sink = self.sink(&file)?;
            let bytes = pull::pull(dial, hash, bytes, pull, sink).await?;
            let arrived = Arrived::checked(file, hash, bytes);
            tokio::task::spawn_blocking(move || store.keep(arrived)).await??;
            return Ok(());
        };
        match pull::pull(dial, hash, bytes, pull, partial.sink()?).await {
            Ok(bytes) => partial.keep(bytes).await,
            Err(fault) => {
                let no_room = matches!(
                    &fault,
                    HoldFault::Pull {
                        fault: GetFault::Store(_),
                        ..
                    }
                );
                if no_room || partial.is_empty() {
                    partial.remove();
                }
                Err(fault)
            }
        }
    }

    /// Over a file of which nobody else knows.
    fn sink(&self, file: &NamedTempFile) -> Result<FileSink, StoreError> {
        let sink = FileSink::over(file.as_file(), None);
        sink.map_err(|cause| self.store.io(cause))
    }

    fn judged(&self) -> std::sync::MutexGuard<'_, HashMap<SourceHash, Judgement>> {
        self.judged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pull_of(&self, hash: SourceHash) -> Arc<Pull> {
        let mut pulls = self.pulls.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(pulls.entry(hash).or_default())
    }

    fn forget_pull(&self, hash: SourceHash) {
        let mut pulls = self.pulls.lock().unwrap_or_else(PoisonError::into_inner);
        pulls.remove(&hash);
    }
}

impl Pull {
    fn lock_holders(&self) -> std::sync::MutexGuard<'_, Holders> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
