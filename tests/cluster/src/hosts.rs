//! Hosts with addresses of their own: network namespaces on a switch in one more.
//!
//! Needs root and `ip`; nothing of the machine's own network is touched. A link is cut by taking
//! the host's interface down, as if its cable were pulled.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::name::Node;

/// Namespaces of one scenario; dropped, they are gone.
#[derive(Debug)]
pub(crate) struct Hosts {
    prefix: String,
    number: u32,
    count: usize,
}

impl Hosts {
    /// Makes so many hosts on one switch.
    ///
    /// # Errors
    /// What the system does not allow, for people.
    pub(crate) fn make(count: usize) -> Result<Self, String> {
        sweep();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{FAMILY}{}-{number}", std::process::id());
        let hosts = Self {
            prefix,
            number,
            count,
        };
        let switch = hosts.switch();
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "add", "switch", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "switch", "up"])?;
        for node in (0..count).map(Node) {
            hosts.plug_in(node)?;
        }
        Ok(hosts)
    }

    /// The namespace of a node.
    pub(crate) fn name(&self, node: Node) -> String {
        format!("{}-{node}", self.prefix)
    }

    /// The address of a node.
    pub(crate) fn address(&self, node: Node) -> Ipv4Addr {
        let last = u8::try_from(node.0 + 1).expect("a switch has room for 250 hosts");
        Ipv4Addr::new(10, 77, 0, last)
    }

    /// The port of a node. Each host its own, in all scenes of this process: control sockets are
    /// named by the port, and the hosts share their files.
    pub(crate) fn port(&self, node: Node) -> u16 {
        let scene = std::process::id() % 500 * 80 + self.number % 8 * 10;
        let port = 20_000 + scene as usize + node.0 % 10;
        u16::try_from(port).expect("below 60,000")
    }

    /// Pulls the cable of a node, or plugs it in.
    pub(crate) fn set_link(&self, node: Node, is_up: bool) {
        let state = if is_up { "up" } else { "down" };
        ip(&["-n", &self.name(node), "link", "set", "eth0", state]).expect("a link of ours");
        if is_up {
            // It went with the link.
            self.route(node).expect("a route of ours");
        }
    }

    /// Plugs all cables in.
    pub(crate) fn heal(&self) {
        (0..self.count).for_each(|index| self.set_link(Node(index), true));
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.prefix)
    }

    fn plug_in(&self, node: Node) -> Result<(), String> {
        let (name, switch) = (self.name(node), self.switch());
        let port = format!("port-{node}");
        let address = format!("{}/24", self.address(node));
        ip(&["netns", "add", &name])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        let pair = [
            "-n", &name, "link", "add", "eth0", "type", "veth", "peer", "name", &port,
        ];
        ip(&[&pair[..], &["netns", &switch]].concat())?;
        ip(&[
            "-n", &switch, "link", "set", &port, "master", "switch", "up",
        ])?;
        ip(&["-n", &name, "addr", "add", &address, "dev", "eth0"])?;
        ip(&["-n", &name, "link", "set", "eth0", "up"])?;
        self.route(node)
    }

    /// A way out, as hosts have: by it a founder finds the address that others reach it at.
    fn route(&self, node: Node) -> Result<(), String> {
        let words = ["route", "replace", "default", "dev", "eth0"];
        ip(&[&["-n", self.name(node).as_str()][..], &words].concat())
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        remove(|name| name.starts_with(&format!("{}-", self.prefix)));
    }
}

/// Removes what killed tests have left.
fn sweep() {
    remove(|name| {
        let owner = name
            .strip_prefix(FAMILY)
            .and_then(|rest| rest.split('-').next());
        owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
    });
}

fn remove(is_meant: impl Fn(&str) -> bool) {
    let Ok(list) = Command::new("ip").args(["netns", "list"]).output() else {
        return;
    };
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    let names = list.lines().filter_map(|line| line.split(' ').next());
    for name in names.filter(|name| is_meant(name)) {
        let _gone = ip(&["netns", "delete", name]);
    }
}

fn ip(words: &[&str]) -> Result<(), String> {
    let line = words.join(" ");
    let ran = Command::new("ip").args(words).output();
    let ran = ran.map_err(|cause| format!("`ip {line}`: {cause}"))?;
    let said = String::from_utf8_lossy(&ran.stderr);
    let done = ran.status.success();
    done.then_some(())
        .ok_or_else(|| format!("`ip {line}`: {}", said.trim()))
}

const FAMILY: &str = "director-";
static NEXT: AtomicU32 = AtomicU32::new(0);
