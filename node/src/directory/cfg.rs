//! One `.cfg` file: one Python value, or a plain string that stays one.
//!
//! A text that begins as a literal does (a quote, a bracket, `os.`) must be one; any other text
//! of a file that holds names or paths is taken as it stands.
//! Not here: which file means what (`settings`), the types of values (`kinds`).

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use pyliteral::{Environment, Limits, LiteralError, Value};

/// The text of one file, with the environment that its expressions see.
pub(super) struct Cfg<'a> {
    path: PathBuf,
    text: String,
    names: &'a Environment<'a>,
}

impl<'a> Cfg<'a> {
    /// Reads the file; `None` when there is none.
    pub(super) fn read(
        path: &Path,
        names: &'a Environment<'a>,
    ) -> Result<Option<Self>, SettingsError> {
        let fault = |fault| SettingsError {
            path: path.to_owned(),
            fault,
        };
        let bytes = match read_trusted(path) {
            Ok(bytes) => bytes,
            Err(CfgFault::Unreadable(cause)) if cause.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(why) => return Err(fault(why)),
        };
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        match str::from_utf8(bytes) {
            Ok(text) => Ok(Some(Self {
                path: path.to_owned(),
                text: text.to_owned(),
                names,
            })),
            Err(cause) => Err(fault(CfgFault::NotText {
                at: cause.valid_up_to(),
            })),
        }
    }

    /// The text without the white space around it.
    pub(super) fn raw(&self) -> &str {
        self.text.trim()
    }

    /// The value of a file that must hold an expression.
    pub(super) fn value(&self) -> Result<Value, SettingsError> {
        if self.raw().is_empty() {
            return Err(self.expected("a value"));
        }
        pyliteral::evaluate(&self.text, self.names, &Limits::default())
            .map_err(|error| self.fault(CfgFault::Literal(error)))
    }

    /// The value of a file that may hold plain text.
    pub(super) fn value_or_text(&self) -> Result<Value, SettingsError> {
        let begins_as_literal = |text: &str| {
            let quoted = text.trim_start_matches(['b', 'r', 'u', 'B', 'R', 'U']);
            quoted.starts_with(['\'', '"']) || text.starts_with(['[', '(', '{'])
        };
        let bracketed_host = self.raw().starts_with('[')
            && self.raw().contains(':')
            && !self.raw().contains(['\'', '"']);
        if (begins_as_literal(self.raw()) && !bracketed_host) || self.raw().starts_with("os.") {
            return self.value();
        }
        if self.raw().is_empty() {
            return Err(self.expected("a value"));
        }
        Ok(Value::Str(self.raw().to_owned()))
    }

    /// One string, quoted or plain.
    pub(super) fn text(&self, expected: &'static str) -> Result<String, SettingsError> {
        match self.value_or_text()? {
            Value::Str(text) if !text.trim().is_empty() => Ok(text),
            _ => Err(self.expected(expected)),
        }
    }

    /// Several strings: a list literal, or plain text with one a line or commas between them.
    pub(super) fn texts(&self, expected: &'static str) -> Result<Vec<String>, SettingsError> {
        let value = self.value_or_text()?;
        if let Value::Str(text) = &value {
            let parts = text.split([',', '\n', '\r']).map(str::trim);
            let parts: Vec<_> = parts
                .filter(|part| !part.is_empty() && !part.starts_with('#'))
                .collect();
            return Ok(parts.into_iter().map(str::to_owned).collect());
        }
        let items = value.as_items().ok_or_else(|| self.expected(expected))?;
        let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
        texts
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| self.expected(expected))
    }

    /// The error for a value of the wrong kind.
    pub(super) fn expected(&self, expected: impl Into<String>) -> SettingsError {
        let start = self.text.len() - self.text.trim_start().len();
        let before = self.text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let first_line = self.raw().lines().next().unwrap_or_default();
        let mut found: String = first_line.chars().take(60).collect();
        if found.is_empty() {
            found.push_str("an empty file");
        } else {
            let more = first_line.chars().count() > 60 || self.raw().lines().count() > 1;
            found = format!("`{found}{}`", if more { "..." } else { "" });
        }
        self.fault(CfgFault::Expected {
            line: before.matches('\n').count() + 1,
            column: before.len() - line_start + 1,
            expected: expected.into(),
            found,
        })
    }

    fn fault(&self, fault: CfgFault) -> SettingsError {
        SettingsError {
            path: self.path.clone(),
            fault,
        }
    }
}

/// The bytes of a file that only root, the directory's owner or this user can have written.
///
/// Which Python runs, what is on its path and who may use the node are settings: whoever writes
/// them runs code here, as one who puts a key there does.
fn read_trusted(path: &Path) -> Result<Vec<u8>, CfgFault> {
    let file = File::open(path).map_err(CfgFault::Unreadable)?;
    let about = file.metadata().map_err(CfgFault::Unreadable)?;
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    let folder = fs::metadata(folder).map_err(CfgFault::Unreadable)?;
    let me = rustix::process::geteuid().as_raw();
    for (what, mode) in [("it", about.mode()), ("its directory", folder.mode())] {
        if mode & 0o002 != 0 {
            return Err(CfgFault::Writable { what });
        }
    }
    if ![0, me, folder.uid()].contains(&about.uid()) {
        return Err(CfgFault::Owner { owner: about.uid() });
    }
    let mut bytes = Vec::new();
    let read = file.take(BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(CfgFault::Unreadable)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(CfgFault::TooLarge);
    }
    Ok(bytes)
}

/// What the reader of literals takes.
const BYTES_MAX: u64 = 1024 * 1024;

/// A `.cfg` file that cannot be used: the file, the place in it, what was expected.
#[derive(Debug, thiserror::Error)]
pub struct SettingsError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub fault: CfgFault,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.fault {
            CfgFault::Literal(error) => {
                write!(
                    f,
                    "{path}:{}:{}: {}",
                    error.line(),
                    error.column(),
                    error.message()
                )
            }
            CfgFault::Expected {
                line,
                column,
                expected,
                found,
            } => {
                write!(
                    f,
                    "{path}:{line}:{column}: expected {expected}, found {found}"
                )
            }
            CfgFault::Unreadable(cause) => write!(f, "`{path}` cannot be read: {cause}"),
            fault @ (CfgFault::Writable { .. } | CfgFault::Owner { .. } | CfgFault::TooLarge) => {
                write!(f, "`{path}` is not read: {fault}")
            }
            CfgFault::NotText { at } => {
                write!(f, "`{path}` is not UTF-8 text: byte {at} is no character")
            }
        }
    }
}

impl SettingsError {
    /// The next step to take.
    #[must_use]
    pub fn hint(&self) -> String {
        match &self.fault {
            CfgFault::Literal(error) => match error.hint() {
                Some(hint) => hint.to_owned(),
                None => "mend the file; it holds one Python value".to_owned(),
            },
            CfgFault::Expected { .. } => {
                "write that into the file, or remove the file for the default".to_owned()
            }
            CfgFault::Unreadable(_) => {
                "let the user that runs this command read the file".to_owned()
            }
            CfgFault::Writable { .. } => {
                "see that its content is right, then `chmod o-w` the file or the directory"
                    .to_owned()
            }
            CfgFault::Owner { .. } => {
                "see that its content is right, then `chown` it to the directory's owner".to_owned()
            }
            CfgFault::TooLarge => "a setting is one short value: write that".to_owned(),
            CfgFault::NotText { .. } => "save the file as UTF-8 text".to_owned(),
        }
    }
}

/// What is wrong with a `.cfg` file.
#[derive(Debug, thiserror::Error)]
pub enum CfgFault {
    /// The system does not let it be read.
    #[error(transparent)]
    Unreadable(io::Error),
    /// Everybody could have written it.
    #[error("everybody may write {what}")]
    Writable {
        /// The file, or the directory.
        what: &'static str,
    },
    /// Somebody else could have written it.
    #[error("it belongs to user {owner}, not to root or the directory's owner")]
    Owner {
        /// Its owner.
        owner: u32,
    },
    /// No value is that long.
    #[error("it has more than {BYTES_MAX} bytes")]
    TooLarge,
    /// It is no text.
    #[error("byte {at} is no character")]
    NotText {
        /// Offset of the first bad byte.
        at: usize,
    },
    /// Its expression is wrong.
    #[error(transparent)]
    Literal(LiteralError),
    /// Its value is of another kind.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// Line of the value, from 1.
        line: usize,
        /// Column of the value, from 1.
        column: usize,
        /// What belongs there.
        expected: String,
        /// The beginning of what is there.
        found: String,
    },
}
