//! Decimal forms of floats as CPython writes them.
//!
//! Rust finds the digits (shortest that reads back, or exact and rounded half to even); here they
//! are laid out. The sign of a negative number is included; nothing is padded.

use num_bigint::BigInt;

/// `repr(float)`; `dot_zero` adds the `.0` that an integral float has outside a complex number.
pub(crate) fn repr(float: f64, dot_zero: bool) -> String {
    if let Some(word) = special(float) {
        return word;
    }
    let scientific = shortest(float);
    let (mantissa, exponent) = split_exponent(&scientific);
    if !(-4..16).contains(&exponent) {
        return with_exponent(mantissa, exponent);
    }
    let digits_after = i64::try_from(decimals(mantissa)).unwrap_or(0);
    let digits_after = usize::try_from(digits_after - exponent).unwrap_or(0);
    let dot_zero = if dot_zero && digits_after == 0 {
        ".0"
    } else {
        ""
    };
    format!("{float:.digits_after$}{dot_zero}")
}

/// `%.{precision}f`
pub(crate) fn fixed(float: f64, precision: usize) -> String {
    special(float).unwrap_or_else(|| format!("{float:.precision$}"))
}

/// `%.{precision}e`
pub(crate) fn exponential(float: f64, precision: usize) -> String {
    special(float).unwrap_or_else(|| {
        let scientific = format!("{float:.precision$e}");
        let (mantissa, exponent) = split_exponent(&scientific);
        with_exponent(mantissa, exponent)
    })
}

/// How [`general`] departs from plain `%g`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum General {
    /// Trailing zeros are dropped.
    Plain,
    /// The `#` flag: trailing zeros stay.
    Alternate,
    /// A format specification with a precision and no type: a float still looks like one.
    Untyped,
}

/// `%.{precision}g`
pub(crate) fn general(float: f64, precision: usize, style: General) -> String {
    if let Some(word) = special(float) {
        return word;
    }
    let precision = precision.max(1);
    let digits_after = precision - 1;
    let scientific = format!("{float:.digits_after$e}");
    let (mantissa, exponent) = split_exponent(&scientific);
    let limit = i64::try_from(precision).unwrap_or(i64::MAX);
    let limit = if style == General::Untyped {
        limit - 1
    } else {
        limit
    };
    if exponent < -4 || exponent >= limit {
        return with_exponent(&trimmed(mantissa, style), exponent);
    }
    let decimals = i64::try_from(digits_after).unwrap_or(i64::MAX) - exponent;
    let decimals = usize::try_from(decimals).unwrap_or(0);
    let mut text = trimmed(&format!("{float:.decimals$}"), style);
    if style == General::Untyped && !text.contains('.') {
        text.push_str(".0");
    }
    text
}

/// The float nearest to an integer; `None` beyond the largest.
pub(crate) fn from_int(int: &BigInt) -> Option<f64> {
    let nearest: f64 = int.to_string().parse().ok()?;
    nearest.is_finite().then_some(nearest)
}

fn special(float: f64) -> Option<String> {
    let word = match float {
        _ if float.is_nan() => "nan",
        f64::INFINITY => "inf",
        f64::NEG_INFINITY => "-inf",
        _ => return None,
    };
    Some(word.to_owned())
}

/// The shortest digits that read back as `float`; of two equally near, the even ones as in
/// CPython, where Rust takes the upper.
fn shortest(float: f64) -> String {
    let shortest = format!("{float:e}");
    let digits_after = decimals(split_exponent(&shortest).0);
    let half_even = format!("{float:.digits_after$e}");
    if half_even.parse() == Ok(float) {
        half_even
    } else {
        shortest
    }
}

/// Digits after the point.
fn decimals(mantissa: &str) -> usize {
    mantissa.split_once('.').map_or(0, |(_, after)| after.len())
}

fn split_exponent(scientific: &str) -> (&str, i64) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    (mantissa, exponent.parse().unwrap_or(0))
}

fn with_exponent(mantissa: &str, exponent: i64) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

fn trimmed(digits: &str, style: General) -> String {
    if style == General::Alternate {
        let dot = if digits.contains('.') { "" } else { "." };
        return format!("{digits}{dot}");
    }
    if !digits.contains('.') {
        return digits.to_owned();
    }
    digits
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}
