//! Hosts with addresses of their own: network namespaces on a switch in one more.
//!
//! Needs root and `ip`; nothing of the machine's own network is touched. A link is cut by taking
//! the host's interface down, as if its cable were pulled.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::name::Node;
use crate::nat::Nat;

/// Namespaces of one scenario; dropped, they are gone.
#[derive(Debug)]
pub(crate) struct Hosts {
    prefix: String,
    number: u32,
    count: usize,
    /// Who is not on the switch but behind a router of its own.
    behind: Option<(Node, Option<Nat>)>,
}

impl Hosts {
    /// Makes so many hosts on one switch; one of them may be behind a router that translates.
    ///
    /// # Errors
    /// What the system does not allow, for people.
    pub(crate) fn make(count: usize, behind: Option<Node>) -> Result<Self, String> {
        sweep();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{FAMILY}{}-{number}", std::process::id());
        let mut hosts = Self {
            prefix,
            number,
            count,
            behind: behind.map(|node| (node, None)),
        };
        let switch = hosts.switch();
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "add", "switch", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "switch", "up"])?;
        for node in (0..count).map(Node) {
            if Some(node) == behind {
                hosts.hide(node)?;
            } else {
                let address = hosts.address(node);
                hosts.plug_in(&hosts.name(node), &node.to_string(), address)?;
            }
        }
        Ok(hosts)
    }

    /// The namespace of a node.
    pub(crate) fn name(&self, node: Node) -> String {
        format!("{}-{node}", self.prefix)
    }

    /// The address of a node.
    pub(crate) fn address(&self, node: Node) -> Ipv4Addr {
        if self.is_behind(node) {
            return INNER_HOST;
        }
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

    /// The router of a node forgets whom it stood for.
    ///
    /// # Panics
    /// When the node has none.
    pub(crate) fn forget(&self, node: Node) {
        let behind = self.behind.as_ref().filter(|(it, _)| *it == node);
        let nat = behind.and_then(|(_, nat)| nat.as_ref());
        nat.expect("the node is behind a router").forget();
    }

    fn is_behind(&self, node: Node) -> bool {
        self.behind.as_ref().is_some_and(|(it, _)| *it == node)
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.prefix)
    }

    /// A host on the switch.
    fn plug_in(&self, name: &str, port: &str, address: Ipv4Addr) -> Result<(), String> {
        ip(&["netns", "add", name])?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        let (port, switch) = (format!("port-{port}"), self.switch());
        let pair = ["link", "add", "eth0", "type", "veth", "peer", "name", &port];
        ip(&[&["-n", name][..], &pair, &["netns", &switch]].concat())?;
        ip(&[
            "-n", &switch, "link", "set", &port, "master", "switch", "up",
        ])?;
        let address = format!("{address}/24");
        ip(&["-n", name, "addr", "add", &address, "dev", "eth0"])?;
        ip(&["-n", name, "link", "set", "eth0", "up"])?;
        // A way out, as hosts have: by it a founder finds the address that others reach it at.
        ip(&["-n", name, "route", "replace", "default", "dev", "eth0"])
    }

    /// A host on a cable of its own, at whose other end is its router.
    fn hide(&mut self, node: Node) -> Result<(), String> {
        let [name, inside, outside] = ["", "-in", "-out"].map(|it| self.name(node) + it);
        self.plug_in(&outside, &format!("{node}-out"), ROUTER)?;
        for name in [&name, &inside] {
            ip(&["netns", "add", name])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
        }
        let pair = [
            "link", "add", "eth0", "type", "veth", "peer", "name", "eth0",
        ];
        ip(&[&["-n", &name][..], &pair, &["netns", &inside]].concat())?;
        for (name, address) in [(&name, INNER_HOST), (&inside, INNER_ROUTER)] {
            let address = format!("{address}/24");
            ip(&["-n", name, "addr", "add", &address, "dev", "eth0"])?;
            ip(&["-n", name, "link", "set", "eth0", "up"])?;
        }
        self.route(node)?;
        let others = (0..self.count).map(Node).filter(|other| *other != node);
        let others: Vec<_> = others
            .map(|other| SocketAddrV4::new(self.address(other), self.port(other)))
            .collect();
        for other in &others {
            let address = format!("{}/32", other.ip());
            ip(&["-n", &inside, "addr", "add", &address, "dev", "lo"])?;
        }
        let others: Vec<_> = others.into_iter().map(SocketAddr::V4).collect();
        let nat = Nat::open(&inside, &outside, &others);
        let nat = nat.map_err(|cause| format!("a router in namespaces: {cause}"))?;
        self.behind = Some((node, Some(nat)));
        Ok(())
    }

    /// The way out of a node's host.
    fn route(&self, node: Node) -> Result<(), String> {
        let name = self.name(node);
        let router = INNER_ROUTER.to_string();
        let words: &[&str] = match self.is_behind(node) {
            true => &["route", "replace", "default", "via", &router],
            false => &["route", "replace", "default", "dev", "eth0"],
        };
        ip(&[&["-n", name.as_str()][..], words].concat())
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

/// Where a router is on the switch.
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 251);

/// Where it is for the host behind it.
const INNER_ROUTER: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);

/// The host behind it.
const INNER_HOST: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);

const FAMILY: &str = "director-";
static NEXT: AtomicU32 = AtomicU32::new(0);
