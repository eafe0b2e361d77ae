//! The files of installed distributions, found by a script in the caller's interpreter.
//!
//! A dependency file has one distribution or import name a line; extras in brackets and `#`
//! comments are understood, versions are not: what is installed is what is packed.
//! Not here: how the script finds them (`python/collect.py`).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::python;
use crate::{Exit, Failure, Printer};

/// What was found.
#[derive(Debug, Deserialize, Default)]
pub(crate) struct Collected {
    /// The distributions, each before what it requires.
    pub(crate) distributions: Vec<Distribution>,
    missing: Vec<Missing>,
    standard: Vec<Standard>,
    notes: Vec<String>,
    warnings: Vec<String>,
}

/// One distribution, or a module that belongs to none.
#[derive(Debug, Deserialize)]
pub(crate) struct Distribution {
    /// Its name.
    pub(crate) name: String,
    /// Its version, where it has one.
    pub(crate) version: Option<String>,
    /// `RECORD` or `folder`: how its files were found.
    pub(crate) by: String,
    /// (member name, file).
    pub(crate) files: Vec<(String, PathBuf)>,
}

/// Collects what a dependency file names; with `closure` also what that requires.
///
/// # Errors
/// `Failed` for a line that is no name, a name that is not installed, or when Python fails.
pub(crate) fn collect(
    interpreter: &Path,
    list: &Path,
    closure: bool,
    printer: Printer,
) -> Result<Collected, Failure> {
    let wanted = read_list(list)?;
    let question = Question { wanted, closure };
    let collected: Collected = python::ask(interpreter, SCRIPT, &question)?;
    for note in &collected.notes {
        printer.detail(note);
    }
    for warning in &collected.warnings {
        printer.warning(warning);
    }
    for standard in &collected.standard {
        let (name, line) = (&standard.name, standard.line);
        let place = format!("{}:{line}", list.display());
        printer.warning(format_args!(
            "{place}: `{name}` is part of Python and is not packed"
        ));
    }
    if collected.missing.is_empty() {
        Ok(collected)
    } else {
        Err(missing(&collected, list, interpreter))
    }
}

fn missing(collected: &Collected, list: &Path, interpreter: &Path) -> Failure {
    let (list, interpreter) = (list.display(), interpreter.display());
    let text = format!("dependencies are not installed for `{interpreter}`");
    let failure =
        collected
            .missing
            .iter()
            .fold(Failure::text(Exit::Failed, text), |failure, missing| {
                let Missing {
                    name,
                    line,
                    wanted_by,
                } = missing;
                match wanted_by {
                    Some(by) => {
                        failure.detail(format_args!("{list}:{line}: `{name}`, required by `{by}`"))
                    }
                    None => failure.detail(format_args!("{list}:{line}: `{name}`")),
                }
            });
    let names: Vec<_> = collected
        .missing
        .iter()
        .map(|missing| missing.name.as_str())
        .collect();
    let install = format!(
        "install them: `{interpreter} -m pip install {}`",
        names.join(" ")
    );
    let failure = failure.hint(install);
    if collected
        .missing
        .iter()
        .any(|missing| missing.wanted_by.is_some())
    {
        failure.hint("or pack exactly the listed ones with `deps-only:` instead of `deps:`")
    } else {
        failure
    }
}

fn read_list(list: &Path) -> Result<Vec<Wanted>, Failure> {
    let text = std::fs::read_to_string(list).map_err(|cause| {
        let text = format!(
            "the dependency file `{}` cannot be read: {cause}",
            list.display()
        );
        Failure::text(Exit::Failed, text)
            .hint("it is looked for in the current folder, then in SOURCES_DIR")
    })?;
    let lines = text.lines().enumerate();
    let lines = lines.filter_map(|(index, line)| {
        let name = line.split('#').next().unwrap_or_default().trim();
        (!name.is_empty()).then_some((index + 1, name))
    });
    lines
        .map(|(line, text)| Wanted::parse(list, line, text))
        .collect()
}

#[derive(Debug, Serialize)]
struct Question {
    wanted: Vec<Wanted>,
    closure: bool,
}

#[derive(Debug, Serialize)]
struct Wanted {
    name: String,
    extras: Vec<String>,
    line: usize,
}

impl Wanted {
    fn parse(list: &Path, line: usize, text: &str) -> Result<Self, Failure> {
        let (name, extras) = match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
            Some((name, extras)) => (name.trim(), extras.split(',').map(str::trim).collect()),
            None => (text, Vec::new()),
        };
        let letters = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.is_empty() || !name.chars().all(letters) {
            let place = format!("{}:{line}", list.display());
            let text = format!("{place}: `{text}` is no distribution or import name");
            return Err(Failure::text(Exit::Failed, text)
                .hint("write one name a line without a version: what is installed is packed"));
        }
        let extras = extras.into_iter().map(str::to_owned).collect();
        Ok(Self {
            name: name.to_owned(),
            extras,
            line,
        })
    }
}

#[derive(Debug, Deserialize)]
struct Missing {
    name: String,
    line: usize,
    wanted_by: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Standard {
    name: String,
    line: usize,
}

const SCRIPT: &str = include_str!("../../python/collect.py");
