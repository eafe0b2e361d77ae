//! Members out of a verified package: listed, read one by one, or all unpacked into a sink.
//!
//! Every member is checked while it flows: it stops one byte past its announced size, and its
//! checksum and the length of its compressed bytes must be what the directory says.

use std::collections::BTreeSet;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use crate::archive::directory::STORED;
use crate::archive::{EndRecord, Member, ZipError, read_members};
use crate::hash::for_each_chunk;
use crate::layout::{ArchiveError, Layout};
use crate::limits::{BUFFER_BYTES, Limits};
use crate::verify::Verified;
use crate::view::ZipView;

/// The members of a verified package, in the order of its directory.
///
/// # Errors
/// `Changed` when it is not the file that was verified; what else is wrong with it.
pub fn contents<R: Read + Seek>(
    reader: &mut R,
    verified: &Verified,
    limits: &Limits,
) -> Result<Vec<Member>, ArchiveError> {
    if reader.seek(SeekFrom::End(0))? != verified.size() {
        return Err(ArchiveError::Changed);
    }
    read_directory(reader, verified.layout(), limits)
}

/// Writes the content of one file of a verified package to `out`; returns its size.
///
/// # Errors
/// `Missing` when no file has that name; what is wrong with the package or with `out`.
pub fn read_member<R: Read + Seek>(
    reader: &mut R,
    verified: &Verified,
    name: &str,
    limits: &Limits,
    out: &mut dyn Write,
) -> Result<u64, ArchiveError> {
    let members = contents(reader, verified, limits)?;
    let found = members
        .iter()
        .find(|member| member.name == name && !member.is_dir);
    let member = found.ok_or_else(|| ZipError::Missing {
        member: name.to_owned(),
    })?;
    copy_member(&mut ZipView::new(reader, *verified.layout()), member, out)?;
    Ok(member.size)
}

/// Where unpacked members go: a fresh folder, or a test's map.
pub trait UnpackSink {
    /// A folder, without `/` at its end; comes once, and before anything that lies in it.
    ///
    /// # Errors
    /// When it cannot be made.
    fn directory(&mut self, name: &str) -> io::Result<()>;

    /// A file of `size` bytes. What is returned is written to, flushed and dropped before the
    /// next call.
    ///
    /// # Errors
    /// When it cannot be made.
    fn file(&mut self, name: &str, size: u64) -> io::Result<Box<dyn Write + '_>>;
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unpacked {
    /// Number of files.
    pub files: u64,
    /// Number of folders, those included that only members' names tell of.
    pub directories: u64,
    /// Sum of the files' sizes.
    pub bytes: u64,
}

/// Unpacks a verified package into `sink`.
///
/// # Errors
/// What is wrong with the package; `ZipError::Write` for the sink. What was written so far is the
/// sink's to discard.
pub fn unpack<R: Read + Seek, S: UnpackSink + ?Sized>(
    reader: &mut R,
    verified: &Verified,
    limits: &Limits,
    sink: &mut S,
) -> Result<Unpacked, ArchiveError> {
    let members = contents(reader, verified, limits)?;
    write_all(
        &mut ZipView::new(reader, *verified.layout()),
        &members,
        sink,
    )
}

/// The members of a plain zip file that no key has signed, for those who trust it otherwise.
///
/// # Errors
/// What is wrong with it.
pub fn plain_contents<R: Read + Seek>(
    zip: &mut R,
    limits: &Limits,
) -> Result<Vec<Member>, ArchiveError> {
    let bytes = zip.seek(SeekFrom::End(0))?;
    let end = EndRecord::find(zip, bytes)?;
    Ok(read_members(zip, &end, limits)?)
}

/// Unpacks a plain zip file that no key has signed, for those who trust it otherwise.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_plain<R: Read + Seek, S: UnpackSink + ?Sized>(
    zip: &mut R,
    limits: &Limits,
    sink: &mut S,
) -> Result<Unpacked, ArchiveError> {
    let members = plain_contents(zip, limits)?;
    write_all(zip, &members, sink)
}

fn write_all<R: Read + Seek, S: UnpackSink + ?Sized>(
    zip: &mut R,
    members: &[Member],
    sink: &mut S,
) -> Result<Unpacked, ArchiveError> {
    let mut unpacked = Unpacked::default();
    for directory in directories(members) {
        sink.directory(directory)
            .map_err(|source| cannot_write(directory, source))?;
        unpacked.directories += 1;
    }
    for member in members.iter().filter(|member| !member.is_dir) {
        let file = sink.file(&member.name, member.size);
        let mut file = file.map_err(|source| cannot_write(&member.name, source))?;
        copy_member(zip, member, &mut file)?;
        file.flush()
            .map_err(|source| cannot_write(&member.name, source))?;
        unpacked.files += 1;
        unpacked.bytes += member.size;
    }
    Ok(unpacked)
}

/// The members of a package whose signature is known to be good.
pub(crate) fn read_directory<R: Read + Seek>(
    reader: &mut R,
    layout: &Layout,
    limits: &Limits,
) -> Result<Vec<Member>, ArchiveError> {
    let mut zip = ZipView::new(reader, *layout);
    let end = EndRecord::find(&mut zip, layout.zip_bytes())?;
    // The position is outside the signature; another one would give the same content a new hash.
    if let Some(announced) = layout
        .end_record()
        .filter(|announced| *announced != end.position)
    {
        return Err(ArchiveError::EndRecordElsewhere {
            announced,
            found: end.position,
        });
    }
    Ok(read_members(&mut zip, &end, limits)?)
}

/// Every folder that members name or lie in, parents first.
fn directories(members: &[Member]) -> BTreeSet<&str> {
    let mut all = BTreeSet::new();
    for member in members {
        let mut path = member.name.strip_suffix('/').filter(|_| member.is_dir);
        if !member.is_dir {
            path = parent(&member.name);
        }
        while let Some(folder) = path {
            if !all.insert(folder) {
                break;
            }
            path = parent(folder);
        }
    }
    all
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

fn copy_member<R: Read + Seek>(
    zip: &mut R,
    member: &Member,
    out: &mut dyn Write,
) -> Result<(), ZipError> {
    zip.seek(SeekFrom::Start(member.data_offset))?;
    let size = usize::try_from(member.compressed_size).unwrap_or(BUFFER_BYTES);
    let packed = zip.take(member.compressed_size);
    let mut packed = BufReader::with_capacity(size.clamp(64, BUFFER_BYTES), packed);
    let mut checked = Checked {
        out,
        member,
        bytes: 0,
        crc: Crc::new(),
    };
    if member.method == STORED {
        checked.take_all(&mut packed)?;
        return checked.finish();
    }
    let mut decoder = DeflateDecoder::new(packed);
    checked.take_all(&mut decoder)?;
    checked.finish()?;
    if decoder.total_in() == member.compressed_size {
        Ok(())
    } else {
        Err(damaged(member, "bytes follow its compressed data"))
    }
}

/// Counts and sums what is written.
struct Checked<'a> {
    out: &'a mut dyn Write,
    member: &'a Member,
    bytes: u64,
    crc: Crc,
}

impl Checked<'_> {
    fn take_all<R: Read>(&mut self, reader: &mut R) -> Result<(), ZipError> {
        let mut write_error = None;
        let limit = self.member.size.saturating_add(1);
        let read = for_each_chunk(reader, limit, |chunk| {
            self.bytes += chunk.len() as u64;
            self.crc.update(chunk);
            if self.bytes > self.member.size {
                return Ok(());
            }
            self.out.write_all(chunk).map_err(|error| {
                let kind = error.kind();
                write_error = Some(error);
                kind.into()
            })
        });
        match (read, write_error) {
            (_, Some(source)) => Err(cannot_write(&self.member.name, source)),
            (Err(error), None) if is_corruption(&error) => {
                Err(damaged(self.member, "its compressed data is wrong"))
            }
            (Err(error), None) => Err(ZipError::Io(error)),
            (Ok(_), None) => Ok(()),
        }
    }

    fn finish(self) -> Result<(), ZipError> {
        if self.bytes > self.member.size {
            return Err(damaged(self.member, "it unpacks to more than its size"));
        }
        if self.bytes < self.member.size {
            return Err(damaged(self.member, "it unpacks to less than its size"));
        }
        if self.crc.sum() != self.member.crc {
            return Err(damaged(self.member, "its checksum is wrong"));
        }
        Ok(())
    }
}

fn is_corruption(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

fn damaged(member: &Member, what: &'static str) -> ZipError {
    ZipError::Damaged {
        member: member.name.clone(),
        what,
    }
}

fn cannot_write(name: &str, source: io::Error) -> ZipError {
    ZipError::Write {
        member: name.to_owned(),
        source,
    }
}
