//! The user's own files: globs and paths below SOURCES_DIR become members of the package.
//!
//! Every word must match something. `*` does not match a leading dot, `**` any number of folders;
//! `__pycache__` is never packed, and neither is the key that signs.

use std::io;
use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern};
use walkdir::WalkDir;

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

    /// A path without the root, also when the two were named through different links.
    fn below_root(&self, path: &Path) -> Option<PathBuf> {
        if let Ok(inside) = path.strip_prefix(&self.root) {
            return Some(inside.to_owned());
        }
        let (path, root) = (path.canonicalize().ok()?, self.root.canonicalize().ok()?);
        path.strip_prefix(root).ok().map(Path::to_owned)
    }

    /// A path below the root without the root; another one stays absolute.
    fn inside(&self, path: &Path) -> PathBuf {
        let absolute = lexical(&self.root.join(path));
        let inside = absolute.strip_prefix(&self.root).map(Path::to_owned);
        inside.unwrap_or(absolute)
    }

    /// What may match the pattern: from its deepest fixed folder, as deep as it goes.
    fn walk(
        &self,
        pattern: &Pattern,
    ) -> impl Iterator<Item = Result<walkdir::DirEntry, walkdir::Error>> {
        let text = pattern.as_str();
        let parts: Vec<_> = text.split('/').collect();
        let is_fixed = |part: &&&str| !part.contains(['*', '?', '[']);
        let fixed = parts.iter().take_while(is_fixed).count();
        let start = parts
            .iter()
            .take(fixed)
            .fold(self.root.clone(), |path, part| path.join(part));
        let depth = if text.contains("**") {
            usize::MAX
        } else {
            parts.len() - fixed
        };
        let wants_hidden = parts.iter().any(|part| part.starts_with('.'));
        WalkDir::new(start)
            .follow_links(true)
            .max_depth(depth)
            .into_iter()
            .filter_entry(move |entry| {
                let name = entry.file_name().to_string_lossy();
                let is_hidden = name.starts_with('.') && !wants_hidden;
                entry.depth() == 0 || (name != "__pycache__" && !is_hidden)
            })
    }

    /// The member name of a path below the root, with `/` between its parts.
    fn member(&self, path: &Path, word: &str) -> Result<String, Failure> {
        let inside = self.below_root(path).ok_or_else(|| {
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

/// The files that a pattern names; links are followed, but never round in a circle.
fn expand(sources: &Sources, word: &str) -> Result<Vec<PathBuf>, Failure> {
    // By itself first, so that a fault has its place in the word.
    let pattern = Pattern::new(word).and_then(|_| {
        let inside = sources.inside(Path::new(word));
        Pattern::new(&inside.to_string_lossy())
    });
    let pattern = pattern.map_err(|error| {
        Failure::text(
            Exit::Failed,
            format_args!("`{word}` is no pattern: {error}"),
        )
        .hint("`**` must be a whole part of a path; write `[*]` for a star itself")
    })?;
    let mut found = Vec::new();
    for entry in sources.walk(&pattern) {
        let path = match entry {
            Ok(entry) if entry.file_type().is_file() => entry.into_path(),
            Ok(_) => continue,
            // A circle, or a link to nothing: what lies behind is found elsewhere or nowhere.
            Err(error) if error.loop_ancestor().is_some() || is_missing(&error) => continue,
            Err(error) => {
                let text = format!("the sources cannot be read: {error}");
                return Err(Failure::text(Exit::Failed, text).hint("check the rights"));
            }
        };
        if pattern.matches_path_with(&sources.inside(&path), OPTIONS) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn is_missing(error: &walkdir::Error) -> bool {
    error
        .io_error()
        .is_some_and(|cause| cause.kind() == io::ErrorKind::NotFound)
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
