//! Orphans: Rust files that no `mod` line leads to, and that cargo therefore never compiles.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::source::Source;
use crate::finding::Finding;

/// Files that cannot be reached from the roots, which are the files that cargo compiles from.
pub(crate) fn check(sources: &[Source], roots: &BTreeSet<PathBuf>) -> Vec<Finding> {
    let by_path: BTreeMap<&Path, &Source> = sources
        .iter()
        .map(|source| (Path::new(source.path()), source))
        .collect();
    let mut reached = BTreeSet::new();
    let mut open: Vec<PathBuf> = roots.iter().cloned().collect();
    while let Some(path) = open.pop() {
        let Some(source) = by_path.get(path.as_path()) else {
            continue;
        };
        let named = modules(source.tokens(), &Place::of(&path, roots.contains(&path)));
        if reached.insert(path) {
            open.extend(named);
        }
    }
    let orphans = by_path.into_keys().filter(|path| !reached.contains(*path));
    let what = "no `mod` line leads here: it is never compiled";
    orphans
        .map(|path| Finding::of(&path.to_string_lossy(), what))
        .collect()
}

/// Where the `mod` lines of a file, or of a module written out inside it, look for their files.
struct Place {
    /// For `mod name;`.
    folder: PathBuf,
    /// For `#[path = "…"] mod name;`.
    beside: PathBuf,
}

impl Place {
    fn of(path: &Path, is_root: bool) -> Self {
        let beside = path.parent().unwrap_or_else(|| Path::new("")).to_owned();
        let stem = path.file_stem().unwrap_or_default();
        let folder = if is_root || stem == "mod" {
            beside.clone()
        } else {
            beside.join(stem)
        };
        Self { folder, beside }
    }

    fn inside(&self, module: &str) -> Self {
        let folder = self.folder.join(module);
        Self {
            beside: folder.clone(),
            folder,
        }
    }
}

/// The files that the `mod` lines may mean; those that are not there are left to the compiler.
fn modules(tokens: TokenStream, place: &Place) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut path_attribute = None;
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                path_attribute = path_of(group.stream()).or(path_attribute);
            }
            TokenTree::Ident(ident) if ident == "mod" => {
                let Some(TokenTree::Ident(name)) = tokens.next() else {
                    continue;
                };
                let name = name.to_string();
                let name = name.trim_start_matches("r#");
                match (tokens.peek(), path_attribute.take()) {
                    (Some(TokenTree::Group(body)), _) => {
                        files.extend(modules(body.stream(), &place.inside(name)));
                    }
                    (_, Some(path)) => files.push(place.beside.join(path)),
                    (_, None) => {
                        files.push(place.folder.join(name).with_extension("rs"));
                        files.push(place.folder.join(name).join("mod.rs"));
                    }
                }
            }
            // Modules may be declared through a macro such as `cfg_if!`.
            TokenTree::Group(group) => files.extend(modules(group.stream(), place)),
            _ => {}
        }
    }
    files
}

/// The file of `path = "file"`, the content of an attribute.
fn path_of(attribute: TokenStream) -> Option<String> {
    let mut tokens = attribute.into_iter();
    let is_path = tokens.next()?.to_string() == "path" && tokens.next()?.to_string() == "=";
    let literal = tokens.next()?.to_string();
    is_path.then(|| literal.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], orphans: &[&str]) {
        let sources: Vec<_> = files
            .iter()
            .map(|(path, text)| Source::new(path, text))
            .collect();
        let roots = BTreeSet::from(["a/src/lib.rs".into(), "a/tests/t.rs".into()]);
        let found: Vec<_> = super::check(&sources, &roots)
            .iter()
            .map(ToString::to_string)
            .collect();
        let what = "no `mod` line leads here: it is never compiled";
        let expected: Vec<_> = orphans
            .iter()
            .map(|path| format!("{path}: {what}"))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn files_that_mod_lines_lead_to_are_fine() {
        check(
            &[
                ("a/src/lib.rs", "mod b; pub mod c; #[cfg(test)] mod tests;"),
                ("a/src/b.rs", "mod d; mod inline { mod e; }"),
                ("a/src/b/d.rs", ""),
                ("a/src/b/inline/e.rs", ""),
                ("a/src/c/mod.rs", "mod f;"),
                ("a/src/c/f.rs", ""),
                ("a/src/tests.rs", ""),
                ("a/tests/t.rs", "mod common; #[path = \"far/g.rs\"] mod g;"),
                ("a/tests/common/mod.rs", ""),
                ("a/tests/far/g.rs", ""),
            ],
            &[],
        );
    }

    #[test]
    fn a_file_without_a_mod_line_is_found() {
        check(
            &[
                ("a/src/lib.rs", "mod b;"),
                ("a/src/b.rs", ""),
                ("a/src/c.rs", ""),
            ],
            &["a/src/c.rs"],
        );
    }

    #[test]
    fn a_mod_line_in_a_comment_or_a_string_leads_nowhere() {
        check(
            &[
                ("a/src/lib.rs", "// mod b;\nconst A: &str = \"mod c;\";"),
                ("a/src/b.rs", ""),
                ("a/src/c.rs", ""),
            ],
            &["a/src/b.rs", "a/src/c.rs"],
        );
    }

    #[test]
    fn what_only_an_orphan_names_is_an_orphan_too() {
        check(
            &[
                ("a/src/lib.rs", ""),
                ("a/src/b.rs", "mod c;"),
                ("a/src/b/c.rs", ""),
            ],
            &["a/src/b/c.rs", "a/src/b.rs"],
        );
    }
}
