//! What `ast.literal_eval` accepts of an expression.
//!
//! # Source
//! CPython `Lib/ast.py`, `literal_eval`, described, not copied: containers, constants, `set()`,
//! one sign before a number, and a real number plus or minus an imaginary one.

use crate::error::Fault;
use crate::evaluation::{arithmetic, containers};
use crate::syntax::{Expr, Kind, Links, Operator, Step};
use crate::value::Value;

/// The value of a literal.
pub(crate) fn literal(expression: Expr) -> Result<Value, Fault> {
    let at = expression.at;
    match expression.kind {
        Kind::Literal(value) => Ok(value),
        Kind::Tuple(items) => Ok(Value::Tuple(literals(items)?)),
        Kind::List(items) => Ok(Value::List(literals(items)?)),
        Kind::Set(items) => containers::set(items, literal),
        Kind::Dict(pairs) => containers::dict(pairs, literal),
        Kind::Signed(signs, operand) => signed(&signs, *operand),
        Kind::Chain(first, rest) => complex(at, *first, rest),
        Kind::Postfix(base, steps) if is_empty_set(&base, &steps) => Ok(Value::Set(Vec::new())),
        Kind::Name(name) => Err(name_refused(at, &name)),
        Kind::Postfix(..) => Err(refused(at, "a call, an attribute or an index")),
        Kind::Not { .. } | Kind::And(_) | Kind::Or(_) => Err(refused(at, "`not`, `and` or `or`")),
        Kind::Compare(..) => Err(refused(at, "a comparison")),
        Kind::Choice(..) => Err(refused(at, "`... if ... else ...`")),
    }
}

fn literals(items: Vec<Expr>) -> Result<Vec<Value>, Fault> {
    items.into_iter().map(literal).collect()
}

fn signed(signs: &[bool], operand: Expr) -> Result<Value, Fault> {
    let at = operand.at;
    match (signs, operand.kind) {
        ([negative], Kind::Literal(value)) if is_plain_number(&value) => Ok(if *negative {
            arithmetic::negated(value)
        } else {
            value
        }),
        _ => Err(Fault::new(
            at,
            "a sign stands before something that is not a plain number",
        )
        .hint("write one sign before one number")),
    }
}

/// `1+2j` and `-1.5-2j`; every other sum is refused.
fn complex(at: usize, first: Expr, mut rest: Links) -> Result<Value, Fault> {
    let left = match first.kind {
        Kind::Literal(value) if is_plain_number(&value) => value,
        Kind::Signed(signs, operand) => signed(&signs, *operand)?,
        _ => return Err(refused(at, "an operation")),
    };
    let (Some((_, operator, right)), true) = (rest.pop(), rest.is_empty()) else {
        return Err(refused(at, "an operation"));
    };
    let real = !matches!(left, Value::Complex { .. });
    match (operator, right.kind) {
        (Operator::Add | Operator::Subtract, Kind::Literal(right @ Value::Complex { .. }))
            if real =>
        {
            arithmetic::sum(at, left, right, operator == Operator::Subtract)
        }
        _ => Err(refused(at, "an operation")),
    }
}

fn is_plain_number(value: &Value) -> bool {
    value.is_number() && !matches!(value, Value::Bool(_))
}

fn is_empty_set(base: &Expr, steps: &[(usize, Step)]) -> bool {
    let name_is_set = matches!(&base.kind, Kind::Name(name) if name == "set");
    name_is_set && matches!(steps, [(_, Step::Call(arguments))] if arguments.is_empty())
}

fn name_refused(at: usize, name: &str) -> Fault {
    let fault = Fault::new(at, format!("the name `{name}` is not allowed in a literal"));
    match crate::names::python_spelling(name) {
        Some(spelling) => fault.hint(format!("Python writes it {spelling}")),
        None => fault.hint(format!("if it is text, put it in quotes: '{name}'")),
    }
}

fn refused(at: usize, what: &str) -> Fault {
    Fault::new(at, format!("{what} is not allowed in a literal"))
        .hint("write the resulting value itself")
}
