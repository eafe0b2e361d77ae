//! Which user of this host listens at a UDP address, as the kernel has it.
//!
//! A port proves nothing: another user may have bound it first. Where a convention at an address of
//! this host does not prove to be of the joiner's user, its owner is looked up before an answer
//! counts.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// A user other than this one and root who listens there; `None`: there is none, or it is not an
/// address of this host, or the kernel does not say.
pub(super) fn other_user_at(remote: SocketAddr) -> Option<u32> {
    // Only addresses of this host can be bound.
    UdpSocket::bind((remote.ip(), 0)).ok()?;
    let me = rustix::process::geteuid().as_raw();
    let tables = ["/proc/net/udp", "/proc/net/udp6"];
    let texts = tables
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok());
    let users: BTreeSet<_> = texts.flat_map(|text| users_at(&text, remote)).collect();
    users.into_iter().find(|user| *user != 0 && *user != me)
}

/// The users of the sockets in one of the kernel's tables that get what is sent there.
fn users_at(table: &str, remote: SocketAddr) -> Vec<u32> {
    let entry = |line: &str| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        // Between them: remote, state, queues, timer, retransmissions.
        let user = fields.nth(5)?.parse().ok()?;
        let (ip, port) = local.split_once(':')?;
        let (ip, port) = (address(ip)?, u16::from_str_radix(port, 16).ok()?);
        let hears = ip.is_unspecified() || ip == remote.ip();
        (hears && port == remote.port()).then_some(user)
    };
    table.lines().skip(1).filter_map(entry).collect()
}

/// An address as the kernel prints it: words of 32 bits in the host's order.
fn address(text: &str) -> Option<IpAddr> {
    let words: Option<Vec<u32>> = text
        .as_bytes()
        .chunks(8)
        .map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok())
        .collect();
    let words = words?;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes)
            .ok()
            .map(|bytes| Ipv4Addr::from(bytes).into()),
        16 => <[u8; 16]>::try_from(bytes)
            .ok()
            .map(|bytes| Ipv6Addr::from(bytes).to_canonical()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
  205: 0100007F:076C 00000000:0000 07 00000000:00000000 00:00000000 00000000  1001        0 9 2 0 0
  206: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 8 2 0 0
  207: 0200007F:076C 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 7 2 0 0
";

    #[cfg(target_endian = "little")]
    #[test]
    fn the_users_of_a_port_are_read_from_the_kernels_table() {
        let at = |text: &str| users_at(TABLE, text.parse().unwrap());
        assert_eq!(at("127.0.0.1:1900"), [1001]);
        assert_eq!(at("127.0.0.2:1900"), [0]);
        assert_eq!(at("127.0.0.1:53"), [101], "on all addresses");
        assert_eq!(at("127.0.0.1:54"), [0_u32; 0]);
    }

    #[test]
    fn a_socket_of_ones_own_is_nobody_elses() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = UdpSocket::bind(address) else {
                continue;
            };
            let at = socket.local_addr().unwrap();
            assert_eq!(other_user_at(at), None);
            let table = std::fs::read_to_string("/proc/net/udp").unwrap_or_default();
            let table6 = std::fs::read_to_string("/proc/net/udp6").unwrap_or_default();
            let me = rustix::process::geteuid().as_raw();
            let users = [users_at(&table, at), users_at(&table6, at)].concat();
            assert_eq!(users, [me], "{address}");
        }
    }
}
