//! The caller's Python: which one it is, and running our scripts in it.
//!
//! A script reads JSON from stdin and writes JSON into a file that it is told of: site code that
//! prints to stdout cannot break the answer. The current folder is never on its path.
//! Not here: the policy itself (`node::hosting`), what the scripts do (`gensrc`).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use node::directory::{Directory, Settings};
use node::hosting::{PythonPolicy, resolve};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Exit, Failure};

/// The interpreter of the settings or the environment, for a group.
///
/// # Errors
/// `Failed` when there is none.
pub(crate) fn interpreter(settings: &Settings, group: &str) -> Result<PathBuf, Failure> {
    let policy = PythonPolicy::of_process(settings.python.clone(), None);
    policy
        .choose(Some(group))
        .map_err(|error| Failure::new(Exit::Failed, error))
}

/// The interpreter as `config` shows it.
pub(crate) fn describe(settings: &Settings, directory: &Directory) -> String {
    let policy = PythonPolicy::of_process(settings.python.clone(), None);
    let program = match policy.choose(None) {
        Ok(program) => program,
        Err(error) => return error.to_string(),
    };
    match resolve(&program, directory.state().path()) {
        Ok(interpreter) => interpreter.to_string(),
        Err(error) => error.to_string(),
    }
}

/// Runs one of our scripts with a question and returns its answer.
///
/// # Errors
/// `Failed` with what Python wrote to stderr.
pub(crate) fn ask<A: DeserializeOwned>(
    interpreter: &Path,
    script: &str,
    question: &impl Serialize,
) -> Result<A, Failure> {
    let run = || -> anyhow::Result<Result<A, String>> {
        let question = serde_json::to_vec(question)?;
        let answer = tempfile::NamedTempFile::new()?;
        let mut child = Command::new(interpreter)
            .args(["-B", "-W", "ignore", "-c", script])
            .arg(answer.path())
            .env("PYTHONIOENCODING", "utf-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A script that fails before it has read everything says why on stderr.
            let _closed = stdin.write_all(&question);
        }
        let ended = child.wait_with_output()?;
        if !ended.status.success() {
            let said = String::from_utf8_lossy(&ended.stderr);
            let said = format!("{} ({})", said.trim(), ended.status);
            return Ok(Err(said.trim_start().to_owned()));
        }
        Ok(Ok(serde_json::from_slice(&std::fs::read(answer.path())?)?))
    };
    let shown = interpreter.display();
    match run() {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(said)) => Err(
            Failure::text(Exit::Failed, format_args!("`{shown}` failed"))
                .detail(said)
                .hint("gensrc needs Python 3.8 or newer; name one in `python.cfg`"),
        ),
        Err(error) => {
            let error = error.context(format!("`{shown}` cannot be run"));
            Err(Failure::new(Exit::Failed, error)
                .hint("install Python 3.8 or newer, or name one in `python.cfg`"))
        }
    }
}
