#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod error;
mod evaluation;
mod float;
mod identity;
mod limits;
mod names;
mod repr;
mod strict;
mod syntax;
mod value;

use std::borrow::Cow;

pub use crate::error::LiteralError;
pub use crate::limits::Limits;
pub use crate::names::{Environment, Names, NoNames};
pub use crate::value::Value;

use crate::error::Fault;
use crate::syntax::{Dialect, Expr};

/// Reads a literal, as CPython's `ast.literal_eval` does, within the default [`Limits`].
///
/// # Errors
/// The place of the first fault, what was expected there and, where known, how to mend it.
pub fn parse(text: &str) -> Result<Value, LiteralError> {
    let text = with_unix_newlines(text);
    read(&text, Dialect::Strict, &Limits::default())
        .and_then(strict::literal)
        .map_err(|fault| fault.locate(&text))
}

/// Reads an expression of the wider language of `.tli` and `.cfg` files.
///
/// # Errors
/// As [`parse`]; besides, a name, call or operator that is not allowed (the hint says what is),
/// an environment variable that is not set, operands that do not fit, and results over `limits`.
pub fn evaluate(text: &str, names: &dyn Names, limits: &Limits) -> Result<Value, LiteralError> {
    let text = with_unix_newlines(text.strip_prefix('\u{feff}').unwrap_or(text));
    read(&text, Dialect::Wide, limits)
        .and_then(|expression| evaluation::run(expression, names, limits))
        .map_err(|fault| fault.locate(&text))
}

fn read(text: &str, dialect: Dialect, limits: &Limits) -> Result<Expr, Fault> {
    if text.len() > limits.text_bytes_max {
        return Err(Fault::new(
            0,
            format!(
                "the text has {} bytes; at most {} are read",
                text.len(),
                limits.text_bytes_max
            ),
        ));
    }
    if let Some(at) = text.find('\0') {
        return Err(Fault::new(at, "the text contains a NUL character")
            .hint("write it as \\0 inside a string; the file may not be text at all"));
    }
    syntax::expression(text, dialect, limits.depth_max())
}

/// Python reads `\r\n` and a lone `\r` as `\n`, inside strings too.
fn with_unix_newlines(text: &str) -> Cow<'_, str> {
    if text.contains('\r') {
        Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(text)
    }
}
