//! One run of another program to its end, with a bound on time and output.
//!
//! Blocking: call it from a thread that may wait.
//! Not here: processes that stay (`spawner`).

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Run {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// What it wrote, cut at [`OUTPUT_BYTES_MAX`].
    pub(crate) stdout: String,
    /// What it wrote as errors, cut likewise.
    pub(crate) stderr: String,
}

/// Runs `command` to its end; kills it after `limit`.
pub(crate) fn run(command: &mut Command, limit: Duration) -> io::Result<Run> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdout = child
        .stdout
        .take()
        .map(|pipe| read_all(OwnedFd::from(pipe)));
    let stderr = child
        .stderr
        .take()
        .map(|pipe| read_all(OwnedFd::from(pipe)));
    let in_time = wait_until_ended(&child, limit);
    if !matches!(in_time, Ok(true)) {
        let _ = child.kill();
    }
    let status = child.wait()?;
    if !in_time? {
        let text = format!("it did not end within {} s and was killed", limit.as_secs());
        return Err(io::Error::new(io::ErrorKind::TimedOut, text));
    }
    Ok(Run {
        status,
        stdout: joined(stdout),
        stderr: joined(stderr),
    })
}

/// Whether the child ended before `limit` had passed.
fn wait_until_ended(child: &Child, limit: Duration) -> io::Result<bool> {
    let Some(pid) = Pid::from_raw(child.id().cast_signed()) else {
        return Ok(true);
    };
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
    let mut watched = [PollFd::from_borrowed_fd(handle.as_fd(), PollFlags::IN)];
    Ok(poll(&mut watched, Some(&limit))? > 0)
}

fn read_all(pipe: OwnedFd) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut file = std::fs::File::from(pipe);
        let mut kept = Vec::new();
        let _ = (&mut file).take(OUTPUT_BYTES_MAX).read_to_end(&mut kept);
        let _ = io::copy(&mut file, &mut io::sink());
        kept
    })
}

fn joined(reader: Option<JoinHandle<Vec<u8>>>) -> String {
    let bytes = reader.and_then(|thread| thread.join().ok());
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

/// Output kept of one stream: a traceback fits many times.
const OUTPUT_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_status_come_back() {
        let run = run(
            Command::new("/bin/sh").args(["-c", "echo out; echo err >&2; exit 3"]),
            Duration::from_secs(20),
        )
        .unwrap();
        assert_eq!(
            (run.stdout.as_str(), run.stderr.as_str()),
            ("out\n", "err\n")
        );
        assert_eq!(run.status.code(), Some(3));
    }

    #[test]
    fn a_program_that_hangs_is_killed() {
        let limit = Duration::from_millis(50);
        let error = run(Command::new("/bin/sleep").arg("1000"), limit).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
