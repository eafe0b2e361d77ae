//! `bootstart`: the node starts with the machine, as a service of systemd.
//!
//! Not here: other init systems; they are named and refused.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{Context, Outcome};
use crate::printer::Report;
use crate::{Exit, Failure};

/// Have the node started with the machine, and start it now
///
/// Writes a service file for systemd and enables it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The service's name, and `nostart` to leave it stopped until the next boot
    #[arg(value_name = "NAME] [nostart", num_args = 0..=2)]
    words: Vec<String>,
    /// Write the service file into this folder, and leave systemd alone
    #[arg(long, value_name = "FOLDER")]
    unit_dir: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let (name, start_now) = understood(&args.words)?;
    context.directory.check().map_err(|error| {
        let hint = error.hint();
        Failure::new(Exit::Failed, error).hint(hint)
    })?;
    let _sound = context.settings()?;
    let program = std::env::current_exe().map_err(|cause| Failure::new(Exit::Failed, cause))?;
    let text = unit(&program, context.directory.path());
    let folder = match &args.unit_dir {
        Some(folder) => folder.clone(),
        None => systemd()?,
    };
    let path = folder.join(format!("{name}.service"));
    std::fs::write(&path, text).map_err(|cause| {
        Failure::text(
            Exit::Refused,
            format_args!("`{}` cannot be written: {cause}", path.display()),
        )
        .hint("run it as root, or name a folder with `--unit-dir`")
    })?;
    let with_systemd = args.unit_dir.is_none();
    if with_systemd {
        systemctl(&["daemon-reload"])?;
        systemctl(&["enable", &name])?;
        if start_now {
            systemctl(&["start", &name])?;
        }
    }
    context.printer.report(&Written {
        path,
        name,
        started: with_systemd && start_now,
        enabled: with_systemd,
    });
    Ok(Exit::Done)
}

/// The service's name, and whether to start it now.
fn understood(words: &[String]) -> Result<(String, bool), Failure> {
    let (start_now, named) = match words {
        [] => (true, None),
        [one] if one == NOSTART => (false, None),
        [name] => (true, Some(name)),
        [name, last] if last == NOSTART => (false, Some(name)),
        _ => {
            let text = "after the name only `nostart` may follow";
            return Err(Failure::text(Exit::Usage, text).hint("`director help bootstart`"));
        }
    };
    let name = named.map_or(DEFAULT_NAME, String::as_str).replace('.', "-");
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_:".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        let text = format!("`{name}` is no name for a service");
        return Err(Failure::text(Exit::Usage, text).hint("use letters, digits, `-` and `_`"));
    }
    Ok((name, start_now))
}

/// The folder of service files, where systemd runs the machine.
fn systemd() -> Result<PathBuf, Failure> {
    if Path::new("/run/systemd/system").is_dir() {
        return Ok(PathBuf::from("/etc/systemd/system"));
    }
    let text = "this machine is not run by systemd";
    Err(Failure::text(Exit::Refused, text).hint(
        "have your init system run `director start --foreground`; `--unit-dir FOLDER` writes the \
         service file all the same",
    ))
}

fn systemctl(words: &[&str]) -> Result<(), Failure> {
    let line = format!("systemctl {}", words.join(" "));
    let failed = |why: &dyn Display| {
        Failure::text(Exit::Refused, format_args!("`{line}` failed: {why}"))
            .hint("`journalctl -xe` tells more")
    };
    let status = Command::new("systemctl").args(words).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(&status)),
        Err(cause) => Err(failed(&cause)),
    }
}

/// The service file; the node stays the service's own process, so that systemd sees it end.
fn unit(program: &Path, directory: &Path) -> String {
    let (program, directory) = (quoted(program), directory.display());
    format!(
        "[Unit]\n\
         Description=Director node of {directory}\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         \n\
         [Service]\n\
         Type=exec\n\
         Environment=\"THESPIAN_DIRECTOR_DIR={}\"\n\
         ExecStart={program} start --foreground\n\
         ExecStop={program} shutdown\n\
         KillMode=mixed\n\
         TimeoutStopSec=60\n\
         Restart=on-failure\n\
         LimitNOFILE=65536\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        escaped(&directory.to_string())
    )
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", escaped(&path.display().to_string()))
}

/// As systemd reads it between quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%")
}

const NOSTART: &str = "nostart";
const DEFAULT_NAME: &str = "thespian.director";

struct Written {
    path: PathBuf,
    name: String,
    enabled: bool,
    started: bool,
}

impl Report for Written {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Wrote {}", self.path.display())?;
        let name = &self.name;
        match (self.enabled, self.started) {
            (true, true) => writeln!(out, "Enabled and started {name}"),
            (true, false) => writeln!(out, "Enabled {name}; `systemctl start {name}` starts it"),
            _ => Ok(()),
        }
    }

    fn json(&self) -> Value {
        let Self { path, name, .. } = self;
        json!({ "unit": path, "name": name, "enabled": self.enabled, "started": self.started })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<(String, bool), Failure> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        understood(&words)
    }

    #[test]
    fn a_name_and_nostart_are_understood_as_the_original_does() {
        let named = |name: &str, start| (name.to_owned(), start);
        assert_eq!(words("").unwrap(), named("thespian-director", true));
        assert_eq!(words("nostart").unwrap(), named("thespian-director", false));
        assert_eq!(words("my.app").unwrap(), named("my-app", true));
        assert_eq!(words("my nostart").unwrap(), named("my", false));
        assert_eq!(words("my start").unwrap_err().exit(), Exit::Usage);
        assert_eq!(words("a/b").unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn the_service_file_names_program_and_directory_as_systemd_reads_them() {
        let text = unit(Path::new("/opt/a b/director"), Path::new("/srv/100%"));
        assert!(
            text.contains("ExecStart=\"/opt/a b/director\" start --foreground\n"),
            "{text}"
        );
        assert!(
            text.contains("Environment=\"THESPIAN_DIRECTOR_DIR=/srv/100%%\"\n"),
            "{text}"
        );
    }
}
