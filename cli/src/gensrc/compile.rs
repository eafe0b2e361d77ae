//! Every `.py` file is compiled by the caller's interpreter, none is imported.
//!
//! An own source that is no Python stops gensrc; a dependency's is a warning, since distributions
//! ship templates and tests for other versions.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::members::{Members, Origin};
use crate::progress::Progress;
use crate::python;
use crate::{Exit, Failure, Printer};

/// Compiles the members that are Python.
///
/// # Errors
/// `Failed` with file, line and column of each own source that does not compile.
pub(crate) fn check(
    interpreter: &Path,
    members: &Members,
    printer: Printer,
) -> Result<(), Failure> {
    let python: Vec<_> = members
        .iter()
        .filter(|(name, ..)| name.ends_with(".py"))
        .collect();
    if python.is_empty() {
        return Ok(());
    }
    let progress = Progress::spinner(format!("compiling {} files", python.len()));
    let question = Question {
        files: python.iter().map(|(_, path, _)| *path).collect(),
    };
    let answer: Answer = python::ask(interpreter, SCRIPT, &question)?;
    drop(progress);
    let mut own = Vec::new();
    for fault in answer.faults {
        let Some((_, path, origin)) = python.get(fault.index) else {
            continue;
        };
        let text = fault.describe(path);
        match origin {
            Origin::Own => own.push(text),
            Origin::Dependency(name) => {
                printer.warning(format_args!("{text} (in {name}, packed all the same)"));
            }
        }
    }
    if own.is_empty() {
        return Ok(());
    }
    let text = format!("{} of the sources cannot be compiled", own.len());
    let failure = own
        .into_iter()
        .fold(Failure::text(Exit::Failed, text), Failure::detail);
    let interpreter = interpreter.display();
    Err(failure.hint(format_args!(
        "mend them for `{interpreter}`; nothing was written"
    )))
}

#[derive(Serialize)]
struct Question<'a> {
    files: Vec<&'a Path>,
}

#[derive(Deserialize)]
struct Answer {
    faults: Vec<Fault>,
}

#[derive(Deserialize)]
struct Fault {
    index: usize,
    line: Option<u64>,
    column: Option<u64>,
    message: String,
}

impl Fault {
    fn describe(&self, path: &Path) -> String {
        let path = path.display();
        match (self.line, self.column) {
            (Some(line), Some(column)) => format!("{path}:{line}:{column}: {}", self.message),
            (Some(line), None) => format!("{path}:{line}: {}", self.message),
            _ => format!("{path}: {}", self.message),
        }
    }
}

const SCRIPT: &str = include_str!("../../python/compile_check.py");
