//! The text form of a value: CPython's `repr`, and `str` where it differs.
//!
//! One difference: sets are written in the order they have here, CPython's order is its hashes'.

use std::fmt::{self, Display, Formatter, Write};

use crate::float;
use crate::value::Value;

impl Value {
    /// Exactly what CPython's `repr()` returns.
    pub fn repr(&self) -> String {
        self.to_string()
    }

    /// What CPython's `str()` returns: the text of a string, the `repr` of all else.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Str(text) => text.clone(),
            other => other.repr(),
        }
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::Int(int) => write!(f, "{int}"),
            Self::Float(float) => f.write_str(&float::repr(*float, true)),
            Self::Complex { real, imag } => write_complex(*real, *imag, f),
            Self::Str(text) => write_str(text, f),
            Self::Bytes(bytes) => write_bytes(bytes, f),
            Self::Tuple(items) => match items.as_slice() {
                [only] => write!(f, "({only},)"),
                items => write_items("(", items, ")", f),
            },
            Self::List(items) => write_items("[", items, "]", f),
            Self::Set(items) if items.is_empty() => f.write_str("set()"),
            Self::Set(items) => write_items("{", items, "}", f),
            Self::Dict(pairs) => write_pairs(pairs, f),
        }
    }
}

/// CPython's `ascii()` of a string form: what is not ASCII becomes an escape.
pub(crate) fn ascii(repr: &str) -> String {
    let mut out = String::with_capacity(repr.len());
    for c in repr.chars() {
        let _string_write_cannot_fail = if c.is_ascii() {
            out.write_char(c)
        } else {
            write_escape(c, &mut out)
        };
    }
    out
}

fn write_complex(real: f64, imag: f64, f: &mut Formatter<'_>) -> fmt::Result {
    let imag_text = float::repr(imag, false);
    if real == 0.0 && real.is_sign_positive() {
        return write!(f, "{imag_text}j");
    }
    let plus = if imag_text.starts_with('-') { "" } else { "+" };
    write!(f, "({}{plus}{imag_text}j)", float::repr(real, false))
}

fn write_items(open: &str, items: &[Value], close: &str, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str(open)?;
    for (n, item) in items.iter().enumerate() {
        let separator = if n == 0 { "" } else { ", " };
        write!(f, "{separator}{item}")?;
    }
    f.write_str(close)
}

fn write_pairs(pairs: &[(Value, Value)], f: &mut Formatter<'_>) -> fmt::Result {
    f.write_char('{')?;
    for (n, (key, value)) in pairs.iter().enumerate() {
        let separator = if n == 0 { "" } else { ", " };
        write!(f, "{separator}{key}: {value}")?;
    }
    f.write_char('}')
}

fn write_str(text: &str, f: &mut Formatter<'_>) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    f.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c == quote => write!(f, "\\{c}")?,
            c if is_printable(c) => f.write_char(c)?,
            c => write_escape(c, f)?,
        }
    }
    f.write_char(quote)
}

fn write_bytes(bytes: &[u8], f: &mut Formatter<'_>) -> fmt::Result {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') {
        '"'
    } else {
        '\''
    };
    write!(f, "b{quote}")?;
    for byte in bytes {
        match char::from(*byte) {
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c == quote => write!(f, "\\{c}")?,
            c if (' '..='~').contains(&c) => f.write_char(c)?,
            _ => write!(f, "\\x{byte:02x}")?,
        }
    }
    f.write_char(quote)
}

fn write_escape(c: char, out: &mut impl Write) -> fmt::Result {
    match u32::from(c) {
        code @ 0..=0xff => write!(out, "\\x{code:02x}"),
        code @ 0x100..=0xffff => write!(out, "\\u{code:04x}"),
        code => write!(out, "\\U{code:08x}"),
    }
}

/// Python's `str.isprintable`: no control, format, surrogate, private, unassigned or separator
/// character but the space. Rust's `escape_debug` draws the same line, save that it escapes the
/// first character of a text also when it extends a grapheme, and quotes and backslashes; hence
/// the letter before. (Which characters are assigned goes by Rust's Unicode version.)
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    let mut buffer = [b'a'; 5];
    let (_, rest) = buffer.split_at_mut(1);
    let length = 1 + c.encode_utf8(rest).len();
    let text = buffer
        .get(..length)
        .and_then(|bytes| std::str::from_utf8(bytes).ok());
    text.is_some_and(|text| text.escape_debug().nth(1) == Some(c))
}
