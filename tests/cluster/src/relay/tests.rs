//! The relay between two plain sockets: what it promises, seen from outside.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use super::*;
use crate::name::{A, B};

/// Two nodes that are plain sockets, with the relay between them.
struct Pair {
    relay: Relay,
    a: UdpSocket,
    b: UdpSocket,
}

impl Pair {
    fn new() -> Self {
        let block = Block::take().unwrap();
        let bind = |node| {
            let socket = UdpSocket::bind((block.node(node), 0)).unwrap();
            socket.set_read_timeout(Some(QUIET)).unwrap();
            socket
        };
        let (a, b) = (bind(A), bind(B));
        let places = [a.local_addr().unwrap(), b.local_addr().unwrap()];
        let find: Whereabouts = Arc::new(move |node| places.get(node.0).copied());
        let relay = Relay::open(block, 2, 7, find).unwrap();
        Self { relay, a, b }
    }

    fn weather(&self, from: Node, to: Node, weather: Weather) {
        self.relay.sky().set(from, to, weather);
    }

    /// Sends numbered packets from `a` to `b`'s front and gives what arrives at `b`.
    fn send(&self, count: u16) -> Vec<u16> {
        for number in 0..count {
            let bytes = number.to_be_bytes();
            self.a.send_to(&bytes, self.relay.front(B)).unwrap();
        }
        self.arrived()
    }

    fn arrived(&self) -> Vec<u16> {
        let mut packet = [0; 8];
        let mut arrived = Vec::new();
        while let Ok((2, _)) = self.b.recv_from(&mut packet) {
            arrived.push(u16::from_be_bytes([packet[0], packet[1]]));
        }
        arrived
    }
}

/// Silence that means that nothing more comes.
const QUIET: Duration = Duration::from_millis(300);

#[test]
fn packets_pass_and_answers_come_back_from_the_front() {
    let pair = Pair::new();
    let front = pair.relay.front(B);
    pair.a.send_to(b"ping", front).unwrap();
    let mut packet = [0; 8];
    let (length, back) = pair.b.recv_from(&mut packet).unwrap();
    assert_eq!(&packet[..length], b"ping");
    pair.b.send_to(b"pong", back).unwrap();
    let (length, from) = pair.a.recv_from(&mut packet).unwrap();
    assert_eq!((&packet[..length], from), (&b"pong"[..], front));
    let sky = pair.relay.sky();
    assert_eq!((sky.passed(A, B).bytes, sky.passed(B, A).bytes), (4, 4));
}

#[test]
fn a_cut_is_a_cut_in_its_direction_only_until_it_heals() {
    let pair = Pair::new();
    let front = pair.relay.front(B);
    let mut packet = [0; 8];
    pair.a.send_to(b"hello", front).unwrap();
    let (_, back) = pair.b.recv_from(&mut packet).unwrap();
    pair.weather(A, B, Weather::CUT);
    assert!(pair.send(20).is_empty());
    assert_eq!(pair.relay.sky().passed(A, B).lost, 20);
    pair.b.send_to(b"still", back).unwrap();
    assert_eq!(pair.a.recv_from(&mut packet).unwrap().0, 5);
    pair.relay.sky().clear();
    assert_eq!(pair.send(3), [0, 1, 2]);
}

#[test]
fn packets_are_doubled() {
    let pair = Pair::new();
    let doubled = Weather {
        doubled_permille: 1000,
        ..Weather::FINE
    };
    pair.weather(A, B, doubled);
    assert_eq!(pair.send(3), [0, 0, 1, 1, 2, 2]);
}

#[test]
fn packets_are_reordered_and_none_is_lost() {
    let pair = Pair::new();
    let reordering = Weather {
        overtaken_permille: 300,
        ..Weather::FINE
    };
    pair.weather(A, B, reordering);
    let mut arrived = pair.send(100);
    assert!(!arrived.is_sorted());
    arrived.sort_unstable();
    assert_eq!(arrived, (0..100).collect::<Vec<_>>());
}

#[test]
fn packets_are_delayed() {
    let pair = Pair::new();
    let delay = Duration::from_millis(120);
    let slow = Weather {
        delay,
        ..Weather::FINE
    };
    pair.weather(A, B, slow);
    let begun = Instant::now();
    pair.a.send_to(b"late", pair.relay.front(B)).unwrap();
    pair.b.recv_from(&mut [0; 8]).unwrap();
    assert!(begun.elapsed() >= delay);
}

#[test]
fn a_sheltered_node_dials_out_but_is_not_reached() {
    let pair = Pair::new();
    pair.relay.sky().shelter(B);
    assert!(pair.send(3).is_empty());
    let mut packet = [0; 8];
    pair.b.send_to(b"out", pair.relay.front(A)).unwrap();
    let (_, back) = pair.a.recv_from(&mut packet).unwrap();
    pair.a.send_to(b"in", back).unwrap();
    assert_eq!(pair.b.recv_from(&mut packet).unwrap().0, 2);
}

#[test]
fn a_rebound_sender_comes_from_another_address_and_is_still_answered() {
    let pair = Pair::new();
    let source = || {
        pair.a.send_to(b"hello", pair.relay.front(B)).unwrap();
        pair.b.recv_from(&mut [0; 8]).unwrap().1
    };
    let first = source();
    assert_eq!(source(), first);
    pair.relay.rebind(A, B);
    let second = source();
    assert_ne!(second, first);
    pair.b.send_to(b"back", second).unwrap();
    assert_eq!(pair.a.recv_from(&mut [0; 8]).unwrap().0, 4);
}
