//! The watchdog: kills a scenario's processes when the test process itself is gone.
//!
//! A test that ends, passes or panics stops its nodes itself; one that is killed cannot. A shell
//! reads the process groups from a pipe and, when the pipe ends without `done`, kills them.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

/// A shell that outlives this process by a moment at most.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
    told: Option<ChildStdin>,
}

const SCRIPT: &str = "groups=
while read -r word group; do
  case $word in
    add) groups=\"$groups $group \" ;;
    drop) groups=\"${groups%% $group *} ${groups#* $group }\" ;;
    done) exit 0 ;;
  esac
done
for group in $groups; do kill -s KILL -- \"-$group\"; done";

impl Watchdog {
    pub(crate) fn new() -> Self {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("`sh` starts");
        let told = shell.stdin.take();
        Self { shell, told }
    }

    /// From now on this group is killed with the test.
    pub(crate) fn add(&mut self, group: u32) {
        self.tell(&format!("add {group}"));
    }

    /// The group has ended.
    pub(crate) fn drop_group(&mut self, group: u32) {
        self.tell(&format!("drop {group}"));
    }

    fn tell(&mut self, line: &str) {
        if let Some(pipe) = &mut self.told {
            let _gone = writeln!(pipe, "{line}");
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.tell("done");
        self.told.take();
        let _reaped = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn groups_are_killed_when_the_pipe_breaks_and_only_those_still_watched() {
        let sleeper = || {
            let mut command = Command::new("sleep");
            command.arg("60").process_group(0).spawn().unwrap()
        };
        let (mut watched, mut let_go) = (sleeper(), sleeper());
        let mut watchdog = Watchdog::new();
        watchdog.add(let_go.id());
        watchdog.add(watched.id());
        watchdog.drop_group(let_go.id());
        // As if this process had been killed: the pipe ends without a word.
        watchdog.told.take();
        assert!(!watched.wait().unwrap().success());
        std::thread::sleep(Duration::from_millis(20));
        assert!(let_go.try_wait().unwrap().is_none());
        let_go.kill().unwrap();
        let_go.wait().unwrap();
    }
}
