//! Whatever happens to three nodes and their links, each accepted message ends once, or is counted
//! as unknown.

use std::collections::HashMap;

use proptest::prelude::*;
use protocol::{ActorId, Flags, RoleId};

use super::net::{Net, Place, node};
use crate::router::config::Limits;
use crate::router::core::Event;
use crate::router::core::ids::Target;

const NODES: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Send { from: Place, to: Place },
    SendToRole { from: Place },
    Write { at: Place, n_bytes: usize },
    Handle { at: Place },
    Pull { from: usize, to: usize },
    Carry { from: usize, to: usize },
    Hold { at: usize },
    Release { at: usize },
    Bind { to: Place },
    End { at: Place },
    Child { of: Place, on: usize },
    Pass { ms: u64 },
    Down { a: usize, b: usize },
    Up { a: usize, b: usize },
    Lose { at: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let at = || (0..NODES, 0..6_usize);
    let on = || 0..NODES;
    prop_oneof![
        20 => (at(), at()).prop_map(|(from, to)| Step::Send { from, to }),
        8 => at().prop_map(|from| Step::SendToRole { from }),
        12 => (at(), 1..2000_usize).prop_map(|(at, n_bytes)| Step::Write { at, n_bytes }),
        8 => at().prop_map(|at| Step::Handle { at }),
        12 => (on(), on()).prop_map(|(from, to)| Step::Pull { from, to }),
        12 => (on(), on()).prop_map(|(from, to)| Step::Carry { from, to }),
        1 => on().prop_map(|at| Step::Hold { at }),
        2 => on().prop_map(|at| Step::Release { at }),
        2 => at().prop_map(|to| Step::Bind { to }),
        1 => at().prop_map(|at| Step::End { at }),
        2 => (at(), on()).prop_map(|(of, on)| Step::Child { of, on }),
        2 => prop_oneof![Just(200_u64), Just(1_000), Just(6_000)]
            .prop_map(|ms| Step::Pass { ms }),
    ]
}

fn step_or_break() -> impl Strategy<Value = Step> {
    let pair = || (0..NODES, 0..NODES);
    let breaks = prop_oneof![
        4 => pair().prop_map(|(a, b)| Step::Down { a, b }),
        8 => pair().prop_map(|(a, b)| Step::Up { a, b }),
        1 => (0..NODES).prop_map(|at| Step::Lose { at }),
    ];
    prop_oneof![12 => step(), 1 => breaks]
}

fn limits() -> Limits {
    Limits {
        credit_messages: 6,
        credit_bytes: 3_000,
        window_bytes: 1_500,
        hold_bytes_max: 2_000,
        dead_letters_kept: usize::MAX,
        ..Limits::default()
    }
}

fn role() -> RoleId {
    RoleId::of("app", "one")
}

/// The nodes, and the messages that were accepted, each with a payload of another length; who
/// sent it where by length.
struct Run {
    net: Net,
    senders: HashMap<usize, Place>,
}

impl Run {
    fn new() -> Self {
        let mut net = Net::joined(NODES, &limits());
        for n in 0..NODES {
            net.actor(n);
            net.actor(n);
            net.client(n);
        }
        let player = net.address((1, 0));
        (0..NODES).for_each(|n| net.bind(n, role(), Some(player)));
        let senders = HashMap::new();
        Self { net, senders }
    }

    /// The process that is meant; some numbers go around.
    fn at(&self, (n, process): Place) -> Place {
        (n, process % self.net.worlds[n].processes.len())
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Send { from, to } => {
                let to = self.net.address(self.at(to));
                self.send(self.at(from), Target::Actor(to));
            }
            Step::SendToRole { from } => self.send(self.at(from), Target::Role(role())),
            Step::Write { at, n_bytes } => {
                let (n, process) = self.at(at);
                if !self.net.lost.contains(&n) {
                    self.net.worlds[n].write(process, n_bytes);
                }
            }
            Step::Handle { at } => {
                let (n, process) = self.at(at);
                if !self.net.lost.contains(&n) {
                    self.net.worlds[n].handle(process);
                }
            }
            Step::Pull { from, to } => drop(self.net.pull(from, to)),
            Step::Carry { from, to } if from != to => drop(self.net.carry(from, to)),
            Step::Carry { .. } => {}
            Step::Hold { at } => self.net.worlds[at].hold(role()),
            Step::Release { at } => self.net.worlds[at].release(role()),
            Step::Bind { to } => {
                let actor = self.net.address(self.at(to));
                (0..NODES).for_each(|n| self.net.bind(n, role(), Some(actor)));
            }
            Step::End { at } => {
                let (n, process) = self.at(at);
                self.net.worlds[n].end(process);
            }
            Step::Child { of, on } => self.child(self.at(of), on),
            Step::Pass { ms } => self.net.pass_ms(ms),
            Step::Down { a, b } => self.net.down(a, b),
            Step::Up { a, b } => self.net.up(a, b),
            Step::Lose { at } if self.net.lost.is_empty() => self.net.lose(at),
            Step::Lose { .. } => {}
        }
    }

    fn child(&mut self, of: Place, on: usize) {
        let stands = self.stands(of) && !self.net.lost.contains(&on) && on != of.0;
        if stands && self.net.worlds[on].processes.len() < 6 {
            self.net.child(of, on);
        }
    }

    fn stands(&self, (n, process): Place) -> bool {
        let world = &self.net.worlds[n];
        let connected = world.processes[process].id.is_some()
            && world.core.connection_of(world.address(process)).is_some();
        connected && !self.net.lost.contains(&n)
    }

    fn send(&mut self, from: Place, target: Target) {
        let own = target == Target::Actor(self.net.address(from));
        let world = &self.net.worlds[from.0];
        if self.stands(from) && !own && world.may_send(from.1, target) {
            let length = self.senders.len() + 1;
            self.senders.insert(length, from);
            self.net.worlds[from.0].send(from.1, target, Flags::default(), length);
        }
    }

    /// Sequences that a receiver got of one sender by one address rise.
    fn assert_order(&self) {
        let processes = self.net.worlds.iter().flat_map(|world| &world.processes);
        for process in processes {
            let mut last = HashMap::new();
            for frame in &process.inbox {
                if frame.header.flags.contains(Flags::SYSTEM) {
                    continue;
                }
                let pair = (frame.header.sender, frame.header.target);
                let before = last.insert(pair, frame.header.sequence);
                assert!(before.is_none_or(|before| before < frame.header.sequence));
            }
        }
    }

    /// Links come up, what can go on goes on, the rest has its time to be given up.
    fn finish(&mut self) {
        (0..NODES).for_each(|n| self.net.worlds[n].release(role()));
        for (a, b) in self.net.pairs() {
            if a < b && !self.net.up.contains(&(a, b)) {
                self.net.up(a, b);
            }
        }
        self.net.calm();
        self.net.calm();
        (0..NODES).for_each(|n| self.net.worlds[n].release(role()));
        self.net.calm();
    }

    /// How often each message was handled or became a dead letter.
    fn ends(&self) -> HashMap<usize, u32> {
        let mut ends: HashMap<usize, u32> = HashMap::new();
        for world in &self.net.worlds {
            for frame in world.processes.iter().flat_map(|process| &process.inbox) {
                if !frame.header.flags.contains(Flags::SYSTEM) {
                    *ends.entry(frame.payload.len()).or_default() += 1;
                }
            }
            for letter in world.core.dead_letters().1 {
                // Envelopes and notices of nodes themselves are no messages of the run.
                if letter.sender.0[8..] != [0, 0, 0, 0, 0, 0, 0, 1] {
                    *ends.entry(letter.bytes as usize).or_default() += 1;
                }
            }
        }
        ends
    }

    fn n_unknown(&self) -> u64 {
        let here = (0..NODES).filter(|n| !self.net.lost.contains(n));
        here.map(|n| self.net.worlds[n].core.stats().unknown).sum()
    }

    fn n_cut(&self) -> u64 {
        let processes = self.net.worlds.iter().flat_map(|world| &world.processes);
        processes.filter(|process| process.is_cut()).count() as u64
    }

    /// Messages of senders on nodes that stand of which nobody saw an end.
    fn n_missing(&self, ends: &HashMap<usize, u32>) -> u64 {
        let kept = self.senders.iter();
        let kept = kept.filter(|(_, from)| !self.net.lost.contains(&from.0));
        kept.filter(|(length, _)| !ends.contains_key(length))
            .count() as u64
    }

    /// All credit came back to those who stand, but for less than the half that may be kept.
    fn assert_credit(&self) {
        let limits = limits();
        for n in (0..NODES).filter(|n| !self.net.lost.contains(n)) {
            for process in 0..self.net.worlds[n].processes.len() {
                if !self.stands((n, process)) {
                    continue;
                }
                for (messages, bytes) in self.net.worlds[n].processes[process].counts() {
                    assert!(messages < limits.credit_messages.div_ceil(2), "{messages}");
                    assert!(bytes < limits.credit_bytes.div_ceil(2), "{bytes}");
                }
            }
        }
    }

    fn check(mut self, steps: &[Step]) {
        for step in steps {
            self.take(step);
            self.assert_order();
        }
        self.finish();
        self.assert_order();
        let ends = self.ends();
        assert!(ends.values().all(|n_ends| *n_ends == 1), "{ends:?}");
        let missing = self.n_missing(&ends);
        let (unknown, cut) = (self.n_unknown(), self.n_cut());
        assert!(
            missing <= unknown + cut,
            "{missing} missing, {unknown} unknown, {cut} cut, of {}",
            self.senders.len()
        );
        self.assert_credit();
        for n in (0..NODES).filter(|n| !self.net.lost.contains(n)) {
            let world = &self.net.worlds[n];
            assert_eq!(world.core.stats().waiting, 0);
            let ended = world
                .closed
                .iter()
                .all(|reason| reason == "ended by the test");
            assert!(ended, "{:?}", world.closed);
            let broken = format!("{:?}", world.told);
            assert!(!broken.contains("LinkBroken"), "{broken}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn over_links_that_stand_each_message_ends_once(
        steps in proptest::collection::vec(step(), 1..250),
    ) {
        let mut run = Run::new();
        for step in &steps {
            run.take(step);
        }
        let unknown = run.n_unknown();
        prop_assert_eq!(unknown, 0);
        run.check(&[]);
    }

    #[test]
    fn over_links_that_break_each_message_ends_once_or_is_unknown(
        steps in proptest::collection::vec(step_or_break(), 1..250),
    ) {
        Run::new().check(&steps);
    }
}

#[test]
fn an_actor_of_a_lost_node_is_gone_for_good() {
    let mut run = Run::new();
    run.net.lose(1);
    let actor: ActorId = run.net.address((1, 0));
    run.net.worlds[0].event(Event::Located {
        actor,
        node: Some(node(1)),
    });
    run.take(&Step::Send {
        from: (0, 0),
        to: (1, 0),
    });
    run.check(&[]);
}
