//! The end-of-central-directory record: found from the end, not by its first marker.
//!
//! A member, or its compressed bytes, may contain the marker. The real record is the last one
//! whose comment ends exactly with the file.
//! Source: APPNOTE 6.3.10, 4.3.14 to 4.3.16; defect D19.

use std::io::{Read, Seek, SeekFrom};

use crate::archive::ZipError;

/// First bytes of the record.
pub(crate) const MARKER: [u8; 4] = *b"PK\x05\x06";
/// Length of the record without its comment.
pub(crate) const END_RECORD_BYTES: usize = 22;

/// Where the central directory lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndRecord {
    /// Where the record begins.
    pub(crate) position: u64,
    pub(crate) directory_start: u64,
    pub(crate) directory_bytes: u64,
    pub(crate) members: u64,
}

impl EndRecord {
    /// Finds the record of a zip file of `total` bytes, and checks that the directory ends where
    /// the record, or its zip64 companion, begins.
    pub(crate) fn find<R: Read + Seek>(zip: &mut R, total: u64) -> Result<Self, ZipError> {
        let window = total.min((END_RECORD_BYTES + COMMENT_BYTES_MAX) as u64);
        zip.seek(SeekFrom::Start(total - window))?;
        let mut tail = Vec::new();
        zip.by_ref().take(window).read_to_end(&mut tail)?;
        let at = last_record(&tail).ok_or(ZipError::NoEndRecord)?;
        let (before, record) = tail.split_at_checked(at).ok_or(ZipError::NoEndRecord)?;
        let comment = record.get(END_RECORD_BYTES..).unwrap_or_default();
        if comment.windows(MARKER.len()).any(|window| window == MARKER) {
            return Err(ZipError::EndRecord {
                what: "its comment holds another record",
            });
        }
        let position = total - window + before.len() as u64;
        let (found, end) = Self::read(zip, record, position)?;
        if found.directory_start.checked_add(found.directory_bytes) != Some(end) {
            return Err(ZipError::EndRecord {
                what: "the directory does not end where it begins",
            });
        }
        Ok(found)
    }

    /// The record's values, and where the directory must end.
    fn read<R: Read + Seek>(
        zip: &mut R,
        record: &[u8],
        position: u64,
    ) -> Result<(Self, u64), ZipError> {
        let members_here = u16_at(record, 8);
        let (members, bytes, start) = (u16_at(record, 10), u32_at(record, 12), u32_at(record, 16));
        if members == u16::MAX || bytes == u32::MAX || start == u32::MAX {
            return Self::read_zip64(zip, position);
        }
        if u32_at(record, 4) != 0 || members_here != members {
            return Err(ZipError::EndRecord {
                what: "it spans several disks",
            });
        }
        let found = Self {
            position,
            directory_start: start.into(),
            directory_bytes: bytes.into(),
            members: members.into(),
        };
        Ok((found, position))
    }

    fn read_zip64<R: Read + Seek>(zip: &mut R, position: u64) -> Result<(Self, u64), ZipError> {
        let wrong = |what| ZipError::EndRecord { what };
        let pair = (ZIP64_RECORD_BYTES + ZIP64_LOCATOR_BYTES) as u64;
        let start = position
            .checked_sub(pair)
            .ok_or_else(|| wrong("its zip64 record is missing"))?;
        let mut both = [0; ZIP64_RECORD_BYTES + ZIP64_LOCATOR_BYTES];
        zip.seek(SeekFrom::Start(start))?;
        zip.read_exact(&mut both)?;
        let (record, locator) = both.split_at(ZIP64_RECORD_BYTES);
        if !record.starts_with(b"PK\x06\x06") || !locator.starts_with(b"PK\x06\x07") {
            return Err(wrong("its zip64 record is missing"));
        }
        let fixed_size = u64_at(record, 4) == (ZIP64_RECORD_BYTES - 12) as u64;
        if !fixed_size || u64_at(locator, 8) != start {
            return Err(wrong("its zip64 record is elsewhere"));
        }
        let disks = (u32_at(record, 16), u32_at(record, 20), u32_at(locator, 4));
        let members = u64_at(record, 32);
        if disks != (0, 0, 0) || u32_at(locator, 16) > 1 || u64_at(record, 24) != members {
            return Err(wrong("it spans several disks"));
        }
        let found = Self {
            position,
            directory_start: u64_at(record, 48),
            directory_bytes: u64_at(record, 40),
            members,
        };
        Ok((found, start))
    }
}

/// Start of the last record whose comment ends with `tail`.
fn last_record(tail: &[u8]) -> Option<usize> {
    let last_start = tail.len().checked_sub(END_RECORD_BYTES)?;
    (0..=last_start).rev().find(|start| {
        let record = tail.get(*start..).unwrap_or_default();
        let comment_bytes = usize::from(u16_at(record, 20));
        record.starts_with(&MARKER) && record.len() == END_RECORD_BYTES + comment_bytes
    })
}

/// The little-endian number at `at`; 0 past the end, so hand it complete records.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    array_at(bytes, at).map_or(0, u16::from_le_bytes)
}

/// As [`u16_at`].
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    array_at(bytes, at).map_or(0, u32::from_le_bytes)
}

/// As [`u16_at`].
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    array_at(bytes, at).map_or(0, u64::from_le_bytes)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

const COMMENT_BYTES_MAX: usize = u16::MAX as usize;
const ZIP64_RECORD_BYTES: usize = 56;
const ZIP64_LOCATOR_BYTES: usize = 20;
