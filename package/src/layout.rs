//! Where the parts of a package lie: its header lines read strictly.
//!
//! Every number has exactly one spelling and every byte of the file belongs to one part, so that
//! one content has one hash. Nothing here is trusted yet: signatures are `verify`'s.
//! Source: Thespian `system/sourceLoader.py` layouts (`actor-semantics` 5.7), defects D4 and D5.

use std::io::{self, Read, Seek, SeekFrom};

use crate::archive::{END_RECORD_BYTES, MARKER, ZipError};
use crate::format::{Format, FormatError};
use crate::limits::Limits;
use crate::signature::{SIGNATURE_BYTES_MAX, SIGNATURE_BYTES_MIN};

/// The parts of a package, by their lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    format: Format,
    file_bytes: u64,
    header_bytes: u64,
    signature_bytes: usize,
    end_record: Option<u64>,
}

impl Layout {
    /// The format named in the first line.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Size of the whole file.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Length of the header lines.
    #[must_use]
    pub fn header_bytes(&self) -> u64 {
        self.header_bytes
    }

    /// Length of the signature.
    #[must_use]
    pub fn signature_bytes(&self) -> usize {
        self.signature_bytes
    }

    /// Size of the zip file inside, once its marker is put back.
    #[must_use]
    pub fn zip_bytes(&self) -> u64 {
        let restored = if self.end_record.is_some() {
            MARKER.len() as u64
        } else {
            0
        };
        self.file_bytes - self.header_bytes - self.signature_bytes as u64 + restored
    }

    /// Where in the zip file the header says that the marker was taken out.
    #[must_use]
    pub fn end_record(&self) -> Option<u64> {
        self.end_record
    }

    /// Where in the file the zip's bytes begin.
    pub(crate) fn zip_start(&self) -> u64 {
        match self.format {
            Format::ViceroyFmt1 => self.header_bytes + self.signature_bytes as u64,
            Format::DirectorFmt1 | Format::ViceroyFmt2 => self.header_bytes,
        }
    }
}

/// Reads the header of a package and checks that the parts which it announces fit the file.
///
/// # Errors
/// See [`ArchiveError`]; no zip error arises here.
pub fn inspect<R: Read + Seek>(reader: &mut R, limits: &Limits) -> Result<Layout, ArchiveError> {
    let file_bytes = reader.seek(SeekFrom::End(0))?;
    if file_bytes > limits.package_bytes_max {
        let bytes_max = limits.package_bytes_max;
        return Err(ArchiveError::TooLarge {
            bytes: file_bytes,
            bytes_max,
        });
    }
    reader.seek(SeekFrom::Start(0))?;
    let mut head = Vec::new();
    reader
        .by_ref()
        .take(HEADER_BYTES_MAX)
        .read_to_end(&mut head)?;
    let mut lines = Lines {
        rest: &head,
        taken: 0,
    };

    let format = first_line(lines.next().ok_or_else(|| not_a_package(&head))?)?;
    let signature_bytes = lines.number(2, "the signature's length")?;
    let signature_bytes = signature_length(signature_bytes)?;
    let end_record = match format {
        Format::DirectorFmt1 => Some(lines.number(3, "the position of the end record")?),
        Format::ViceroyFmt2 | Format::ViceroyFmt1 => None,
    };
    let header_bytes = lines.taken;

    let removed = if end_record.is_some() {
        MARKER.len() as u64
    } else {
        0
    };
    let record_bytes = END_RECORD_BYTES as u64 - removed;
    let before = end_record.unwrap_or(0);
    let needed = [before, record_bytes, header_bytes, signature_bytes as u64]
        .into_iter()
        .try_fold(0_u64, u64::checked_add);
    match needed {
        Some(bytes) if bytes <= file_bytes => Ok(Layout {
            format,
            file_bytes,
            header_bytes,
            signature_bytes,
            end_record,
        }),
        _ => Err(ArchiveError::Truncated { bytes: file_bytes }),
    }
}

/// Why bytes are not a package that can be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file cannot be read.
    #[error("the package cannot be read")]
    Io(#[from] io::Error),
    /// The file is larger than the limit.
    #[error("the package has `{bytes}` bytes, more than the limit of `{bytes_max}`")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The first line is not that of a package.
    #[error("this is no source package: it begins with `{found}`")]
    NotAPackage {
        /// The first bytes, made printable.
        found: String,
    },
    /// The first line names a format that is not read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The first line names a hash that is not used.
    #[error("the package is signed over the hash `{found}`, not `sha256`")]
    HashName {
        /// The name after the format's.
        found: String,
    },
    /// A header line is not a number in its only spelling.
    #[error("header line {line}, {what}, is `{found}` and not a plain decimal number")]
    Number {
        /// Which line, from 1.
        line: u8,
        /// What the number says.
        what: &'static str,
        /// The line, made printable.
        found: String,
    },
    /// The signature's length cannot be that of a key.
    #[error("the signature has `{bytes}` bytes, which is no RSA key's of 1024 to 8192 bits")]
    SignatureLength {
        /// The length in the header.
        bytes: u64,
    },
    /// The file is shorter than its parts.
    #[error("the package of `{bytes}` bytes is cut off: its header announces more")]
    Truncated {
        /// The file's size.
        bytes: u64,
    },
    /// The header points to another place than where the zip file has its end record.
    #[error("header line 3 says `{announced}`, but the end record is at `{found}`")]
    EndRecordElsewhere {
        /// The position in the header.
        announced: u64,
        /// The real one.
        found: u64,
    },
    /// The bytes changed since they were verified.
    #[error("the package changed after its signature was checked")]
    Changed,
    /// The zip file inside is refused.
    #[error(transparent)]
    Zip(#[from] ZipError),
}

impl ArchiveError {
    /// The next step to take.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io(_) => "check that the file exists and may be read",
            Self::TooLarge { .. } => "leave data files out of the package",
            Self::Format(FormatError::Reserved) => "build it again with `fmt:ThespianDirectorFMT1`",
            Self::SignatureLength { bytes: 0 } => "it was never signed: build it again with gensrc",
            Self::Changed => "load it again",
            Self::Zip(error) => error.hint(),
            _ => "copy the file again, or build it again with gensrc",
        }
    }
}

/// The header's lines, without their LF.
struct Lines<'a> {
    rest: &'a [u8],
    taken: u64,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|byte| *byte == b'\n')?;
        let (line, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..)?;
        self.taken += line.len() as u64 + 1;
        Some(line)
    }

    fn number(&mut self, line: u8, what: &'static str) -> Result<u64, ArchiveError> {
        let rest = self.rest;
        let text = self.next().unwrap_or(rest);
        let complete = text.len() < rest.len();
        let number = canonical_number(text).filter(|_| complete);
        number.ok_or_else(|| ArchiveError::Number {
            line,
            what,
            found: printable(text),
        })
    }
}

fn first_line(line: &[u8]) -> Result<Format, ArchiveError> {
    let text = str::from_utf8(line).map_err(|_| not_a_package(line))?;
    // The format to come has no hash in its first line.
    let (name, hash) = text.split_once('-').unwrap_or((text, ""));
    if !name.contains("FMT") {
        return Err(not_a_package(line));
    }
    let format = name.parse()?;
    if hash == "sha256" {
        Ok(format)
    } else {
        Err(ArchiveError::HashName {
            found: printable(hash.as_bytes()),
        })
    }
}

fn signature_length(bytes: u64) -> Result<usize, ArchiveError> {
    usize::try_from(bytes)
        .ok()
        .filter(|bytes| (SIGNATURE_BYTES_MIN..=SIGNATURE_BYTES_MAX).contains(bytes))
        .ok_or(ArchiveError::SignatureLength { bytes })
}

/// Digits alone, no leading zero: `int()` of Python would take `" 0256"`, `+218` and `2_56` too.
fn canonical_number(text: &[u8]) -> Option<u64> {
    let canonical =
        text.iter().all(u8::is_ascii_digit) && (text.len() == 1 || text.first() != Some(&b'0'));
    let text = str::from_utf8(text).ok()?;
    if canonical { text.parse().ok() } else { None }
}

fn not_a_package(bytes: &[u8]) -> ArchiveError {
    ArchiveError::NotAPackage {
        found: printable(bytes),
    }
}

/// The first bytes for an error message: no control characters, no more than fits a line.
fn printable(bytes: &[u8]) -> String {
    let start = bytes.get(..bytes.len().min(40)).unwrap_or_default();
    start.escape_ascii().to_string()
}

/// More than the longest header: a name, `-sha256`, two numbers of 20 digits, three LF.
const HEADER_BYTES_MAX: u64 = 128;
