//! A voter's file made from what is left: after the quorum was lost for good, and from a backup.
//!
//! Both begin a new recovery epoch with a single voter, so that no voter of the old epoch is ever
//! heard again. A survivor keeps every entry that it holds: what was acknowledged is on a majority,
//! and nobody knows any more which of the last entries were.
//! Not here: the packages, keys and identity of the node, which belong to a backup as well.
//!
//! # Format
//! A backup is `protocol`'s envelope, version [`REGISTRY_VERSION`], around (convention, recovery
//! epoch, last applied log id, registry state).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::{AsyncRuntime, Membership as Voters, TokioRuntime};
use protocol::registry::{REGISTRY_VERSION, State};
use protocol::{CodecError, ConventionId};

use super::consensus::Consensus;
use super::error::FatalError;
use super::file::{FileError, FileOpenError, Identity, NewFile, RaftFile};
use super::log::LogStore;
use super::machine::Machine;
use super::snapshot::{self, Image};
use super::types::{Index, LogId, Membership, RaftId, Vote, Voter};

const BACKUP: &str = "registry backup";

/// Why a voter's file could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileOpenError),
    /// The file cannot be read or written.
    #[error("the voter's file cannot be read or written; is the disk full or failing?")]
    Disk(#[source] FatalError),
    /// There is nothing in it to go on with.
    #[error(
        "`{path}` holds no registry; recover on a node that was a voter",
        path = path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A backup is never restored over a voter's file.
    #[error(
        "`{path}` is there already; restore a backup into an empty state directory",
        path = path.display()
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The backup cannot be read, perhaps because of its version.
    #[error("the backup cannot be read")]
    Backup(#[from] CodecError),
    /// The backup is of another convention.
    #[error("the backup is of convention {found}, not of {wanted}; look for the right one")]
    Foreign {
        /// Its convention.
        found: ConventionId,
        /// The wanted one.
        wanted: ConventionId,
    },
    /// The file that is replaced could not be kept beside the new one.
    #[error("the old file could not be kept as `{path}`", path = path.display())]
    Keep {
        /// Where it was to be kept.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What was recovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Whose the new file is.
    pub identity: Identity,
    /// The last entry that the survivor held.
    pub index: Index,
    /// The voters before; none but the survivor votes any more.
    pub voters: BTreeMap<RaftId, Voter>,
    /// Where the file from before is kept.
    pub kept: PathBuf,
}

type Backup<S> = (ConventionId, u64, Option<LogId>, S);

impl<R: AsyncRuntime> Consensus<R> {
    /// The registry as applied here, for [`found_from`].
    ///
    /// # Errors
    /// [`CodecError::Encode`].
    pub fn export(&self) -> Result<Vec<u8>, CodecError> {
        let Identity {
            convention,
            recovery_epoch,
            ..
        } = self.identity();
        let image = self.image();
        let fields: Backup<&State> = (convention, recovery_epoch, image.applied, &image.state);
        protocol::encode(BACKUP, REGISTRY_VERSION, &fields)
    }
}

/// Makes the survivor whose file is at `path` the single voter of the next recovery epoch. Only
/// for a quorum that is lost for good: what other voters acknowledged without it is lost. The
/// voter must not run; afterwards it is opened with `Start::Resume`.
///
/// # Errors
/// [`RestoreError`]; the file is then as it was.
pub fn recover(path: &Path, voter: Voter) -> Result<Recovered, RestoreError> {
    let old = Arc::new(RaftFile::open(path, None)?);
    let read = read_survivor(&old).map_err(disk);
    let identity = Identity {
        recovery_epoch: old.identity().recovery_epoch + 1,
        founder: true,
        ..old.identity()
    };
    old.close();
    let (image, vote) = read?;
    let Some(applied) = image.applied else {
        return Err(RestoreError::Empty {
            path: path.to_owned(),
        });
    };
    let voters = named_voters(&image.membership);
    let kept = path.with_extension(format!("redb.epoch-{}", identity.recovery_epoch - 1));
    let _ = fs::remove_file(&kept);
    fs::hard_link(path, &kept)
        .or_else(|_no_links| fs::copy(path, &kept).map(|_bytes| ()))
        .map_err(|source| RestoreError::Keep {
            path: kept.clone(),
            source,
        })?;
    write(path, identity, voter, image.state, (applied, vote))?;
    Ok(Recovered {
        identity,
        index: Index(applied.index),
        voters,
        kept,
    })
}

/// Founds `convention` again at `path`, from what [`Consensus::export`] gave, with `voter` as its
/// single voter. It is opened with `Start::Resume` then.
///
/// # Errors
/// [`RestoreError`].
pub fn found_from(
    path: &Path,
    convention: ConventionId,
    voter: Voter,
    backup: &[u8],
) -> Result<Identity, RestoreError> {
    let fields: Backup<State> = protocol::decode(BACKUP, REGISTRY_VERSION, backup)?;
    let (found, recovery_epoch, applied, state) = fields;
    if found != convention {
        return Err(RestoreError::Foreign {
            found,
            wanted: convention,
        });
    }
    let path = path.to_owned();
    if path.exists() {
        return Err(RestoreError::Exists { path });
    }
    let Some(applied) = applied else {
        return Err(RestoreError::Empty { path });
    };
    let identity = Identity {
        convention,
        recovery_epoch: recovery_epoch + 1,
        raft: RaftId::FOUNDER,
        founder: true,
    };
    write(&path, identity, voter, state, (applied, None))?;
    Ok(identity)
}

fn read_survivor(file: &Arc<RaftFile>) -> Result<(Image, Option<Vote>), FileError> {
    let log = LogStore::<TokioRuntime>::new(Arc::clone(file))?;
    let machine = Machine::<TokioRuntime>::restore(Arc::clone(file))?;
    let (entries, vote) = log.all()?;
    machine.replay(entries);
    Ok((machine.replica().image(), vote))
}

fn named_voters(membership: &Membership) -> BTreeMap<RaftId, Voter> {
    let ids: BTreeSet<RaftId> = membership.voter_ids().collect();
    let named = membership.nodes().filter(|(id, _)| ids.contains(id));
    named.map(|(id, voter)| (*id, voter.clone())).collect()
}

/// Writes a file with a snapshot of `state` and nothing behind it.
fn write(
    path: &Path,
    identity: Identity,
    voter: Voter,
    state: State,
    (applied, vote): (LogId, Option<Vote>),
) -> Result<(), RestoreError> {
    let raft = identity.raft;
    let voters = Voters::new(vec![[raft].into()], BTreeMap::from([(raft, voter)]));
    let image = Image {
        applied: Some(applied),
        membership: Membership::new(Some(applied), voters),
        state,
    };
    // The next term must be above every term of the log.
    let voted = vote.map_or(0, |vote| vote.leader_id().term);
    let vote = Vote::new(voted.max(applied.leader_id.term), raft);
    let new = NewFile::create(path, identity)?;
    let fill = || {
        let bytes = image.encode(&new.file)?;
        snapshot::save(&new.file, &image.meta(), &bytes)?;
        LogStore::<TokioRuntime>::new(Arc::clone(&new.file))?.begin_behind(applied, &vote)
    };
    fill().map_err(disk)?;
    Ok(new.put_in_place()?)
}

fn disk(error: FileError) -> RestoreError {
    RestoreError::Disk(FatalError::new(error))
}
