//! Commands that the gate starts: found, shown, run, and named with their cure when missing.
//!
//! A tool that is missing fails its step: a check that is skipped in silence is no check.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::house::{House, cargo};

/// How often a command with a limit is asked whether it has ended.
const POLL: Duration = Duration::from_millis(50);

/// The pins of the Python tools, for `pip install -r`.
const PYTHON_TOOLS: &str = ".ci/requirements.txt";

/// Runs it with its output passed through; an exit status other than 0 is an error.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let line = shown(command);
    eprintln!("$ {line}");
    let status = command
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// A cargo subcommand, after asking it for its version.
pub(crate) fn cargo_tool(
    house: &House,
    subcommand: &str,
    install: &str,
) -> anyhow::Result<Command> {
    let tool = || {
        let mut command = cargo();
        command.current_dir(house.root()).arg(subcommand);
        command
    };
    if !answers(tool().arg("--version")) {
        bail!("`cargo {subcommand}` does not run here: install it with `{install}`");
    }
    Ok(tool())
}

/// A Python tool, from `.venv` in the root if it is there, else from PATH; run in `folder`.
pub(crate) fn python_tool(house: &House, name: &str, folder: &Path) -> anyhow::Result<Command> {
    let own = house.root().join(".venv/bin").join(name);
    let program = if own.exists() {
        own
    } else {
        PathBuf::from(name)
    };
    if !answers(Command::new(&program).arg("--version")) {
        bail!(
            "`{}` does not run here: install it with `python3 -m venv .venv && \
             .venv/bin/pip install -r {PYTHON_TOOLS}`",
            program.display()
        );
    }
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// Whether it exits with 0, its output dropped.
pub(crate) fn answers(command: &mut Command) -> bool {
    quiet(command).status().is_ok_and(|status| status.success())
}

/// Whether it exits with 0 before the limit; one that does not is killed.
pub(crate) fn answers_within(command: &mut Command, limit: Duration) -> anyhow::Result<bool> {
    let line = shown(command);
    let mut child = quiet(command)
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        thread::sleep(POLL);
    }
}

fn quiet(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn house() -> House {
        House::find().unwrap()
    }

    #[test]
    fn a_missing_cargo_tool_is_named_with_its_cure() {
        let error = cargo_tool(&house(), "no-such-tool", "cargo install it").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`cargo no-such-tool` does not run here: install it with `cargo install it`"
        );
    }

    #[test]
    fn a_missing_python_tool_is_named_with_its_cure() {
        let error = python_tool(&house(), "no-such-tool", Path::new(".")).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("pip install -r .ci/requirements.txt"),
            "{error}"
        );
        assert!(house().root().join(PYTHON_TOOLS).is_file());
    }

    #[test]
    fn a_command_that_fails_is_shown_with_its_status() {
        let error = run(Command::new("sh").args(["-c", "exit 7"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`sh -c exit 7` ended with exit status: 7"
        );
    }

    #[test]
    fn a_command_over_its_limit_is_killed() {
        let begin = Instant::now();
        let answered =
            answers_within(Command::new("sleep").arg("60"), Duration::from_millis(20)).unwrap();
        assert!(!answered);
        assert!(begin.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_command_within_its_limit_answers() {
        assert!(answers_within(&mut Command::new("true"), Duration::from_secs(30)).unwrap());
        assert!(!answers_within(&mut Command::new("false"), Duration::from_secs(30)).unwrap());
    }
}
