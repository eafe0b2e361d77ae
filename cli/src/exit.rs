//! Exit codes and the failures that carry them: scripts rely on these numbers.
//!
//! Not here: which command fails when.

use std::fmt::{self, Display};
use std::process::ExitCode;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// Refused: the caller's input, rights or the state of things.
    Refused,
    /// The command line cannot be understood.
    Usage,
    /// `gensrc` lacks arguments.
    MissingArguments,
    /// No node answers, or not in time: try again.
    Unavailable,
    /// `tlsinfo` finds no such file.
    NoSuchFile,
    /// `gensrc` failed.
    Failed,
    /// `tlsinfo` finds no package or no such member in the file.
    BadArchive,
    /// `tlsinfo` finds no key that validates the file.
    NoKey,
    /// A bug in Director.
    Bug,
}

impl Exit {
    /// The number that the caller sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::MissingArguments | Self::Unavailable => 3,
            Self::NoSuchFile => 4,
            Self::Failed => 5,
            Self::BadArchive => 6,
            Self::NoKey => 7,
            Self::Bug => 70,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not do what it was asked: the exit, the reason, the next steps to take.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    reason: anyhow::Error,
    details: Vec<String>,
    hints: Vec<String>,
}

impl Failure {
    /// A failure with a reason; the causes of an error are shown with it.
    pub(crate) fn new(exit: Exit, reason: impl Into<anyhow::Error>) -> Self {
        Self {
            exit,
            reason: reason.into(),
            details: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// A failure whose reason is a text.
    pub(crate) fn text(exit: Exit, reason: impl Display) -> Self {
        Self::new(exit, anyhow::anyhow!("{reason}"))
    }

    /// Adds a line below the reason.
    #[must_use]
    pub(crate) fn detail(mut self, detail: impl Display) -> Self {
        self.details.push(detail.to_string());
        self
    }

    /// Adds a next step.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Display) -> Self {
        self.hints.push(hint.to_string());
        self
    }

    /// The same failure with the exit of the command that meets it.
    #[must_use]
    pub(crate) fn ending(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// How the program ends for it.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }
}

impl Failure {
    /// The reason with its causes and details, and the next steps, each as a text.
    pub(crate) fn parts(&self) -> (String, String) {
        let hints = self.hints.join("; ");
        let bare = fmt::from_fn(|f| self.write_reason(f)).to_string();
        (bare, hints)
    }

    fn write_reason(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        let mut said = self.reason.to_string();
        for cause in self.reason.chain().skip(1) {
            let text = cause.to_string();
            if !said.contains(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
        }
        for detail in &self.details {
            write!(f, "\n  {}", detail.replace('\n', "\n  "))?;
        }
        Ok(())
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_reason(f)?;
        for hint in &self.hints {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_that_scripts_rely_on() {
        use Exit::*;
        let all = [
            Done,
            Refused,
            Usage,
            MissingArguments,
            NoSuchFile,
            Failed,
            BadArchive,
            NoKey,
        ];
        let codes: Vec<u8> = all.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(Bug.code(), 70);
    }

    #[test]
    fn a_failure_shows_its_causes_once_and_its_hints_last() {
        let cause = std::io::Error::other("disk on fire");
        let failure = Failure::new(Exit::Failed, anyhow::Error::new(cause).context("no file"))
            .detail("line 1")
            .hint("buy a disk");
        assert_eq!(
            failure.to_string(),
            "no file: disk on fire\n  line 1\nhint: buy a disk"
        );
    }
}
