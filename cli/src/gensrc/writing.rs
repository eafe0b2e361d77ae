//! Members become a zip file, the zip file a signed package, in two passes of fixed memory.
//!
//! Both files grow beside their target under other names; the package gets its name only when it
//! is complete and on disk.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use package::{Builder, Format, PrivateKey, SignError, Signed, ZipError, sign};
use tempfile::NamedTempFile;

use super::members::{Members, unreadable};
use crate::progress::Progress;
use crate::{Exit, Failure};

/// A package that waits for its name.
#[derive(Debug)]
pub(crate) struct Written {
    /// What was signed.
    pub(crate) signed: Signed,
    file: NamedTempFile,
}

impl Written {
    /// Gives the package its name, in place of a file that has it.
    ///
    /// # Errors
    /// `Failed` when the directory does not let it.
    pub(crate) fn persist(self, path: &Path) -> Result<Signed, Failure> {
        self.file
            .persist(path)
            .map_err(|error| unwritable(path, &error.error))?;
        Ok(self.signed)
    }
}

/// Writes the package for `path` under another name.
///
/// # Errors
/// `Failed` naming the member, the key or the folder.
pub(crate) fn write(
    members: &Members,
    key: &PrivateKey,
    format: Format,
    path: &Path,
) -> Result<Written, Failure> {
    let folder = path.parent().unwrap_or(path);
    let zip = tempfile::tempfile_in(folder).map_err(|cause| unwritable(folder, &cause))?;
    let zip = pack(members, zip, folder)?;
    let bytes = zip
        .metadata()
        .map_err(|cause| unwritable(folder, &cause))?
        .len();
    let file = tempfile::Builder::new()
        .prefix(".")
        .suffix(".part")
        .permissions(PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(|cause| unwritable(folder, &cause))?;
    let progress = Progress::bytes("signing", bytes);
    let mut out = BufWriter::new(file.as_file());
    let signed = sign(
        &mut progress.reading(BufReader::new(zip)),
        key,
        format,
        &mut out,
    )
    .map_err(|error| unsigned(path, error))?;
    out.flush().map_err(|cause| unwritable(path, &cause))?;
    drop(out);
    file.as_file()
        .sync_all()
        .map_err(|cause| unwritable(path, &cause))?;
    Ok(Written { signed, file })
}

fn pack(members: &Members, zip: File, folder: &Path) -> Result<File, Failure> {
    let progress = Progress::bytes("packing", members.bytes()?);
    let mut builder = Builder::new(BufWriter::new(zip));
    for (name, path, _) in members.iter() {
        let file = File::open(path).map_err(|cause| unreadable(path, &cause))?;
        builder
            .add(name, &mut progress.reading(file))
            .map_err(|error| unpacked(path, error))?;
    }
    let zip = builder.finish().map_err(|error| unpacked(folder, error))?;
    zip.into_inner()
        .map_err(|error| unwritable(folder, error.error()))
}

fn unpacked(path: &Path, error: ZipError) -> Failure {
    let hint = error.hint();
    let text = format!("`{}` cannot be packed", path.display());
    Failure::new(Exit::Failed, anyhow::Error::new(error).context(text)).hint(hint)
}

fn unsigned(path: &Path, error: SignError) -> Failure {
    let hint = error.hint();
    let text = format!("no package `{}` was written", path.display());
    Failure::new(Exit::Failed, anyhow::Error::new(error).context(text)).hint(hint)
}

fn unwritable(path: &Path, cause: &std::io::Error) -> Failure {
    let text = format!("`{}` cannot be written: {cause}", path.display());
    Failure::text(Exit::Failed, text)
        .hint("check the rights and the space of the Director directory")
}
