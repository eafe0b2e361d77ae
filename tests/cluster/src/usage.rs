//! What a node's process has cost so far, and where it listens: for measurements.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::name::Node;
use crate::process::listens_at;
use crate::scene::Scene;

/// What a process has used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Time of processors, in the program and in the kernel for it.
    pub processor: Duration,
    /// Memory that is resident now.
    pub resident_bytes: u64,
    /// The most that was resident.
    pub peak_bytes: u64,
}

impl Scene {
    /// What a node's agent has used so far.
    ///
    /// # Panics
    /// When it does not run, or Linux is another.
    #[must_use]
    pub fn usage(&self, node: Node) -> Usage {
        let pid = self.pid(node);
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        // The name of the program may have spaces.
        let (_, rest) = stat.rsplit_once(')').unwrap();
        let ticks = |field: usize| -> u64 {
            let shown = rest.split_whitespace().nth(field).unwrap();
            shown.parse().unwrap()
        };
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let kibibytes = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        Usage {
            processor: Duration::from_millis((ticks(11) + ticks(12)) * TICK_MS),
            resident_bytes: kibibytes("VmRSS:") << 10,
            peak_bytes: kibibytes("VmHWM:") << 10,
        }
    }

    /// The process of a node's agent.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self, node: Node) -> i32 {
        let cast = self.cast();
        let pid = cast.processes[node.0].pid();
        pid.expect("the node runs").as_raw()
    }

    /// Has a node listen at the same port whenever it starts; before its first start.
    ///
    /// # Panics
    /// When no port is free, or the node has a host of its own.
    pub fn keep_port(&self, node: Node) {
        let Some(address) = self.net.place(node).listen else {
            panic!("{node} is on another host");
        };
        // The address is this node's alone, so that nobody takes the port meanwhile.
        let free = UdpSocket::bind((address, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        self.write(node, "adminport.cfg", &format!("{port}\n"));
    }

    /// Where a node listens itself, without the relay.
    ///
    /// # Panics
    /// When it does not run on this host.
    #[must_use]
    pub fn listens_at(&self, node: Node) -> SocketAddr {
        let at = self.net.place(node).listen;
        match at {
            Some(IpAddr::V4(address)) => listens_at(address).unwrap(),
            _ => panic!("{node} is on another host"),
        }
    }
}

/// Linux counts in hundredths of a second for all that look.
const TICK_MS: u64 = 10;
