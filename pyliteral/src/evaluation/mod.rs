//! The value of an expression of the wider language.
//!
//! Only what is evaluated can fail: the branch not taken and what follows a decided `or` or `and`
//! are not looked at, as in Python. All that operations produce is counted against one budget.

pub(crate) mod arithmetic;
pub(crate) mod containers;

mod budget;
mod comparison;
mod conversion;
mod functions;
mod layout;
mod percent;
mod postfix;
mod specification;
mod template;

use crate::error::Fault;
use crate::limits::Limits;
use crate::names::Names;
use crate::syntax::{Expr, Kind, Links, Operator};
use crate::value::Value;

use self::budget::Budget;

/// Evaluates `expression` with what `names` offers, within `limits`.
pub(crate) fn run(expression: Expr, names: &dyn Names, limits: &Limits) -> Result<Value, Fault> {
    let mut evaluation = Evaluation {
        names,
        budget: Budget::new(limits.text_bytes_max),
    };
    evaluation.value(expression)
}

struct Evaluation<'a> {
    names: &'a dyn Names,
    budget: Budget,
}

impl Evaluation<'_> {
    fn value(&mut self, expression: Expr) -> Result<Value, Fault> {
        let at = expression.at;
        match expression.kind {
            Kind::Literal(value) => Ok(value),
            Kind::Tuple(items) => Ok(Value::Tuple(self.values(items)?)),
            Kind::List(items) => Ok(Value::List(self.values(items)?)),
            Kind::Set(items) => containers::set(items, |item| self.value(item)),
            Kind::Dict(pairs) => containers::dict(pairs, |item| self.value(item)),
            Kind::Name(name) => self.name(at, &name),
            Kind::Postfix(base, steps) => self.postfix(*base, steps),
            Kind::Signed(signs, operand) => {
                let operand = self.value(*operand)?;
                arithmetic::signed(at, &signs, operand)
            }
            Kind::Chain(first, rest) => self.chain(*first, rest),
            Kind::Not { odd, operand } => Ok(Value::Bool(self.value(*operand)?.is_truthy() != odd)),
            Kind::Compare(first, rest) => self.compare(*first, rest),
            Kind::And(operands) => self.until(operands, false),
            Kind::Or(operands) => self.until(operands, true),
            Kind::Choice(branches, otherwise) => {
                for (value, condition) in branches {
                    if self.value(condition)?.is_truthy() {
                        return self.value(value);
                    }
                }
                self.value(*otherwise)
            }
        }
    }

    fn values(&mut self, items: Vec<Expr>) -> Result<Vec<Value>, Fault> {
        items.into_iter().map(|item| self.value(item)).collect()
    }

    /// The first operand whose truth is `truth`, else the last one.
    fn until(&mut self, operands: Vec<Expr>, truth: bool) -> Result<Value, Fault> {
        let mut latest = Value::None;
        for operand in operands {
            latest = self.value(operand)?;
            if latest.is_truthy() == truth {
                break;
            }
        }
        Ok(latest)
    }

    fn chain(&mut self, first: Expr, rest: Links) -> Result<Value, Fault> {
        let mut left = self.value(first)?;
        for (at, operator, right) in rest {
            let right = self.value(right)?;
            left = self.operate(at, operator, left, right)?;
        }
        Ok(left)
    }

    fn operate(
        &mut self,
        at: usize,
        operator: Operator,
        left: Value,
        right: Value,
    ) -> Result<Value, Fault> {
        if left.is_number() && right.is_number() {
            return match operator {
                Operator::Multiply => arithmetic::product(at, left, right),
                Operator::Percent => arithmetic::remainder(at, left, right),
                _ => arithmetic::sum(at, left, right, operator == Operator::Subtract),
            };
        }
        match (operator, left) {
            (Operator::Percent, Value::Str(template)) => {
                percent::format(at, &template, right, &mut self.budget)
            }
            (Operator::Add, left) => containers::joined(at, left, right, &mut self.budget),
            (Operator::Multiply, left) => containers::repeated(at, left, right, &mut self.budget),
            (_, left) => Err(arithmetic::unfit(at, operator, &left, &right)),
        }
    }

    fn compare(&mut self, first: Expr, rest: Links) -> Result<Value, Fault> {
        let mut left = self.value(first)?;
        for (at, operator, right) in rest {
            let in_environment = matches!(operator, Operator::In | Operator::NotIn)
                && matches!(&right.kind, Kind::Name(name) if name == "os.environ");
            if in_environment {
                let set = self.variable_of(at, &left)?.is_some();
                left = Value::None;
                if set != (operator == Operator::In) {
                    return Ok(Value::Bool(false));
                }
                continue;
            }
            let right = self.value(right)?;
            if !comparison::holds(at, operator, &left, &right)? {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    /// The variable that `name` names.
    fn variable_of(&self, at: usize, name: &Value) -> Result<Option<String>, Fault> {
        let Some(name) = name.as_str() else {
            let message = format!("a variable's name is a str, not {}", name.type_name());
            return Err(Fault::new(at, message).hint("put the name in quotes"));
        };
        Ok(self.names.variable(name))
    }
}
