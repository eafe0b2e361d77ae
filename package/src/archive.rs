//! The zip file inside a package: a strict reader, an unpacker and a deterministic writer.
//!
//! The reader is our own because another parser's leniency is an attack here: each byte of the
//! file must belong to exactly one header or member, and local headers must say what the central
//! directory says, so that no two programs can see two different packages.

mod error;
pub use error::ZipError;

mod member_name;
pub use member_name::{NameFault, check_member_name};

mod end_record;
pub(crate) use end_record::{END_RECORD_BYTES, EndRecord, MARKER};

mod directory;
pub use directory::Member;
pub(crate) use directory::read_members;

mod local;

mod unpack;
pub(crate) use unpack::read_directory;
pub use unpack::{
    UnpackSink, Unpacked, contents, plain_contents, read_member, unpack, unpack_plain,
};

mod builder;
pub use builder::Builder;
