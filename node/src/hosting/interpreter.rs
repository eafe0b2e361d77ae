//! The interpreter behind a program's path, found out by one run of it.
//!
//! What a run said is kept in the state folder under the file's path, time and size, so that a
//! node starts without running Python at all. A shim (pyenv) costs 0.1 s a start, so workers
//! are started with the real program; that of a virtual environment stays as it is named,
//! because its place is what makes the environment effective.
//! Not here: which program is asked (`policy`).

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::hosting::bounded_run::{self, Run};

/// A Python interpreter that can run workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// The program to start.
    pub executable: PathBuf,
    /// Its version.
    pub version: PythonVersion,
    /// What follows the version in `sys.version_info`.
    pub release: PythonRelease,
    /// As `sysconfig.get_platform` says it, `linux-x86_64` for example.
    pub platform: String,
    /// Ends of file names of extension modules that it loads, the preferred one first.
    pub suffixes: Vec<String>,
    /// Folder of the installation behind it.
    pub base_prefix: PathBuf,
    /// Folder of its virtual environment, if it is one.
    pub virtual_env: Option<PathBuf>,
}

/// Version of an interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PythonVersion(pub u16, pub u16, pub u16);

/// How final a version is: level (`final`, `candidate`...) and serial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PythonRelease(pub String, pub u16);

impl fmt::Display for PythonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl fmt::Display for Interpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (Python {})", self.executable.display(), self.version)
    }
}

/// A program that cannot run workers.
#[derive(Debug, thiserror::Error)]
pub enum InterpreterError {
    /// It could not be run.
    #[error("`{}` cannot be run as Python: {cause}", path.display())]
    Run {
        /// The program.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It ran and did not answer as a Python does.
    #[error(
        "`{}` does not answer like Python 3.8 or newer (it ended with {status}){}; \
         name another one in `python.cfg`",
        path.display(),
        said(stderr)
    )]
    NoAnswer {
        /// The program.
        path: PathBuf,
        /// How it ended.
        status: String,
        /// The end of what it wrote as errors.
        stderr: String,
    },
    /// It is a Python that is too old.
    #[error(
        "`{}` is Python {version}, and actors need {MINIMUM} or newer; \
         name another one in `python.cfg`",
        path.display()
    )]
    TooOld {
        /// The program.
        path: PathBuf,
        /// Its version.
        version: PythonVersion,
    },
}

/// Finds out what Python `program` is; blocking, with one run of it at most.
///
/// Known answers are kept in `state`, so that a program is run once.
///
/// # Errors
/// [`InterpreterError`]: the program and the next step.
pub fn resolve(program: &Path, state: &Path) -> Result<Interpreter, InterpreterError> {
    let file = state.join(CACHE_NAME);
    let key = CacheKey::of(program);
    let mut known = read_cache(&file);
    if let Some(entry) = known.iter().find(|entry| entry.holds(program, &key)) {
        return Ok(entry.interpreter.clone());
    }
    let interpreter = probe(program, state)?;
    known.retain(|entry| entry.program != program);
    known.push(CacheEntry {
        program: program.to_path_buf(),
        key,
        found: CacheKey::of(&interpreter.executable),
        interpreter: interpreter.clone(),
    });
    if let Err(cause) = write_cache(&file, state, &known) {
        tracing::warn!(file = %file.display(), %cause, "what Python said was not kept");
    }
    Ok(interpreter)
}

fn probe(program: &Path, state: &Path) -> Result<Interpreter, InterpreterError> {
    let mut command = Command::new(program);
    command.args(["-I", "-S", "-c", PROBE]);
    if state.is_dir() {
        // Away from a `.python-version` in the folder that the user happens to be in.
        command.current_dir(state);
    }
    let run =
        bounded_run::run(&mut command, PROBE_LIMIT).map_err(|cause| InterpreterError::Run {
            path: program.to_path_buf(),
            cause,
        })?;
    let answer = parse(&run).ok_or_else(|| InterpreterError::NoAnswer {
        path: program.to_path_buf(),
        status: run.status.to_string(),
        stderr: last_line(&run.stderr),
    })?;
    if answer.version < MINIMUM {
        return Err(InterpreterError::TooOld {
            path: program.to_path_buf(),
            version: answer.version,
        });
    }
    Ok(answer.settled())
}

fn parse(run: &Run) -> Option<Interpreter> {
    let mut lines = run.stdout.lines();
    let json = lines.find_map(|line| line.strip_prefix(PROBE_TAG))?;
    serde_json::from_str(json).ok()
}

impl Interpreter {
    /// Names the installation's own file, except in a virtual environment.
    fn settled(mut self) -> Self {
        if self.virtual_env.is_none()
            && let Ok(real) = self.executable.canonicalize()
        {
            self.executable = real;
        }
        self
    }
}

fn said(stderr: &str) -> String {
    match stderr {
        "" => String::new(),
        text => format!(" and says `{text}`"),
    }
}

fn last_line(text: &str) -> String {
    text.trim_end()
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned()
}

/// What tells that a program is the same one as before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct CacheKey {
    modified_ns: i128,
    bytes: u64,
    /// What a shim decides by.
    shim: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CacheEntry {
    program: PathBuf,
    key: CacheKey,
    found: CacheKey,
    interpreter: Interpreter,
}

impl CacheKey {
    fn of(program: &Path) -> Self {
        let Ok(found) = program.metadata() else {
            return Self::default();
        };
        let nanoseconds = i128::from(found.mtime()) * 1_000_000_000;
        Self {
            modified_ns: nanoseconds + i128::from(found.mtime_nsec()),
            bytes: found.len(),
            shim: shim_choice(program),
        }
    }
}

impl CacheEntry {
    fn holds(&self, program: &Path, key: &CacheKey) -> bool {
        self.program == program
            && self.key == *key
            && self.found == CacheKey::of(&self.interpreter.executable)
    }
}

/// What a pyenv shim goes by: the variable, and the file of the global choice.
fn shim_choice(program: &Path) -> Option<String> {
    let folder = program
        .parent()
        .filter(|folder| folder.ends_with("shims"))?;
    let chosen = std::env::var("PYENV_VERSION").ok();
    let chosen = chosen.or_else(|| fs::read_to_string(folder.parent()?.join("version")).ok());
    Some(chosen.unwrap_or_default())
}

fn read_cache(file: &Path) -> Vec<CacheEntry> {
    let text = fs::read(file).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn write_cache(file: &Path, state: &Path, entries: &[CacheEntry]) -> io::Result<()> {
    let fresh = tempfile::NamedTempFile::new_in(state)?;
    serde_json::to_writer(&fresh, entries)?;
    fresh.persist(file)?;
    Ok(())
}

/// Oldest Python whose standard library our `thespian` can do with.
const MINIMUM: PythonVersion = PythonVersion(3, 8, 0);

/// A cold start from a slow disk takes a few seconds; more than this is a hang.
const PROBE_LIMIT: Duration = Duration::from_secs(20);

const CACHE_NAME: &str = "interpreters.json";

/// Marks the answer among whatever a site's start-up code may print.
const PROBE_TAG: &str = "director-python: ";

const PROBE: &str = r#"
import json, os, sys, sysconfig
from importlib import machinery
folder = os.path.dirname(sys.executable)
homes = [home for home in (folder, os.path.dirname(folder))
         if os.path.isfile(os.path.join(home, "pyvenv.cfg"))]
sys.stdout.write("\ndirector-python: " + json.dumps({
    "executable": sys.executable,
    "version": list(sys.version_info[:3]),
    "release": list(sys.version_info[3:]),
    "platform": sysconfig.get_platform(),
    "suffixes": machinery.EXTENSION_SUFFIXES,
    "base_prefix": sys.base_prefix,
    "virtual_env": homes[0] if homes else None,
}) + "\n")
"#;
