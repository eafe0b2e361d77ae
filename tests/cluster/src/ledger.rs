//! The ledger of a scenario's requests, and the account that it is held against.
//!
//! Pure: from the clients' entries, the journal of what was handled and the loads acknowledged.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::name::Node;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number, its alone.
    pub number: u64,
    /// The node that was asked.
    pub on: Node,
    /// When it was sent, since the clients began.
    pub sent: Duration,
    /// When it ended.
    pub ended: Duration,
    /// How.
    pub end: End,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With its own number, a version and a node.
    Answered {
        /// The version that answered.
        version: String,
        /// The node that it runs on.
        node: String,
    },
    /// With something else.
    Wrong(String),
    /// Never handed to the actor.
    DeadLettered(String),
    /// Perhaps handed to it.
    Unknown(String),
    /// Not at all within the limit.
    Nothing,
}

/// A load that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) version: String,
    pub(crate) begun: Duration,
    pub(crate) ended: Duration,
}

/// What became of all requests; each list but the first holds what must not be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Requests answered, by version and node.
    pub answered: BTreeMap<(String, String), usize>,
    /// Requests that were not handed over.
    pub dead_lettered: Vec<Entry>,
    /// Requests of which it is not known.
    pub unknown: Vec<Entry>,
    /// Requests that ended in no way.
    pub without_end: Vec<Entry>,
    /// Replies that are none.
    pub wrong: Vec<Entry>,
    /// Requests sent after a load was acknowledged, and answered by the version before it.
    pub stale: Vec<Entry>,
    /// Numbers handled more than once.
    pub handled_twice: Vec<u64>,
    /// Numbers answered that the journal does not have.
    pub answered_unhandled: Vec<u64>,
}

impl Account {
    /// Balances entries, journal and loads.
    pub(crate) fn balance(ledger: &[Entry], journal: &str, loads: &[Acknowledged]) -> Self {
        let mut account = Self::default();
        let mut handled = BTreeMap::<u64, usize>::new();
        for line in journal.lines() {
            let number = line.split(' ').next().and_then(|word| word.parse().ok());
            *handled.entry(number.unwrap_or_default()).or_default() += 1;
        }
        for entry in ledger {
            account.enter(entry, &handled, loads);
        }
        let twice = handled.iter().filter(|(_, count)| **count > 1);
        account.handled_twice = twice.map(|(number, _)| *number).collect();
        account
    }

    fn enter(&mut self, entry: &Entry, handled: &BTreeMap<u64, usize>, loads: &[Acknowledged]) {
        match &entry.end {
            End::Answered { version, node } => {
                let by = (version.clone(), node.clone());
                *self.answered.entry(by).or_default() += 1;
                if !handled.contains_key(&entry.number) {
                    self.answered_unhandled.push(entry.number);
                }
                if !may_answer(version, entry, loads) {
                    self.stale.push(entry.clone());
                }
            }
            End::Wrong(_) => self.wrong.push(entry.clone()),
            End::DeadLettered(_) => self.dead_lettered.push(entry.clone()),
            End::Unknown(_) => self.unknown.push(entry.clone()),
            End::Nothing => self.without_end.push(entry.clone()),
        }
    }

    /// How many requests were answered.
    #[must_use]
    pub fn answered_count(&self) -> usize {
        self.answered.values().sum()
    }

    /// How many requests a version answered, on any node.
    #[must_use]
    pub fn answered_by(&self, version: &str) -> usize {
        let by = self.answered.iter().filter(|((by, _), _)| by == version);
        by.map(|(_, count)| count).sum()
    }

    /// What holds whatever fails: each request ends, none is handled twice, none is answered by
    /// a version that an acknowledged load has replaced.
    ///
    /// # Panics
    /// When it does not hold.
    pub fn assert_sound(&self) {
        let faults = [
            ("without end", shown(&self.without_end)),
            ("wrong reply", shown(&self.wrong)),
            ("stale", shown(&self.stale)),
            ("handled twice", shown(&self.handled_twice)),
            ("answered unhandled", shown(&self.answered_unhandled)),
        ];
        for (what, found) in faults {
            assert!(found.is_empty(), "{what}: {found}\n{self}");
        }
        assert!(self.answered_count() > 0, "no request was answered: {self}");
    }

    /// What holds as long as no process, node or link fails: all requests are answered.
    ///
    /// # Panics
    /// When it does not hold.
    pub fn assert_nothing_lost(&self) {
        self.assert_sound();
        let lost = [&self.dead_lettered, &self.unknown].map(|it| shown(it));
        assert!(lost.iter().all(String::is_empty), "{lost:#?}\n{self}");
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((version, node), count) in &self.answered {
            write!(f, "{count} answered by {version} on {node}, ")?;
        }
        write!(
            f,
            "{} dead-lettered, {} unknown, {} without end, {} wrong, {} stale, {} twice",
            self.dead_lettered.len(),
            self.unknown.len(),
            self.without_end.len(),
            self.wrong.len(),
            self.stale.len(),
            self.handled_twice.len()
        )
    }
}

/// The version of the last load acknowledged before it was sent, or of any later one.
fn may_answer(version: &str, entry: &Entry, loads: &[Acknowledged]) -> bool {
    let before = loads.iter().rposition(|load| load.ended <= entry.sent);
    let from = before.unwrap_or_default();
    let possible = loads.iter().skip(from);
    let mut possible = possible.filter(|load| load.begun <= entry.ended);
    before.is_none() || possible.any(|load| load.version == version)
}

fn shown<T: fmt::Debug>(found: &[T]) -> String {
    let texts: Vec<_> = found.iter().take(10).map(|it| format!("{it:?}")).collect();
    texts.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::A;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn answered(number: u64, sent: u64, version: &str) -> Entry {
        Entry {
            number,
            on: A,
            sent: ms(sent),
            ended: ms(sent + 1),
            end: End::Answered {
                version: version.to_owned(),
                node: "a".to_owned(),
            },
        }
    }

    fn loads() -> [Acknowledged; 2] {
        let load = |version: &str, begun, ended| Acknowledged {
            version: version.to_owned(),
            begun: ms(begun),
            ended: ms(ended),
        };
        [load("1.0", 0, 10), load("2.0", 100, 120)]
    }

    fn balance(ledger: &[Entry], journal: &str) -> Account {
        Account::balance(ledger, journal, &loads())
    }

    #[test]
    fn an_account_without_faults_is_sound() {
        let ledger = [
            answered(1, 50, "1.0"),
            answered(2, 110, "1.0"),
            answered(3, 110, "2.0"),
            answered(4, 130, "2.0"),
        ];
        let account = balance(&ledger, "1 1.0 a\n2 1.0 a\n3 2.0 a\n4 2.0 a\n5 2.0 a\n");
        account.assert_nothing_lost();
        assert_eq!(
            (account.answered_count(), account.answered_by("2.0")),
            (4, 2)
        );
    }

    #[test]
    fn an_old_version_after_the_acknowledgement_is_stale() {
        assert!(balance(&[answered(1, 119, "1.0")], "1").stale.is_empty());
        assert_eq!(balance(&[answered(1, 120, "1.0")], "1").stale.len(), 1);
        assert_eq!(balance(&[answered(1, 50, "2.0")], "1").stale.len(), 1);
    }

    #[test]
    #[should_panic(expected = "handled twice: 1")]
    fn twice_is_too_often() {
        balance(&[answered(1, 50, "1.0")], "1 1.0 a\n1 1.0 a\n").assert_sound();
    }

    #[test]
    #[should_panic(expected = "answered unhandled: 1")]
    fn an_answer_that_nobody_gave_is_none() {
        balance(&[answered(1, 50, "1.0")], "2 1.0 a\n").assert_sound();
    }

    #[test]
    #[should_panic(expected = "without end")]
    fn a_request_ends() {
        let open = Entry {
            end: End::Nothing,
            ..answered(2, 50, "")
        };
        balance(&[answered(1, 50, "1.0"), open], "1\n").assert_sound();
    }

    #[test]
    #[should_panic(expected = "Unknown")]
    fn an_unknown_request_is_a_loss_where_nothing_failed() {
        let unknown = Entry {
            end: End::Unknown(String::new()),
            ..answered(2, 50, "")
        };
        let account = balance(&[answered(1, 50, "1.0"), unknown], "1\n");
        account.assert_sound();
        account.assert_nothing_lost();
    }
}
