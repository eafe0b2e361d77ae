//! How moments and people are shown.

use nix::unistd::{Uid, User};
use protocol::Stamp;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

/// How old an answer is that nobody confirmed.
pub(crate) fn as_of(index: u64, age_ms: u64) -> String {
    format!("as of index {index}, {age_ms} ms after the leader was heard")
}

/// A stamp in local time, to the second.
pub(crate) fn moment(stamp: Stamp) -> String {
    let nanos = i128::from(stamp.0) * 1_000_000;
    let Ok(moment) = OffsetDateTime::from_unix_timestamp_nanos(nanos) else {
        return stamp.to_string();
    };
    let offset = UtcOffset::local_offset_at(moment).unwrap_or(UtcOffset::UTC);
    let format = format_description!(
        "[year]-[month]-[day] [hour]:[minute]:[second][offset_hour sign:mandatory]:[offset_minute]"
    );
    let shown = moment.to_offset(offset).format(format);
    shown.unwrap_or_else(|_| stamp.to_string())
}

/// Who runs this command.
pub(crate) fn user() -> String {
    let uid = Uid::current();
    match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        _ => format!("user {uid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_tells_date_time_and_offset() {
        let shown = moment(Stamp(1_700_000_000_123));
        assert!(shown.starts_with("2023-11-1"), "{shown}");
        assert_eq!(shown.len(), "2023-11-14 22:13:20+00:00".len());
    }
}
