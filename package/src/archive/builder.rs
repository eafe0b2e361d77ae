//! A zip file with the same bytes for the same members: sorted, without times, owners or modes.

use std::fmt;
use std::io::{self, Read, Seek, Write};

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
        self.zip
            .start_file(name, options())
            .map_err(io::Error::from)?;
        let zip = &mut self.zip;
        let mut write_error = None;
        let read = for_each_chunk(content, u64::MAX, |chunk| {
            zip.write_all(chunk).map_err(|error| {
                let kind = error.kind();
                write_error = Some(error);
                kind.into()
            })
        });
        match (read, write_error) {
            (_, Some(error)) => Err(ZipError::Io(error)),
            (Err(source), None) => Err(ZipError::Source {
                member: name.to_owned(),
                source,
            }),
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

fn options() -> SimpleFileOptions {
    SimpleFileOptions::DEFAULT
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::DEFAULT)
        .unix_permissions(0o644)
        .system(System::Unix)
}
