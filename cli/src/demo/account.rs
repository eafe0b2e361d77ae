//! The account of the demo: what became of each request, and whether that is as promised.
//!
//! Pure: from the clients' entries, the actor's journal and what happened when.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) number: u64,
    /// Since the clients began.
    pub(super) sent: Duration,
    pub(super) ended: Duration,
    pub(super) end: End,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The reply, a literal.
    Answered(String),
    /// A reply that is none.
    Wrong(String),
    DeadLettered(String),
    Unknown(String),
    /// The time ran out.
    Nothing,
}

/// What the demo did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Update,
    Rollback,
    /// An update in the middle of which the leader is killed.
    Kill,
}

/// When it did it: from before the command until after it had answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Happened {
    pub(super) what: Event,
    pub(super) begun: Duration,
    pub(super) ended: Duration,
}

/// The balance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Account {
    pub(crate) sent: usize,
    pub(crate) answered: usize,
    pub(crate) by_version: BTreeMap<String, usize>,
    pub(crate) dead_lettered: usize,
    pub(crate) unknown: usize,
    pub(crate) unknown_elsewhere: usize,
    pub(crate) without_outcome: usize,
    pub(crate) handled_twice: usize,
    pub(crate) stale: usize,
    pub(crate) wrong: usize,
    pub(crate) gap_update_ms: u64,
    pub(crate) gap_rollback_ms: u64,
    pub(crate) gap_kill_ms: u64,
    clients: usize,
}

impl Account {
    /// Whether every promise held.
    pub(crate) fn holds(&self) -> bool {
        self.answered > 0
            && self.without_outcome == 0
            && self.handled_twice == 0
            && self.unknown_elsewhere == 0
            && self.unknown <= self.clients
            && self.stale == 0
            && self.wrong == 0
    }

    /// Balances the clients' entries against the journal of what was handled.
    pub(super) fn balance(
        ledger: &[Entry],
        journal: &[u64],
        happened: &[Happened],
        clients: usize,
    ) -> Self {
        let mut account = Self {
            sent: ledger.len(),
            clients,
            ..Self::default()
        };
        for entry in ledger {
            account.enter(entry, happened);
        }
        let mut handled = BTreeMap::new();
        for number in journal {
            *handled.entry(number).or_insert(0_usize) += 1;
        }
        account.handled_twice = handled.values().filter(|count| **count > 1).count();
        for event in happened {
            let gap = longest_gap(ledger, event);
            let ms = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
            match event.what {
                Event::Update => account.gap_update_ms = ms,
                Event::Rollback => account.gap_rollback_ms = ms,
                Event::Kill => account.gap_kill_ms = ms,
            }
        }
        account
    }

    fn enter(&mut self, entry: &Entry, happened: &[Happened]) {
        match &entry.end {
            End::Answered(reply) => {
                self.answered += 1;
                let expected = ["1.0", "2.0"].into_iter().find(|version| {
                    *reply == format!("({}, '{version}', {})", entry.number, price(version))
                });
                match expected {
                    Some(version) => {
                        *self.by_version.entry(version.to_owned()).or_default() += 1;
                        let stale = !may_answer(entry, happened).contains(&version);
                        self.stale += usize::from(stale);
                    }
                    None => self.wrong += 1,
                }
            }
            End::Wrong(_) => self.wrong += 1,
            End::DeadLettered(_) => self.dead_lettered += 1,
            End::Nothing => self.without_outcome += 1,
            End::Unknown(_) => {
                self.unknown += 1;
                let killed = happened.iter().any(|event| {
                    event.what == Event::Kill
                        && entry.sent <= event.ended
                        && entry.ended >= event.begun
                });
                self.unknown_elsewhere += usize::from(!killed);
            }
        }
    }
}

/// The versions that may answer a request: by when it was sent and when it ended.
fn may_answer(entry: &Entry, happened: &[Happened]) -> Vec<&'static str> {
    let mut versions = vec!["1.0"];
    for event in happened {
        let next = match event.what {
            Event::Update | Event::Kill => "2.0",
            Event::Rollback => "1.0",
        };
        if entry.sent >= event.ended {
            versions = vec![next];
        } else if entry.ended >= event.begun {
            versions.push(next);
        }
    }
    versions
}

/// 12 apples at 30 cents; version 2.0 takes a tenth off.
fn price(version: &str) -> u64 {
    if version == "2.0" { 324 } else { 360 }
}

/// The longest time between two answers in a row around an event.
fn longest_gap(ledger: &[Entry], event: &Happened) -> Duration {
    let answered = ledger
        .iter()
        .filter(|entry| matches!(entry.end, End::Answered(_)));
    let mut times: Vec<_> = answered.map(|entry| entry.ended).collect();
    times.sort();
    let margin = Duration::from_millis(500);
    let pairs = times.windows(2).filter_map(|pair| match pair {
        [before, after] => Some((*before, *after)),
        _ => None,
    });
    let near =
        pairs.filter(|(before, after)| *after >= event.begun && *before <= event.ended + margin);
    near.map(|(before, after)| after - before)
        .max()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn answered(number: u64, sent: u64, version: &str) -> Entry {
        let reply = format!("({number}, '{version}', {})", price(version));
        Entry {
            number,
            sent: ms(sent),
            ended: ms(sent + 1),
            end: End::Answered(reply),
        }
    }

    fn unknown(number: u64, sent: u64, ended: u64) -> Entry {
        let end = End::Unknown(String::new());
        Entry {
            number,
            sent: ms(sent),
            ended: ms(ended),
            end,
        }
    }

    fn happened() -> [Happened; 2] {
        let update = Happened {
            what: Event::Update,
            begun: ms(100),
            ended: ms(120),
        };
        let kill = Happened {
            what: Event::Kill,
            begun: ms(300),
            ended: ms(400),
        };
        [update, kill]
    }

    fn balance(ledger: &[Entry], journal: &[u64]) -> Account {
        Account::balance(ledger, journal, &happened(), 3)
    }

    #[test]
    fn an_account_without_faults_holds() {
        let ledger = [
            answered(1, 10, "1.0"),
            answered(2, 110, "2.0"),
            answered(3, 130, "2.0"),
            unknown(4, 299, 301),
        ];
        let account = balance(&ledger, &[1, 2, 3, 4]);
        assert!(account.holds(), "{account:?}");
        assert_eq!((account.sent, account.answered, account.unknown), (4, 3, 1));
        assert_eq!(account.gap_update_ms, 100);
    }

    #[test]
    fn the_old_version_after_the_load_had_answered_is_a_fault() {
        assert!(balance(&[answered(1, 119, "1.0")], &[1]).holds());
        assert_eq!(balance(&[answered(1, 121, "1.0")], &[1]).stale, 1);
        assert_eq!(balance(&[answered(1, 50, "2.0")], &[1]).stale, 1);
    }

    #[test]
    fn twice_handled_unanswered_and_unknown_requests_are_faults() {
        let fine = answered(1, 10, "1.0");
        assert!(!balance(std::slice::from_ref(&fine), &[1, 1]).holds());
        let nothing = Entry {
            end: End::Nothing,
            ..answered(2, 10, "1.0")
        };
        assert!(!balance(&[fine.clone(), nothing], &[1]).holds());
        assert!(!balance(&[fine, unknown(2, 200, 210)], &[1]).holds());
    }
}
