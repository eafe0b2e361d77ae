//! The formats of a package, by the name that begins its first line.

use std::fmt;
use std::str::FromStr;

/// How a package's bytes are laid out.
///
/// # Format
/// `n` is the length of the signature, `Z` the zip file, numbers are decimal, lines end with LF.
/// `ThespianDirectorFMT1`: name`-sha256`, `n`, `P`, `Z[0..P)`, `Z[P+4..)`, signature; `P` is where
/// `Z` has its end-of-central-directory record, whose marker of 4 bytes is left out.
/// `ViceroyFMT2`: name`-sha256`, `n`, `Z`, signature.
/// `ViceroyFMT1`: name`-sha256`, `n`, signature, `Z` with six byte values exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Thespian's, read and written.
    DirectorFmt1,
    /// The one before, plain, read and written.
    ViceroyFmt2,
    /// The oldest, read only.
    ViceroyFmt1,
}

impl Format {
    /// The name in the first line and in `fmt:`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DirectorFmt1 => "ThespianDirectorFMT1",
            Self::ViceroyFmt2 => "ViceroyFMT2",
            Self::ViceroyFmt1 => "ViceroyFMT1",
        }
    }

    pub(crate) const ALL: [Self; 3] = [Self::DirectorFmt1, Self::ViceroyFmt2, Self::ViceroyFmt1];
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(name: &str) -> Result<Self, FormatError> {
        if name == RESERVED {
            return Err(FormatError::Reserved);
        }
        let known = Self::ALL.into_iter().find(|format| format.name() == name);
        known.ok_or_else(|| FormatError::Unknown {
            name: name.to_owned(),
        })
    }
}

/// Why a name stands for no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The format with the signed manifest, which does not exist yet.
    #[error("format `DirectorFMT2` is not supported yet; use `ThespianDirectorFMT1`")]
    Reserved,
    /// No format has this name.
    #[error("unknown package format `{name}`; known: `ThespianDirectorFMT1`, `ViceroyFMT2`")]
    Unknown {
        /// What was found or given.
        name: String,
    },
}

/// Name of the format to come, refused by name so that nobody takes it for a damaged file.
const RESERVED: &str = "DirectorFMT2";
