//! The group's `.tli` file: found, evaluated for errors, and copied beside the package.

use std::fs;
use std::path::{Path, PathBuf};

use node::directory::Directory;
use protocol::GroupDefinition;

use super::sources::Sources;
use crate::files::read_definition;
use crate::{Exit, Failure, Printer};

/// The definition that goes with the package.
#[derive(Debug)]
pub(crate) struct Definition {
    /// Where the group's `.tli` belongs.
    target: PathBuf,
    /// Its bytes, when they are to be copied.
    copy: Option<Vec<u8>>,
    /// What it says; `None`: the group has no `.tli`.
    values: Option<GroupDefinition>,
}

impl Definition {
    /// `TLS_Keep_Limit`.
    pub(crate) fn keep_limit(&self) -> Option<u32> {
        self.values.as_ref().and_then(|values| values.keep_limit)
    }

    /// What a user may have forgotten.
    pub(crate) fn note(&self) -> Option<String> {
        let target = self.target.display();
        let note = || format!("until `{target}` exists, the package cannot be loaded");
        self.values.is_none().then(note)
    }

    /// Writes the copy into the directory; returns its path.
    ///
    /// # Errors
    /// `Failed` when it cannot be written.
    pub(crate) fn write(&self) -> Result<Option<&Path>, Failure> {
        let Some(content) = &self.copy else {
            return Ok(None);
        };
        let path = self.target.as_path();
        let folder = path.parent().unwrap_or(path);
        let written = tempfile::Builder::new()
            .prefix(".")
            .suffix(".part")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(folder)
            .and_then(|mut file| {
                std::io::Write::write_all(&mut file, content)?;
                file.as_file().sync_all()?;
                file.persist(path).map_err(|error| error.error)
            });
        match written {
            Ok(_file) => Ok(Some(path)),
            Err(cause) => {
                let text = format!("`{}` cannot be written: {cause}", path.display());
                Err(Failure::text(Exit::Failed, text).hint("check the rights of the directory"))
            }
        }
    }
}

/// The definition for a group: the file named, else `GROUP.tli` of the sources, else the one that
/// the directory has.
///
/// # Errors
/// `Failed` for a file that is named and not there, or that says nothing a load could use.
pub(crate) fn find(
    named: Option<&Path>,
    sources: &Sources,
    group: &str,
    directory: &Directory,
    printer: Printer,
) -> Result<Definition, Failure> {
    let target = directory.tli(group);
    let beside = sources.below(format!("{group}.tli"));
    let source = match named {
        Some(named) => sources.file(named),
        None if beside.is_file() => beside,
        None if target.is_file() => target.clone(),
        None => {
            return Ok(Definition {
                target,
                copy: None,
                values: None,
            });
        }
    };
    let values = read_definition(&source, printer, Exit::Failed)?;
    let is_target = source
        .canonicalize()
        .ok()
        .is_some_and(|path| target.canonicalize().ok() == Some(path));
    let copy = if is_target {
        None
    } else {
        let content = fs::read(&source);
        Some(content.map_err(|cause| super::members::unreadable(&source, &cause))?)
    };
    Ok(Definition {
        target,
        copy,
        values: Some(values),
    })
}
