//! The timeline: what the scenario did and what the nodes logged, merged by time.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use time::OffsetDateTime;
use time::macros::format_description;

/// The scenario's own lines, each with its stamp.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    lines: Mutex<Vec<Line>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    stamp: String,
    who: String,
    text: String,
}

/// As the nodes' logs write it.
fn stamp() -> String {
    let now = OffsetDateTime::from(SystemTime::now());
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    now.format(format).unwrap()
}

const STAMP_LENGTH: usize = "2026-01-01T00:00:00.000000Z".len();

impl Timeline {
    /// Adds a line of the scenario.
    pub(crate) fn tell(&self, text: impl Into<String>) {
        let line = Line {
            stamp: stamp(),
            who: "===".to_owned(),
            text: text.into(),
        };
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(line);
    }

    /// All lines, those of the logs in between.
    pub(crate) fn merged<'a>(&self, logs: impl Iterator<Item = (String, &'a Path)>) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut merged = lines.clone();
        for (who, path) in logs {
            let text = fs::read(path).unwrap_or_default();
            merged.extend(of_log(&who, &String::from_utf8_lossy(&text)));
        }
        merged.sort_by(|one, other| one.stamp.cmp(&other.stamp));
        let shown = merged.iter().map(|line| {
            let clock = line.stamp.get(11..23).unwrap_or_default();
            format!("{clock} {:>4} {}\n", line.who, line.text)
        });
        shown.collect()
    }
}

/// A line without a stamp of its own belongs to the one before.
fn of_log(who: &str, text: &str) -> Vec<Line> {
    let mut last = String::new();
    let lines = text.lines().map(|line| {
        let begin = line.get(..STAMP_LENGTH).filter(|it| it.ends_with('Z'));
        let text = match begin {
            Some(stamp) => {
                last = stamp.to_owned();
                line.get(STAMP_LENGTH..).unwrap_or_default().trim_start()
            }
            None => line,
        };
        Line {
            stamp: last.clone(),
            who: who.to_owned(),
            text: text.to_owned(),
        }
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_merged_by_time_and_continued_lines_stay_together() {
        let folder = tempfile::tempdir().unwrap();
        let log = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let a = log(
            "a",
            "2020-01-01T00:00:01.000000Z  INFO one\n  more\n\
             2020-01-01T00:00:03.000000Z  INFO three\n",
        );
        let b = log("b", "2020-01-01T00:00:02.000000Z  WARN two\n");
        let timeline = Timeline::default();
        timeline.tell("the end");
        let logs = [("a".to_owned(), a.as_path()), ("b".to_owned(), b.as_path())];
        let merged = timeline.merged(logs.into_iter());
        let lines: Vec<_> = merged.lines().collect();
        assert_eq!(lines[0], "00:00:01.000    a INFO one");
        assert_eq!(lines[1], "00:00:01.000    a   more");
        assert_eq!(lines[2], "00:00:02.000    b WARN two");
        assert_eq!(lines[3], "00:00:03.000    a INFO three");
        assert!(lines[4].ends_with("  === the end"), "{merged}");
    }
}
