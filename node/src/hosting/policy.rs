//! Which Python runs workers: the order in which a host is asked for one.
//!
//! Pure but for looking whether files are there. A configured path that is wrong is an error and
//! never passed over; a hint that has gone is.
//! Not here: what the chosen program is (`interpreter`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The value of `python.cfg`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PythonConfig {
    /// One interpreter for all groups.
    One(PathBuf),
    /// One a group; a group that is not named follows the rest of the policy.
    PerGroup(BTreeMap<String, PathBuf>),
}

/// What a host says about Python, in the order in which it counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PythonPolicy {
    /// `python.cfg`.
    pub configured: Option<PythonConfig>,
    /// `sys.executable` of the program that started the node.
    pub hint: Option<PathBuf>,
    /// The variable `VIRTUAL_ENV`.
    pub virtual_env: Option<PathBuf>,
    /// The variable `PATH`.
    pub search_path: Option<OsString>,
}

/// No interpreter was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPython {
    /// `python.cfg` names a file that is no program.
    #[error(
        "`python.cfg` names `{}`{}, which is {what}; \
         put the path of a Python 3.8 or newer there",
        path.display(),
        group.as_ref().map(|name| format!(" for the group `{name}`")).unwrap_or_default()
    )]
    Configured {
        /// The path configured.
        path: PathBuf,
        /// The group that it is configured for, if not for all.
        group: Option<String>,
        /// What it is instead.
        what: &'static str,
    },
    /// Nothing was found anywhere.
    #[error(
        "no Python found to run actors; looked at {looked_at}; install Python 3.8 or newer, \
         or write its path into `python.cfg`"
    )]
    Nowhere {
        /// The places, with what was there.
        looked_at: String,
    },
}

impl PythonPolicy {
    /// The policy of this process: its configuration and hint, and its environment.
    #[must_use]
    pub fn of_process(configured: Option<PythonConfig>, hint: Option<PathBuf>) -> Self {
        Self {
            configured,
            hint,
            virtual_env: std::env::var_os("VIRTUAL_ENV").map(PathBuf::from),
            search_path: std::env::var_os("PATH"),
        }
    }

    /// The program to ask, for the actors of this group.
    ///
    /// # Errors
    /// [`NoPython`]: what was looked at, and the next step.
    pub fn choose(&self, group: Option<&str>) -> Result<PathBuf, NoPython> {
        if let Some((path, group)) = self.configured_for(group) {
            return match defect(path) {
                None => Ok(path.to_path_buf()),
                Some(what) => Err(NoPython::Configured {
                    path: path.to_path_buf(),
                    group: group.map(str::to_owned),
                    what,
                }),
            };
        }
        let mut looked_at = String::from("`python.cfg` (not set)");
        for (place, path) in self.candidates(&mut looked_at) {
            match defect(&path) {
                None => return Ok(path),
                Some(what) => {
                    let _ = write!(looked_at, ", {place} (`{}` is {what})", path.display());
                }
            }
        }
        let _ = write!(looked_at, ", {}", self.describe_search());
        self.on_search_path().ok_or(NoPython::Nowhere { looked_at })
    }

    fn configured_for<'a>(&'a self, group: Option<&'a str>) -> Option<(&'a Path, Option<&'a str>)> {
        match self.configured.as_ref()? {
            PythonConfig::One(path) => Some((path, None)),
            PythonConfig::PerGroup(paths) => {
                let group = group?;
                paths.get(group).map(|path| (path.as_path(), Some(group)))
            }
        }
    }

    /// The places before the search path; notes in `looked_at` those that name nothing.
    fn candidates(&self, looked_at: &mut String) -> Vec<(&'static str, PathBuf)> {
        let mut out = Vec::new();
        match &self.hint {
            Some(path) => out.push(("the starting program's Python", path.clone())),
            None => looked_at.push_str(", the starting program's Python (it was none)"),
        }
        match &self.virtual_env {
            Some(path) => out.push(("`VIRTUAL_ENV`", path.join("bin/python"))),
            None => looked_at.push_str(", `VIRTUAL_ENV` (not set)"),
        }
        out
    }

    fn on_search_path(&self) -> Option<PathBuf> {
        std::env::split_paths(self.search_path.as_ref()?)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join("python3"))
            .find(|path| defect(path).is_none())
    }

    fn describe_search(&self) -> String {
        match &self.search_path {
            Some(path) => format!("`python3` on PATH (`{}`)", path.to_string_lossy()),
            None => String::from("`python3` on PATH (not set)"),
        }
    }
}

/// Why this path is no program, if it is none.
fn defect(path: &Path) -> Option<&'static str> {
    if !path.is_absolute() {
        return Some("no absolute path");
    }
    match path.metadata() {
        Err(_) => Some("not there"),
        Ok(found) if !found.is_file() => Some("not a file"),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => Some("not executable"),
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn configuration_comes_before_hint_before_virtual_env_before_path() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| program(folder.path(), name);
        let mut policy = PythonPolicy {
            configured: Some(PythonConfig::One(at("configured"))),
            hint: Some(at("hint")),
            virtual_env: Some(folder.path().join("venv")),
            search_path: Some(folder.path().join("search").into_os_string()),
        };
        let (venv, search) = (at("venv/bin/python"), at("search/python3"));
        assert_eq!(
            policy.choose(Some("foo")),
            Ok(folder.path().join("configured"))
        );
        policy.configured = None;
        assert_eq!(policy.choose(None), Ok(folder.path().join("hint")));
        policy.hint = Some(folder.path().join("gone"));
        assert_eq!(policy.choose(None), Ok(venv));
        policy.virtual_env = None;
        assert_eq!(policy.choose(None), Ok(search));
    }

    #[test]
    fn a_group_has_its_own_python_and_others_follow_the_policy() {
        let folder = tempfile::tempdir().unwrap();
        let (own, hint) = (
            program(folder.path(), "own"),
            program(folder.path(), "hint"),
        );
        let policy = PythonPolicy {
            configured: Some(PythonConfig::PerGroup(
                [("foo".to_owned(), own.clone())].into(),
            )),
            hint: Some(hint.clone()),
            ..PythonPolicy::default()
        };
        assert_eq!(policy.choose(Some("foo")), Ok(own));
        assert_eq!(policy.choose(Some("bar")), Ok(hint.clone()));
        assert_eq!(policy.choose(None), Ok(hint));
    }

    #[test]
    fn a_wrong_configuration_is_named_and_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let policy = PythonPolicy {
            configured: Some(PythonConfig::PerGroup(
                [("foo".to_owned(), PathBuf::from("/nowhere/python"))].into(),
            )),
            hint: Some(program(folder.path(), "hint")),
            ..PythonPolicy::default()
        };
        assert_eq!(
            policy.choose(Some("foo")).unwrap_err().to_string(),
            "`python.cfg` names `/nowhere/python` for the group `foo`, which is not there; \
             put the path of a Python 3.8 or newer there"
        );
    }

    #[test]
    fn a_host_without_python_is_told_what_was_looked_at() {
        let policy = PythonPolicy {
            virtual_env: Some(PathBuf::from("/nowhere/venv")),
            search_path: Some("/nowhere/bin:relative".into()),
            ..PythonPolicy::default()
        };
        assert_eq!(
            policy.choose(None).unwrap_err().to_string(),
            "no Python found to run actors; looked at `python.cfg` (not set), the starting \
             program's Python (it was none), `VIRTUAL_ENV` (`/nowhere/venv/bin/python` is not \
             there), `python3` on PATH (`/nowhere/bin:relative`); install Python 3.8 or newer, \
             or write its path into `python.cfg`"
        );
    }
}
