//! A snapshot: the whole registry at one index, as bytes, and its place in the voter's file.
//!
//! The file holds one snapshot at most: a newer one replaces it in a single transaction, so that a
//! crash leaves the old one or the new one whole. It carries the convention's id and recovery
//! epoch, so that the snapshot of another convention is never installed.
//! Not here: when one is taken (openraft's policy), what is in the registry (`convention`).
//!
//! # Format
//! `protocol`'s envelope, version [`REGISTRY_VERSION`], around (convention, recovery epoch, last
//! applied log id, membership, registry state).

use openraft::LogIdOptionExt;
use protocol::ConventionId;
use protocol::registry::{REGISTRY_VERSION, State};
use redb::ReadableTable;

use super::file::{FILE_VERSION, FileError, META, RaftFile, SNAPSHOT};
use super::types::{LogId, Membership, SnapshotMeta};

const SHAPE: &str = "registry snapshot";

/// Piece of a snapshot in one row, so that redb never looks for one huge run of pages.
const PIECE_BYTES: usize = 256 << 10;

/// What a snapshot holds.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: Membership,
    pub(crate) state: State,
}

type Fields = (ConventionId, u64, Option<LogId>, Membership, State);

impl Image {
    /// The same log gives the same id, as it gives the same bytes.
    pub(crate) fn meta(&self) -> SnapshotMeta {
        let snapshot_id = match self.applied {
            Some(id) => format!("{}-{}", id.leader_id, id.index),
            None => "empty".to_owned(),
        };
        SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
            snapshot_id,
        }
    }

    pub(crate) fn encode(&self, file: &RaftFile) -> Result<Vec<u8>, FileError> {
        let identity = file.identity();
        let fields = (
            identity.convention,
            identity.recovery_epoch,
            self.applied,
            &self.membership,
            &self.state,
        );
        protocol::encode(SHAPE, REGISTRY_VERSION, &fields).map_err(file.codec("encode a snapshot"))
    }

    /// Reads a snapshot; one of another convention or epoch is an error that stops this voter.
    pub(crate) fn decode(file: &RaftFile, bytes: &[u8]) -> Result<Self, FileError> {
        let identity = file.identity();
        let fields: Fields = protocol::decode(SHAPE, REGISTRY_VERSION, bytes)
            .map_err(file.codec("read a snapshot"))?;
        let (convention, recovery_epoch, applied, membership, state) = fields;
        if (convention, recovery_epoch) != (identity.convention, identity.recovery_epoch) {
            return Err(file.foreign_snapshot(convention, recovery_epoch));
        }
        Ok(Self {
            applied,
            membership,
            state,
        })
    }
}

/// Puts a snapshot in the place of the one before; an older one changes nothing.
pub(crate) fn save(file: &RaftFile, meta: &SnapshotMeta, bytes: &[u8]) -> Result<(), FileError> {
    let doing = "save a snapshot";
    if load_meta(file)?.is_some_and(|kept| kept.last_log_id > meta.last_log_id) {
        return Ok(());
    }
    let encoded =
        protocol::encode("snapshot meta", FILE_VERSION, meta).map_err(file.codec(doing))?;
    file.write(doing, |transaction| {
        transaction
            .open_table(META)?
            .insert("snapshot", encoded.as_slice())?;
        let mut pieces = transaction.open_table(SNAPSHOT)?;
        pieces.retain(|_, _| false)?;
        for (number, piece) in (0..).zip(bytes.chunks(PIECE_BYTES)) {
            pieces.insert(number, piece)?;
        }
        Ok(())
    })?;
    tracing::info!(
        index = meta.last_log_id.index(),
        bytes = bytes.len(),
        "registry snapshot saved"
    );
    Ok(())
}

/// The newest snapshot, if there is one.
pub(crate) fn load(file: &RaftFile) -> Result<Option<(SnapshotMeta, Vec<u8>)>, FileError> {
    let Some(meta) = load_meta(file)? else {
        return Ok(None);
    };
    let bytes = file.read("read the snapshot", |transaction| {
        let mut bytes = Vec::new();
        for row in transaction.open_table(SNAPSHOT)?.iter()? {
            bytes.extend_from_slice(row?.1.value());
        }
        Ok(bytes)
    })?;
    Ok(Some((meta, bytes)))
}

fn load_meta(file: &RaftFile) -> Result<Option<SnapshotMeta>, FileError> {
    let doing = "read the snapshot";
    let bytes = file.read(doing, |transaction| {
        let meta = transaction.open_table(META)?;
        Ok(meta.get("snapshot")?.map(|bytes| bytes.value().to_vec()))
    })?;
    let decode = |bytes: Vec<u8>| protocol::decode("snapshot meta", FILE_VERSION, &bytes);
    bytes.map(decode).transpose().map_err(file.codec(doing))
}
