//! `== != < <= > >= in is` on values.

use std::cmp::Ordering;

use crate::error::Fault;
use crate::evaluation::arithmetic::{as_int, unfit};
use crate::identity::integral;
use crate::syntax::Operator;
use crate::value::Value;

/// Whether `left operator right` holds.
pub(super) fn holds(
    at: usize,
    operator: Operator,
    left: &Value,
    right: &Value,
) -> Result<bool, Fault> {
    let ordered = || match order(left, right) {
        Order::Unfit => Err(unfit(at, operator, left, right)),
        Order::Unordered => Ok(None),
        Order::Known(ordering) => Ok(Some(ordering)),
    };
    Ok(match operator {
        Operator::Equal => left == right,
        Operator::Unequal => left != right,
        Operator::Less => ordered()?.is_some_and(Ordering::is_lt),
        Operator::LessOrEqual => ordered()?.is_some_and(Ordering::is_le),
        Operator::Greater => ordered()?.is_some_and(Ordering::is_gt),
        Operator::GreaterOrEqual => ordered()?.is_some_and(Ordering::is_ge),
        Operator::In => contains(right, left).ok_or_else(|| unfit(at, operator, left, right))?,
        Operator::NotIn => {
            !contains(right, left).ok_or_else(|| unfit(at, operator, left, right))?
        }
        Operator::Is => same(at, left, right)?,
        Operator::IsNot => !same(at, left, right)?,
        _ => return Err(unfit(at, operator, left, right)),
    })
}

enum Order {
    Known(Ordering),
    /// One of them is not a number.
    Unordered,
    /// Python raises TypeError.
    Unfit,
}

fn order(left: &Value, right: &Value) -> Order {
    match (left, right) {
        (Value::Str(a), Value::Str(b)) => Order::Known(a.cmp(b)),
        (Value::Bytes(a), Value::Bytes(b)) => Order::Known(a.cmp(b)),
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            let different = a.iter().zip(b).find(|(a, b)| a != b);
            match different {
                Some((a, b)) => order(a, b),
                None => Order::Known(a.len().cmp(&b.len())),
            }
        }
        _ => number_order(left, right),
    }
}

fn number_order(left: &Value, right: &Value) -> Order {
    let known = |ordering: Option<Ordering>| ordering.map_or(Order::Unordered, Order::Known);
    match (left, right) {
        (Value::Float(a), Value::Float(b)) => known(a.partial_cmp(b)),
        (Value::Float(float), other) => match as_int(other) {
            Some(int) => known(compare(*float, &int)),
            None => Order::Unfit,
        },
        (other, Value::Float(float)) => match as_int(other) {
            Some(int) => known(compare(*float, &int).map(Ordering::reverse)),
            None => Order::Unfit,
        },
        _ => match (as_int(left), as_int(right)) {
            (Some(a), Some(b)) => Order::Known(a.cmp(&b)),
            _ => Order::Unfit,
        },
    }
}

/// Exact: a large integer is not rounded to a float first.
fn compare(float: f64, int: &num_bigint::BigInt) -> Option<Ordering> {
    match integral(float.floor()) {
        Some(floor) if floor == *int && float.fract() != 0.0 => Some(Ordering::Greater),
        Some(floor) => Some(floor.cmp(int)),
        None => float.partial_cmp(&0.0),
    }
}

fn contains(container: &Value, item: &Value) -> Option<bool> {
    match (container, item) {
        (Value::Str(text), Value::Str(part)) => Some(text.contains(part.as_str())),
        (Value::List(items) | Value::Tuple(items) | Value::Set(items), item) => {
            Some(items.contains(item))
        }
        (Value::Dict(pairs), item) => Some(pairs.iter().any(|(key, _)| key == item)),
        _ => None,
    }
}

/// Identity, which is only certain for `None`, `True` and `False`.
fn same(at: usize, left: &Value, right: &Value) -> Result<bool, Fault> {
    match (left, right) {
        (Value::None, Value::None) => Ok(true),
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::None | Value::Bool(_), _) | (_, Value::None | Value::Bool(_)) => Ok(false),
        _ => Err(
            Fault::new(at, "`is` compares only with None, True and False").hint("write == or !="),
        ),
    }
}
