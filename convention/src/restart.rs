//! When a Director actor that ended starts again: back-off that doubles, and a restart intensity.
//!
//! Counted from the actor's latest starts. Source: Erlang/OTP supervisors' restart intensity
//! (`max_restarts` within `max_seconds`), with a growing delay before each.

use protocol::Stamp;

/// Starts within the window after which a role is shown as failed.
pub const RESTARTS_MAX: usize = 8;

/// The window, in milliseconds.
pub const RESTART_WINDOW_MS: u64 = 60_000;

/// Delay before the third start within the window; the second one is immediate.
const BACK_OFF_MS: u64 = 100;

/// Longest delay.
pub(crate) const BACK_OFF_MAX_MS: u64 = 10_000;

/// What happens to an actor that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restart {
    /// It starts again, not before this.
    NotBefore(Stamp),
    /// It started so often that it is left as failed.
    Never {
        /// Starts within the window.
        starts: usize,
    },
}

/// Decides from the starts so far, which are trimmed to the window. Those that lie further ahead
/// were stamped by a leader whose clock was ahead, and count no more.
pub(crate) fn after_end(recent: &mut Vec<Stamp>, now: Stamp) -> Restart {
    recent.retain(|start| start.0.abs_diff(now.0) < RESTART_WINDOW_MS);
    let starts = recent.len();
    if starts >= RESTARTS_MAX {
        return Restart::Never { starts };
    }
    let delay_ms = match starts {
        0 | 1 => 0,
        more => (BACK_OFF_MS << (more - 2)).min(BACK_OFF_MAX_MS),
    };
    Restart::NotBefore(Stamp(now.0 + delay_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_and_ends_in_failure() {
        let mut recent = Vec::new();
        let mut now = Stamp(1_000);
        let mut delays = Vec::new();
        loop {
            recent.push(now);
            match after_end(&mut recent, now) {
                Restart::NotBefore(at) => {
                    delays.push(at.0 - now.0);
                    now = at;
                }
                Restart::Never { starts } => {
                    assert_eq!(starts, RESTARTS_MAX);
                    break;
                }
            }
        }
        assert_eq!(delays, [0, 100, 200, 400, 800, 1600, 3200]);
    }

    #[test]
    fn starts_stamped_by_a_clock_an_hour_ahead_fail_nobody() {
        let ahead = 3_600_000;
        let mut recent = vec![Stamp(ahead); RESTARTS_MAX];
        let now = Stamp(1_000);
        assert_eq!(after_end(&mut recent, now), Restart::NotBefore(now));
        assert!(recent.is_empty());
    }

    #[test]
    fn an_actor_that_lived_long_starts_again_at_once() {
        let mut recent = vec![Stamp(0), Stamp(10), Stamp(20)];
        let now = Stamp(100_000);
        assert_eq!(after_end(&mut recent, now), Restart::NotBefore(now));
        assert!(recent.is_empty());
    }
}
