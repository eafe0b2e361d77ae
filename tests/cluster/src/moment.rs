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

    /// How long each node's log is now, for [`Scene::await_moment`].
    #[must_use]
    pub fn logged(&self) -> Vec<usize> {
        self.nodes().map(|node| self.log(node).len()).collect()
    }

    /// Waits for a moment, of the logs behind `logged`; gives who leads then.
    ///
    /// # Panics
    /// When it does not come.
    pub fn await_moment(&self, logged: &[usize], moment: Moment) -> Node {
        let until = Instant::now() + PATIENCE;
        loop {
            assert!(
                Instant::now() < until,
                "the rollout never came to {moment:?}"
            );
            match moment {
                Moment::Gate(event, version) => {
                    let at = format!("at-{event}");
                    let mut life = self.life().into_iter();
                    if life.any(|it| it.event == at && it.version == version) {
                        return self.leader();
                    }
                }
                // On a busy machine another may lead by now than when the rollout was ordered.
                Moment::Logged(text, after) => {
                    let mut nodes = self.nodes().zip(logged);
                    let found = nodes.find(|(node, from)| self.log(*node)[**from..].contains(text));
                    if let Some((leader, _)) = found {
                        std::thread::sleep(after);
                        return leader;
                    }
                }
            }
            std::thread::sleep(Duration::from_micros(300));
        }
    }

    /// Opens the gate of a moment, if it has one.
    pub fn release(&self, moment: Moment) {
        if let Moment::Gate(event, version) = moment {
            self.open_gate(event, version);
        }
    }
}
