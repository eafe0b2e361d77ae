//! Limits of this process, and signals to others.
//!
//! Not here: who is to be signalled (`workers`, `forkservers`).

use std::sync::OnceLock;

use rustix::process::{
    Pid, Resource, Rlimit, Signal, getrlimit, kill_process, kill_process_group, prlimit, setrlimit,
};

/// Raises the number of open files to the hard limit: each worker costs the agent three.
///
/// Python processes are given back the limit found here (`restore_open_files`): `select` and
/// loops over all descriptors suffer from a high one.
pub(crate) fn raise_open_files() {
    let found = getrlimit(Resource::Nofile);
    let _ = FOUND.set(found);
    let raised = Rlimit {
        current: found.maximum,
        maximum: found.maximum,
    };
    if let Err(cause) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%cause, "the limit of open files could not be raised");
    }
}

/// Gives a child the limit that the agent was started with.
pub(crate) fn restore_open_files(pid: u32) {
    if let (Some(found), Some(pid)) = (FOUND.get(), raw(pid)) {
        let _ = prlimit(
            Some(pid),
            Resource::Nofile,
            Rlimit {
                current: found.current,
                maximum: found.maximum,
            },
        );
    }
}

/// Kills one process.
pub(crate) fn kill(pid: u32) {
    if let Some(pid) = raw(pid) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Kills what is in the process group that this process leads, if it leads one.
pub(crate) fn kill_group(pid: u32) {
    if let Some(pid) = raw(pid) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// The id as the kernel takes it; never 0 or 1, which would mean others.
pub(crate) fn raw(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?).filter(|_| pid > 1)
}

static FOUND: OnceLock<Rlimit> = OnceLock::new();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_keep_the_limit_that_the_agent_raises_for_itself() {
        let found = getrlimit(Resource::Nofile);
        raise_open_files();
        assert_eq!(getrlimit(Resource::Nofile).current, found.maximum);
        let mut child = std::process::Command::new("/bin/sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        restore_open_files(child.id());
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max open files"))
            .unwrap();
        let soft = line.split_whitespace().nth(3).unwrap();
        let wanted = FOUND.get().unwrap().current;
        assert_eq!(
            soft,
            wanted.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
        );
    }
}
