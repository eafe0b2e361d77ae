//! Why a zip file is refused; the member is always named.

use std::io;

use crate::archive::NameFault;

/// Why a zip file, or a member of it, is refused.
#[derive(Debug, thiserror::Error)]
pub enum ZipError {
    /// The bytes cannot be read.
    #[error("the zip file cannot be read")]
    Io(#[from] io::Error),
    /// There is no end record that reaches the end of the file.
    #[error("the zip file has no end record: it is cut off, or something follows it")]
    NoEndRecord,
    /// The end record, or one that belongs to it, contradicts itself or the file.
    #[error("the zip file's end record is wrong: {what}")]
    EndRecord {
        /// What is wrong.
        what: &'static str,
    },
    /// An entry of the central directory is no entry.
    #[error("entry {index} of the zip file's directory is wrong: {what}")]
    Entry {
        /// Which, from 1.
        index: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// More members than the limit.
    #[error("the zip file has `{members}` members, more than the limit of `{members_max}`")]
    TooManyMembers {
        /// Their number.
        members: u64,
        /// The limit.
        members_max: u64,
    },
    /// The members would take more space than the limit.
    #[error("the members take `{bytes}` bytes unpacked, more than the limit of `{bytes_max}`")]
    TooLarge {
        /// What they would take.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The members unpack to suspiciously much.
    #[error(
        "the members unpack from `{packed}` to `{bytes}` bytes, over {ratio_max}:1: a zip bomb"
    )]
    Ratio {
        /// Unpacked.
        bytes: u64,
        /// Packed.
        packed: u64,
        /// The limit.
        ratio_max: u64,
    },
    /// A name that must not be unpacked.
    #[error("member name `{}` {fault}", name.escape_debug())]
    Name {
        /// The name, as far as it is text.
        name: String,
        /// What is wrong with it.
        fault: NameFault,
    },
    /// Two members would be one file.
    #[error("members `{first}` and `{second}` are one file where case or composition is ignored")]
    Duplicate {
        /// One name.
        first: String,
        /// The other.
        second: String,
    },
    /// A member's name is a folder of another's.
    #[error("member `{file}` is a file, and a folder of `{inside}`")]
    FileIsFolder {
        /// The file.
        file: String,
        /// The member inside.
        inside: String,
    },
    /// A member that is neither a file nor a folder.
    #[error("member `{member}` is a link, a device or another special file (mode `{mode:o}`)")]
    Special {
        /// Its name.
        member: String,
        /// Its Unix mode.
        mode: u32,
    },
    /// An encrypted member.
    #[error("member `{member}` is encrypted")]
    Encrypted {
        /// Its name.
        member: String,
    },
    /// A member that uses something other than plain zip.
    #[error("member `{member}` uses {what}")]
    Unsupported {
        /// Its name.
        member: String,
        /// What it uses.
        what: String,
    },
    /// A member's local header, or its descriptor, contradicts the directory.
    #[error("member `{member}` has another {what} in its own header than in the directory")]
    HeaderDiffers {
        /// Its name.
        member: String,
        /// Which field.
        what: &'static str,
    },
    /// A member overlaps the next thing in the file.
    #[error("member `{member}` overlaps what follows it")]
    Overlap {
        /// Its name.
        member: String,
    },
    /// Bytes that belong to nothing.
    #[error("bytes before or after member `{member}` belong to no member")]
    Gap {
        /// Its name.
        member: String,
    },
    /// A member that does not unpack to what the directory says.
    #[error("member `{member}` is damaged: {what}")]
    Damaged {
        /// Its name.
        member: String,
        /// What is wrong.
        what: &'static str,
    },
    /// No such member.
    #[error("the package has no file `{member}`")]
    Missing {
        /// The name asked for.
        member: String,
    },
    /// The place where a member goes cannot take it.
    #[error("member `{member}` cannot be written")]
    Write {
        /// Its name.
        member: String,
        /// Why.
        source: io::Error,
    },
    /// What a member is made from cannot be read.
    #[error("the source of member `{member}` cannot be read")]
    Source {
        /// Its name.
        member: String,
        /// Why.
        source: io::Error,
    },
    /// Members handed to the builder in another than the order of their names.
    #[error("member `{member}` must come before `{after}`: members are added in name order")]
    Order {
        /// The one handed in.
        member: String,
        /// The one before.
        after: String,
    },
    /// A package without members.
    #[error("the package would be empty")]
    Empty,
}

impl ZipError {
    /// The next step to take.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "see its members with `director tlsinfo FILE contents`",
            Self::Write { .. } => "check the space and the rights where it is written",
            Self::Source { .. } | Self::Io(_) => "check that the file exists and may be read",
            Self::TooLarge { .. } | Self::Ratio { .. } | Self::TooManyMembers { .. } => {
                "leave data files out of the package"
            }
            Self::Name { .. } | Self::Duplicate { .. } | Self::FileIsFolder { .. } => {
                "rename the file and build the package again with gensrc"
            }
            Self::Empty => "name at least one source that exists",
            _ => "build the package again with gensrc",
        }
    }
}
