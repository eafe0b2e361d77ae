//! The one way out: data to stdout as text or as one JSON document, all else to stderr.
//!
//! A reader that goes away (`director avail | head -1`) is no failure.
//! Not here: progress bars (`progress`).

use std::fmt::Display;
use std::io::{self, Write};

use serde_json::Value;

/// What a command has to say, in both forms.
pub(crate) trait Report {
    /// Writes it as lines for people and for scripts that know the lines.
    fn text(&self, out: &mut dyn Write) -> io::Result<()>;

    /// The same as a JSON value; its keys are a contract.
    fn json(&self) -> Value;
}

/// Writes what commands say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    json: bool,
    verbose: bool,
}

impl Printer {
    /// A printer for the options of the command line.
    pub(crate) fn new(json: bool, verbose: bool) -> Self {
        Self { json, verbose }
    }

    /// A printer before the command line is understood.
    pub(crate) fn plain() -> Self {
        Self::new(false, false)
    }

    /// Whether the answer is a JSON document.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Writes a command's answer.
    pub(crate) fn report(&self, report: &dyn Report) {
        let mut text = Vec::new();
        if self.json {
            let document = report.json();
            let _never = writeln!(text, "{document:#}");
        } else {
            let _never = report.text(&mut text);
        }
        self.raw(&text);
    }

    /// Writes bytes to stdout as they are.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        let mut out = io::stdout().lock();
        if let Err(cause) = out.write_all(bytes).and_then(|()| out.flush())
            && cause.kind() != io::ErrorKind::BrokenPipe
        {
            self.error(format_args!("stdout cannot be written: {cause}"));
        }
    }

    /// A line about what is being done, only with `verbose`.
    pub(crate) fn detail(&self, text: impl Display) {
        if self.verbose {
            self.aside(format_args!("{text}"));
        }
    }

    /// A line beside the answer.
    pub(crate) fn note(&self, text: impl Display) {
        self.aside(format_args!("note: {text}"));
    }

    /// Something that deserves a look although the command goes on.
    pub(crate) fn warning(&self, text: impl Display) {
        self.aside(format_args!("warning: {text}"));
    }

    /// Why the command failed.
    pub(crate) fn error(&self, text: impl Display) {
        self.aside(format_args!("error: {text}"));
    }

    fn aside(&self, text: impl Display) {
        // Nobody is left to tell when stderr is gone.
        let _gone = writeln!(io::stderr().lock(), "{text}");
    }
}
