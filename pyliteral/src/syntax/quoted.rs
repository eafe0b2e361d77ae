//! Strings and byte strings: prefixes, quotes, escapes.
//!
//! Refused: f-strings and t-strings (they hold code), `\N{...}` (needs Unicode's name table) and
//! lone surrogates (no text in any encoding).

use crate::error::Fault;
use crate::value::Value;

/// What stands before the opening quote.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prefix {
    letters: usize,
    raw: bool,
    bytes: bool,
    /// An f-string or t-string.
    pub(super) template: bool,
}

/// The prefix of the string at the head of `text`, if there is a string.
pub(crate) fn prefix(text: &str) -> Option<Prefix> {
    let letters = text
        .bytes()
        .take(3)
        .position(|b| matches!(b, b'\'' | b'"'))?;
    let word = text.get(..letters)?.to_ascii_lowercase();
    let (raw, bytes, template) = match word.as_str() {
        "" | "u" => (false, false, false),
        "r" => (true, false, false),
        "b" => (false, true, false),
        "br" | "rb" => (true, true, false),
        "f" | "fr" | "rf" | "t" | "tr" | "rt" => (false, false, true),
        _ => return None,
    };
    Some(Prefix {
        letters,
        raw,
        bytes,
        template,
    })
}

/// Reads the string at the head of `text`, which lies at `at`; also returns its length.
pub(crate) fn read(text: &str, prefix: Prefix, at: usize) -> Result<(Value, usize), Fault> {
    if prefix.template {
        return Err(
            Fault::new(at, "f-strings are not allowed here, they hold code")
                .hint("write 'text %s' % value or 'text {}'.format(value)"),
        );
    }
    let quoted = text.get(prefix.letters..).unwrap_or("");
    let (quote, body) = opening(quoted);
    let length = closing(body, quote).ok_or_else(|| unclosed(quote, at))?;
    let body_at = at + prefix.letters + quote.len();
    let body = body.get(..length).unwrap_or("");
    let end = prefix.letters + 2 * quote.len() + length;
    let value = match (prefix.bytes, prefix.raw) {
        (false, true) => Value::Str(body.to_owned()),
        (false, false) => Value::Str(unescaped(body, body_at)?),
        (true, raw) => Value::Bytes(unescaped_bytes(body, raw, body_at)?),
    };
    Ok((value, end))
}

fn opening(quoted: &str) -> (&str, &str) {
    let tripled = quoted.starts_with("'''") || quoted.starts_with("\"\"\"");
    quoted
        .split_at_checked(if tripled { 3 } else { 1 })
        .unwrap_or((quoted, ""))
}

/// Length of the body: up to the closing quote that no backslash precedes.
fn closing(body: &str, quote: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\n' if quote.len() == 1 => return None,
            _ if body.get(at..).is_some_and(|rest| rest.starts_with(quote)) => return Some(at),
            _ => {}
        }
    }
    None
}

fn unclosed(quote: &str, at: usize) -> Fault {
    if quote.len() == 3 {
        return Fault::new(
            at,
            format!("the string that begins with {quote} is never closed"),
        )
        .hint(format!("add the closing {quote}"));
    }
    Fault::new(at, "the string that begins here is not closed on its line").hint(format!(
        "add the closing {quote}, or begin it with {quote}{quote}{quote}"
    ))
}

fn unescaped(body: &str, at: usize) -> Result<String, Fault> {
    let mut out = String::with_capacity(body.len());
    let mut escapes = Escapes::new(body, at);
    while let Some((plain, escape)) = escapes.next(false)? {
        out.push_str(plain);
        match escape {
            Escape::Code(code) => out.push(char::from_u32(code).ok_or_else(|| {
                Fault::new(
                    escapes.place(),
                    format!("\\u{code:04x} is a lone surrogate, no text"),
                )
                .hint("write the character itself, or \\U and its eight digits")
            })?),
            Escape::Kept(c) => out.extend(['\\', c]),
            Escape::Nothing => {}
        }
    }
    Ok(out)
}

fn unescaped_bytes(body: &str, raw: bool, at: usize) -> Result<Vec<u8>, Fault> {
    if let Some((offset, c)) = body.char_indices().find(|(_, c)| !c.is_ascii()) {
        return Err(
            Fault::new(at + offset, format!("`{c}` is not ASCII, as bytes must be"))
                .hint("write its bytes as \\x.., or a string without the b before it"),
        );
    }
    if raw {
        return Ok(body.as_bytes().to_vec());
    }
    let mut out = Vec::with_capacity(body.len());
    let mut escapes = Escapes::new(body, at);
    while let Some((plain, escape)) = escapes.next(true)? {
        out.extend(plain.as_bytes());
        match escape {
            // CPython keeps the low eight bits of an octal escape above \377.
            Escape::Code(code) => out.push((code & 0xff) as u8),
            Escape::Kept(c) => out.extend(format!("\\{c}").as_bytes()),
            Escape::Nothing => {}
        }
    }
    Ok(out)
}

enum Escape {
    Code(u32),
    /// Not an escape: the backslash stays.
    Kept(char),
    /// A joined line, or the end of the text.
    Nothing,
}

struct Escapes<'t> {
    body: &'t str,
    done: usize,
    /// Where the latest escape begins in the body.
    latest: usize,
    at: usize,
}

impl<'t> Escapes<'t> {
    fn new(body: &'t str, at: usize) -> Self {
        Self {
            body,
            done: 0,
            latest: 0,
            at,
        }
    }

    /// The text up to the next escape, and the escape.
    fn next(&mut self, bytes: bool) -> Result<Option<(&'t str, Escape)>, Fault> {
        let rest = self.body.get(self.done..).unwrap_or("");
        if rest.is_empty() {
            return Ok(None);
        }
        let Some((plain, after)) = rest.split_once('\\') else {
            self.done = self.body.len();
            return Ok(Some((rest, Escape::Nothing)));
        };
        self.done += plain.len();
        self.latest = self.done;
        let (escape, length) = self.escape(after, bytes)?;
        self.done += 1 + length;
        Ok(Some((plain, escape)))
    }

    fn escape(&self, after: &str, bytes: bool) -> Result<(Escape, usize), Fault> {
        let Some(c) = after.chars().next() else {
            return Ok((Escape::Kept('\\'), 0));
        };
        let code = match c {
            '\n' => return Ok((Escape::Nothing, 1)),
            '\\' | '\'' | '"' => u32::from(c),
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            '0'..='7' => return Ok(octal(after)),
            'x' => return self.hex(after, 2),
            'u' if !bytes => return self.hex(after, 4),
            'U' if !bytes => return self.hex(after, 8),
            'N' if !bytes => {
                return Err(Fault::new(self.place(), "\\N{...} is not read here")
                    .hint("write the character itself, or \\u and its four digits"));
            }
            c => return Ok((Escape::Kept(c), c.len_utf8())),
        };
        Ok((Escape::Code(code), 1))
    }

    fn hex(&self, after: &str, count: usize) -> Result<(Escape, usize), Fault> {
        let digits = after
            .get(1..=count)
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let letter = after.chars().next().unwrap_or('x');
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match code {
            Some(code) if code <= u32::from(char::MAX) => Ok((Escape::Code(code), 1 + count)),
            Some(code) => Err(
                Fault::new(self.place(), format!("U+{code:X} is no character"))
                    .hint("the last one is \\U0010ffff"),
            ),
            None => Err(Fault::new(
                self.place(),
                format!("expected {count} hexadecimal digits after `\\{letter}`"),
            )
            .hint("double the backslash, or write r before the string, if it is meant as it is")),
        }
    }

    fn place(&self) -> usize {
        self.at + self.latest
    }
}

fn octal(after: &str) -> (Escape, usize) {
    let is_octal = |b: &u8| (b'0'..=b'7').contains(b);
    let length = after.bytes().take(3).take_while(|b| is_octal(b)).count();
    let digits = after.get(..length).unwrap_or("0");
    (
        Escape::Code(u32::from_str_radix(digits, 8).unwrap_or(0)),
        length,
    )
}
