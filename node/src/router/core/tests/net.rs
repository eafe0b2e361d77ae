//! Several machines joined by links in memory, which can be cut, delayed and lost.

use std::collections::{BTreeSet, HashMap, VecDeque};

use protocol::{ActorId, Flags, Incarnation, NodeId, RoleId};

use super::world::World;
use crate::router::agent::AgentEvent;
use crate::router::config::Limits;
use crate::router::core::Event;
use crate::router::core::ids::Target;

pub(super) struct Net {
    pub(super) worlds: Vec<World>,
    wires: HashMap<(usize, usize), VecDeque<Vec<u8>>>,
    pub(super) up: BTreeSet<(usize, usize)>,
    pub(super) lost: BTreeSet<usize>,
    /// Whether the nodes that are joined from now on have proven to run as one user.
    pub(super) same_user: bool,
}

/// A process on a node.
pub(super) type Place = (usize, usize);

pub(super) fn node(n: usize) -> NodeId {
    NodeId(1 + n as u64)
}

pub(super) fn run_of(n: usize) -> Incarnation {
    Incarnation(101 + n as u64)
}

impl Net {
    /// So many nodes that know of each other, without links.
    pub(super) fn new(n_nodes: usize, limits: &Limits) -> Self {
        let peers: Vec<_> = (0..n_nodes).map(|n| (run_of(n), node(n))).collect();
        let worlds = (0..n_nodes).map(|n| {
            let mut world = World::of(run_of(n), node(n), limits.clone());
            world.event(Event::Peers(peers.clone()));
            world
        });
        Self {
            worlds: worlds.collect(),
            wires: HashMap::new(),
            up: BTreeSet::new(),
            lost: BTreeSet::new(),
            same_user: false,
        }
    }

    /// As [`Self::new`], with all links up.
    pub(super) fn joined(n_nodes: usize, limits: &Limits) -> Self {
        let mut net = Self::new(n_nodes, limits);
        for a in 0..n_nodes {
            (0..a).for_each(|b| net.up(a, b));
        }
        net
    }

    pub(super) fn up(&mut self, a: usize, b: usize) {
        if a == b || self.lost.contains(&a) || self.lost.contains(&b) {
            return;
        }
        for (here, there) in [(a, b), (b, a)] {
            self.wires.insert((here, there), VecDeque::new());
            self.side_up(here, there);
        }
        self.up.insert((a.min(b), a.max(b)));
    }

    /// One side hears that the link is up.
    pub(super) fn side_up(&mut self, here: usize, there: usize) {
        self.worlds[here].event(Event::LinkUp {
            node: node(there),
            incarnation: run_of(there),
            same_user: self.same_user,
        });
    }

    /// The connection breaks: what is under way is gone.
    pub(super) fn down(&mut self, a: usize, b: usize) {
        if a == b {
            return;
        }
        self.up.remove(&(a.min(b), a.max(b)));
        for (here, there) in [(a, b), (b, a)] {
            self.wires.insert((here, there), VecDeque::new());
            if !self.lost.contains(&here) {
                self.worlds[here].event(Event::LinkDown { node: node(there) });
            }
        }
    }

    /// The node is lost; the others hear of it. What it had passed on to processes is theirs.
    pub(super) fn lose(&mut self, n: usize) {
        for process in 0..self.worlds[n].processes.len() {
            self.worlds[n].write_all(process);
        }
        for other in 0..self.worlds.len() {
            self.down(n, other);
        }
        if !self.lost.insert(n) {
            return;
        }
        for other in 0..self.worlds.len() {
            if other != n && !self.lost.contains(&other) {
                self.worlds[other].event(Event::LinkLost {
                    node: node(n),
                    run: run_of(n),
                    reason: "the node is lost".to_owned(),
                });
            }
        }
    }

    /// The router hands one batch over; whether it had one.
    pub(super) fn pull(&mut self, from: usize, to: usize) -> bool {
        if !self.up.contains(&(from.min(to), from.max(to))) {
            return false;
        }
        let batch = self.worlds[from].core.link_batch(node(to));
        // Handing over has effects of its own.
        self.worlds[from].drain();
        let Some(batch) = batch else { return false };
        self.wires.entry((from, to)).or_default().push_back(batch);
        true
    }

    /// The oldest batch arrives; whether there was one.
    pub(super) fn carry(&mut self, from: usize, to: usize) -> bool {
        let wire = self.wires.entry((from, to)).or_default();
        let Some(batch) = wire.pop_front() else {
            return false;
        };
        let node = node(from);
        self.worlds[to].event(Event::LinkBytes { node, batch });
        self.let_go(to, from);
        true
    }

    /// A link that one side let go is down on both.
    fn let_go(&mut self, here: usize, there: usize) {
        let there_is = node(there);
        let broken = |event: &AgentEvent| match event {
            AgentEvent::LinkBroken { node, .. } => *node == there_is,
            _ => false,
        };
        let up = self.up.contains(&(here.min(there), here.max(there)));
        if up && self.worlds[here].told.iter().any(broken) {
            self.down(here, there);
        }
    }

    pub(super) fn pairs(&self) -> Vec<(usize, usize)> {
        let all = 0..self.worlds.len();
        let pairs = all.clone().flat_map(|a| all.clone().map(move |b| (a, b)));
        pairs.filter(|(a, b)| a != b).collect()
    }

    /// Lets so much time pass everywhere.
    pub(super) fn pass_ms(&mut self, ms: u64) {
        for n in 0..self.worlds.len() {
            if !self.lost.contains(&n) {
                self.worlds[n].pass_ms(ms);
            }
        }
    }

    /// Everything moves until nothing does any more; no time passes.
    pub(super) fn settle(&mut self) {
        loop {
            let mut moved = false;
            for n in 0..self.worlds.len() {
                if !self.lost.contains(&n) {
                    self.worlds[n].settle();
                }
            }
            for (from, to) in self.pairs() {
                while self.pull(from, to) {
                    moved = true;
                }
                while self.carry(from, to) {
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// As [`Self::settle`], and receipts and credit that are kept back a while come too.
    pub(super) fn calm(&mut self) {
        for _ in 0..4 {
            self.settle();
            self.pass_ms(self.worlds[0].limits.link_tick_ms);
        }
        self.settle();
    }

    pub(super) fn actor(&mut self, n: usize) -> Place {
        (n, self.worlds[n].actor())
    }

    pub(super) fn client(&mut self, n: usize) -> Place {
        (n, self.worlds[n].client())
    }

    pub(super) fn address(&self, at: Place) -> ActorId {
        self.worlds[at.0].address(at.1)
    }

    pub(super) fn send(&mut self, from: Place, to: Place, flags: Flags, n_bytes: usize) -> u64 {
        let target = Target::Actor(self.address(to));
        self.worlds[from.0].send(from.1, target, flags, n_bytes)
    }

    pub(super) fn tell(&mut self, from: Place, to: Place) {
        self.send(from, to, Flags::default(), 10);
    }

    /// Lengths of the payloads of the messages that a process has read, without system messages.
    pub(super) fn got(&self, at: Place) -> Vec<usize> {
        let inbox = self.worlds[at.0].processes[at.1].inbox.iter();
        let told = inbox.filter(|frame| !frame.header.flags.contains(Flags::SYSTEM));
        told.map(|frame| frame.payload.len()).collect()
    }

    /// How many messages of the actor system with this text a process has read.
    pub(super) fn heard(&self, at: Place, text: &str) -> usize {
        let inbox = self.worlds[at.0].processes[at.1].inbox.iter();
        let system = inbox.filter(|frame| frame.header.flags.contains(Flags::SYSTEM));
        let texts = system.map(|frame| String::from_utf8_lossy(&frame.payload).into_owned());
        texts.filter(|payload| payload.contains(text)).count()
    }

    pub(super) fn bind(&mut self, n: usize, role: RoleId, actor: Option<ActorId>) {
        let reason = "unbound by the test".to_owned();
        self.worlds[n].event(Event::Bind {
            role,
            actor,
            reason,
        });
    }

    /// An actor with an address that one node allotted, on another, as both agents tell.
    pub(super) fn child(&mut self, parent: Place, n: usize) -> Place {
        let address = self.worlds[parent.0].next_address();
        let of = self.address(parent);
        // The serial is used up.
        self.worlds[parent.0].skip_address();
        let process = self.worlds[n].expect_as(address, of);
        let record = Box::new(super::world::record(address, of));
        let node = node(n);
        self.worlds[parent.0].event(Event::ExpectRemote { record, node });
        self.worlds[n].start(process);
        (n, process)
    }
}
