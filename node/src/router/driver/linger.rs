//! After something has moved, the router looks for more for a moment before it sleeps.
//!
//! Waking a core that sleeps takes longer than handling a message, and who was sent something
//! often answers at once. Where nothing comes the time is wasted: it is spent as often as it paid.
//! Not here: reading and writing (`line`).

use std::cell::Cell;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// When to look, and what it was worth so far.
#[derive(Debug, Default)]
pub(super) struct Linger {
    moves: Cell<u64>,
    seen: Cell<u64>,
    stir: Notify,
    worth: Cell<Worth>,
}

impl Linger {
    /// Something was read or is to be written.
    pub(super) fn moved(&self) {
        self.moves.set(self.moves.get().wrapping_add(1));
        self.stir.notify_one();
    }

    /// Keeps the thread awake where that pays; never ends.
    pub(super) async fn run(&self) {
        loop {
            if self.moves.get() == self.seen.get() {
                self.stir.notified().await;
                continue;
            }
            let mut worth = self.worth.get();
            while worth.is_tried() {
                let paid = self.look().await;
                worth.learn(paid);
                if !paid {
                    break;
                }
            }
            self.worth.set(worth);
            self.seen.set(self.moves.get());
        }
    }

    /// Looks until something moves, at most for [`LOOK`]; whether it did.
    async fn look(&self) -> bool {
        let (before, start) = (self.moves.get(), Instant::now());
        while start.elapsed() < LOOK {
            tokio::task::yield_now().await;
            if self.moves.get() != before {
                return true;
            }
        }
        false
    }
}

/// How often looking paid lately.
#[derive(Debug, Clone, Copy, Default)]
struct Worth {
    paid: u8,
    left_out: u8,
}

impl Worth {
    /// Whether to look this time: always when it pays, else now and then, to learn.
    fn is_tried(&mut self) -> bool {
        if self.paid > 0 {
            return true;
        }
        self.left_out = (self.left_out + 1) % TRIED_EVERY;
        self.left_out == 0
    }

    fn learn(&mut self, paid: bool) {
        self.paid = match paid {
            true => (self.paid + 1).min(PAID_MAX),
            false => self.paid.saturating_sub(1),
        };
    }
}

/// A little more than an answer takes that comes at once.
const LOOK: Duration = Duration::from_micros(60);

/// So many looks in vain end a habit.
const PAID_MAX: u8 = 8;

/// Without the habit, one look in so many.
const TRIED_EVERY: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_in_vain_becomes_rare() {
        let mut worth = Worth::default();
        (0..20).for_each(|_| worth.learn(true));
        let looks = (0..1600).filter(|_| {
            let is_tried = worth.is_tried();
            if is_tried {
                worth.learn(false);
            }
            is_tried
        });
        let looks = looks.count();
        assert!((100..=108).contains(&looks), "{looks}");
    }

    #[test]
    fn what_pays_is_done_every_time() {
        let mut worth = Worth::default();
        let first = (0..100).position(|_| worth.is_tried()).unwrap();
        assert!(first < usize::from(TRIED_EVERY));
        worth.learn(true);
        assert!((0..100).all(|_| {
            worth.learn(true);
            worth.is_tried()
        }));
    }

    #[tokio::test]
    async fn a_move_ends_the_look() {
        let linger = Linger::default();
        let (paid, ()) = tokio::join!(linger.look(), async { linger.moved() });
        assert!(paid);
        assert!(!linger.look().await);
    }
}
