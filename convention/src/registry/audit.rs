//! The audit: what an operator may have to know of, numbered, bounded, the oldest forgotten first.

use protocol::Stamp;
use protocol::registry::{AUDIT_KEPT, AuditEntry};

use super::Registry;

/// Most bytes of an entry's detail; the history of a group has the whole reason.
const DETAIL_BYTES_MAX: usize = 300;

/// Milliseconds within which the same refusal is one entry, so that a joiner that knocks all the
/// time does not wash everything else away.
const REPEAT_MS: u64 = 60_000;

/// One event to be remembered.
pub(super) struct Event<'a> {
    pub(super) what: &'a str,
    pub(super) subject: &'a str,
    pub(super) by: &'a str,
    pub(super) detail: &'a str,
}

impl Registry {
    pub(super) fn audit(&mut self, stamp: Stamp, event: &Event<'_>) {
        let detail = shortened(event.detail);
        let roll = &mut self.state.roll;
        let same = |entry: &AuditEntry| {
            entry.what == event.what && entry.subject == event.subject && entry.detail == detail
        };
        let repeated = event.what.contains("refused")
            && roll
                .audit
                .iter()
                .rev()
                .find(|entry| entry.what == event.what)
                .is_some_and(|last| same(last) && stamp.0.abs_diff(last.stamp.0) < REPEAT_MS);
        if repeated {
            return;
        }
        roll.last_audit += 1;
        roll.audit.push(AuditEntry {
            number: roll.last_audit,
            stamp,
            what: event.what.to_owned(),
            subject: event.subject.to_owned(),
            by: event.by.to_owned(),
            detail: detail.to_owned(),
        });
        let surplus = roll.audit.len().saturating_sub(AUDIT_KEPT);
        roll.audit.drain(..surplus);
    }
}

fn shortened(detail: &str) -> &str {
    let line = detail.lines().next().unwrap_or_default();
    let mut end = line.len().min(DETAIL_BYTES_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.split_at(end).0
}
