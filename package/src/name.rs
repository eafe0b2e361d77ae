//! A package's file name: `GROUP-VERSION.tls` or `GROUP.tls`, split without guessing where it can.
//!
//! Outside a signed manifest the name is all that tells group and version. The group is the
//! longest one known (by its `.tli`) that the name begins with, so that `foo` never owns
//! `foo-bar-1.0.tls` while `foo-bar` exists.
//! Not here: reading a directory, deleting a file.
//! Source: defects D6, D13, D14 and D15; `actor-semantics` 5.6.

use crate::version::VersionKey;

/// The parts of a package's file name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PackageName {
    group: String,
    version: Option<String>,
}

impl PackageName {
    /// The name of a package of `group`, as gensrc writes it.
    ///
    /// # Errors
    /// When group or version would not be one part of a path, or would read back otherwise.
    pub fn new(group: &str, version: Option<&str>) -> Result<Self, PackageNameError> {
        check("group", group)?;
        if let Some(version) = version {
            check("version", version)?;
        }
        Ok(Self {
            group: group.to_owned(),
            version: version.map(str::to_owned),
        })
    }

    /// Splits a file name, `known_groups` being the names of the `.tli` files.
    ///
    /// Without a known group the version begins at the first `-` before a digit; without that
    /// there is none.
    ///
    /// # Errors
    /// When the name does not end in `.tls` or has no group.
    pub fn parse<'a>(
        file_name: &str,
        known_groups: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, PackageNameError> {
        let stem = file_name
            .strip_suffix(SUFFIX)
            .ok_or_else(|| PackageNameError::Suffix {
                file_name: file_name.to_owned(),
            })?;
        let owns = |group: &&str| stem.strip_prefix(*group).is_some_and(is_version_part);
        let known = known_groups
            .into_iter()
            .filter(owns)
            .max_by_key(|group| group.len());
        let group_end = known.map_or_else(|| guessed_group_end(stem), str::len);
        let (group, rest) = stem.split_at_checked(group_end).unwrap_or((stem, ""));
        Self::new(
            group,
            rest.strip_prefix('-').filter(|version| !version.is_empty()),
        )
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The version; a package without one sorts lowest.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// `GROUP-VERSION.tls` or `GROUP.tls`.
    #[must_use]
    pub fn file_name(&self) -> String {
        match &self.version {
            Some(version) => format!("{}-{version}{SUFFIX}", self.group),
            None => format!("{}{SUFFIX}", self.group),
        }
    }

    /// What it sorts by within its group.
    #[must_use]
    pub fn key(&self) -> VersionKey {
        let version = self.version.as_ref();
        VersionKey::of(
            &version
                .map(|version| format!("-{version}"))
                .unwrap_or_default(),
        )
    }
}

/// Sorts the packages of one group, highest version first; equal versions by file name.
pub fn newest_first(packages: &mut [PackageName]) {
    packages.sort_by_cached_key(|name| std::cmp::Reverse((name.key(), name.file_name())));
}

/// Which files of `group` `TLS_Keep_Limit` deletes: all but the newest `limit`.
///
/// `spared` names files that stay whatever their version: the one just written, the one active.
/// Other groups' files are never named. No limit, or 0, deletes nothing.
#[must_use]
pub fn keep_limit(
    packages: &[PackageName],
    group: &str,
    limit: Option<u32>,
    spared: &[&str],
) -> Vec<PackageName> {
    let Some(limit) = limit.filter(|limit| *limit > 0) else {
        return Vec::new();
    };
    let mut own: Vec<_> = packages
        .iter()
        .filter(|name| name.group == group)
        .cloned()
        .collect();
    newest_first(&mut own);
    let surplus = own
        .into_iter()
        .skip(usize::try_from(limit).unwrap_or(usize::MAX));
    surplus
        .filter(|name| !spared.contains(&name.file_name().as_str()))
        .collect()
}

/// Why a name is no package's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageNameError {
    /// It ends otherwise.
    #[error("`{file_name}` does not end in `.tls`")]
    Suffix {
        /// The name.
        file_name: String,
    },
    /// A part that cannot be one part of a path.
    #[error("the {part} `{}` {fault}", text.escape_debug())]
    Part {
        /// `group` or `version`.
        part: &'static str,
        /// The text.
        text: String,
        /// What is wrong with it.
        fault: &'static str,
    },
}

impl PackageNameError {
    /// The next step to take.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Suffix { .. } => "name a file `GROUP-VERSION.tls`, or its group",
            Self::Part {
                part: "version", ..
            } => "give a version such as `version:1.0`",
            Self::Part { .. } => "give a group such as `foo`",
        }
    }
}

fn check(part: &'static str, text: &str) -> Result<(), PackageNameError> {
    let fault = if text.is_empty() {
        "is empty"
    } else if text.contains(['/', '\\']) {
        "contains a path separator"
    } else if text.chars().any(char::is_control) {
        "contains a control character"
    } else if part == "group" && text.starts_with(['.', '-']) {
        "begins with a dot or a hyphen"
    } else if text.len() > PART_BYTES_MAX {
        "is longer than 120 bytes"
    } else {
        return Ok(());
    };
    Err(PackageNameError::Part {
        part,
        text: text.to_owned(),
        fault,
    })
}

fn is_version_part(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('-')
}

fn guessed_group_end(stem: &str) -> usize {
    let mut hyphens = stem.match_indices('-').map(|(at, _)| at);
    let before_digit = |at: &usize| {
        let next = stem.get(at + 1..).unwrap_or_default();
        *at > 0 && next.starts_with(|character: char| character.is_ascii_digit())
    };
    hyphens.find(before_digit).unwrap_or(stem.len())
}

const SUFFIX: &str = ".tls";
/// Two parts, a hyphen and the suffix fit a file name of 255 bytes.
const PART_BYTES_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    fn split(file: &str, groups: &[&str]) -> (String, Option<String>) {
        let name = PackageName::parse(file, groups.iter().copied()).unwrap();
        assert_eq!(name.file_name(), file);
        (name.group, name.version)
    }

    fn parts(group: &str, version: &str) -> (String, Option<String>) {
        (
            group.to_owned(),
            Some(version.to_owned()).filter(|version| !version.is_empty()),
        )
    }

    #[test]
    fn the_longest_known_group_owns_a_file() {
        let groups = ["foo", "foo-bar", "foo-b"];
        assert_eq!(split("foo-bar-1.0.tls", &groups), parts("foo-bar", "1.0"));
        assert_eq!(split("foo-1.0.tls", &groups), parts("foo", "1.0"));
        assert_eq!(split("foo-bar.tls", &groups), parts("foo-bar", ""));
        assert_eq!(split("foo-barn-2.tls", &groups), parts("foo", "barn-2"));
        assert_eq!(split("foo-bar-1.0.tls", &["foo"]), parts("foo", "bar-1.0"));
        assert_eq!(split("foobar-1.tls", &["foo"]), parts("foobar", "1"));
    }

    #[test]
    fn dots_in_groups_are_kept() {
        assert_eq!(
            split("my.app-1.2.tls", &["my.app", "my"]),
            parts("my.app", "1.2")
        );
        assert_eq!(split("my.app-1.2.tls", &[]), parts("my.app", "1.2"));
        assert_eq!(split("my.app.tls", &[]), parts("my.app", ""));
    }

    #[test]
    fn without_a_known_group_the_version_begins_before_a_digit() {
        assert_eq!(split("my-app-1.tls", &[]), parts("my-app", "1"));
        assert_eq!(split("my-app.tls", &[]), parts("my-app", ""));
        assert_eq!(split("app-2017-10.tls", &[]), parts("app", "2017-10"));
        assert_eq!(split("7-zip-1.tls", &[]), parts("7-zip", "1"));
    }

    #[test]
    fn names_that_are_no_package_are_refused() {
        for file in [
            "foo-1.0.zip",
            ".tls",
            "-1.tls",
            "a/b-1.tls",
            "..tls",
            "a\n-1.tls",
        ] {
            assert!(PackageName::parse(file, []).is_err(), "{file:?}");
        }
        assert!(PackageName::new("foo", Some("")).is_err());
        assert!(PackageName::new("foo", Some("../1")).is_err());
        assert!(PackageName::new("../foo", None).is_err());
    }

    fn names(files: &[&str], groups: &[&str]) -> Vec<PackageName> {
        let parse = |file: &&str| PackageName::parse(file, groups.iter().copied()).unwrap();
        files.iter().map(parse).collect()
    }

    fn files(names: &[PackageName]) -> Vec<String> {
        names.iter().map(PackageName::file_name).collect()
    }

    #[test]
    fn a_package_without_version_sorts_lowest() {
        let mut packages = names(
            &["foo.tls", "foo-0.tls", "foo-10.tls", "foo-9.tls"],
            &["foo"],
        );
        newest_first(&mut packages);
        assert_eq!(
            files(&packages),
            ["foo-10.tls", "foo-9.tls", "foo-0.tls", "foo.tls"]
        );
    }

    #[test]
    fn equal_versions_have_one_order_whatever_the_listing() {
        let mut one = names(&["foo-1.05.tls", "foo-1.5.tls"], &["foo"]);
        let mut two = names(&["foo-1.5.tls", "foo-1.05.tls"], &["foo"]);
        newest_first(&mut one);
        newest_first(&mut two);
        assert_eq!(one, two);
    }

    #[test]
    fn keep_limit_spares_other_groups_and_the_file_just_written() {
        let listing = ["foo-1.0.tls", "foo-2.0.tls", "foo-3.0.tls", "foo-bar-9.tls"];
        let packages = names(&listing, &["foo", "foo-bar"]);
        let deleted = |limit, spared: &[&str]| files(&keep_limit(&packages, "foo", limit, spared));
        assert_eq!(deleted(Some(2), &["foo-3.0.tls"]), ["foo-1.0.tls"]);
        assert_eq!(deleted(Some(1), &["foo-1.0.tls"]), ["foo-2.0.tls"]);
        assert_eq!(deleted(Some(1), &["foo-1.0.tls", "foo-2.0.tls"]), [""; 0]);
        assert_eq!(deleted(Some(0), &[]), [""; 0]);
        assert_eq!(deleted(None, &[]), [""; 0]);
    }
}
