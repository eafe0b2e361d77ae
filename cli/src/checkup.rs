//! The looks of `doctor`: settings, directory, keys, Python, port, address, disk, clock.
//!
//! Each look stands alone and changes nothing. Not here: how findings are shown
//! (`commands::doctor`).

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use node::directory::Settings;
use node::hosting::{PythonPolicy, resolve};

use crate::commands::Context;
use crate::online::Online;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// As it should be.
    Well,
    /// It works, but deserves a look.
    Warning,
    /// It keeps the node from working.
    Error,
}

impl Health {
    /// As it is shown.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub(crate) what: &'static str,
    pub(crate) health: Health,
    pub(crate) text: String,
    pub(crate) step: Option<String>,
}

impl Finding {
    fn well(what: &'static str, text: impl Into<String>) -> Self {
        Self {
            what,
            health: Health::Well,
            text: text.into(),
            step: None,
        }
    }

    fn not_well(
        what: &'static str,
        health: Health,
        text: impl Into<String>,
        step: impl Into<String>,
    ) -> Self {
        Self {
            what,
            health,
            text: text.into(),
            step: Some(step.into()),
        }
    }

    fn warning(what: &'static str, text: impl Into<String>, step: impl Into<String>) -> Self {
        Self::not_well(what, Health::Warning, text, step)
    }

    fn error(what: &'static str, text: impl Into<String>, step: impl Into<String>) -> Self {
        Self::not_well(what, Health::Error, text, step)
    }
}

/// All looks, in an order in which the first error explains those after it.
pub(crate) fn all(context: &Context) -> Vec<Finding> {
    let mut findings = vec![directory(context)];
    let settings = match context.directory.settings() {
        Ok(read) => {
            let unknown = read.warnings.iter().map(|warning| {
                Finding::warning("settings", warning.to_string(), "rename or remove the file")
            });
            findings.extend(unknown);
            read.settings
        }
        Err(error) => {
            let step = error.hint();
            findings.push(Finding::error("settings", error.to_string(), step));
            return findings;
        }
    };
    findings.push(keys(context));
    findings.extend(python(context, &settings));
    findings.push(port(context, &settings));
    findings.push(address(&settings));
    findings.push(buffers());
    findings.push(disk(context.directory.path()));
    findings.push(clock(context.directory.path()));
    findings
}

fn directory(context: &Context) -> Finding {
    let what = "directory";
    let path = context.directory.path();
    if let Err(error) = context.directory.check() {
        return Finding::error(what, error.to_string(), error.hint());
    }
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    if let Err(cause) = rustix::fs::access(path, access) {
        let text = format!(
            "`{}` cannot be written by this user: {cause}",
            path.display()
        );
        let step = "start the node as the directory's owner, or give it to this user";
        return Finding::error(what, text, step);
    }
    Finding::well(what, path.display().to_string())
}

fn keys(context: &Context) -> Finding {
    let what = "keys";
    let found = match context.directory.key_files() {
        Ok(found) => found,
        Err(error) => return Finding::error(what, error.to_string(), "check its rights"),
    };
    if let Some(refused) = found.refused.first() {
        let step = "give the file to root or to the directory's owner, writable by nobody else";
        return Finding::warning(what, refused.to_string(), step);
    }
    let (ring, warnings) = package::KeyRing::parse(found.files);
    if let Some(warning) = warnings.first() {
        return Finding::warning(what, warning.to_string(), warning.problem.hint());
    }
    if ring.is_empty() {
        let text = "there is no `*_tls.key`: no package can be loaded here";
        let step = "copy the public key of who builds the packages into the directory \
                    (`director keygen NAME` makes a pair)";
        return Finding::warning(what, text, step);
    }
    Finding::well(what, "public keys are there and can be used")
}

fn python(context: &Context, settings: &Settings) -> Vec<Finding> {
    let what = "python";
    let policy = PythonPolicy::of_process(settings.python.clone(), None);
    let step = "write the path of a Python 3.8 or newer into `python.cfg`";
    let program = match policy.choose(None) {
        Ok(program) => program,
        Err(error) => return vec![Finding::error(what, error.to_string(), step)],
    };
    let interpreter = match resolve(&program, context.directory.state().path()) {
        Ok(interpreter) => interpreter,
        Err(error) => return vec![Finding::error(what, error.to_string(), step)],
    };
    let used = Finding::well(what, interpreter.to_string());
    vec![used, module(&interpreter.executable)]
}

/// Which `thespian` programs of this Python get.
fn module(python: &Path) -> Finding {
    let what = "thespian";
    let ran = Command::new(python)
        .args(["-B", "-c", WHICH_MODULE])
        .current_dir("/")
        .stdin(Stdio::null())
        .output();
    let told = match ran {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Finding::warning(what, text, "run that Python by hand");
        }
        Err(cause) => return Finding::warning(what, cause.to_string(), "check `python.cfg`"),
    };
    judged_module(&told, python)
}

fn judged_module(told: &str, python: &Path) -> Finding {
    let what = "thespian";
    let python = python.display();
    match told.split_once(' ') {
        Some(("original", place)) => Finding::warning(
            what,
            format!(
                "programs of this Python get the original Thespian (`{place}`), not Director's"
            ),
            format!("`{python} -m pip uninstall thespian`, then install Director's module"),
        ),
        Some(("mixed", place)) => Finding::warning(
            what,
            format!("`{place}` holds files of the original Thespian among Director's"),
            format!("`{python} -m pip uninstall thespian`, then install Director's module again"),
        ),
        Some(("ours", place)) => Finding::well(what, format!("Director's module, `{place}`")),
        _ => Finding::warning(
            what,
            "programs of this Python have no `thespian`; actors of packages need none installed",
            format!("`{python} -m pip install` Director's module, for programs that use actors"),
        ),
    }
}

/// `multiprocTCPBase` is a file that only the original has, `endpoint` one that only we have.
const WHICH_MODULE: &str = "
import importlib.util, os
spec = importlib.util.find_spec('thespian')
places = list(spec.submodule_search_locations or []) if spec else []
def has(name):
    return any(os.path.exists(os.path.join(p, 'system', name + '.py')) for p in places)
theirs, ours = has('multiprocTCPBase'), has('endpoint')
kind = 'mixed' if theirs and ours else 'original' if theirs else 'ours' if ours else 'none'
print(kind, places[0] if places else '')
";

fn port(context: &Context, settings: &Settings) -> Finding {
    let what = "port";
    let port = settings.admin_port;
    if let Ok(Some(mut online)) = Online::find(context, settings)
        && let Ok(status) = online.status()
    {
        let text = format!(
            "UDP {}: the node runs (process {})",
            status.port, status.pid
        );
        return Finding::well(what, text);
    }
    match UdpSocket::bind(("0.0.0.0", port)) {
        Ok(_free) if port == SSDP_PORT => Finding::well(
            what,
            "UDP 1900 is free; it is SSDP's port too, which some networks filter (`adminport.cfg` \
             names another)",
        ),
        Ok(_free) => Finding::well(what, format!("UDP {port} is free")),
        Err(cause) => Finding::error(
            what,
            format!("UDP {port} cannot be bound: {cause}"),
            format!("`ss -ulpn sport = :{port}` shows who has it; `adminport.cfg` names another"),
        ),
    }
}

fn address(settings: &Settings) -> Finding {
    let what = "address";
    let (address, misleads) = node::advertised(settings);
    // Leaders that are listed may be of this host, as in a trial by three directories.
    if misleads && settings.convention_leaders.is_empty() {
        return Finding::warning(
            what,
            format!("no route leads out of this host, so other hosts would be told {address}"),
            "write this host's name or address to `advertise.cfg`; for nodes of this host alone, \
             127.0.0.1 to `listen.cfg`",
        );
    }
    Finding::well(what, format!("others reach this node at {address}"))
}

fn buffers() -> Finding {
    let what = "buffers";
    let read = |name: &str| -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok()?;
        text.trim().parse().ok()
    };
    let (Some(receive), Some(send)) = (read("rmem_max"), read("wmem_max")) else {
        return Finding::well(what, "the limit of UDP socket buffers is not shown here");
    };
    let least = receive.min(send);
    if least < BUFFER_BYTES_WANTED {
        return Finding::warning(
            what,
            format!("UDP socket buffers are limited to {least} bytes: packages travel slower"),
            format!(
                "`sysctl -w net.core.rmem_max={BUFFER_BYTES_WANTED} \
                 net.core.wmem_max={BUFFER_BYTES_WANTED}`"
            ),
        );
    }
    Finding::well(what, format!("UDP socket buffers may have {least} bytes"))
}

fn disk(path: &Path) -> Finding {
    let what = "disk";
    let path = path.ancestors().find(|path| path.is_dir()).unwrap_or(path);
    let free = match rustix::fs::statvfs(path) {
        Ok(about) => about.f_bavail.saturating_mul(about.f_frsize),
        Err(cause) => {
            return Finding::warning(what, cause.to_string(), "check the file system");
        }
    };
    let text = format!("{} MiB free at `{}`", free >> 20, path.display());
    let step = "free some room, or set `storelimit.cfg`";
    if free < DISK_BYTES_LEAST {
        Finding::error(what, text, step)
    } else if free < DISK_BYTES_WANTED {
        Finding::warning(what, text, step)
    } else {
        Finding::well(what, text)
    }
}

/// A clock that is far off makes certificates invalid and versions by date wrong.
fn clock(path: &Path) -> Finding {
    let what = "clock";
    let step = "set the time, best by NTP (`timedatectl set-ntp true`)";
    let now = SystemTime::now();
    if now < UNIX_EPOCH + CLOCK_LEAST {
        return Finding::error(what, "the clock is years behind", step);
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let latest = entries
        .filter_map(|entry| entry.metadata().ok()?.modified().ok())
        .max();
    if let Some(ahead) = latest.and_then(|latest| latest.duration_since(now).ok())
        && ahead > CLOCK_SLACK
    {
        let text = format!(
            "a file of the directory is {} s in the future",
            ahead.as_secs()
        );
        return Finding::warning(what, text, step);
    }
    Finding::well(what, "plausible")
}

const SSDP_PORT: u16 = 1900;
/// The bandwidth-delay product of a fast line, without which QUIC does not fill it.
const BUFFER_BYTES_WANTED: u64 = 2_500_000;
const DISK_BYTES_LEAST: u64 = 100 << 20;
const DISK_BYTES_WANTED: u64 = 1 << 30;
/// The start of 2025, before which this program was not there.
const CLOCK_LEAST: Duration = Duration::from_secs(1_735_689_600);
const CLOCK_SLACK: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_thespian_is_told_with_what_to_do() {
        let python = Path::new("/usr/bin/python3");
        let finding = judged_module("original /usr/lib/thespian", python);
        assert_eq!(finding.health, Health::Warning);
        assert!(
            finding
                .step
                .unwrap()
                .contains("/usr/bin/python3 -m pip uninstall thespian")
        );
        assert_eq!(judged_module("ours /x", python).health, Health::Well);
        assert_eq!(judged_module("none", python).health, Health::Warning);
    }
}
