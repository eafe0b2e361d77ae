//! What a node knows of the sources that applications have loaded.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use package::Verified;
use protocol::{ActorId, NodeId, SourceHash};
use tokio::sync::{OnceCell, RwLock, oneshot, watch};

use super::authority::Verdict;
use super::members::Others;
use crate::hosting::{OriginSetup, folder_of};
use crate::store::Arrived;

/// The sources of a node's applications, their authority, and who is told of sources.
#[derive(Debug)]
pub(in crate::agent) struct Applications {
    /// Unpacked sources lie here, apart from those that an operator loaded.
    pub(super) folder: PathBuf,
    // Held for look-ups, changes and hand-overs to the router, which do not wait.
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) sources: BTreeMap<SourceHash, AppSource>,
    pub(super) authority: Option<ActorId>,
    pub(super) asked: HashMap<SourceHash, oneshot::Sender<Verdict>>,
    pub(super) watchers: BTreeSet<ActorId>,
    /// The registry's sources as the watchers know them.
    pub(super) told: BTreeMap<SourceHash, String>,
    /// Who is told of the other members, and what of them.
    pub(super) member_watchers: BTreeSet<ActorId>,
    pub(super) told_members: Others,
    files: HashMap<SourceHash, Arc<RwLock<()>>>,
    n_loads: u64,
}

/// One source.
#[derive(Debug)]
pub(super) struct AppSource {
    /// Which load it came with: the same bytes may be loaded again after they were unloaded.
    load: u64,
    info: String,
    /// The member that it was taken over from.
    from: Option<NodeId>,
    /// Members that took it over from here.
    lent_to: BTreeSet<NodeId>,
    standing: watch::Sender<Standing>,
}

/// How far a source is.
#[derive(Debug, Clone)]
pub(super) enum Standing {
    /// Its authority has not answered.
    Pending,
    /// Actors can be created from it.
    Valid(Arc<Content>),
    /// Only its own actors go on with it.
    Unloaded(Arc<Content>),
    /// It is not to run; whoever waits for it is told.
    Refused,
}

/// What a valid source consists of.
#[derive(Debug)]
pub(super) struct Content {
    /// The bytes as they were loaded; the file goes with this.
    pub(super) package: Arc<Arrived>,
    pub(super) code: Code,
    /// Set when it is unpacked.
    pub(super) ready: OnceCell<OriginSetup>,
}

/// What of a source is unpacked.
#[derive(Debug)]
pub(super) enum Code {
    /// The contents of the package, which a key of this node validated.
    Package(Box<Verified>),
    /// The zip that the application's authority answered.
    Zip(Arc<Arrived>),
}

/// What became of an unload.
#[derive(Debug)]
pub(super) enum Unloaded {
    /// It had not become valid; nobody knew it.
    Pending,
    /// It was valid; where it came from.
    Valid {
        info: String,
        /// Members that took it over from here.
        lent_to: BTreeSet<NodeId>,
    },
    Unknown,
}

impl Applications {
    /// None yet; what a run before has left in the folder goes.
    pub(in crate::agent) fn new(folder: PathBuf) -> Self {
        let applications = Self {
            folder,
            table: Mutex::default(),
        };
        applications.remove_files();
        applications
    }

    /// The right to make the files of a source (shared) or to remove them: the same bytes may be
    /// loaded again at any moment.
    pub(super) fn files_of(&self, hash: SourceHash) -> Arc<RwLock<()>> {
        let mut table = self.table();
        let in_use = |files: &Arc<RwLock<()>>| Arc::strong_count(files) > 1;
        table.files.retain(|_, files| in_use(files));
        Arc::clone(table.files.entry(hash).or_default())
    }

    /// Removes all that was unpacked.
    pub(in crate::agent) fn remove_files(&self) {
        match std::fs::remove_dir_all(&self.folder) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(folder = %self.folder.display(), %cause, "sources stay behind");
            }
            _ => {}
        }
    }

    /// Whether actors can be created from a source, perhaps after its authority has answered;
    /// `own`: by an actor of the source itself.
    pub(in crate::agent) fn offers(&self, hash: SourceHash, own: bool) -> bool {
        let table = self.table();
        let standing = table
            .sources
            .get(&hash)
            .map(|source| source.standing.borrow().clone());
        match standing {
            Some(Standing::Pending | Standing::Valid(_)) => true,
            Some(Standing::Unloaded(_)) => own,
            Some(Standing::Refused) | None => false,
        }
    }

    /// The folder of an unpacked source, whether it is there or not.
    pub(in crate::agent) fn unpacked(&self, hash: SourceHash) -> PathBuf {
        folder_of(&self.folder, &hash)
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far a source is, as it moves.
    pub(super) fn standing(&self, hash: SourceHash) -> Option<watch::Receiver<Standing>> {
        Some(self.table().sources.get(&hash)?.standing.subscribe())
    }

    /// A load begins; `None`: the source is valid or pending already.
    pub(super) fn begin(&self, hash: SourceHash, info: &str, from: Option<NodeId>) -> Option<u64> {
        if self.offers(hash, false) {
            return None;
        }
        let mut table = self.table();
        table.n_loads += 1;
        let load = table.n_loads;
        let source = AppSource {
            load,
            info: info.to_owned(),
            from,
            lent_to: BTreeSet::new(),
            standing: watch::Sender::new(Standing::Pending),
        };
        table.sources.insert(hash, source);
        Some(load)
    }

    /// A load ends; whether the source is valid now, which it is not if it was unloaded meanwhile.
    pub(super) fn settle(&self, hash: SourceHash, load: u64, content: Option<Content>) -> bool {
        let mut table = self.table();
        let Some(source) = table
            .sources
            .get(&hash)
            .filter(|source| source.load == load)
        else {
            return false;
        };
        match content {
            Some(content) => {
                source
                    .standing
                    .send_replace(Standing::Valid(Arc::new(content)));
                true
            }
            None => {
                source.standing.send_replace(Standing::Refused);
                table.sources.remove(&hash);
                false
            }
        }
    }

    /// Takes a source out of resolution.
    pub(super) fn unload(&self, hash: SourceHash) -> Unloaded {
        let mut table = self.table();
        let Some(source) = table.sources.get_mut(&hash) else {
            return Unloaded::Unknown;
        };
        let standing = source.standing.borrow().clone();
        match standing {
            Standing::Pending => {
                source.standing.send_replace(Standing::Refused);
                table.sources.remove(&hash);
                Unloaded::Pending
            }
            Standing::Valid(content) => {
                source.standing.send_replace(Standing::Unloaded(content));
                Unloaded::Valid {
                    info: source.info.clone(),
                    lent_to: std::mem::take(&mut source.lent_to),
                }
            }
            Standing::Unloaded(_) | Standing::Refused => Unloaded::Unknown,
        }
    }

    /// A valid source as it is passed on to another member, which is then told of its end.
    pub(super) fn lend(&self, hash: SourceHash, to: NodeId) -> Option<(String, Arc<Content>)> {
        let mut table = self.table();
        let source = table.sources.get_mut(&hash)?;
        let Standing::Valid(content) = source.standing.borrow().clone() else {
            return None;
        };
        source.lent_to.insert(to);
        Some((source.info.clone(), content))
    }

    /// Whether the source was taken over from this member.
    pub(super) fn came_from(&self, hash: SourceHash, member: NodeId) -> bool {
        let table = self.table();
        let source = table.sources.get(&hash);
        source.is_some_and(|source| source.from == Some(member))
    }

    /// Whether new actors may be created from a source that is valid now.
    pub(super) fn is_valid(&self, hash: SourceHash) -> bool {
        let table = self.table();
        let source = table.sources.get(&hash);
        source.is_some_and(|source| matches!(*source.standing.borrow(), Standing::Valid(_)))
    }

    /// Forgets an unloaded source; false if it has been loaded again.
    pub(super) fn forget(&self, hash: SourceHash) -> bool {
        let mut table = self.table();
        let standing = table
            .sources
            .get(&hash)
            .map(|source| source.standing.borrow().clone());
        if !matches!(standing, Some(Standing::Unloaded(_)) | None) {
            return false;
        }
        table.sources.remove(&hash);
        true
    }
}

impl Table {
    /// The valid sources, with where they came from.
    pub(super) fn valid(&self) -> Vec<(SourceHash, String)> {
        let valid = self
            .sources
            .iter()
            .filter(|(_, source)| matches!(*source.standing.borrow(), Standing::Valid(_)));
        valid
            .map(|(hash, source)| (*hash, source.info.clone()))
            .collect()
    }
}

impl Content {
    pub(super) fn new(package: Arc<Arrived>, code: Code) -> Self {
        Self {
            package,
            code,
            ready: OnceCell::new(),
        }
    }
}

impl Code {
    /// The file that is unpacked.
    pub(super) fn path<'a>(&'a self, package: &'a Arrived) -> &'a Path {
        match self {
            Self::Package(_) => package.path(),
            Self::Zip(zip) => zip.path(),
        }
    }
}
