//! Which member names may be unpacked, here and on any other file system.

use unicode_normalization::UnicodeNormalization;

use crate::limits::NAME_BYTES_MAX;

/// Checks a member's name: relative, with `/` between its parts, safe on every platform.
///
/// A folder's name ends with `/`.
///
/// # Errors
/// What is wrong with it.
pub fn check_member_name(name: &str) -> Result<(), NameFault> {
    let path = name.strip_suffix('/').unwrap_or(name);
    if path.is_empty() {
        return Err(if name.is_empty() {
            NameFault::Empty
        } else {
            NameFault::Absolute
        });
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameFault::TooLong);
    }
    if path.starts_with('/') {
        return Err(NameFault::Absolute);
    }
    if path.contains('\\') {
        return Err(NameFault::Backslash);
    }
    if path.chars().any(char::is_control) {
        return Err(NameFault::Control);
    }
    if has_drive(path) {
        return Err(NameFault::Drive);
    }
    path.split('/').try_for_each(check_part)
}

/// What is wrong with a member's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// No name.
    #[error("is empty")]
    Empty,
    /// Longer than 1024 bytes, or a part of it longer than 255.
    #[error("is too long")]
    TooLong,
    /// It begins at the root.
    #[error("is absolute")]
    Absolute,
    /// It begins with a drive letter.
    #[error("names a drive")]
    Drive,
    /// It has a backslash, which is a separator elsewhere.
    #[error("contains a backslash")]
    Backslash,
    /// It has NUL or another control character.
    #[error("contains a control character")]
    Control,
    /// It has a part `.`, `..` or an empty one.
    #[error("has a part `.`, `..` or an empty one")]
    Dots,
    /// A part ends with a dot or a space, which other systems drop.
    #[error("has a part that ends with a dot or a space")]
    Trailing,
    /// It is not UTF-8, or has other letters than ASCII without saying that they are UTF-8.
    #[error("is not marked and valid UTF-8")]
    Encoding,
}

/// The name as a file system sees it that ignores case and composition; no `/` at the end.
pub(crate) fn folded(name: &str) -> String {
    let path = name.strip_suffix('/').unwrap_or(name);
    let upper = path.nfc().flat_map(char::to_uppercase);
    upper.flat_map(char::to_lowercase).nfc().collect()
}

fn check_part(part: &str) -> Result<(), NameFault> {
    if matches!(part, "" | "." | "..") {
        Err(NameFault::Dots)
    } else if part.ends_with(['.', ' ']) {
        Err(NameFault::Trailing)
    } else if part.len() > PART_BYTES_MAX {
        Err(NameFault::TooLong)
    } else {
        Ok(())
    }
}

fn has_drive(path: &str) -> bool {
    let mut characters = path.chars();
    let letter = characters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic());
    letter && characters.next() == Some(':')
}

/// The longest file name that common file systems take.
const PART_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_folder_or_collide_elsewhere_are_refused() {
        let refused = [
            ("", NameFault::Empty),
            ("/", NameFault::Absolute),
            ("/etc/passwd", NameFault::Absolute),
            ("../up.py", NameFault::Dots),
            ("a/../../up.py", NameFault::Dots),
            ("a/./b.py", NameFault::Dots),
            ("a//b.py", NameFault::Dots),
            ("a//", NameFault::Dots),
            ("a\\..\\b.py", NameFault::Backslash),
            ("C:evil.py", NameFault::Drive),
            ("c:/evil.py", NameFault::Drive),
            ("a\0.py", NameFault::Control),
            ("a\x1b[2J.py", NameFault::Control),
            ("a./b.py", NameFault::Trailing),
            ("a /b.py", NameFault::Trailing),
            ("b.py.", NameFault::Trailing),
        ];
        for (name, fault) in refused {
            assert_eq!(check_member_name(name), Err(fault), "{name:?}");
        }
        assert_eq!(check_member_name(&"x".repeat(256)), Err(NameFault::TooLong));
        assert_eq!(
            check_member_name(&"x/".repeat(600)),
            Err(NameFault::TooLong)
        );
    }

    #[test]
    fn ordinary_names_pass() {
        for name in [
            "a.py",
            "a/b/__init__.py",
            "data/",
            "ä/ö.txt",
            ".hidden",
            "a..b",
            "x y.txt",
        ] {
            assert_eq!(check_member_name(name), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn folding_ignores_case_composition_and_the_slash_of_folders() {
        assert_eq!(folded("Foo/BAR.py"), folded("foo/bar.py"));
        assert_eq!(folded("\u{e9}.py"), folded("E\u{301}.py"));
        assert_eq!(folded("stra\u{df}e"), folded("STRASSE"));
        assert_eq!(folded("a/"), folded("a"));
        assert_ne!(folded("a.py"), folded("b.py"));
    }
}
