//! The zip file inside a package as a reader of its own, without a copy in memory or on disk.
//!
//! `ThespianDirectorFMT1` lacks the 4 bytes of a marker, `ViceroyFMT1` has byte values exchanged;
//! both are made good while reading.

use std::io::{self, Read, Seek, SeekFrom};

use crate::archive::MARKER;
use crate::format::Format;
use crate::layout::Layout;

/// Reads and seeks in the zip file's own positions.
#[derive(Debug)]
pub(crate) struct ZipView<'a, R> {
    reader: &'a mut R,
    layout: Layout,
    position: u64,
}

impl<'a, R: Read + Seek> ZipView<'a, R> {
    pub(crate) fn new(reader: &'a mut R, layout: Layout) -> Self {
        Self {
            reader,
            layout,
            position: 0,
        }
    }

    fn read_file(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader
            .seek(SeekFrom::Start(self.layout.zip_start() + at))?;
        let count = self.reader.read(buffer)?;
        if self.layout.format() == Format::ViceroyFmt1 {
            restore_bytes(buffer.get_mut(..count).unwrap_or_default());
        }
        Ok(count)
    }
}

impl<R: Read + Seek> Read for ZipView<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let position = self.position;
        let (marker, marker_end) = match self.layout.end_record() {
            Some(start) => (start, start + MARKER.len() as u64),
            None => (u64::MAX, 0),
        };
        let section_end = match position {
            _ if position < marker => marker.min(self.layout.zip_bytes()),
            _ if position < marker_end => marker_end,
            _ => self.layout.zip_bytes(),
        };
        let left = section_end.saturating_sub(position);
        let size = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let buffer = buffer.get_mut(..size).unwrap_or_default();
        let count = if position < marker {
            self.read_file(position, buffer)?
        } else if position < marker_end {
            let from = usize::try_from(position - marker).unwrap_or(usize::MAX);
            MARKER.get(from..).unwrap_or_default().read(buffer)?
        } else {
            self.read_file(position - MARKER.len() as u64, buffer)?
        };
        self.position += count as u64;
        Ok(count)
    }
}

impl<R: Read + Seek> Seek for ZipView<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => self.layout.zip_bytes().checked_add_signed(offset),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// Undoes `ViceroyFMT1`'s exchange of byte values.
pub(crate) fn restore_bytes(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = match *byte {
            b':' => b' ',
            b'a' => b'\n',
            b'i' => b'=',
            b' ' => b'i',
            b'\n' => b'a',
            b'=' => b':',
            other => other,
        };
    }
}
