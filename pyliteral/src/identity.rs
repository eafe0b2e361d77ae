//! When two values are the same to Python: as keys, as members, by `==`.
//!
//! A hashable value has a canonical byte form, equal exactly when Python finds the values equal
//! (`1`, `1.0`, `True` and `1+0j` share one). Ordered maps over it need no hash seed.

use std::collections::BTreeMap;

use num_bigint::{BigInt, ToBigInt};

use crate::value::Value;

/// A value of a type that Python cannot hash, by the type's name.
#[derive(Debug)]
pub(crate) struct Unhashable(pub(crate) &'static str);

/// Entries in insertion order without equal keys: the first key stays, the last value wins.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    pairs: Vec<(Value, Value)>,
    index: BTreeMap<Vec<u8>, usize>,
}

impl Pairs {
    pub(crate) fn insert(&mut self, key: Value, value: Value) -> Result<(), Unhashable> {
        let form = canonical(&key)?;
        let next = self.pairs.len();
        let at = if is_nan(&key) {
            next
        } else {
            *self.index.entry(form).or_insert(next)
        };
        match self.pairs.get_mut(at) {
            Some(pair) => pair.1 = value,
            None => self.pairs.push((key, value)),
        }
        Ok(())
    }

    pub(crate) fn into_pairs(self) -> Vec<(Value, Value)> {
        self.pairs
    }

    pub(crate) fn into_keys(self) -> Vec<Value> {
        self.pairs.into_iter().map(|(key, _)| key).collect()
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(a), Self::List(b)) | (Self::Tuple(a), Self::Tuple(b)) => a == b,
            (Self::Set(a), Self::Set(b)) => same_members(a, b),
            (Self::Dict(a), Self::Dict(b)) => same_entries(a, b),
            (Self::Str(a), Self::Str(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::None, Self::None) => true,
            (a, b) if a.is_number() && b.is_number() => {
                !is_nan(a) && !is_nan(b) && canonical(a).ok() == canonical(b).ok()
            }
            _ => false,
        }
    }
}

impl Value {
    pub(crate) fn is_number(&self) -> bool {
        matches!(
            self,
            Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Complex { .. }
        )
    }
}

/// The integer that a float is, if it is one.
pub(crate) fn integral(float: f64) -> Option<BigInt> {
    if float.is_finite() && float.fract() == 0.0 {
        float.to_bigint()
    } else {
        None
    }
}

fn same_members(a: &[Value], b: &[Value]) -> bool {
    let forms = |items: &[Value]| {
        let mut forms: Vec<_> = items.iter().filter_map(|i| canonical(i).ok()).collect();
        forms.sort();
        forms
    };
    a.len() == b.len() && forms(a) == forms(b)
}

fn same_entries(a: &[(Value, Value)], b: &[(Value, Value)]) -> bool {
    let by_key: BTreeMap<_, _> = b
        .iter()
        .filter_map(|(key, value)| Some((canonical(key).ok()?, value)))
        .collect();
    let found = |(key, value): &(Value, Value)| {
        canonical(key).is_ok_and(|form| by_key.get(&form).is_some_and(|other| *other == value))
    };
    a.len() == b.len() && a.iter().all(found)
}

fn canonical(value: &Value) -> Result<Vec<u8>, Unhashable> {
    let mut form = Vec::new();
    write_canonical(value, &mut form)?;
    Ok(form)
}

fn write_canonical(value: &Value, form: &mut Vec<u8>) -> Result<(), Unhashable> {
    match value {
        Value::None => form.push(b'N'),
        Value::Bool(truth) => write_int(&BigInt::from(*truth), form),
        Value::Int(int) => write_int(int, form),
        Value::Float(float) => write_float(*float, form),
        Value::Complex { real, imag } => {
            if *imag != 0.0 {
                form.push(b'C');
                write_float(*imag, form);
            }
            write_float(*real, form);
        }
        Value::Str(text) => write_block(b'S', text.as_bytes(), form),
        Value::Bytes(bytes) => write_block(b'B', bytes, form),
        Value::Tuple(items) => {
            form.push(b'T');
            form.extend(items.len().to_be_bytes());
            for item in items {
                write_canonical(item, form)?;
            }
        }
        Value::List(_) | Value::Set(_) | Value::Dict(_) => {
            return Err(Unhashable(value.type_name()));
        }
    }
    Ok(())
}

fn write_float(float: f64, form: &mut Vec<u8>) {
    match integral(float) {
        Some(int) => write_int(&int, form),
        None => {
            form.push(b'F');
            form.extend(float.to_bits().to_be_bytes());
        }
    }
}

fn write_int(int: &BigInt, form: &mut Vec<u8>) {
    write_block(b'I', &int.to_signed_bytes_be(), form);
}

fn write_block(tag: u8, bytes: &[u8], form: &mut Vec<u8>) {
    form.push(tag);
    form.extend(bytes.len().to_be_bytes());
    form.extend(bytes);
}

/// Not a number, as a number or inside a tuple: equal to nothing, itself included.
fn is_nan(value: &Value) -> bool {
    match value {
        Value::Float(float) => float.is_nan(),
        Value::Complex { real, imag } => real.is_nan() || imag.is_nan(),
        Value::Tuple(items) => items.iter().any(is_nan),
        _ => false,
    }
}
