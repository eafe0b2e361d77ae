//! The order of versions, exactly as Thespian's Director sorts package files.
//!
//! Source: Thespian director, `avail`; `actor-semantics` 5.6.

use std::cmp::Ordering;

/// What a version sorts by: the rest of a package's file name after its group.
///
/// The text is cut into maximal runs of ASCII digits and of other characters, the leading `-`
/// included; a number is less than a text, and a list less than one that it begins.
/// Equal keys do not mean equal files: `1.05` and `1.5` are one version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionKey(Vec<Run>);

impl VersionKey {
    /// The key of the text between the group and `.tls`: `""` or `"-1.2"`.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut runs = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let digits = first.is_ascii_digit();
            let other = |character: char| character.is_ascii_digit() != digits;
            let (run, after) = rest.split_at(rest.find(other).unwrap_or(rest.len()));
            runs.push(if digits {
                Run::number(run)
            } else {
                Run::Text(run.to_owned())
            });
            rest = after;
        }
        Self(runs)
    }
}

/// The variants' order is part of the meaning.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Run {
    Number(Digits),
    Text(String),
}

impl Run {
    fn number(digits: &str) -> Self {
        Self::Number(Digits(digits.trim_start_matches('0').to_owned()))
    }
}

/// A number of any length, without leading zeros: a date and time has more digits than `u32`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Digits(String);

impl Ord for Digits {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0
            .len()
            .cmp(&other.0.len())
            .then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Digits {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(file: &str) -> VersionKey {
        VersionKey::of(file.strip_prefix("foo").unwrap())
    }

    #[test]
    fn thespians_example_is_in_descending_order() {
        let descending = [
            "foo-201601280945",
            "foo-201601251343",
            "foo-201601251202",
            "foo-15a5gamma1",
            "foo-15a5beta4",
            "foo-15a3",
            "foo-15a1",
            "foo-15a",
            "foo-15.2.1",
            "foo-15.2",
            "foo-15.1",
            "foo-15",
            "foo-05",
            "foo-1",
            "foo-0",
            "foo",
        ];
        for pair in descending.windows(2) {
            assert!(key(pair[0]) > key(pair[1]), "{} > {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn mixed_forms_are_in_ascending_order() {
        let ascending = ["foo", "foo0", "foo09", "foo-0", "foo-1", "foo-1-1", "foo-2"];
        for pair in ascending.windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{} < {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn numbers_compare_as_numbers_and_texts_by_code_point() {
        assert!(key("foo-1.10") > key("foo-1.9"));
        assert!(key("foo-1.0rc1") > key("foo-1.0"));
        assert_eq!(key("foo-1.05"), key("foo-1.5"));
        assert!(key("foo-None") > key("foo-99"));
        assert!(key("foo-bar-0.1") > key("foo-99"));
        assert!(key("foo-Z") < key("foo-a"));
        assert!(key("foo-18446744073709551616") > key("foo-18446744073709551615"));
        assert_eq!(key("foo-0"), key("foo-000"));
    }

    #[test]
    fn other_digits_than_ascii_are_text() {
        assert!(key("foo-1\u{663}") > key("foo-1"));
        assert_eq!(
            VersionKey::of("\u{663}").0,
            [Run::Text("\u{663}".to_owned())]
        );
    }

    proptest::proptest! {
        #[test]
        fn keys_lose_nothing_but_leading_zeros(text in "[-.a0-9]{0,12}") {
            let printed: String = VersionKey::of(&text).0.iter().map(|run| match run {
                Run::Number(digits) if digits.0.is_empty() => "0".to_owned(),
                Run::Number(digits) => digits.0.clone(),
                Run::Text(text) => text.clone(),
            }).collect();
            proptest::prop_assert_eq!(VersionKey::of(&printed), VersionKey::of(&text));
        }
    }
}
