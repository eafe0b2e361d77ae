//! The keys that a `.tli` file may have at each level, and what is said about others.

use std::fmt;

use pyliteral::Value;

/// The keys that lead to a value, printed as Python would index it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TliPath(Vec<String>);

impl TliPath {
    pub(super) fn key(&self, key: &str) -> Self {
        let mut longer = self.clone();
        longer.0.push(key.to_owned());
        longer
    }
}

impl fmt::Display for TliPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("the whole");
        }
        write!(formatter, "`")?;
        for key in &self.0 {
            write!(formatter, "['{}']", key.escape_debug())?;
        }
        write!(formatter, "`")
    }
}

/// Something in a `.tli` file that is ignored, or not what it seems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TliWarning {
    /// The file.
    pub file: String,
    /// What about it.
    pub kind: TliWarningKind,
}

/// What a warning about a `.tli` file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TliWarningKind {
    /// A key that means nothing at its place.
    UnknownKey {
        /// Where it stands.
        path: String,
        /// The key, as Python prints it.
        key: String,
        /// What was probably meant.
        meant: Option<String>,
    },
    /// Two actors with one role: only the first is found by it.
    RoleTwice {
        /// The role.
        role: String,
        /// The class that is found.
        first: String,
        /// The class that is not.
        second: String,
    },
}

impl TliWarning {
    pub(super) fn role_twice(file: &str, role: &str, first: &str, second: &str) -> Self {
        let kind = TliWarningKind::RoleTwice {
            role: role.to_owned(),
            first: first.to_owned(),
            second: second.to_owned(),
        };
        Self {
            file: file.to_owned(),
            kind,
        }
    }
}

impl fmt::Display for TliWarning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}`: ", self.file)?;
        match &self.kind {
            TliWarningKind::UnknownKey { path, key, meant } => {
                write!(formatter, "unknown key {key} in {path} is ignored")?;
                meant
                    .as_ref()
                    .map_or(Ok(()), |meant| write!(formatter, "; did you mean {meant}?"))
            }
            TliWarningKind::RoleTwice {
                role,
                first,
                second,
            } => write!(
                formatter,
                "role `{role}` is given to `{first}` and to `{second}`; the first is found by it"
            ),
        }
    }
}

/// The places that have keys of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Group,
    Actor,
    OnLoad,
    Message,
}

impl Level {
    pub(super) fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Group => &["Actors", "AutoUnload", "TLS_Keep_Limit"],
            Self::Actor => &[
                "OnLoad",
                "OnDeactivate",
                "OnReactivate",
                "Placement",
                "Requirements",
                "Preload",
                "OnLostLease",
            ],
            Self::OnLoad => &["Role", "GlobalName", "Message"],
            Self::Message => &["Message"],
        }
    }

    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Group => "a dictionary with the key 'Actors'",
            Self::Actor => "a dictionary with keys such as 'OnLoad'",
            Self::OnLoad => "a dictionary with the keys 'Role', 'GlobalName' and 'Message'",
            Self::Message => "a dictionary with the key 'Message'",
        }
    }

    pub(super) fn unknown_key(self, file: &str, path: &TliPath, key: &Value) -> TliWarning {
        let meant = key.as_str().and_then(|key| {
            let nearest = nearest(key, self.keys()).map(|near| format!("'{near}'"));
            nearest.or_else(|| self.elsewhere(key))
        });
        let kind = TliWarningKind::UnknownKey {
            path: path.to_string(),
            key: key.repr(),
            meant,
        };
        TliWarning {
            file: file.to_owned(),
            kind,
        }
    }

    /// Where a key belongs that stands at the wrong level.
    fn elsewhere(self, key: &str) -> Option<String> {
        let places = [
            (Self::Group, "the outermost dictionary"),
            (Self::Actor, "the actor's dictionary"),
            (Self::OnLoad, "'OnLoad'"),
        ];
        let fits = |(level, _): &(Self, _)| *level != self && nearest(key, level.keys()).is_some();
        let (level, place) = places.into_iter().find(fits)?;
        Some(format!("'{}' in {place}", nearest(key, level.keys())?))
    }
}

/// What a value is, for a message: short ones in full.
pub(super) fn describe(value: &Value) -> String {
    let text = value.repr();
    if text.chars().count() <= VALUE_CHARS_MAX {
        format!("the {} {text}", value.type_name())
    } else {
        format!("a {}", value.type_name())
    }
}

/// The known key that a misspelling is closest to.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let distances = known.iter().map(|candidate| {
        (
            distance(&key.to_lowercase(), &candidate.to_lowercase()),
            *candidate,
        )
    });
    let (distance, candidate) = distances.min()?;
    (distance <= 1 + candidate.len() / 4).then_some(candidate)
}

/// Edit distance of Levenshtein.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, character) in one.chars().take(KEY_CHARS_MAX).enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, expected) in row.iter_mut().skip(1).zip(&other) {
            let substituted = diagonal + usize::from(character != *expected);
            diagonal = *cell;
            *cell = substituted.min(left + 1).min(diagonal + 1);
            left = *cell;
        }
    }
    row.last().copied().unwrap_or_default()
}

const VALUE_CHARS_MAX: usize = 40;
/// Longer keys are no misspelling of ours.
const KEY_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (one, other, wanted) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
            ("role", "rloe", 2),
        ] {
            assert_eq!(distance(one, other), wanted, "{one} {other}");
        }
    }
}
