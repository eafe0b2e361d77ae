//! The least that a provider has to bring: one that sends a byte now and again is no provider.
//!
//! Only the time counts for which it was waited: a getter whose disk is slow blames nobody.

use std::time::Duration;

/// So many bytes at least, in so long a time of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Bytes.
    pub bytes: u64,
    /// The time.
    pub within: Duration,
}

/// What has come since the provider was last on time.
#[derive(Debug)]
pub(super) struct Window {
    pace: Pace,
    came_bytes: u64,
    left: Duration,
}

impl Window {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            came_bytes: 0,
            left: pace.within,
        }
    }

    /// How long the next bytes may be waited for.
    pub(super) fn left(&self) -> Duration {
        self.left
    }

    /// So many bytes came after so long a wait.
    pub(super) fn came(&mut self, bytes: u64, waited: Duration) {
        self.came_bytes = self.came_bytes.saturating_add(bytes);
        if self.came_bytes >= self.pace.bytes {
            *self = Self::new(self.pace);
        } else {
            self.left = self.left.saturating_sub(waited);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_bytes_now_and_again_use_the_time_up() {
        let second = Duration::from_secs(1);
        let pace = Pace {
            bytes: 100,
            within: 10 * second,
        };
        let mut window = Window::new(pace);
        for _ in 0..9 {
            window.came(1, second);
        }
        assert_eq!(window.left(), second);
        // Late, and all of it: on time again.
        window.came(91, second);
        assert_eq!(window.left(), 10 * second);
        // As slow as may be, for ever.
        for _ in 0..1_000 {
            window.came(50, 4 * second);
            assert!(window.left() > Duration::ZERO);
        }
        window.came(1, 20 * second);
        assert_eq!(window.left(), Duration::ZERO);
    }
}
