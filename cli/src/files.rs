//! Finding and checking the files that commands name: packages, keys, and what is trusted.
//!
//! Not here: the formats (`package`), the owner and mode checks (`node::directory`).

use std::path::{Path, PathBuf};

use node::directory::KeyFilesError;
use package::{KeyRing, parse_tli};
use protocol::GroupDefinition;
use pyliteral::Environment;

use crate::commands::Context;
use crate::{Exit, Failure, Printer};

impl Context {
    /// The package that a word names: a path, a file of the directory, or a group's newest.
    pub(crate) fn package_named(&self, word: &Path) -> Option<PathBuf> {
        let in_directory = self.directory.file(word);
        let as_file = [word, &in_directory]
            .into_iter()
            .find(|path| path.is_file());
        let is_definition = word.extension().is_some_and(|extension| extension == "tli");
        if let Some(path) = as_file.filter(|_| !is_definition) {
            return Some(path.to_owned());
        }
        let group = word.to_str()?;
        let group = group.strip_suffix(".tli").unwrap_or(group);
        let packages = self.directory.packages_of(group).ok()?;
        packages.into_iter().next().map(|package| package.path)
    }

    /// The keys of the directory as they are now; says which are not used, and why.
    pub(crate) fn keys(&self) -> Result<KeyRing, KeyFilesError> {
        let found = self.directory.key_files()?;
        for refused in &found.refused {
            self.printer.warning(refused);
        }
        let (ring, warnings) = KeyRing::parse(found.files);
        for warning in warnings {
            let hint = warning.problem.hint();
            self.printer.warning(format_args!("{warning}; {hint}"));
        }
        Ok(ring)
    }
}

/// Reads and evaluates a `.tli` file with the environment of this process.
///
/// # Errors
/// `exit` with the place of the fault.
pub(crate) fn read_definition(
    path: &Path,
    printer: Printer,
    exit: Exit,
) -> Result<GroupDefinition, Failure> {
    let text = std::fs::read(path).map_err(|cause| {
        Failure::text(
            exit,
            format_args!("`{}` cannot be read: {cause}", path.display()),
        )
        .hint("check that the .tli file exists and may be read")
    })?;
    let text = String::from_utf8(text).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let text = format!(
            "`{}` is not UTF-8 text: byte {at} is no character",
            path.display()
        );
        Failure::text(exit, text).hint("save the file as UTF-8 text")
    })?;
    evaluate_definition(&path.display().to_string(), &text, printer, exit)
}

/// Evaluates the text of a `.tli` file, wherever it lies, with the environment of this process.
///
/// # Errors
/// `exit` with the place of the fault.
pub(crate) fn evaluate_definition(
    shown: &str,
    text: &str,
    printer: Printer,
    exit: Exit,
) -> Result<GroupDefinition, Failure> {
    let variables = node::directory::variables();
    let names = Environment::new(&variables);
    let (definition, warnings) = parse_tli(shown, text, &names).map_err(|error| {
        let hint = error.hint();
        Failure::text(exit, error).hint(hint)
    })?;
    for warning in warnings {
        printer.warning(warning);
    }
    Ok(definition)
}
