//! The environment variables that workers get from the daemon.
//!
//! Not here: variables of a single worker (`WorkerSpec::environment`).

use std::ffi::{OsStr, OsString};

/// Which of the daemon's variables workers see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorkerEnvironment {
    /// Whether `PYTHON*` is dropped: so with a Director directory.
    pub without_python: bool,
    /// Only these (`environment.cfg`); `None`: all.
    pub only: Option<Vec<String>>,
    /// Director's own secrets: never these.
    pub withheld: Vec<String>,
    /// Variables of ours for forkservers; they take these out before actors are forked.
    pub added: Vec<(String, String)>,
}

impl WorkerEnvironment {
    /// Picks the variables to pass on.
    pub fn pick(
        &self,
        all: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Vec<(OsString, OsString)> {
        let passed = all.into_iter().filter(|(name, _)| self.passes(name));
        let added = self
            .added
            .iter()
            .map(|(name, value)| (name.into(), value.into()));
        passed.chain(added).collect()
    }

    fn passes(&self, name: &OsStr) -> bool {
        let named = |names: &[String]| names.iter().any(|one| name == one.as_str());
        if named(&self.withheld) {
            return false;
        }
        if self.without_python && name.as_encoded_bytes().starts_with(b"PYTHON") {
            return false;
        }
        self.only.as_deref().is_none_or(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(environment: &WorkerEnvironment) -> Vec<String> {
        let all = ["HOME", "PYTHONPATH", "DIRECTOR_JOIN_TOKEN", "LANG"];
        let all = all.map(|name| (name.into(), "x".into()));
        let names = environment.pick(all).into_iter();
        names.map(|(name, _)| name.into_string().unwrap()).collect()
    }

    #[test]
    fn python_variables_and_secrets_stay_with_the_daemon() {
        let mut environment = WorkerEnvironment {
            without_python: true,
            only: None,
            withheld: vec!["DIRECTOR_JOIN_TOKEN".to_owned()],
            added: Vec::new(),
        };
        assert_eq!(picked(&environment), ["HOME", "LANG"]);
        environment.without_python = false;
        assert_eq!(picked(&environment), ["HOME", "PYTHONPATH", "LANG"]);
        environment.only = Some(vec!["LANG".to_owned(), "DIRECTOR_JOIN_TOKEN".to_owned()]);
        assert_eq!(picked(&environment), ["LANG"]);
        environment.added = vec![("OURS".to_owned(), "1".to_owned())];
        assert_eq!(picked(&environment), ["LANG", "OURS"]);
    }
}
