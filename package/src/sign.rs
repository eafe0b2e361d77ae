//! A zip file becomes a package: checked as strictly as a reader will, then signed in one pass.

use std::io::{self, Read, Seek, SeekFrom, Write};

use protocol::SourceHash;
use sha2::{Digest, Sha256};

use crate::archive::{EndRecord, MARKER, ZipError, read_members};
use crate::format::Format;
use crate::hash::for_each_chunk;
use crate::keys::{KeyProblem, PrivateKey};
use crate::limits::Limits;

/// A package that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed {
    /// Its identity.
    pub hash: SourceHash,
    /// Its size in bytes.
    pub size: u64,
    /// How many members it has.
    pub members: usize,
}

/// Writes the zip file as a package of `format`, signed with `key`.
///
/// # Errors
/// `Zip` when readers with the default limits would refuse it, before anything is written.
pub fn sign<R: Read + Seek, W: Write + ?Sized>(
    zip: &mut R,
    key: &PrivateKey,
    format: Format,
    out: &mut W,
) -> Result<Signed, SignError> {
    if format == Format::ViceroyFmt1 {
        return Err(SignError::ReadOnly { format });
    }
    let total = zip.seek(SeekFrom::End(0)).map_err(SignError::Read)?;
    let end = EndRecord::find(zip, total)?;
    let members = read_members(zip, &end, &Limits::default())?.len();

    zip.seek(SeekFrom::Start(0)).map_err(SignError::Read)?;
    let mut out = Hashing {
        out,
        hasher: Sha256::new(),
        bytes: 0,
    };
    let mut digest = Sha256::new();
    let mut header = format!("{format}-sha256\n{}\n", key.signature_bytes());
    if format == Format::DirectorFmt1 {
        header.push_str(&format!("{}\n", end.position));
    }
    out.write(header.as_bytes())?;
    copy(zip, end.position, &mut digest, &mut out)?;
    let mut marker = MARKER;
    zip.read_exact(&mut marker).map_err(SignError::Read)?;
    digest.update(marker);
    if format == Format::ViceroyFmt2 {
        out.write(&marker)?;
    }
    copy(
        zip,
        total - end.position - MARKER.len() as u64,
        &mut digest,
        &mut out,
    )?;
    out.write(&key.sign(&digest.finalize().into())?)?;
    out.out.flush().map_err(SignError::Write)?;
    Ok(Signed {
        hash: SourceHash(out.hasher.finalize().into()),
        size: out.bytes,
        members,
    })
}

/// Why no package was written.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The format can be read only.
    #[error("packages of format `{format}` are read and no longer written")]
    ReadOnly {
        /// The format asked for.
        format: Format,
    },
    /// The zip file would be refused by every reader.
    #[error(transparent)]
    Zip(#[from] ZipError),
    /// The key cannot sign.
    #[error("the private key cannot sign")]
    Key(#[from] KeyProblem),
    /// The zip file cannot be read.
    #[error("the zip file cannot be read")]
    Read(#[source] io::Error),
    /// The package cannot be written.
    #[error("the package cannot be written")]
    Write(#[source] io::Error),
}

impl SignError {
    /// The next step to take.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::ReadOnly { .. } => "use `fmt:ThespianDirectorFMT1`",
            Self::Zip(error) => error.hint(),
            Self::Key(problem) => problem.hint(),
            Self::Read(_) | Self::Write(_) => "check the space and the rights in the folder",
        }
    }
}

/// Hashes what it writes.
struct Hashing<'a, W: ?Sized> {
    out: &'a mut W,
    hasher: Sha256,
    bytes: u64,
}

impl<W: Write + ?Sized> Hashing<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SignError> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes).map_err(SignError::Write)
    }
}

fn copy<R: Read, W: Write + ?Sized>(
    zip: &mut R,
    bytes: u64,
    digest: &mut Sha256,
    out: &mut Hashing<'_, W>,
) -> Result<(), SignError> {
    let mut failed = None;
    let done = for_each_chunk(zip, bytes, |chunk| {
        digest.update(&*chunk);
        out.write(chunk).map_err(|error| {
            failed = Some(error);
            io::Error::other("the package cannot be written")
        })
    });
    match (done, failed) {
        (_, Some(error)) => Err(error),
        (Err(error), None) => Err(SignError::Read(error)),
        (Ok(done), None) if done < bytes => {
            Err(SignError::Read(io::ErrorKind::UnexpectedEof.into()))
        }
        (Ok(_), None) => Ok(()),
    }
}
