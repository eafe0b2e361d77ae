//! The members' own headers: each must repeat the directory, and together they fill the file.
//!
//! Walked in file order without a hole: a member that begins inside another, bytes before the
//! first or between two, or a header that tells another story are refused.
//! Source: APPNOTE 6.3.10, 4.3.7 and 4.3.9.

use std::io::{BufReader, Read, Seek, SeekFrom};

use crate::archive::directory::{FLAG_DESCRIPTOR, Member, fill_from_zip64};
use crate::archive::end_record::{u16_at, u32_at, u64_at};
use crate::archive::{EndRecord, ZipError};
use crate::limits::NAME_BYTES_MAX;

/// Checks all headers and notes where each member's data begins.
pub(crate) fn check_headers<R: Read + Seek>(
    reader: &mut BufReader<R>,
    members: &mut [Member],
    end: &EndRecord,
) -> Result<(), ZipError> {
    let mut in_file_order: Vec<&mut Member> = members.iter_mut().collect();
    in_file_order.sort_by_key(|member| member.header_offset);
    let starts = in_file_order
        .iter()
        .map(|member| member.header_offset)
        .skip(1);
    let nexts: Vec<u64> = starts.chain([end.directory_start]).collect();
    if in_file_order.is_empty() && end.directory_start != 0 {
        return Err(ZipError::EndRecord {
            what: "bytes before the directory belong to nothing",
        });
    }
    for (index, (member, next)) in in_file_order.into_iter().zip(nexts).enumerate() {
        if index == 0 && member.header_offset != 0 {
            return Err(ZipError::Gap {
                member: member.name.clone(),
            });
        }
        check_header(reader, member, next)?;
    }
    Ok(())
}

const HEADER_BYTES: usize = 30;

fn check_header<R: Read + Seek>(
    reader: &mut BufReader<R>,
    member: &mut Member,
    next: u64,
) -> Result<(), ZipError> {
    let mut header = [0; HEADER_BYTES];
    let fixed_end = member.header_offset.checked_add(HEADER_BYTES as u64);
    if fixed_end.is_none_or(|end| end > next) {
        return Err(ZipError::Overlap {
            member: member.name.clone(),
        });
    }
    seek_near(reader, member.header_offset)?;
    reader.read_exact(&mut header)?;
    if !header.starts_with(b"PK\x03\x04") {
        return Err(differs(member, "marker"));
    }
    let name_bytes = usize::from(u16_at(&header, 26));
    let extra_bytes = usize::from(u16_at(&header, 28));
    if name_bytes > NAME_BYTES_MAX {
        return Err(differs(member, "name"));
    }
    let mut variable: Vec<u8> = vec![0; name_bytes + extra_bytes];
    reader.read_exact(&mut variable)?;
    let (name, extra) = variable.split_at(name_bytes);
    if name != member.name.as_bytes() {
        return Err(differs(member, "name"));
    }
    check_fields(&header, extra, member)?;

    member.data_offset = member.header_offset + (HEADER_BYTES + variable.len()) as u64;
    let data_end = member.data_offset.checked_add(member.compressed_size);
    let between = data_end.and_then(|data_end| next.checked_sub(data_end));
    let Some(between) = between else {
        return Err(ZipError::Overlap {
            member: member.name.clone(),
        });
    };
    if member.flags & FLAG_DESCRIPTOR != 0 {
        check_descriptor(reader, member, next - between, between)
    } else if between > 0 {
        Err(ZipError::Gap {
            member: member.name.clone(),
        })
    } else {
        Ok(())
    }
}

fn check_fields(header: &[u8], extra: &[u8], member: &Member) -> Result<(), ZipError> {
    if u16_at(header, 6) != member.flags {
        return Err(differs(member, "flag field"));
    }
    if u16_at(header, 8) != member.method {
        return Err(differs(member, "compression method"));
    }
    let crc = u32_at(header, 14);
    let (mut size, mut packed) = (u64::from(u32_at(header, 22)), u64::from(u32_at(header, 18)));
    fill_from_zip64(extra, [&mut size, &mut packed]).map_err(|what| ZipError::Unsupported {
        member: member.name.clone(),
        what: format!("a header where {what}"),
    })?;
    // With a descriptor the values follow the data, and here they may be zero.
    let follows = member.flags & FLAG_DESCRIPTOR != 0;
    let agree = |here: u64, there: u64| here == there || (follows && here == 0);
    if !agree(crc.into(), member.crc.into()) {
        return Err(differs(member, "checksum"));
    }
    if !agree(size, member.size) || !agree(packed, member.compressed_size) {
        return Err(differs(member, "size"));
    }
    Ok(())
}

/// The descriptor fills what is left before the next header: with or without a marker, with sizes
/// of 4 or 8 bytes.
fn check_descriptor<R: Read + Seek>(
    reader: &mut BufReader<R>,
    member: &Member,
    start: u64,
    bytes: u64,
) -> Result<(), ZipError> {
    if !matches!(bytes, 12 | 16 | 20 | 24) {
        return Err(ZipError::Gap {
            member: member.name.clone(),
        });
    }
    let mut descriptor = Vec::new();
    seek_near(reader, start)?;
    reader.by_ref().take(bytes).read_to_end(&mut descriptor)?;
    let fields = match bytes {
        16 | 24 => descriptor.strip_prefix(b"PK\x07\x08"),
        _ => Some(descriptor.as_slice()),
    };
    let fields = fields.ok_or_else(|| differs(member, "descriptor"))?;
    let (packed, size) = match bytes {
        12 | 16 => (u64::from(u32_at(fields, 4)), u64::from(u32_at(fields, 8))),
        _ => (u64_at(fields, 4), u64_at(fields, 12)),
    };
    if (u32_at(fields, 0), packed, size) != (member.crc, member.compressed_size, member.size) {
        return Err(differs(member, "descriptor"));
    }
    Ok(())
}

/// Seeks, keeping the buffer when the target is in it.
fn seek_near<R: Read + Seek>(reader: &mut BufReader<R>, to: u64) -> Result<(), ZipError> {
    let now = reader.stream_position()?;
    match i64::try_from(i128::from(to) - i128::from(now)) {
        Ok(distance) => reader.seek_relative(distance)?,
        Err(_) => {
            reader.seek(SeekFrom::Start(to))?;
        }
    }
    Ok(())
}

fn differs(member: &Member, what: &'static str) -> ZipError {
    ZipError::HeaderDiffers {
        member: member.name.clone(),
        what,
    }
}
