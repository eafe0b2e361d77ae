//! `+ - * %` and signs on numbers, over Python's tower: `bool` and `int`, `float`, `complex`.

use num_bigint::BigInt;

use crate::error::Fault;
use crate::float;
use crate::limits::INT_DIGITS_MAX;
use crate::syntax::Operator;
use crate::value::Value;

/// `left + right`, or `left - right` if `negative`.
pub(crate) fn sum(at: usize, left: Value, right: Value, negative: bool) -> Result<Value, Fault> {
    let sign = if negative { -1.0 } else { 1.0 };
    Ok(match tower(at, left, right)? {
        Tower::Int(a, b) => Value::Int(if negative { a - b } else { a + b }),
        Tower::Float(a, b) => Value::Float(if negative { a - b } else { a + b }),
        Tower::Complex(a, b) => Value::Complex {
            real: a.0 + sign * b.0,
            imag: a.1 + sign * b.1,
        },
    })
}

/// `left * right`
pub(super) fn product(at: usize, left: Value, right: Value) -> Result<Value, Fault> {
    Ok(match tower(at, left, right)? {
        Tower::Int(a, b) if a.bits() + b.bits() > INT_BITS_MAX => {
            return Err(Fault::new(at, "the product is too large").hint("write a smaller number"));
        }
        Tower::Int(a, b) => Value::Int(a * b),
        Tower::Float(a, b) => Value::Float(a * b),
        Tower::Complex((a, b), (c, d)) => Value::Complex {
            real: a * c - b * d,
            imag: a * d + b * c,
        },
    })
}

/// `left % right` of integers; the result has the sign of `right`.
pub(super) fn remainder(at: usize, left: Value, right: Value) -> Result<Value, Fault> {
    match tower(at, left, right)? {
        Tower::Int(_, b) if b == BigInt::ZERO => {
            Err(Fault::new(at, "the remainder of a division by zero"))
        }
        Tower::Int(a, b) => Ok(Value::Int(((a % &b) + &b) % &b)),
        _ => Err(Fault::new(at, "`%` of numbers is for int only")
            .hint("to format text, a str must stand before the `%`")),
    }
}

/// The number with signs before it, outermost first.
pub(super) fn signed(at: usize, signs: &[bool], operand: Value) -> Result<Value, Fault> {
    if !operand.is_number() {
        let message = format!("a sign stands before a {}", operand.type_name());
        return Err(Fault::new(at, message).hint("remove the sign, or write a number"));
    }
    let negative = signs.iter().filter(|negative| **negative).count() % 2 == 1;
    Ok(match (operand, negative) {
        (Value::Bool(truth), false) => Value::Int(truth.into()),
        (operand, false) => operand,
        (operand, true) => negated(operand),
    })
}

/// `-value` of a number.
pub(crate) fn negated(value: Value) -> Value {
    match value {
        Value::Bool(truth) => Value::Int(-BigInt::from(truth)),
        Value::Int(int) => Value::Int(-int),
        Value::Float(float) => Value::Float(-float),
        Value::Complex { real, imag } => Value::Complex {
            real: -real,
            imag: -imag,
        },
        other => other,
    }
}

/// The integer that an `int` or `bool` is.
pub(super) fn as_int(value: &Value) -> Option<BigInt> {
    match value {
        Value::Bool(truth) => Some(BigInt::from(*truth)),
        Value::Int(int) => Some(int.clone()),
        _ => None,
    }
}

/// The float that a real number is, rounded.
pub(super) fn as_float(value: &Value) -> Option<f64> {
    match value {
        Value::Float(float) => Some(*float),
        other => as_int(other).as_ref().and_then(float::from_int),
    }
}

pub(super) fn unfit(at: usize, operator: Operator, left: &Value, right: &Value) -> Fault {
    let (sign, left_type, right_type) = (operator.sign(), left.type_name(), right.type_name());
    let fault = Fault::new(
        at,
        format!("`{sign}` does not fit {left_type} and {right_type}"),
    );
    match (operator, left, right) {
        (_, Value::None, _) | (_, _, Value::None) => fault
            .hint("give the variable a default, os.getenv('NAME', 'default'), or use `... or ...`"),
        (Operator::Add, Value::Str(_), _) => fault.hint("write str(...) around the second value"),
        (Operator::Add, _, Value::Str(_)) => fault.hint("write str(...) around the first value"),
        (Operator::Percent, ..) => fault.hint("a str must stand before the `%`"),
        _ => fault.hint("use values of one type"),
    }
}

enum Tower {
    Int(BigInt, BigInt),
    Float(f64, f64),
    Complex((f64, f64), (f64, f64)),
}

/// Both numbers as the wider of their two types.
fn tower(at: usize, left: Value, right: Value) -> Result<Tower, Fault> {
    if let (Some(a), Some(b)) = (as_int(&left), as_int(&right)) {
        return Ok(Tower::Int(a, b));
    }
    let complex = |value: &Value| match value {
        Value::Complex { real, imag } => Some((*real, *imag)),
        real => as_float(real).map(|real| (real, 0.0)),
    };
    let (Some(a), Some(b)) = (complex(&left), complex(&right)) else {
        return Err(Fault::new(at, "the integer is too large to become a float"));
    };
    let is_complex = |value: &Value| matches!(value, Value::Complex { .. });
    Ok(match is_complex(&left) || is_complex(&right) {
        true => Tower::Complex(a, b),
        false => Tower::Float(a.0, b.0),
    })
}

/// What the longest integer that is read has, in base 16.
const INT_BITS_MAX: u64 = INT_DIGITS_MAX as u64 * 4;
