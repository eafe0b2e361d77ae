#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod limits;
pub use limits::Limits;

mod hash;
pub use hash::source_hash;
pub use protocol::SourceHash;

mod pem;
mod signature;

mod keys;
pub use keys::{KeyProblem, KeyRing, KeyWarning, PrivateKey, PublicKey};

mod format;
pub use format::{Format, FormatError};

mod layout;
pub use layout::{ArchiveError, Layout, inspect};

mod view;

mod verify;
pub use verify::{KeyOutcome, KeyTried, Verified, VerifyError, verify};

mod archive;
pub use archive::{
    Builder, Member, NameFault, UnpackSink, Unpacked, ZipError, check_member_name, contents,
    plain_contents, read_member, unpack, unpack_plain,
};

mod sign;
pub use sign::{SignError, Signed, sign};
mod version;
pub use version::VersionKey;

mod name;
pub use name::{PackageName, PackageNameError, keep_limit, newest_first};

mod tli;
pub use tli::{TliError, TliWarning, TliWarningKind, parse_tli};
