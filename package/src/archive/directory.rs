//! The members of a zip file as its central directory and their own headers agree on them.
//!
//! Source: APPNOTE 6.3.10, 4.3.12; `pitfalls` section 3.

use std::io::{BufReader, Read, Seek, SeekFrom};

use crate::archive::end_record::{u16_at, u32_at, u64_at};
use crate::archive::member_name::folded;
use crate::archive::{EndRecord, NameFault, ZipError, check_member_name, local};
use crate::limits::{Limits, NAME_BYTES_MAX};

/// One file or folder of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Its name: relative, `/` between parts, ending with `/` for a folder.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// What it takes in the package, in bytes.
    pub compressed_size: u64,
    /// CRC-32 of its bytes.
    pub crc: u32,
    /// Whether it is a folder.
    pub is_dir: bool,
    pub(crate) flags: u16,
    pub(crate) method: u16,
    pub(crate) header_offset: u64,
    pub(crate) data_offset: u64,
}

/// All members in the directory's order, after every check that needs no unpacking.
pub(crate) fn read_members<R: Read + Seek>(
    zip: &mut R,
    end: &EndRecord,
    limits: &Limits,
) -> Result<Vec<Member>, ZipError> {
    if end.members > limits.members_max {
        let (members, members_max) = (end.members, limits.members_max);
        return Err(ZipError::TooManyMembers {
            members,
            members_max,
        });
    }
    let mut reader = BufReader::with_capacity(HEADER_BUFFER_BYTES, zip);
    reader.seek(SeekFrom::Start(end.directory_start))?;
    let mut directory = reader.by_ref().take(end.directory_bytes);
    let mut members = Vec::new();
    for index in 1..=end.members {
        members.push(read_entry(&mut directory, index)?);
    }
    if directory.limit() > 0 {
        return Err(ZipError::EndRecord {
            what: "the directory has more entries than it says",
        });
    }
    check_sizes(&members, limits)?;
    check_collisions(&members)?;
    local::check_headers(&mut reader, &mut members, end)?;
    Ok(members)
}

pub(crate) const STORED: u16 = 0;
pub(crate) const DEFLATED: u16 = 8;
pub(crate) const FLAG_DESCRIPTOR: u16 = 1 << 3;
const FLAG_UTF8: u16 = 1 << 11;
/// Encryption, strong encryption, masked headers.
const FLAGS_ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
/// Levels of deflate, descriptor, UTF-8.
const FLAGS_KNOWN: u16 = 1 << 1 | 1 << 2 | FLAG_DESCRIPTOR | FLAG_UTF8;

/// Headers are small and often far apart.
const HEADER_BUFFER_BYTES: usize = 8 * 1024;
const ENTRY_BYTES: usize = 46;

fn read_entry<R: Read>(directory: &mut R, index: u64) -> Result<Member, ZipError> {
    let wrong = |what| ZipError::Entry { index, what };
    let cut_off = |_| wrong("it is cut off");
    let mut entry = [0; ENTRY_BYTES];
    directory.read_exact(&mut entry).map_err(cut_off)?;
    if !entry.starts_with(b"PK\x01\x02") {
        return Err(wrong("it has no marker"));
    }
    let name_bytes = usize::from(u16_at(&entry, 28));
    if name_bytes > NAME_BYTES_MAX {
        return Err(wrong("its name is too long"));
    }
    let extra_bytes = usize::from(u16_at(&entry, 30));
    let comment_bytes = usize::from(u16_at(&entry, 32));
    let mut variable = vec![0; name_bytes + extra_bytes + comment_bytes];
    directory.read_exact(&mut variable).map_err(cut_off)?;
    let (name, rest) = variable.split_at(name_bytes);
    let extra = rest.get(..extra_bytes).unwrap_or_default();

    let flags = u16_at(&entry, 8);
    let name = member_name(name, flags)?;
    let mut offset = u64::from(u32_at(&entry, 42));
    let mut sizes = (u64::from(u32_at(&entry, 24)), u64::from(u32_at(&entry, 20)));
    let wants = [&mut sizes.0, &mut sizes.1, &mut offset];
    fill_from_zip64(extra, wants).map_err(wrong)?;
    if u16_at(&entry, 34) != 0 {
        return Err(wrong("it lies on another disk"));
    }
    let member = Member {
        is_dir: name.ends_with('/'),
        name,
        size: sizes.0,
        compressed_size: sizes.1,
        crc: u32_at(&entry, 16),
        flags,
        method: u16_at(&entry, 10),
        header_offset: offset,
        data_offset: 0,
    };
    check_kind(&member, u32_at(&entry, 38) >> 16)?;
    Ok(member)
}

/// Values that are saturated in a header stand in its zip64 extra field, in order.
pub(crate) fn fill_from_zip64<const N: usize>(
    extra: &[u8],
    wants: [&mut u64; N],
) -> Result<(), &'static str> {
    let mut zip64: &[u8] = &[];
    let mut rest = extra;
    while let Some((head, tail)) = rest.split_at_checked(4) {
        let bytes = usize::from(u16_at(head, 2));
        let (field, after) = tail
            .split_at_checked(bytes)
            .ok_or("its extra fields are wrong")?;
        match u16_at(head, 0) {
            EXTRA_ZIP64 if zip64.is_empty() => zip64 = field,
            EXTRA_ZIP64 => return Err("it has two zip64 fields"),
            EXTRA_UNICODE_NAME => return Err("an extra field gives it a second name"),
            _ => {}
        }
        rest = after;
    }
    if !rest.is_empty() {
        return Err("its extra fields are wrong");
    }
    for want in wants {
        if *want == u64::from(u32::MAX) {
            let (value, after) = zip64
                .split_at_checked(8)
                .ok_or("its zip64 field is missing")?;
            *want = u64_at(value, 0);
            zip64 = after;
        }
    }
    Ok(())
}

const EXTRA_ZIP64: u16 = 0x0001;
const EXTRA_UNICODE_NAME: u16 = 0x7075;

fn member_name(bytes: &[u8], flags: u16) -> Result<String, ZipError> {
    let lossy = || String::from_utf8_lossy(bytes).into_owned();
    let refused = |fault| ZipError::Name {
        name: lossy(),
        fault,
    };
    let name = str::from_utf8(bytes).map_err(|_| refused(NameFault::Encoding))?;
    if !name.is_ascii() && flags & FLAG_UTF8 == 0 {
        return Err(refused(NameFault::Encoding));
    }
    check_member_name(name).map_err(refused)?;
    Ok(name.to_owned())
}

fn check_kind(member: &Member, mode: u32) -> Result<(), ZipError> {
    let name = || member.name.clone();
    let unsupported = |what: String| ZipError::Unsupported {
        member: name(),
        what,
    };
    if member.flags & FLAGS_ENCRYPTED != 0 {
        return Err(ZipError::Encrypted { member: name() });
    }
    if member.flags & !FLAGS_KNOWN != 0 {
        return Err(unsupported(format!(
            "unknown flags `{:#06x}`",
            member.flags
        )));
    }
    if !matches!(member.method, STORED | DEFLATED) {
        return Err(unsupported(format!("compression method {}", member.method)));
    }
    let kind_fits = match mode & 0o170_000 {
        0 => true,
        0o040_000 => member.is_dir,
        0o100_000 => !member.is_dir,
        _ => false,
    };
    if !kind_fits {
        return Err(ZipError::Special {
            member: name(),
            mode,
        });
    }
    let damaged = |what| {
        Err(ZipError::Damaged {
            member: name(),
            what,
        })
    };
    if member.is_dir && member.size != 0 {
        return damaged("it is a folder with content");
    }
    if member.method == STORED && member.size != member.compressed_size {
        return damaged("it is stored with another size than it has");
    }
    Ok(())
}

fn check_sizes(members: &[Member], limits: &Limits) -> Result<(), ZipError> {
    let sum = |size: fn(&Member) -> u64| members.iter().map(size).fold(0, u64::saturating_add);
    let (bytes, packed) = (
        sum(|member| member.size),
        sum(|member| member.compressed_size),
    );
    if bytes > limits.unpacked_bytes_max {
        return Err(ZipError::TooLarge {
            bytes,
            bytes_max: limits.unpacked_bytes_max,
        });
    }
    if bytes > limits.ratio_free_bytes && bytes / limits.ratio_max.max(1) > packed {
        return Err(ZipError::Ratio {
            bytes,
            packed,
            ratio_max: limits.ratio_max,
        });
    }
    Ok(())
}

/// With `/` as the smallest character, all that lies in a folder follows it in the sorted list.
fn check_collisions(members: &[Member]) -> Result<(), ZipError> {
    let key = |member: &Member| folded(&member.name).replace('/', "\0");
    let mut keys: Vec<_> = members.iter().map(|member| (key(member), member)).collect();
    keys.sort_by(|one, other| one.0.cmp(&other.0));
    for ((first_key, first), (second_key, second)) in keys.iter().zip(keys.iter().skip(1)) {
        let (first_name, second_name) = (first.name.clone(), second.name.clone());
        if first_key == second_key {
            return Err(ZipError::Duplicate {
                first: first_name,
                second: second_name,
            });
        }
        let below = second_key.strip_prefix(first_key.as_str());
        if !first.is_dir && below.is_some_and(|rest| rest.starts_with('\0')) {
            return Err(ZipError::FileIsFolder {
                file: first_name,
                inside: second_name,
            });
        }
    }
    Ok(())
}
