//! Whatever happens in whatever order, each accepted message ends once.

use std::collections::HashMap;

use proptest::prelude::*;
use protocol::{ActorId, Flags, RoleId};

use super::world::World;
use crate::router::config::Limits;
use crate::router::core::ids::Target;

#[derive(Debug, Clone)]
enum Step {
    Send { from: usize, to: usize },
    SendToRole { from: usize, role: usize },
    SendToNobody { from: usize },
    Write { to: usize, n_bytes: usize },
    Handle { process: usize },
    Hold { role: usize },
    Release { role: usize },
    Bind { role: usize, to: Option<usize> },
    End { process: usize },
    Disconnect { process: usize },
    Fail { process: usize },
    Expect,
    Start { process: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..8_usize;
    let role = 0..2_usize;
    prop_oneof![
        12 => (who.clone(), who.clone()).prop_map(|(from, to)| Step::Send { from, to }),
        12 => (who.clone(), role.clone()).prop_map(|(from, role)| Step::SendToRole { from, role }),
        1 => who.clone().prop_map(|from| Step::SendToNobody { from }),
        10 => (who.clone(), 1..2000_usize).prop_map(|(to, n_bytes)| Step::Write { to, n_bytes }),
        8 => who.clone().prop_map(|process| Step::Handle { process }),
        2 => role.clone().prop_map(|role| Step::Hold { role }),
        3 => role.clone().prop_map(|role| Step::Release { role }),
        3 => (role, proptest::option::weighted(0.8, who.clone()))
            .prop_map(|(role, to)| Step::Bind { role, to }),
        1 => who.clone().prop_map(|process| Step::End { process }),
        1 => who.clone().prop_map(|process| Step::Disconnect { process }),
        1 => who.clone().prop_map(|process| Step::Fail { process }),
        2 => Just(Step::Expect),
        2 => who.prop_map(|process| Step::Start { process }),
    ]
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

fn roles() -> [RoleId; 2] {
    [RoleId::of("app", "one"), RoleId::of("app", "two")]
}

/// A world and the messages that were accepted in it; each has a payload of another length.
struct Run {
    world: World,
    n_sent: usize,
}

impl Run {
    fn take(&mut self, step: &Step) {
        let world = &mut self.world;
        let count = world.processes.len();
        let roles = roles();
        match *step {
            Step::Send { from, to } => {
                let target = Target::Actor(world.address(to % count));
                self.send(from % count, target);
            }
            Step::SendToRole { from, role } => {
                self.send(from % count, Target::Role(roles[role]));
            }
            Step::SendToNobody { from } => {
                self.send(from % count, Target::Actor(ActorId([77; 16])));
            }
            Step::Write { to, n_bytes } => world.write(to % count, n_bytes),
            Step::Handle { process } => world.handle(process % count),
            Step::Hold { role } => world.hold(roles[role]),
            Step::Release { role } => world.release(roles[role]),
            Step::Bind { role, to } => world.bind(roles[role], to.map(|to| to % count)),
            Step::End { process } => world.end(process % count),
            Step::Disconnect { process } => {
                if let Some(from) = world.processes[process % count].id {
                    world.event(crate::router::core::Event::Disconnected { from });
                }
            }
            Step::Fail { process } => {
                let actor = world.address(process % count);
                let reason = "failed by the test".to_owned();
                world.event(crate::router::core::Event::FailedCreation { actor, reason });
            }
            Step::Expect if count < 8 => drop(world.expect(ActorId::NONE)),
            Step::Expect => {}
            Step::Start { process } => {
                if world.processes[process % count].id.is_none() {
                    world.start(process % count);
                }
            }
        }
    }

    fn send(&mut self, from: usize, target: Target) {
        let world = &mut self.world;
        let stands = world.core.connection_of(world.address(from)).is_some();
        let own = target == Target::Actor(world.address(from));
        if stands && !own && world.may_send(from, target) {
            self.n_sent += 1;
            world.send(from, target, Flags::default(), self.n_sent);
        }
    }
}

/// Sequences that a receiver got of one sender by one address rise.
fn assert_order(world: &World) {
    for process in &world.processes {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn each_accepted_message_is_delivered_once_or_dead_once_or_returned_once(
        steps in proptest::collection::vec(step(), 1..250)
    ) {
        let mut world = World::new(limits());
        for _ in 0..3 {
            world.actor();
        }
        world.client();
        world.bind(roles()[0], Some(0));
        let mut run = Run { world, n_sent: 0 };
        for step in &steps {
            run.take(step);
            assert_order(&run.world);
        }
        let Run { mut world, n_sent } = run;
        roles().iter().for_each(|role| world.release(*role));
        world.settle();
        for n in 0..world.processes.len() {
            if world.core.connection_of(world.address(n)).is_none() {
                world.end(n);
            }
        }
        world.settle();
        assert_order(&world);

        let mut ends: HashMap<usize, u32> = HashMap::new();
        let mut delivered = 0;
        for process in &world.processes {
            for frame in process.inbox.iter().filter(|f| !f.header.flags.contains(Flags::SYSTEM)) {
                *ends.entry(frame.payload.len()).or_default() += 1;
                delivered += 1;
            }
        }
        let (total, letters) = world.core.dead_letters();
        for letter in &letters {
            // Envelopes and notices of the node itself are no messages of the run.
            if letter.sender.0[15] != 1 {
                *ends.entry(letter.bytes as usize).or_default() += 1;
            }
        }
        let stats = world.core.stats();
        prop_assert_eq!(stats.dead_letters, total);
        prop_assert_eq!(stats.waiting, 0);
        prop_assert!(ends.values().all(|n_ends| *n_ends == 1), "{:?}", ends);
        // What is in neither went back, or was cut in two by the end of its target.
        let missing = n_sent as u64 - ends.len() as u64;
        let cut = world.processes.iter().filter(|process| process.is_cut()).count() as u64;
        prop_assert!(missing >= stats.returned && missing <= stats.returned + cut,
            "{} of {} missing, {} returned, {} cut, {} delivered",
            missing, n_sent, stats.returned, cut, delivered);
        prop_assert!(!world.closed.iter().any(|reason| reason.contains("credit")));

        // All credit came back, but for less than the half that may be kept.
        let limits = limits();
        for n in 0..world.processes.len() {
            if world.core.connection_of(world.address(n)).is_none() {
                continue;
            }
            for (messages, bytes) in world.processes[n].counts() {
                prop_assert!(messages < limits.credit_messages.div_ceil(2));
                prop_assert!(bytes < limits.credit_bytes.div_ceil(2));
            }
        }
    }
}
