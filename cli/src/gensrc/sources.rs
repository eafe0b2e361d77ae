//! The user's own files: globs and paths below SOURCES_DIR become members of the package.
//!
//! Every word must match something. `*` does not match a leading dot, `**` any number of folders;
//! `__pycache__` is never packed, and neither is the key that signs.

use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern};

use crate::{Exit, Failure};

/// The root of the sources.
#[derive(Debug)]
pub(crate) struct Sources {
    root: PathBuf,
}

impl Sources {
    /// The sources below `folder`.
    ///
    /// # Errors
    /// `Failed` when it is no folder that can be read.
    pub(crate) fn at(folder: &Path) -> Result<Self, Failure> {
        let root = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let root = lexical(&root);
        match std::fs::read_dir(&root) {
            Ok(_) => Ok(Self { root }),
            Err(cause) => {
                let text = format!("SOURCES_DIR `{}` cannot be read: {cause}", folder.display());
                Err(Failure::text(Exit::Failed, text)
                    .hint("name the folder that the package's modules are imported from"))
            }
        }
    }

    /// A file that the command line names: below the current folder, else below the root.
    pub(crate) fn file(&self, name: &Path) -> PathBuf {
        if name.exists() {
            name.to_owned()
        } else {
            self.root.join(name)
        }
    }

    /// A path below the root.
    pub(crate) fn below(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// The member name of a path below the root, with `/` between its parts.
    fn member(&self, path: &Path, word: &str) -> Result<String, Failure> {
        let inside = path.strip_prefix(&self.root).map_err(|_| {
            let text = format!(
                "`{word}` is not below SOURCES_DIR `{}`",
                self.root.display()
            );
            Failure::text(Exit::Failed, text)
                .hint("name files below SOURCES_DIR, or choose a SOURCES_DIR above them")
        })?;
        let parts: Option<Vec<_>> = inside
            .components()
            .map(|part| part.as_os_str().to_str())
            .collect();
        parts.map(|parts| parts.join("/")).ok_or_else(|| {
            let text = format!("the name of `{}` is not UTF-8", path.display());
            Failure::text(Exit::Failed, text).hint("rename the file")
        })
    }
}

/// The members that the words name, as (member name, file), in the order of the words.
///
/// # Errors
/// `Failed` naming the word that matches nothing, leaves SOURCES_DIR or names a folder.
pub(crate) fn choose(
    sources: &Sources,
    words: &[String],
    key: &Path,
) -> Result<Vec<(String, PathBuf)>, Failure> {
    let key = key.canonicalize().ok();
    let mut chosen = Vec::new();
    for word in words {
        let found = matches(sources, word)?;
        for path in found {
            let member = sources.member(&path, word)?;
            if path.canonicalize().ok() == key {
                let text = format!("`{word}` would pack the private key `{}`", path.display());
                return Err(Failure::text(Exit::Failed, text)
                    .hint("keep the key outside SOURCES_DIR, or name the sources more narrowly"));
            }
            chosen.push((member, path));
        }
    }
    Ok(chosen)
}

/// The plain files that a word names, sorted.
fn matches(sources: &Sources, word: &str) -> Result<Vec<PathBuf>, Failure> {
    let named = lexical(&sources.root.join(word));
    if named.is_file() {
        return Ok(vec![named]);
    }
    if named.is_dir() {
        return Err(
            Failure::text(Exit::Failed, format_args!("`{word}` is a folder")).hint(format_args!(
                "write '{}/**/*' for everything in it",
                word.trim_end_matches('/')
            )),
        );
    }
    if !word.contains(['*', '?', '[']) {
        let root = sources.root.display();
        return Err(Failure::text(
            Exit::Failed,
            format_args!("there is no `{word}` in `{root}`"),
        )
        .hint("sources are relative to SOURCES_DIR"));
    }
    let found = expand(sources, word)?;
    if found.is_empty() {
        let root = sources.root.display();
        return Err(Failure::text(
            Exit::Failed,
            format_args!("`{word}` matches no file in `{root}`"),
        )
        .hint("sources are relative to SOURCES_DIR; `**` must be a whole part of a path"));
    }
    Ok(found)
}

fn expand(sources: &Sources, word: &str) -> Result<Vec<PathBuf>, Failure> {
    let bad_word = |error: &dyn std::fmt::Display| {
        Failure::text(
            Exit::Failed,
            format_args!("`{word}` is no pattern: {error}"),
        )
        .hint("`**` must be a whole part of a path; write `[*]` for a star itself")
    };
    // By itself first, so that a fault has its place in the word.
    Pattern::new(word).map_err(|error| bad_word(&error))?;
    let pattern = pattern(&sources.root, word);
    let mut found = Vec::new();
    for entry in glob::glob_with(&pattern, OPTIONS).map_err(|error| bad_word(&error))? {
        let path = entry.map_err(|error| {
            let text = format!(
                "`{}` cannot be read: {}",
                error.path().display(),
                error.error()
            );
            Failure::text(Exit::Failed, text).hint("check its rights")
        })?;
        if path.is_file()
            && !path
                .components()
                .any(|part| part.as_os_str() == "__pycache__")
        {
            found.push(lexical(&path));
        }
    }
    found.sort();
    Ok(found)
}

/// The word below the root, whose own name may hold stars.
fn pattern(root: &Path, word: &str) -> String {
    if Path::new(word).is_absolute() {
        return word.to_owned();
    }
    let word = word.trim_start_matches("./");
    format!("{}/{word}", Pattern::escape(&root.to_string_lossy()))
}

/// Without `.`, `..` and doubled slashes; links are not looked at.
fn lexical(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

/// As Python's `glob` has it.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};
