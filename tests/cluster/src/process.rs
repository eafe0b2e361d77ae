//! One node of a scenario: its Director directory, and its process while it runs.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use std::os::unix::process::CommandExt;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::name::Node;
use crate::program::director;
use crate::watchdog::Watchdog;

/// Where a node lives.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// `adminport.cfg`
    pub(crate) port: u16,
    /// `listen.cfg`
    pub(crate) listen: Option<IpAddr>,
    /// `advertise.cfg`
    pub(crate) advertise: Option<SocketAddr>,
    /// The network namespace of its host.
    pub(crate) namespace: Option<String>,
}

/// A node with its files.
#[derive(Debug)]
pub(crate) struct Process {
    name: Node,
    namespace: Option<String>,
    folder: PathBuf,
    // Where the program of its host is installed.
    program: PathBuf,
    // The library and the offset of its host's clock, where that is wrong.
    clock: Option<(PathBuf, PathBuf)>,
    child: Option<Child>,
}

impl Process {
    /// Lays out the directory of a node in the scenario's folder.
    pub(crate) fn lay_out(name: Node, scene: &Path, place: Place) -> Self {
        let folder = scene.join(name.to_string());
        fs::create_dir_all(&folder).unwrap();
        let process = Self {
            name,
            folder,
            namespace: place.namespace,
            program: director().to_owned(),
            clock: None,
            child: None,
        };
        process.write("adminport.cfg", &format!("{}\n", place.port));
        if let Some(listen) = place.listen {
            process.write("listen.cfg", &format!("{listen}\n"));
        }
        if let Some(advertise) = place.advertise {
            process.write("advertise.cfg", &format!("{advertise}\n"));
        }
        process.write("nodename.cfg", &format!("{name}\n"));
        process
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.with_extension("log")
    }

    /// From now on its host has this program.
    pub(crate) fn run_by(&mut self, program: PathBuf) {
        self.program = program;
    }

    /// From now on what is started on its host goes by this library and offset.
    pub(crate) fn go_by(&mut self, library: PathBuf, offset: PathBuf) {
        self.clock = Some((library, offset));
    }

    /// Writes a file of the Director directory.
    pub(crate) fn write(&self, file: &str, content: &str) {
        fs::write(self.folder.join(file), content).unwrap();
    }

    /// `director` with these words for this node.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = match &self.namespace {
            // It becomes the program: the process is the node's.
            Some(namespace) => {
                let mut command = Command::new("ip");
                command
                    .args(["netns", "exec", namespace])
                    .arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        if let Some((library, offset)) = &self.clock {
            command.env("LD_PRELOAD", library);
            command.env("DIRECTOR_CLUSTER_CLOCK", offset);
        }
        command
            .args(words)
            .current_dir(self.folder.parent().unwrap())
            .env("THESPIAN_DIRECTOR_DIR", &self.folder)
            .env("NODE", self.name.to_string())
            .env_remove("VIRTUAL_ENV");
        command
    }

    /// The command line as it is shown.
    pub(crate) fn line(&self, words: &[&str]) -> String {
        format!("{}$ director {}", self.name, words.join(" "))
    }

    /// Starts the node's process in a group of its own; does not wait until it serves.
    pub(crate) fn start(&mut self, watchdog: &mut Watchdog, options: &[&str]) {
        assert!(!self.is_running(), "{} runs already", self.name);
        let open = || File::options().create(true).append(true).open(self.log());
        let child = self
            .command(&["start", "--foreground"])
            .args(options)
            .env("DIRECTOR_LOG", log_filter())
            .stdin(Stdio::null())
            .stdout(open().unwrap())
            .stderr(open().unwrap())
            .process_group(0)
            .spawn()
            .expect("`director` starts");
        watchdog.add(child.id());
        self.child = Some(child);
    }

    /// Whether its process is there.
    pub(crate) fn is_running(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// How its process ended, if it has.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let child = self.child.as_mut()?;
        child.try_wait().unwrap()?.code()
    }

    /// Sends a signal to the agent.
    pub(crate) fn signal(&self, signal: Signal) {
        let _gone = kill(self.pid().expect("the node runs"), signal);
    }

    /// Kills the agent and all of its group, and waits for the agent.
    pub(crate) fn kill(&mut self, watchdog: &mut Watchdog) {
        if let Some(mut child) = self.child.take() {
            let group = Pid::from_raw(child.id().cast_signed());
            // The agent alone first: what it started ends by itself, as after a crash.
            let _gone = kill(group, Signal::SIGKILL);
            child.wait().unwrap();
            let _gone = killpg(group, Signal::SIGKILL);
            watchdog.drop_group(child.id());
        }
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn ended(&mut self, limit: Duration, watchdog: &mut Watchdog) -> bool {
        let until = Instant::now() + limit;
        while self.is_running() {
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        if let Some(child) = self.child.take() {
            watchdog.drop_group(child.id());
        }
        true
    }

    pub(crate) fn pid(&self) -> Option<Pid> {
        let child = self.child.as_ref()?;
        Some(Pid::from_raw(child.id().cast_signed()))
    }
}

/// Where a node listens now: no other process has its address.
pub(crate) fn listens_at(address: Ipv4Addr) -> Option<SocketAddr> {
    let table = fs::read_to_string("/proc/net/udp").ok()?;
    let wanted = format!("{:08X}", u32::from_ne_bytes(address.octets()));
    let port = table.lines().find_map(|row| {
        let (shown, port) = row.split_whitespace().nth(1)?.split_once(':')?;
        (shown == wanted).then(|| u16::from_str_radix(port, 16).ok())?
    })?;
    Some(SocketAddr::V4(SocketAddrV4::new(address, port)))
}

fn log_filter() -> String {
    std::env::var("DIRECTOR_LOG").unwrap_or_else(|_| "info,openraft=warn".to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::block::Block;

    #[test]
    fn a_listener_is_found_by_its_address_alone() {
        let address = Block::take().unwrap().node(Node(0));
        assert_eq!(listens_at(address), None);
        let socket = UdpSocket::bind((address, 0)).unwrap();
        assert_eq!(listens_at(address), Some(socket.local_addr().unwrap()));
    }
}
