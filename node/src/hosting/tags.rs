//! Which interpreters can load the extension modules of a source, by their file names.
//!
//! `_speed.cpython-311-x86_64-linux-gnu.so` loads in one kind of Python only, and the import
//! error of any other does not say why. A module may come in several builds; one has to fit.
//! A library without a tag (`libz.so.1`, `_plain.so`) asks for nothing.
//! Pure. Not here: what suffixes an interpreter has (`interpreter`).

use std::collections::BTreeMap;

/// The builds in which each extension module of a source comes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequiredTags {
    /// By the module's path without suffix: the suffixes there are, as `.abi3.so`.
    modules: BTreeMap<String, Vec<String>>,
}

/// An extension module that an interpreter cannot load.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the extension module `{file}` is built for `{found}`, and this Python loads `{wanted}`; \
     pack the source with that Python, or let `python.cfg` name one that fits"
)]
pub struct WrongTag {
    /// The file in the package.
    pub file: String,
    /// What it is built for.
    pub found: String,
    /// What the interpreter wants.
    pub wanted: String,
}

impl RequiredTags {
    /// Looks at the names of a package's members.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut modules: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (module, suffix) in names.into_iter().filter_map(split) {
            modules
                .entry(module.to_owned())
                .or_default()
                .push(suffix.to_owned());
        }
        Self { modules }
    }

    /// Whether no module asks for anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.modules.is_empty()
    }

    /// Checks that an interpreter with these suffixes can load every module.
    ///
    /// # Errors
    /// [`WrongTag`] for the first module that it cannot load.
    pub fn check(&self, suffixes: &[String]) -> Result<(), WrongTag> {
        let fits = |builds: &[String]| builds.iter().any(|build| suffixes.contains(build));
        let misfit = self.modules.iter().find(|(_, builds)| !fits(builds));
        let Some((module, builds)) = misfit else {
            return Ok(());
        };
        let first = builds.first().map(String::as_str).unwrap_or_default();
        Err(WrongTag {
            file: format!("{module}{first}"),
            found: tags(builds),
            wanted: tags(suffixes),
        })
    }
}

/// Module path and suffix of an extension module whose name has a tag.
fn split(name: &str) -> Option<(&str, &str)> {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = file + name.get(file..)?.find('.')?;
    let (module, suffix) = name.split_at_checked(dot)?;
    let tag = tag(suffix)?;
    KINDS
        .iter()
        .any(|kind| tag.starts_with(kind))
        .then_some((module, suffix))
}

/// `abi3` of `.abi3.so`.
fn tag(suffix: &str) -> Option<&str> {
    suffix.strip_prefix('.')?.strip_suffix(".so")
}

fn tags(suffixes: &[String]) -> String {
    let tags: Vec<&str> = suffixes.iter().filter_map(|suffix| tag(suffix)).collect();
    tags.join("`, `")
}

/// How the tags of the implementations begin.
const KINDS: [&str; 4] = ["cpython-", "abi3", "pypy", "graalpy"];

#[cfg(test)]
mod tests {
    use super::*;

    fn suffixes() -> Vec<String> {
        [".cpython-311-x86_64-linux-gnu.so", ".abi3.so", ".so"]
            .map(str::to_owned)
            .into()
    }

    #[test]
    fn a_module_for_another_python_is_named() {
        let found = RequiredTags::of([
            "rpds/__init__.py",
            "rpds/rpds.cpython-312-x86_64-linux-gnu.so",
        ]);
        assert_eq!(
            found.check(&suffixes()).unwrap_err().to_string(),
            "the extension module `rpds/rpds.cpython-312-x86_64-linux-gnu.so` is built for \
             `cpython-312-x86_64-linux-gnu`, and this Python loads \
             `cpython-311-x86_64-linux-gnu`, `abi3`; pack the source with that Python, \
             or let `python.cfg` name one that fits"
        );
    }

    #[test]
    fn one_build_that_fits_is_enough() {
        let found = RequiredTags::of([
            "a.cpython-312-x86_64-linux-gnu.so",
            "a.cpython-311-x86_64-linux-gnu.so",
            "b.abi3.so",
        ]);
        assert_eq!(found.check(&suffixes()), Ok(()));
        let other = RequiredTags::of(["x/a.cpython-312-x86_64-linux-gnu.so", "a.abi3.so"]);
        assert_eq!(
            other.check(&suffixes()).unwrap_err().found,
            "cpython-312-x86_64-linux-gnu"
        );
    }

    #[test]
    fn libraries_without_a_tag_ask_for_nothing() {
        let names = [
            "libz.so.1",
            "libs/libblas-0cf.3.23.dev.so",
            "_plain.so",
            "a.py",
            "so",
            "",
        ];
        assert!(RequiredTags::of(names).is_empty());
    }
}
