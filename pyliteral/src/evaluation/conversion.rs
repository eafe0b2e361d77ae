//! `int float dict list tuple set`: one value made from another, as Python does it.

use num_bigint::{BigInt, ToBigInt};

use crate::error::Fault;
use crate::evaluation::{arithmetic, containers};
use crate::identity::Pairs;
use crate::limits::INT_DIGITS_MAX;
use crate::value::Value;

/// `int(value, base)`
pub(super) fn int(at: usize, value: Option<Value>, base: Option<Value>) -> Result<Value, Fault> {
    let base = match base {
        None => None,
        Some(base) => match base.as_i64().and_then(|base| u32::try_from(base).ok()) {
            Some(base @ 2..=36) => Some(base),
            _ => {
                return Err(Fault::new(
                    at,
                    "the base of `int` must be a number from 2 to 36",
                ));
            }
        },
    };
    let value = value.unwrap_or(Value::Int(BigInt::ZERO));
    let parsed = match (&value, base) {
        (Value::Str(text), base) => parsed_int(text, base.unwrap_or(10)),
        (Value::Float(float), None) => float.trunc().to_bigint(),
        (other, None) => arithmetic::as_int(other),
        _ => None,
    };
    parsed
        .map(Value::Int)
        .ok_or_else(|| unfit(at, "int", &value))
}

/// `float(value)`
pub(super) fn float(at: usize, value: Option<Value>) -> Result<Value, Fault> {
    let value = value.unwrap_or(Value::Float(0.0));
    let converted = match &value {
        Value::Str(text) => without_underscores(text.trim()).and_then(|text| text.parse().ok()),
        other => arithmetic::as_float(other),
    };
    converted
        .map(Value::Float)
        .ok_or_else(|| unfit(at, "float", &value))
}

/// The members of what Python can iterate over.
pub(super) fn items(at: usize, value: Option<Value>) -> Result<Vec<Value>, Fault> {
    Ok(match value {
        None => Vec::new(),
        Some(Value::Tuple(items) | Value::List(items) | Value::Set(items)) => items,
        Some(Value::Str(text)) => text.chars().map(|c| Value::Str(c.into())).collect(),
        Some(Value::Bytes(bytes)) => bytes.into_iter().map(|b| u32::from(b).into()).collect(),
        Some(Value::Dict(pairs)) => pairs.into_iter().map(|(key, _)| key).collect(),
        Some(other) => {
            let message = format!("a {} has no members", other.type_name());
            return Err(Fault::new(at, message).hint("write [ ] around a single value"));
        }
    })
}

/// `set(value)`
pub(super) fn set(at: usize, value: Option<Value>) -> Result<Value, Fault> {
    let mut members = Pairs::default();
    for item in items(at, value)? {
        let inserted = members.insert(item, Value::None);
        inserted.map_err(|fault| containers::unhashable(at, &fault, "a member of a set"))?;
    }
    Ok(Value::Set(members.into_keys()))
}

/// `dict(value, name=...)`
pub(super) fn dict(
    at: usize,
    value: Option<Value>,
    named: Vec<(String, Value)>,
) -> Result<Value, Fault> {
    let mut entries = Pairs::default();
    let mut add = |key, value| {
        let inserted = entries.insert(key, value);
        inserted.map_err(|fault| containers::unhashable(at, &fault, "a key"))
    };
    match value {
        Some(Value::Dict(pairs)) => {
            for (key, value) in pairs {
                add(key, value)?;
            }
        }
        other => {
            for pair in items(at, other)? {
                let mut pair = items(at, Some(pair))?.into_iter();
                let (Some(key), Some(value), None) = (pair.next(), pair.next(), pair.next()) else {
                    return Err(Fault::new(at, "`dict` needs pairs of a key and a value")
                        .hint("write dict([('key', 'value')]) or {'key': 'value'}"));
                };
                add(key, value)?;
            }
        }
    }
    for (name, value) in named {
        add(Value::Str(name), value)?;
    }
    Ok(Value::Dict(entries.into_pairs()))
}

fn parsed_int(text: &str, base: u32) -> Option<BigInt> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let prefix = match base {
        16 => ["0x", "0X"],
        8 => ["0o", "0O"],
        2 => ["0b", "0B"],
        _ => ["", ""],
    };
    let bare = prefix
        .iter()
        .find_map(|prefix| digits.strip_prefix(prefix))
        .unwrap_or(digits);
    let bare = if bare.len() < digits.len() {
        bare.strip_prefix('_').unwrap_or(bare)
    } else {
        bare
    };
    let bare = without_underscores(bare)?;
    if bare.len() > INT_DIGITS_MAX || !bare.chars().all(|c| c.is_digit(base)) {
        return None;
    }
    let int = BigInt::parse_bytes(bare.as_bytes(), base)?;
    Some(if negative { -int } else { int })
}

/// The digits without underscores, each of which must stand between two of them.
fn without_underscores(text: &str) -> Option<String> {
    let between = |at: usize| {
        let digit = |at: Option<usize>| {
            let byte = at.and_then(|at| text.as_bytes().get(at));
            byte.is_some_and(u8::is_ascii_alphanumeric)
        };
        digit(at.checked_sub(1)) && digit(Some(at + 1))
    };
    let fit = text.match_indices('_').all(|(at, _)| between(at));
    fit.then(|| text.replace('_', ""))
}

fn unfit(at: usize, function: &str, value: &Value) -> Fault {
    let shown: String = value.repr().chars().take(40).collect();
    let fault = Fault::new(at, format!("`{function}` cannot read {shown}"));
    match value {
        Value::None => fault.hint("give the variable a default, os.getenv('NAME', '0')"),
        _ => fault.hint("write a number, or a str that holds one"),
    }
}
