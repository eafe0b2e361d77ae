//! A moment of a rollout, awaited without a pause that could miss it.

use std::time::{Duration, Instant};

use crate::name::Node;
use crate::op::PATIENCE;
use crate::scene::Scene;

/// When something is done to the leader of a rollout.
#[derive(Debug, Clone, Copy)]
pub enum Moment {
    /// An actor waits at the gate of this event, in this version.
    Gate(&'static str, &'static str),
    /// So long after the leader has logged this text.
    Logged(&'static str, Duration),
}

impl Scene {
    /// Closes the gate of a moment, if it has one.
    pub fn prepare(&self, moment: Moment) {
        if let Moment::Gate(event, version) = moment {
            self.close_gate(event, version);
        }
    }

    /// Waits for a moment; of the leader's log counts what is behind `logged`.
    ///
    /// # Panics
    /// When it does not come.
    pub fn await_moment(&self, leader: Node, logged: usize, moment: Moment) {
        let until = Instant::now() + PATIENCE;
        let is_there = || match moment {
            Moment::Gate(event, version) => {
                let at = format!("at-{event}");
                let mut life = self.life().into_iter();
                life.any(|it| it.event == at && it.version == version)
            }
            Moment::Logged(text, _) => self.log(leader)[logged..].contains(text),
        };
        while !is_there() {
            assert!(
                Instant::now() < until,
                "the rollout never came to {moment:?}"
            );
            std::thread::sleep(Duration::from_micros(300));
        }
        if let Moment::Logged(_, after) = moment {
            std::thread::sleep(after);
        }
    }

    /// Opens the gate of a moment, if it has one.
    pub fn release(&self, moment: Moment) {
        if let Moment::Gate(event, version) = moment {
            self.open_gate(event, version);
        }
    }
}
