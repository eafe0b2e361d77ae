//! A disk in memory that forgets, tears and fails: what was not synced may be lost in part.
//!
//! It counts writes, so that a test can stop it after each one in turn.

use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::{BackendError, StorageBackend};

/// Handles share one disk, as a process and its successor do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    platters: Arc<Mutex<Platters>>,
    /// Held by a sync while it runs.
    arm: Arc<Mutex<()>>,
}

#[derive(Default)]
struct Platters {
    /// What a read sees.
    now: Vec<u8>,
    /// What a power cut certainly leaves.
    synced: Vec<u8>,
    /// What it may leave, in any part.
    pending: Vec<Change>,
    writes: u64,
    syncs: u64,
    /// Writes (and syncs) that still succeed.
    remaining: Option<u64>,
    syncs_fail: bool,
    failed_calls: u64,
}

#[derive(Debug, Clone)]
enum Change {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

/// A disk loses power in pieces of this size.
const SECTOR: usize = 512;

impl Disk {
    /// Lets only this many further writes and syncs succeed.
    pub(crate) fn fail_after(&self, calls: u64) {
        self.platters().remaining = Some(calls);
    }

    /// Makes every sync fail, while writes go on as if nothing had happened.
    pub(crate) fn fail_syncs(&self) {
        self.platters().syncs_fail = true;
    }

    /// Lets syncs hang until the guard is dropped.
    pub(crate) fn hang(&self) -> MutexGuard<'_, ()> {
        self.arm.lock().unwrap()
    }

    pub(crate) fn writes(&self) -> u64 {
        self.platters().writes
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.platters().syncs
    }

    /// Writes and syncs that came although an earlier one had failed.
    pub(crate) fn calls_after_failure(&self) -> u64 {
        self.platters().failed_calls.saturating_sub(1)
    }

    /// The disk after a power cut: of what was not synced, a choice by `seed` survives.
    pub(crate) fn after_power_cut(&self, seed: u64) -> Self {
        let platters = self.platters();
        let mut left = platters.synced.clone();
        let mut dice = Dice(seed);
        for change in &platters.pending {
            match change {
                Change::Length(length) if dice.throw() => left.resize(*length, 0),
                Change::Length(_) => {}
                Change::Bytes(offset, bytes) => {
                    let pieces = (0..).step_by(SECTOR).zip(bytes.chunks(SECTOR));
                    for (start, piece) in pieces.filter(|_| dice.throw()) {
                        put(&mut left, offset + start, piece);
                    }
                }
            }
        }
        let left = Platters {
            now: left.clone(),
            synced: left,
            ..Platters::default()
        };
        Self {
            platters: Arc::new(Mutex::new(left)),
            arm: Arc::default(),
        }
    }

    fn platters(&self) -> MutexGuard<'_, Platters> {
        self.platters.lock().unwrap()
    }
}

impl Platters {
    fn spend(&mut self) -> io::Result<()> {
        match &mut self.remaining {
            Some(0) => {
                self.failed_calls += 1;
                Err(io::Error::other("the disk is broken"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.platters().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platters = self.platters();
        let offset = offset as usize;
        let bytes = platters.now.get(offset..offset + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut platters = self.platters();
        platters.spend()?;
        platters.now.resize(len as usize, 0);
        platters.pending.push(Change::Length(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let _arm = self.arm.lock().unwrap();
        let mut platters = self.platters();
        platters.spend()?;
        if platters.syncs_fail {
            platters.failed_calls += 1;
            return Err(io::Error::other("fsync failed"));
        }
        platters.syncs += 1;
        platters.synced = platters.now.clone();
        platters.pending.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platters = self.platters();
        platters.spend()?;
        platters.writes += 1;
        put(&mut platters.now, offset as usize, data);
        let change = Change::Bytes(offset as usize, data.to_vec());
        platters.pending.push(change);
        Ok(())
    }

    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}

impl std::fmt::Debug for Platters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Platters")
            .field("bytes", &self.now.len())
            .finish_non_exhaustive()
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, piece: &[u8]) {
    let end = offset + piece.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(piece);
}

/// Numbers that are the same for the same seed (xorshift).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = (self.0 ^ 0x9e37_79b9_7f4a_7c15).rotate_left(17);
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn throw(&mut self) -> bool {
        self.next() & 0x100 != 0
    }
}
