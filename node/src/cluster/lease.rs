//! Whether this node may deliver to Director actors by role or global name.
//!
//! The leader gives a lost member's Director actors away only after the lease and a margin. So a
//! lease is counted from when the heartbeat was *sent*, and ends by this node's own clock, whether
//! or not it can reach anybody.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Standing of this node's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseState {
    /// It holds: names and roles are served.
    Held,
    /// It has ended, or there was none in this run yet.
    Ended,
    /// There was none in this run yet, and `offline.cfg` lets local clients be served.
    Offline,
}

impl LeaseState {
    /// Whether roles and names are served here.
    pub(crate) fn serves(self) -> bool {
        self != Self::Ended
    }
}

/// The lease of this node.
#[derive(Debug)]
pub(crate) struct Lease {
    term: watch::Sender<Term>,
    state: watch::Sender<LeaseState>,
}

/// Until when it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Term {
    /// None in this run yet.
    None { offline: bool },
    /// This node leads, and is the only voter.
    Leads,
    /// Until then.
    Until(Instant),
    /// This node stops: none any more.
    Stopped,
}

impl Term {
    /// When it ends, if only the clock ends it.
    pub(super) fn end(self) -> Option<Instant> {
        match self {
            Self::Until(end) => Some(end),
            Self::None { .. } | Self::Leads | Self::Stopped => None,
        }
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self {
            term: watch::Sender::new(Term::None { offline: false }),
            state: watch::Sender::new(LeaseState::Ended),
        }
    }
}

impl Lease {
    /// The lease, as it holds and ends.
    pub(crate) fn state(&self) -> watch::Receiver<LeaseState> {
        self.state.subscribe()
    }

    /// Until when it holds, as that moves.
    pub(super) fn term(&self) -> watch::Receiver<Term> {
        self.term.subscribe()
    }

    /// This node leads, and nobody else can before it knows.
    pub(super) fn lead_alone(&self) {
        self.set(Term::Leads);
    }

    /// This node begins to lead: what an earlier leader granted it ends as early as its own right
    /// would, for it is by that right that the next leader counts.
    pub(super) fn begin_lead(&self) {
        let latest = Instant::now() + LEADING;
        if matches!(*self.term.borrow(), Term::Until(end) if end > latest) {
            self.set(Term::Until(latest));
        }
    }

    /// This node leads; a majority of the voters has acknowledged what it sent at `sent`.
    pub(super) fn lead(&self, sent: Instant) {
        self.set(Term::Until(sent + LEADING));
    }

    /// This node leads no longer; what its majority granted it last runs on.
    pub(super) fn lead_no_longer(&self) {
        if *self.term.borrow() == Term::Leads {
            self.set(Term::Until(Instant::now() + LEADING));
        }
    }

    /// A heartbeat that was sent at `sent` has been acknowledged.
    pub(super) fn renew(&self, sent: Instant, lease: Duration) {
        self.set(Term::Until(sent + lease));
    }

    /// The convention is out of reach since the start, and local clients may be served.
    pub(super) fn serve_offline(&self) {
        if matches!(*self.term.borrow(), Term::None { .. }) {
            self.set(Term::None { offline: true });
        }
    }

    /// The convention is there again: it says from now on who serves.
    pub(super) fn serve_offline_no_longer(&self) {
        if matches!(*self.term.borrow(), Term::None { .. }) {
            self.set(Term::None { offline: false });
        }
    }

    /// Ends it now, as the member is none any more.
    pub(super) fn end(&self) {
        self.set(Term::Until(Instant::now()));
    }

    /// Ends it for good, as this node stops.
    pub(super) fn stop(&self) {
        self.set(Term::Stopped);
    }

    /// Watches the clock until it is cancelled.
    pub(crate) async fn run(&self, shutdown: CancellationToken) {
        let mut term = self.term.subscribe();
        loop {
            let now = *term.borrow_and_update();
            self.publish();
            let ends = async {
                match now {
                    Term::Until(end) if end > Instant::now() => sleep_until(end).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                changed = term.changed() => if changed.is_err() { return },
                () = ends => {}
            }
        }
    }

    fn set(&self, term: Term) {
        self.term.send_if_modified(|now| {
            let moves = *now != Term::Stopped;
            if moves {
                *now = term;
            }
            moves
        });
        self.publish();
    }

    fn publish(&self) {
        let now = match *self.term.borrow() {
            Term::Leads => LeaseState::Held,
            Term::Until(end) if end > Instant::now() => LeaseState::Held,
            Term::Until(_) | Term::None { offline: false } | Term::Stopped => LeaseState::Ended,
            Term::None { offline: true } => LeaseState::Offline,
        };
        self.state.send_if_modified(|state| {
            let changed = *state != now;
            *state = now;
            changed
        });
    }
}

/// How long a leader's own right to serve lasts, from when that was sent which a majority of the
/// voters acknowledged last. Longer than it takes to hand over in order.
const LEADING: Duration = Duration::from_millis(800);

/// How long after its election a leader reckons with the lease of the one before that has no
/// session with it.
///
/// Of the majority that acknowledged what the former leader sent last, at S, one voter at least
/// has elected the next, and did so after S. So the former leader's own right, which ends at
/// S + `LEADING` by its own clock, is over at the election + `LEADING`; the rest is for clocks and
/// timers. That voter also held to the former leader for the shortest election (300 ms) from when
/// it heard it, which is kept as a further margin.
pub(crate) const FORMER_LEADER: Duration = Duration::from_millis(1_000);

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(6);

    #[tokio::test(start_paused = true)]
    async fn a_lease_counts_from_when_its_heartbeat_was_sent() {
        let lease = Lease::default();
        let mut state = lease.state();
        let shutdown = CancellationToken::new();
        let running = async {
            let sent = Instant::now();
            tokio::time::advance(Duration::from_secs(2)).await;
            lease.renew(sent, LEASE);
            assert!(state.borrow().serves());
            state.wait_for(|state| !state.serves()).await.unwrap();
            let held = sent.elapsed();
            assert!(
                held >= LEASE && held < LEASE + Duration::from_millis(50),
                "{held:?}"
            );
            shutdown.cancel();
        };
        tokio::join!(lease.run(shutdown.clone()), running);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_serves_no_longer_than_the_next_one_reckons_with() {
        let lease = Lease::default();
        let mut state = lease.state();
        let shutdown = CancellationToken::new();
        let running = async {
            // Acknowledged late, and noticed later: both count from when it was sent.
            let sent = Instant::now();
            tokio::time::advance(Duration::from_millis(300)).await;
            lease.lead(sent);
            lease.lead_no_longer();
            assert!(state.borrow().serves());
            state.wait_for(|state| !state.serves()).await.unwrap();
            let held = sent.elapsed();
            assert!(held >= LEADING && held < FORMER_LEADER, "{held:?}");
            shutdown.cancel();
        };
        tokio::join!(lease.run(shutdown.clone()), running);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_without_its_convention_serves_only_if_it_is_told_to() {
        let lease = Lease::default();
        assert_eq!(*lease.state().borrow(), LeaseState::Ended);
        lease.serve_offline();
        assert_eq!(*lease.state().borrow(), LeaseState::Offline);
        lease.serve_offline_no_longer();
        assert_eq!(*lease.state().borrow(), LeaseState::Ended);
        lease.serve_offline();
        lease.renew(Instant::now(), LEASE);
        lease.end();
        lease.serve_offline();
        assert_eq!(
            *lease.state().borrow(),
            LeaseState::Ended,
            "it had a lease before"
        );
    }
}
