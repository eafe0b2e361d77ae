//! What the desks of a scenario wrote down of their own lives.
//!
//! One process is one incarnation. All hosts of a scenario share one clock, so that moments of
//! different nodes can be compared.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::scene::Scene;

/// One moment in the life of an actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// `init`, `loaded` (OnLoad), `left` (OnDeactivate), `back` (OnReactivate), `tick`,
    /// `exit`; with `at-` before it while the gate of that event is closed.
    pub event: String,
    /// The version of its source.
    pub version: String,
    /// Name of its node.
    pub node: String,
    /// Its process.
    pub pid: u32,
    /// When, by the clock of the machine.
    pub at: Duration,
}

impl Life {
    fn read(line: &str) -> Option<Self> {
        let words: Vec<_> = line.split(' ').collect();
        let [event, version, node, pid, at_ns] = words.as_slice() else {
            return None;
        };
        Some(Self {
            event: (*event).to_owned(),
            version: (*version).to_owned(),
            node: (*node).to_owned(),
            pid: pid.parse().ok()?,
            at: Duration::from_nanos(at_ns.parse().ok()?),
        })
    }
}

impl Scene {
    /// What all actors have written down so far, in order.
    ///
    /// # Panics
    /// When there is a line that none of them wrote.
    #[must_use]
    pub fn life(&self) -> Vec<Life> {
        let text = fs::read_to_string(self.beside_journal("life")).unwrap_or_default();
        // The last line may be on its way.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines();
        let read = |line: &str| Life::read(line).unwrap_or_else(|| panic!("no life: {line:?}"));
        lines.map(read).collect()
    }

    /// Has every desk that is loaded from now on write down a tick 50 times a second.
    pub fn let_tick(&self) {
        fs::write(self.beside_journal("ticks"), "").unwrap();
    }

    /// Closes a gate: an actor of the version waits at the event until it is opened.
    pub fn close_gate(&self, event: &str, version: &str) {
        fs::write(self.gate(event, version), "").unwrap();
    }

    /// Opens a gate.
    ///
    /// # Panics
    /// When it was not closed.
    pub fn open_gate(&self, event: &str, version: &str) {
        fs::remove_file(self.gate(event, version)).unwrap();
    }

    fn gate(&self, event: &str, version: &str) -> std::path::PathBuf {
        self.beside_journal(&format!("gate.{event}.{version}"))
    }

    /// OnLoad reached each incarnation at most once, and so did OnDeactivate unless the actor was
    /// told in between that its version is back.
    ///
    /// # Panics
    /// When one was told twice.
    pub fn assert_told_once(&self) {
        let mut lives = BTreeMap::<u32, Vec<String>>::new();
        for moment in self.life() {
            lives.entry(moment.pid).or_default().push(moment.event);
        }
        for (pid, events) in &lives {
            let is_told = |event: &&String| matches!(event.as_str(), "loaded" | "left" | "back");
            let told: Vec<_> = events.iter().filter(is_told).collect();
            let loads = told.iter().filter(|event| **event == "loaded").count();
            let twice = told.windows(2).any(|pair| pair[0] == pair[1]);
            assert!(loads <= 1 && !twice, "process {pid} was told {told:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene_with(events: &[&str]) -> Scene {
        let scene = Scene::with(0);
        let lines = events.iter().map(|event| format!("{event} 1.0 a 7 5\n"));
        fs::write(scene.beside_journal("life"), lines.collect::<String>()).unwrap();
        scene
    }

    #[test]
    fn lives_are_read_and_may_go_back_and_forth() {
        let scene = scene_with(&["init", "loaded", "tick", "left", "back", "left", "exit"]);
        scene.assert_told_once();
        assert_eq!(scene.life()[1].at, Duration::from_nanos(5));
    }

    #[test]
    #[should_panic(expected = "was told")]
    fn a_second_deactivation_in_a_row_is_one_too_many() {
        scene_with(&["init", "loaded", "left", "tick", "left"]).assert_told_once();
    }

    #[test]
    #[should_panic(expected = "was told")]
    fn a_second_load_is_one_too_many() {
        scene_with(&["init", "loaded", "left", "loaded"]).assert_told_once();
    }
}
