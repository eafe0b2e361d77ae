//! The check of a package: one pass over its bytes, then every key, then the zip file's structure.
//!
//! The pass computes the SHA-256 of the file (its identity) and of the zip file inside (what is
//! signed) together, with a buffer of fixed size. No byte is parsed as zip before a key has
//! validated all of them. `Verified` is proof of that: nobody else makes one.
//! Source: Thespian director, source authority; defects D1 to D6 and D25.

use std::io::{self, Read, Seek, SeekFrom};

use protocol::SourceHash;
use sha2::{Digest, Sha256};

use crate::archive::{self, MARKER};
use crate::format::Format;
use crate::hash::for_each_chunk;
use crate::keys::KeyRing;
use crate::layout::{ArchiveError, Layout, inspect};
use crate::limits::Limits;
use crate::view::restore_bytes;

/// A package whose signature a key of ours validated and whose zip file is well-formed.
///
/// It speaks of the bytes that were read: hand later calls the same bytes, from a place where
/// nobody else writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    hash: SourceHash,
    layout: Layout,
    key_name: String,
    members: usize,
    unpacked_bytes: u64,
}

impl Verified {
    /// Identity of the source.
    #[must_use]
    pub fn hash(&self) -> SourceHash {
        self.hash
    }

    /// Size of the package in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.layout.file_bytes()
    }

    /// Name of the key file that validated it.
    #[must_use]
    pub fn key_name(&self) -> &str {
        &self.key_name
    }

    /// The package's format.
    #[must_use]
    pub fn format(&self) -> Format {
        self.layout.format()
    }

    /// Where its parts lie.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// How many members it has.
    #[must_use]
    pub fn members(&self) -> usize {
        self.members
    }

    /// What its members take once unpacked.
    #[must_use]
    pub fn unpacked_bytes(&self) -> u64 {
        self.unpacked_bytes
    }
}

/// Checks a package with every key of the ring.
///
/// # Errors
/// `Archive` when the bytes are no package or what a valid key signed is no acceptable zip file;
/// `NoKeys` and `Refused` when no key validates it.
pub fn verify<R: Read + Seek>(
    reader: &mut R,
    keys: &KeyRing,
    limits: &Limits,
) -> Result<Verified, VerifyError> {
    let layout = inspect(reader, limits)?;
    let pass = Pass::over(reader, &layout)?;
    let key_name = find_key(keys, &layout, &pass)?;
    let members = archive::read_directory(reader, &layout, limits)?;
    Ok(Verified {
        hash: SourceHash(pass.file),
        layout,
        key_name,
        members: members.len(),
        unpacked_bytes: members.iter().map(|member| member.size).sum(),
    })
}

/// Why a package is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The bytes are no acceptable package.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// There is no key to check with.
    #[error("there is no usable public key to check the package with")]
    NoKeys,
    /// No key validates the signature.
    #[error("no key validates the package; tried: {}", list(tried))]
    Refused {
        /// Every key of the ring and how it fared.
        tried: Vec<KeyTried>,
    },
}

impl VerifyError {
    /// The next step to take.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Archive(error) => error.hint(),
            Self::NoKeys => {
                "put the signer's public key into the Director directory as `NAME_tls.key`"
            }
            Self::Refused { .. } => {
                "copy the package again if it may be damaged; else put its signer's public key \
                 into the Director directory as `NAME_tls.key`"
            }
        }
    }
}

/// One key that did not validate a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTried {
    /// Name of the key file.
    pub key_name: String,
    /// How it fared.
    pub outcome: KeyOutcome,
}

/// How a key fared that did not validate a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOutcome {
    /// The signature is not this key's.
    Mismatch,
    /// The signature has another length than this key's signatures.
    OtherLength {
        /// Length of this key's.
        key_bytes: usize,
        /// Length of the package's.
        signature_bytes: usize,
    },
}

/// What one pass over the file yields.
struct Pass {
    file: [u8; 32],
    zip: [u8; 32],
    signature: Vec<u8>,
}

impl Pass {
    fn over<R: Read + Seek>(reader: &mut R, layout: &Layout) -> Result<Self, ArchiveError> {
        reader.seek(SeekFrom::Start(0))?;
        let mut pass = Hashers {
            reader,
            file: Sha256::new(),
            zip: Sha256::new(),
        };
        let zip_bytes = layout.zip_bytes();
        let signature_bytes = layout.signature_bytes() as u64;
        pass.other(layout.header_bytes())?;
        let signature = match (layout.format(), layout.end_record()) {
            (Format::ViceroyFmt1, _) => {
                let signature = pass.other(signature_bytes)?;
                pass.zip(zip_bytes, restore_bytes)?;
                signature
            }
            (_, Some(marker)) => {
                pass.zip(marker, |_| ())?;
                pass.zip.update(MARKER);
                pass.zip(zip_bytes - marker - MARKER.len() as u64, |_| ())?;
                pass.other(signature_bytes)?
            }
            (_, None) => {
                pass.zip(zip_bytes, |_| ())?;
                pass.other(signature_bytes)?
            }
        };
        if for_each_chunk(pass.reader, 1, |_| Ok(()))? > 0 {
            return Err(ArchiveError::Changed);
        }
        let (file, zip) = (pass.file.finalize().into(), pass.zip.finalize().into());
        Ok(Self {
            file,
            zip,
            signature,
        })
    }
}

struct Hashers<'a, R> {
    reader: &'a mut R,
    file: Sha256,
    zip: Sha256,
}

impl<R: Read> Hashers<'_, R> {
    /// The next bytes belong to the zip file, once `restore` has been over them.
    fn zip(&mut self, bytes: u64, restore: impl Fn(&mut [u8])) -> Result<(), ArchiveError> {
        let (file, zip) = (&mut self.file, &mut self.zip);
        let done = for_each_chunk(self.reader, bytes, |chunk| {
            file.update(&*chunk);
            restore(chunk);
            zip.update(&*chunk);
            Ok(())
        })?;
        if done == bytes {
            Ok(())
        } else {
            Err(ArchiveError::Changed)
        }
    }

    /// The next bytes, few, are not of the zip file.
    fn other(&mut self, bytes: u64) -> Result<Vec<u8>, ArchiveError> {
        let mut taken = Vec::new();
        self.reader.take(bytes).read_to_end(&mut taken)?;
        self.file.update(&taken);
        if taken.len() as u64 == bytes {
            Ok(taken)
        } else {
            Err(ArchiveError::Changed)
        }
    }
}

fn find_key(keys: &KeyRing, layout: &Layout, pass: &Pass) -> Result<String, VerifyError> {
    if keys.is_empty() {
        return Err(VerifyError::NoKeys);
    }
    let mut tried = Vec::new();
    for key in keys.iter() {
        let (key_bytes, signature_bytes) = (key.signature_bytes(), layout.signature_bytes());
        let outcome = if key_bytes != signature_bytes {
            KeyOutcome::OtherLength {
                key_bytes,
                signature_bytes,
            }
        } else if key.verifies(&pass.zip, &pass.signature) {
            return Ok(key.name().to_owned());
        } else {
            KeyOutcome::Mismatch
        };
        tried.push(KeyTried {
            key_name: key.name().to_owned(),
            outcome,
        });
    }
    Err(VerifyError::Refused { tried })
}

fn list(tried: &[KeyTried]) -> String {
    let each = tried.iter().map(|key| match key.outcome {
        KeyOutcome::Mismatch => format!("`{}` (not its signature)", key.key_name),
        KeyOutcome::OtherLength {
            key_bytes,
            signature_bytes,
        } => format!(
            "`{}` (signs with {key_bytes} bytes, the package has {signature_bytes})",
            key.key_name
        ),
    });
    each.collect::<Vec<_>>().join(", ")
}

impl From<io::Error> for VerifyError {
    fn from(error: io::Error) -> Self {
        Self::Archive(ArchiveError::Io(error))
    }
}
