//! A zip file with the same bytes for the same members: sorted, without times, owners or modes.

use std::fmt;
use std::io::{self, Read, Seek, Write};

use flate2::Compression;
use flate2::write::DeflateEncoder;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, System, ZipWriter};

use crate::archive::{NameFault, ZipError, check_member_name};
use crate::hash::for_each_chunk;

/// Writes a zip file member by member, in the order of their names.
pub struct Builder<W: Write + Seek> {
    zip: ZipWriter<W>,
    last: Option<String>,
}

impl<W: Write + Seek> Builder<W> {
    /// A zip file written to `out`, from its start.
    pub fn new(out: W) -> Self {
        Self {
            zip: ZipWriter::new(out),
            last: None,
        }
    }

    /// Adds a file with everything that `content` gives; returns its size.
    ///
    /// # Errors
    /// `Name` and `Order` for a name that does not fit, before anything is read; `Source` and
    /// `Io`.
    pub fn add(&mut self, name: &str, content: &mut dyn Read) -> Result<u64, ZipError> {
        let file_name = check_member_name(name);
        let file_name = file_name.and_then(|()| match name.strip_suffix('/') {
            Some(_) => Err(NameFault::Dots),
            None => Ok(()),
        });
        file_name.map_err(|fault| ZipError::Name {
            name: name.to_owned(),
            fault,
        })?;
        if let Some(after) = self.last.as_ref().filter(|last| last.as_str() >= name) {
            return Err(ZipError::Order {
                member: name.to_owned(),
                after: after.clone(),
            });
        }
        self.last = Some(name.to_owned());
        let unread = |source| ZipError::Source {
            member: name.to_owned(),
            source,
        };
        let mut head = Vec::new();
        let mut first = content.take(SAMPLE_BYTES);
        first.read_to_end(&mut head).map_err(unread)?;
        self.zip
            .start_file(name, options(method_for(&head)))
            .map_err(io::Error::from)?;
        let zip = &mut self.zip;
        let mut write_error = None;
        let mut content = head.as_slice().chain(content);
        let read = for_each_chunk(&mut content, u64::MAX, |chunk| {
            zip.write_all(chunk).map_err(|error| {
                let kind = error.kind();
                write_error = Some(error);
                kind.into()
            })
        });
        match (read, write_error) {
            (_, Some(error)) => Err(ZipError::Io(error)),
            (Err(source), None) => Err(unread(source)),
            (Ok(bytes), None) => Ok(bytes),
        }
    }

    /// Ends the zip file and gives its writer back.
    ///
    /// # Errors
    /// `Empty` when nothing was added; `Io`.
    pub fn finish(self) -> Result<W, ZipError> {
        if self.last.is_none() {
            return Err(ZipError::Empty);
        }
        Ok(self.zip.finish().map_err(io::Error::from)?)
    }
}

impl<W: Write + Seek> fmt::Debug for Builder<W> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Builder")
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

/// Start of a member by which its method is chosen.
const SAMPLE_BYTES: u64 = 64 << 10;

/// Stores a large member whose start does not shrink by a twentieth: packing it would cost most
/// of the time of `gensrc` and gain nothing.
fn method_for(head: &[u8]) -> CompressionMethod {
    if (head.len() as u64) < SAMPLE_BYTES {
        return CompressionMethod::Deflated;
    }
    let mut sample = DeflateEncoder::new(Vec::new(), Compression::fast());
    let packed = sample.write_all(head).and_then(|()| sample.finish());
    match packed {
        Ok(packed) if packed.len() * 20 > head.len() * 19 => CompressionMethod::Stored,
        _ => CompressionMethod::Deflated,
    }
}

fn options(method: CompressionMethod) -> SimpleFileOptions {
    SimpleFileOptions::DEFAULT
        .compression_method(method)
        .last_modified_time(DateTime::DEFAULT)
        .unix_permissions(0o644)
        .system(System::Unix)
}
