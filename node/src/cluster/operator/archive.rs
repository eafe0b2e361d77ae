//! A backup file: the registry and every package that it names, in one stream with a checksum.
//!
//! Written beside its place and renamed when it is whole; read back piece by piece, so that
//! memory stays flat however large the packages are.
//! Not here: what is put in and what is done with it (`backup`).
//!
//! # Format
//! `DRBACKUP` and a newline; length u32 little-endian and that many bytes of head ([`Head`] in the
//! envelope of `protocol::codec`); the bytes of each package in the head's order; the SHA-256 of
//! everything before.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use protocol::registry::{REGISTRY_VERSION, State};
use protocol::{CodecError, ConventionId, SourceHash, Stamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

/// What a backup says before its packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The convention that it was taken of.
    pub(crate) convention: ConventionId,
    /// Raft index that it covers.
    pub(crate) index: u64,
    /// When it was taken.
    pub(crate) stamp: Stamp,
    /// Version of the program that took it.
    pub(crate) release: String,
    /// The registry.
    pub(crate) state: State,
    /// The packages that follow, with their lengths.
    pub(crate) packages: Vec<(SourceHash, u64)>,
    /// The authority's key, sealed under a passphrase.
    pub(crate) authority: Option<Vec<u8>>,
}

/// Why a backup cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// The disk.
    #[error("`{path}` cannot be used", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The file is none, or damaged.
    #[error("`{path}` is no whole backup: {what}", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Its head cannot be written or read.
    #[error("the head of `{path}` cannot be written or read", path = .path.display())]
    Codec {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: CodecError,
    },
    /// A package has another length than the registry says.
    #[error("package {} has not the length that the registry says", hash.short())]
    Package {
        /// Which.
        hash: SourceHash,
    },
}

const MAGIC: &[u8] = b"DRBACKUP\n";
const SHAPE: &str = "backup";
const CHECKSUM_BYTES: u64 = 32;

/// A registry of the largest convention planned for is a tenth of this.
const HEAD_BYTES_MAX: u32 = 512 << 20;

/// Writes a backup; `package` opens the bytes of one. Blocks.
pub(crate) fn write(
    path: &Path,
    head: &Head,
    mut package: impl FnMut(SourceHash) -> io::Result<File>,
) -> Result<u64, ArchiveError> {
    let io = |cause| ArchiveError::Io {
        path: path.to_owned(),
        cause,
    };
    let encoded =
        protocol::encode(SHAPE, REGISTRY_VERSION, head).map_err(|cause| ArchiveError::Codec {
            path: path.to_owned(),
            cause,
        })?;
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    let file = NamedTempFile::new_in(folder).map_err(io)?;
    let mut out = Summed::new(BufWriter::new(file));
    let length = u32::try_from(encoded.len()).map_err(|_too_long| ArchiveError::Damaged {
        path: path.to_owned(),
        what: "the registry is too large".to_owned(),
    })?;
    out.write_all(MAGIC).map_err(io)?;
    out.write_all(&length.to_le_bytes()).map_err(io)?;
    out.write_all(&encoded).map_err(io)?;
    for (hash, bytes) in &head.packages {
        let mut source = package(*hash).map_err(io)?;
        let copied = io::copy(&mut source, &mut out).map_err(io)?;
        if copied != *bytes {
            return Err(ArchiveError::Package { hash: *hash });
        }
    }
    let (mut inner, sum, bytes) = out.end();
    inner.write_all(&sum).map_err(io)?;
    let file = inner.into_inner().map_err(|error| io(error.into_error()))?;
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map_err(|error| io(error.error))?;
    Ok(bytes + CHECKSUM_BYTES)
}

/// A backup that is being read; its checksum was right.
#[derive(Debug)]
pub(crate) struct Archive {
    /// What it says before its packages.
    pub(crate) head: Head,
    path: PathBuf,
    input: BufReader<File>,
    next: usize,
}

impl Archive {
    /// Opens a backup and checks it whole. Blocks.
    pub(crate) fn open(path: &Path) -> Result<Self, ArchiveError> {
        let io = |cause| ArchiveError::Io {
            path: path.to_owned(),
            cause,
        };
        let damaged = |what: &str| ArchiveError::Damaged {
            path: path.to_owned(),
            what: what.to_owned(),
        };
        check(path)?;
        let mut input = BufReader::new(File::open(path).map_err(io)?);
        let mut start = [0; MAGIC.len() + 4];
        input.read_exact(&mut start).map_err(io)?;
        let length = start
            .last_chunk::<4>()
            .map(|bytes| u32::from_le_bytes(*bytes));
        let length = length.filter(|length| *length <= HEAD_BYTES_MAX);
        let length = length.ok_or_else(|| damaged("its head is too long"))?;
        let mut encoded = Vec::new();
        let mut limited = (&mut input).take(u64::from(length));
        limited.read_to_end(&mut encoded).map_err(io)?;
        let head = protocol::decode(SHAPE, REGISTRY_VERSION, &encoded).map_err(|cause| {
            ArchiveError::Codec {
                path: path.to_owned(),
                cause,
            }
        })?;
        Ok(Self {
            head,
            path: path.to_owned(),
            input,
            next: 0,
        })
    }

    /// Copies the next package into `out`; `None` after the last. Blocks.
    pub(crate) fn next_package(
        &mut self,
        out: &mut impl Write,
    ) -> Result<Option<SourceHash>, ArchiveError> {
        let Some((hash, bytes)) = self.head.packages.get(self.next).copied() else {
            return Ok(None);
        };
        self.next += 1;
        let mut limited = (&mut self.input).take(bytes);
        let copied = io::copy(&mut limited, out).map_err(|cause| ArchiveError::Io {
            path: self.path.clone(),
            cause,
        })?;
        if copied != bytes {
            return Err(ArchiveError::Package { hash });
        }
        Ok(Some(hash))
    }
}

/// Reads a file once and compares its checksum.
fn check(path: &Path) -> Result<(), ArchiveError> {
    let io = |cause| ArchiveError::Io {
        path: path.to_owned(),
        cause,
    };
    let damaged = |what: &str| ArchiveError::Damaged {
        path: path.to_owned(),
        what: what.to_owned(),
    };
    let file = File::open(path).map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len();
    let body = bytes.checked_sub(CHECKSUM_BYTES);
    let body = body.ok_or_else(|| damaged("it is too short"))?;
    let mut input = BufReader::new(file);
    let mut magic = [0; MAGIC.len()];
    input.read_exact(&mut magic).map_err(io)?;
    if magic != MAGIC {
        return Err(damaged("it does not begin as one"));
    }
    let mut digest = Summed::new(io::sink());
    digest.write_all(&magic).map_err(io)?;
    let rest = body.saturating_sub(MAGIC.len() as u64);
    io::copy(&mut (&mut input).take(rest), &mut digest).map_err(io)?;
    let mut wanted = [0; CHECKSUM_BYTES as usize];
    input.read_exact(&mut wanted).map_err(io)?;
    if digest.end().1 != wanted {
        return Err(damaged("its checksum is wrong"));
    }
    Ok(())
}

/// A writer that sums up what passes.
struct Summed<W> {
    inner: W,
    digest: Sha256,
    bytes: u64,
}

impl<W> Summed<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            digest: Sha256::new(),
            bytes: 0,
        }
    }

    fn end(self) -> (W, [u8; 32], u64) {
        (self.inner, self.digest.finalize().into(), self.bytes)
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.digest.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(packages: &[&[u8]]) -> Head {
        let packages = packages
            .iter()
            .map(|bytes| (SourceHash::of(bytes), bytes.len() as u64));
        Head {
            convention: ConventionId([7; 16]),
            index: 9,
            stamp: Stamp(1),
            release: "0.1.0".to_owned(),
            state: State::default(),
            packages: packages.collect(),
            authority: Some(vec![1, 2, 3]),
        }
    }

    fn written(folder: &Path, packages: &[&'static [u8]]) -> PathBuf {
        let path = folder.join("backup");
        let source = |hash| {
            let bytes = packages.iter().find(|bytes| SourceHash::of(bytes) == hash);
            let file = folder.join(hash.to_string());
            std::fs::write(&file, bytes.unwrap_or(&&b""[..]))?;
            File::open(file)
        };
        write(&path, &head(packages), source).unwrap();
        path
    }

    #[test]
    fn what_was_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let packages: [&[u8]; 3] = [b"one", b"", b"three"];
        let path = written(folder.path(), &packages);
        let mut archive = Archive::open(&path).unwrap();
        assert_eq!(archive.head, head(&packages));
        for package in packages {
            let mut out = Vec::new();
            let hash = archive.next_package(&mut out).unwrap();
            assert_eq!(
                (hash, out.as_slice()),
                (Some(SourceHash::of(package)), package)
            );
        }
        assert_eq!(archive.next_package(&mut Vec::new()).unwrap(), None);
    }

    #[test]
    fn a_damaged_or_cut_backup_is_refused_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), &[b"one", b"two"]);
        let whole = std::fs::read(&path).unwrap();
        for at in [0, MAGIC.len() + 1, whole.len() / 2, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            assert!(Archive::open(&path).is_err(), "byte {at}");
        }
        for length in [0, 10, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(Archive::open(&path).is_err(), "{length} bytes");
        }
    }
}
