//! Errors of reading: where, what was expected, and what to do next.
//!
//! [`Fault`] knows a byte offset; [`LiteralError`], which leaves the crate, a line and a column.

use thiserror::Error;

/// A text that could not be read, with the place at which a person would mend it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {message}")]
pub struct LiteralError {
    line: usize,
    column: usize,
    message: String,
    hint: Option<String>,
}

impl LiteralError {
    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column in characters, from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The next step to take, where one is known.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// A fault at a byte offset of the text.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    at: usize,
    message: String,
    hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(at: usize, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn locate(self, text: &str) -> LiteralError {
        let place = Place::of(text, self.at);
        LiteralError {
            line: place.line,
            column: place.column,
            message: self.message,
            hint: self.hint,
        }
    }
}

/// A line and a column in characters, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Place {
    pub(crate) fn of(text: &str, at: usize) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: before.chars().count() - before.get(..line_start).unwrap_or("").chars().count()
                + 1,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}
