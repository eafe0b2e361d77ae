//! Numbers as Python writes them.
//!
//! # Format
//! `0x1F`, `0o17`, `0b11`, `1_000`, `1.5e-3`, `.5`, `1.`, each of the decimal ones with `j` too.

use num_bigint::BigInt;

use crate::error::Fault;
use crate::limits::INT_DIGITS_MAX;
use crate::value::Value;

/// Reads the number at the head of `text`, which lies at `at`; also returns its length.
pub(crate) fn read(text: &str, at: usize) -> Result<(Value, usize), Fault> {
    let prefix = text.get(..2).unwrap_or("").to_ascii_lowercase();
    let (value, length) = match prefix.as_str() {
        "0x" => with_base(text, 16, at)?,
        "0o" => with_base(text, 8, at)?,
        "0b" => with_base(text, 2, at)?,
        _ => decimal(text, at)?,
    };
    let next = text.get(length..).and_then(|rest| rest.chars().next());
    match next {
        Some(c) if c == '_' || c.is_alphanumeric() => Err(Fault::new(
            at + length,
            format!("`{c}` does not belong in a number"),
        )
        .hint("separate the number from what follows, or put the text in quotes")),
        _ => Ok((value, length)),
    }
}

fn with_base(text: &str, base: u32, at: usize) -> Result<(Value, usize), Fault> {
    let body = text.get(2..).unwrap_or("");
    let digits_at = 2 + usize::from(body.starts_with('_'));
    let length = digits_at + digits(text, digits_at, base, at)?;
    if length == digits_at {
        return Err(Fault::new(
            at + length,
            format!("expected a digit of base {base}"),
        ));
    }
    Ok((
        int(text.get(digits_at..length).unwrap_or(""), base, at)?,
        length,
    ))
}

fn decimal(text: &str, at: usize) -> Result<(Value, usize), Fault> {
    let whole = digits(text, 0, 10, at)?;
    let mut length = whole;
    if byte(text, length) == Some(b'.') {
        length += 1;
        length += digits(text, length, 10, at)?;
    }
    length += exponent(text, length, at)?;
    let body = text.get(..length).unwrap_or("");
    if matches!(byte(text, length), Some(b'j' | b'J')) {
        let imag = float(body, at)?;
        return Ok((Value::Complex { real: 0.0, imag }, length + 1));
    }
    if length > whole {
        return Ok((Value::Float(float(body, at)?), length));
    }
    if body.starts_with('0') && body.bytes().any(|b| (b'1'..=b'9').contains(&b)) {
        return Err(Fault::new(at, format!("the number `{body}` begins with 0"))
            .hint("remove the zeros before it, or write an octal number as 0o..."));
    }
    Ok((int(body, 10, at)?, length))
}

/// Length of `e`, sign and digits; 0 if they are not all there.
fn exponent(text: &str, from: usize, at: usize) -> Result<usize, Fault> {
    if !matches!(byte(text, from), Some(b'e' | b'E')) {
        return Ok(0);
    }
    let sign = usize::from(matches!(byte(text, from + 1), Some(b'+' | b'-')));
    let count = digits(text, from + 1 + sign, 10, at)?;
    Ok(if count == 0 { 0 } else { 1 + sign + count })
}

/// Length of a run of digits in which single underscores may separate.
fn digits(text: &str, from: usize, base: u32, at: usize) -> Result<usize, Fault> {
    let mut length = 0;
    loop {
        match byte(text, from + length) {
            Some(b) if char::from(b).is_digit(base) => length += 1,
            Some(b'_') if length > 0 => {
                let next = byte(text, from + length + 1);
                if !next.is_some_and(|b| char::from(b).is_digit(base)) {
                    return Err(Fault::new(
                        at + from + length,
                        "`_` must stand between two digits",
                    )
                    .hint("remove the `_`"));
                }
                length += 2;
            }
            _ => return Ok(length),
        }
    }
}

fn int(digits: &str, base: u32, at: usize) -> Result<Value, Fault> {
    let digits = digits.replace('_', "");
    if digits.len() > INT_DIGITS_MAX {
        return Err(Fault::new(
            at,
            format!(
                "an integer of {} digits; at most {INT_DIGITS_MAX} are read",
                digits.len()
            ),
        ));
    }
    let int = BigInt::parse_bytes(digits.as_bytes(), base);
    int.map(Value::Int)
        .ok_or_else(|| Fault::new(at, format!("`{digits}` is no integer")))
}

fn float(digits: &str, at: usize) -> Result<f64, Fault> {
    let digits = digits.replace('_', "");
    digits
        .parse()
        .map_err(|_not_a_float| Fault::new(at, format!("`{digits}` is no number")))
}

fn byte(text: &str, at: usize) -> Option<u8> {
    text.as_bytes().get(at).copied()
}
