//! Where a node is reached: the address it tells others, and whether a listed one is its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use protocol::ActorId;
use protocol::registry::{MemberState, State};
use protocol::view::Wish;

use super::peers::resolve;
use crate::agent::node::Node;
use crate::directory::{LeaderAddress, Settings, runtime_folder, socket_path};

/// The admin port where none is written.
const ADMIN_PORT: u16 = 1900;

/// `host:port` under which others reach this node: what `advertise.cfg` says, else the address it
/// listens on, else the one from which it reaches the listed leader or the world.
pub(super) fn address(settings: &Settings, listen: Option<IpAddr>, port: u16) -> String {
    if let Some(text) = &settings.advertise {
        return with_port(text, port);
    }
    let specific = listen.filter(|ip| !ip.is_unspecified());
    let towards_leader = || {
        let leader = settings.convention_leaders.first()?;
        local_towards(&dialled(leader))
    };
    let ip = specific
        .or_else(towards_leader)
        .or_else(|| local_towards(ANYWHERE))
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    SocketAddr::new(ip, port).to_string()
}

/// `host:port` under which a node with these settings would be reached, and whether that is this
/// host's loopback though the node listens on all its addresses: no route leads out of the host
/// now, and the others would be told an address that is their own.
pub fn advertised(settings: &Settings) -> (String, bool) {
    let address = address(settings, settings.listen, settings.admin_port);
    let everywhere = settings.listen.is_none_or(|ip| ip.is_unspecified());
    let is_loopback = |at: SocketAddr| at.ip().is_loopback();
    let misleads =
        settings.advertise.is_none() && everywhere && address.parse().is_ok_and(is_loopback);
    (address, misleads)
}

/// An address of `convleader.cfg` as it is dialled.
pub(super) fn dialled(listed: &LeaderAddress) -> String {
    let port = listed.port.unwrap_or(ADMIN_PORT);
    let host = &listed.host;
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Whether a node of this user has the port of a listed one here, as far as its socket says.
pub(super) fn is_served(listed: &LeaderAddress) -> bool {
    let port = listed.port.unwrap_or(ADMIN_PORT);
    runtime_folder().is_ok_and(|folder| socket_path(&folder, port).exists())
}

/// Whether `remote` is this node, which listens on `port`.
pub(super) fn is_own(remote: SocketAddr, advertised: &str, port: u16) -> bool {
    if remote.to_string() == advertised {
        return true;
    }
    remote.port() == port && is_here(remote.ip())
}

/// Whether an address is one of this host.
pub(super) fn is_here(address: IpAddr) -> bool {
    // No other can be bound.
    UdpSocket::bind((address, 0)).is_ok()
}

/// Whether a system is this node or another member that runs: by its `host:port`, or its node's
/// own address.
pub(crate) async fn is_of_convention(node: &Node, address: &str) -> bool {
    let _not_told = node.replica.want(Wish::Members).await;
    if let Ok(own) = address.parse::<ActorId>() {
        let run = own.incarnation();
        let known = |state: &State| state.members.values().any(|m| m.incarnation == run);
        return run == node.incarnation || node.replica.read(known);
    }
    let has_port = address
        .rsplit_once(':')
        .is_some_and(|(_, p)| p.parse::<u16>().is_ok());
    let address = if has_port {
        address.to_owned()
    } else {
        format!("{address}:{ADMIN_PORT}")
    };
    let members: Vec<String> = node.replica.read(|state| {
        let up = state.members.values();
        let up = up.filter(|member| member.state == MemberState::Up);
        up.map(|member| member.address.clone()).collect()
    });
    let sought = resolve(&address).await;
    if sought
        .iter()
        .any(|at| is_own(*at, node.membership.address(), node.port))
    {
        return true;
    }
    for member in members {
        let Ok(at) = member.parse::<SocketAddr>() else {
            continue;
        };
        // One host has several addresses.
        let same = |sought: &SocketAddr| {
            *sought == at || sought.port() == at.port() && is_here(sought.ip()) && is_here(at.ip())
        };
        if sought.iter().any(same) {
            return true;
        }
    }
    false
}

/// The address of this host from which packets to `remote` leave; nothing is sent.
fn local_towards(remote: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(remote).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

fn with_port(text: &str, port: u16) -> String {
    let host = text.trim_start_matches('[').trim_end_matches(']');
    if text.parse::<SocketAddr>().is_ok() {
        return text.to_owned();
    }
    if host.parse::<std::net::Ipv6Addr>().is_ok() {
        return format!("[{host}]:{port}");
    }
    match text.rsplit_once(':') {
        Some((_, number)) if number.parse::<u16>().is_ok() => text.to_owned(),
        _ => format!("{text}:{port}"),
    }
}

/// An address of nobody (RFC 5737): the way there is the way out.
const ANYWHERE: &str = "192.0.2.1:9";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertised_address_gets_the_port_unless_it_has_one() {
        assert_eq!(with_port("a.example", 7), "a.example:7");
        assert_eq!(with_port("a.example:8", 7), "a.example:8");
        assert_eq!(with_port("10.0.0.1", 7), "10.0.0.1:7");
        assert_eq!(with_port("fd00::1", 7), "[fd00::1]:7");
        assert_eq!(with_port("[fd00::1]", 7), "[fd00::1]:7");
        assert_eq!(with_port("[fd00::1]:8", 7), "[fd00::1]:8");
    }

    #[test]
    fn a_node_knows_its_own_address() {
        let own = "127.0.0.1:7".parse().unwrap();
        assert!(is_own(own, "a.example:7", 7));
        assert!(!is_own(own, "a.example:7", 8), "another port");
        let other = "192.0.2.1:7".parse().unwrap();
        assert!(!is_own(other, "a.example:7", 7));
        assert!(is_own(other, "192.0.2.1:7", 7), "behind NAT");
    }

    #[test]
    fn a_listed_leader_has_the_admin_port_unless_it_says_another() {
        let listed = |host: &str, port| LeaderAddress {
            host: host.to_owned(),
            port,
        };
        assert_eq!(dialled(&listed("a", None)), "a:1900");
        assert_eq!(dialled(&listed("fd00::1", Some(7))), "[fd00::1]:7");
    }
}
