//! Building, joining and repeating containers.

use crate::error::Fault;
use crate::evaluation::arithmetic::{self, unfit};
use crate::evaluation::budget::Budget;
use crate::identity::{Pairs, Unhashable};
use crate::syntax::{Expr, Operator};
use crate::value::Value;

/// A set of the values of `items`.
pub(crate) fn set(
    items: Vec<Expr>,
    mut evaluate: impl FnMut(Expr) -> Result<Value, Fault>,
) -> Result<Value, Fault> {
    let mut members = Pairs::default();
    for item in items {
        let at = item.at;
        let inserted = members.insert(evaluate(item)?, Value::None);
        inserted.map_err(|fault| unhashable(at, &fault, "a member of a set"))?;
    }
    Ok(Value::Set(members.into_keys()))
}

/// A dictionary of the values of `pairs`.
pub(crate) fn dict(
    pairs: Vec<(Expr, Expr)>,
    mut evaluate: impl FnMut(Expr) -> Result<Value, Fault>,
) -> Result<Value, Fault> {
    let mut entries = Pairs::default();
    for (key, value) in pairs {
        let at = key.at;
        let inserted = entries.insert(evaluate(key)?, evaluate(value)?);
        inserted.map_err(|fault| unhashable(at, &fault, "a key"))?;
    }
    Ok(Value::Dict(entries.into_pairs()))
}

/// `left + right`
pub(super) fn joined(
    at: usize,
    left: Value,
    right: Value,
    budget: &mut Budget,
) -> Result<Value, Fault> {
    budget.spend(at, right.weight())?;
    match (left, right) {
        (Value::Str(text), Value::Str(more)) => Ok(Value::Str(text + &more)),
        (Value::Bytes(bytes), Value::Bytes(more)) => Ok(Value::Bytes(chained(bytes, more))),
        (Value::List(items), Value::List(more)) => Ok(Value::List(chained(items, more))),
        (Value::Tuple(items), Value::Tuple(more)) => Ok(Value::Tuple(chained(items, more))),
        (left, right) => Err(unfit(at, Operator::Add, &left, &right)),
    }
}

/// `left * right`, one of them a sequence and the other an integer.
pub(super) fn repeated(
    at: usize,
    left: Value,
    right: Value,
    budget: &mut Budget,
) -> Result<Value, Fault> {
    let (sequence, times) = match (arithmetic::as_int(&left), arithmetic::as_int(&right)) {
        (None, Some(times)) => (left, times),
        (Some(times), None) => (right, times),
        _ => return Err(unfit(at, Operator::Multiply, &left, &right)),
    };
    let Ok(times) = i64::try_from(&times) else {
        return Err(Fault::new(at, "the number of repetitions is too large"));
    };
    let times = usize::try_from(times).unwrap_or(0);
    budget.spend(at, sequence.weight().saturating_mul(times))?;
    match sequence {
        Value::Str(text) => Ok(Value::Str(text.repeat(times))),
        Value::Bytes(bytes) => Ok(Value::Bytes(bytes.repeat(times))),
        Value::List(items) => Ok(Value::List(cycled(&items, times))),
        Value::Tuple(items) => Ok(Value::Tuple(cycled(&items, times))),
        other => Err(unfit(at, Operator::Multiply, &other, &Value::from(0))),
    }
}

pub(super) fn unhashable(at: usize, fault: &Unhashable, role: &str) -> Fault {
    Fault::new(at, format!("a {} cannot be {role}", fault.0)).hint("use a tuple, a str or a number")
}

fn chained<T>(mut items: Vec<T>, more: Vec<T>) -> Vec<T> {
    items.extend(more);
    items
}

fn cycled(items: &[Value], times: usize) -> Vec<Value> {
    items
        .iter()
        .cycle()
        .take(items.len() * times)
        .cloned()
        .collect()
}
