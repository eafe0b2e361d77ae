//! Time: one wake-up for the soonest of all that can be overdue.

use super::Core;
use crate::router::moment::Moment;

impl Core {
    /// Asks for a time-out at this moment, if none is due before.
    pub(super) fn wake_at(&mut self, moment: Moment) {
        if self.timeout.is_none_or(|soonest| moment < soonest) {
            self.timeout = Some(moment);
        }
    }

    pub(super) fn handle_timeout(&mut self) {
        if self.far.tick.is_some_and(|due| due <= self.now) {
            self.tick_links();
        }
        if self.timeout.is_none_or(|due| self.now < due) {
            return;
        }
        self.timeout = None;
        self.forget_overdue_asks();
        self.break_overdue_waits();
        self.release_overdue();
        if let Some(next) = self.soonest() {
            self.wake_at(next);
        }
    }

    fn soonest(&self) -> Option<Moment> {
        let blocked_ms = self.limits.blocked_ms;
        let parties = self.parties.iter().flat_map(|(_, party)| {
            let wait = party.blocked.map(|wait| wait.since.plus_ms(blocked_ms));
            let asks = party.asks.iter().filter_map(|ask| ask.deadline);
            asks.chain(wait)
        });
        parties.chain(self.soonest_hold()).min()
    }
}
