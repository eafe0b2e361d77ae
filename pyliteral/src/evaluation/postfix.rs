//! Names, calls, indices: what may be reached, and the refusal that says so.

use crate::error::Fault;
use crate::evaluation::functions::{self, Arguments};
use crate::evaluation::{Evaluation, arithmetic, template};
use crate::names::python_spelling;
use crate::syntax::{Argument, Expr, Kind, Step};
use crate::value::Value;

impl Evaluation<'_> {
    /// The value of a plain or dotted name.
    pub(super) fn name(&self, at: usize, name: &str) -> Result<Value, Fault> {
        if let Some(value) = self.names.value(name) {
            return Ok(value);
        }
        if name == "os.environ" {
            return Err(
                Fault::new(at, "`os.environ` as a whole is not allowed here")
                    .hint("write os.environ['NAME'] or os.environ.get('NAME', 'default')"),
            );
        }
        if functions::is_known(name) {
            return Err(
                Fault::new(at, format!("`{name}` is a function, not a value"))
                    .hint(format!("call it: {name}(...)")),
            );
        }
        let fault = Fault::new(at, format!("the name `{name}` is not allowed here"));
        Err(match python_spelling(name) {
            Some(spelling) => fault.hint(format!("Python writes it {spelling}")),
            None if name.contains('.') => fault.hint(ALLOWED),
            None => fault.hint(format!(
                "if it is text, put it in quotes: '{name}'; {ALLOWED}"
            )),
        })
    }

    pub(super) fn postfix(
        &mut self,
        base: Expr,
        steps: Vec<(usize, Step)>,
    ) -> Result<Value, Fault> {
        let mut steps = steps.into_iter().peekable();
        let at = base.at;
        let mut value = match (base.kind, steps.peek()) {
            (Kind::Name(name), Some((_, Step::Call(_)))) => {
                let Some((call_at, Step::Call(arguments))) = steps.next() else {
                    return Err(Fault::new(at, ALLOWED));
                };
                self.call(at, call_at, &name, arguments)?
            }
            (Kind::Name(name), Some((_, Step::Index(_)))) if name == "os.environ" => {
                let Some((index_at, Step::Index(index))) = steps.next() else {
                    return Err(Fault::new(at, ALLOWED));
                };
                self.variable(index_at, index)?
            }
            (kind, _) => self.value(Expr { at, kind })?,
        };
        while let Some((at, step)) = steps.next() {
            value = match (step, steps.peek()) {
                (Step::Index(index), _) => {
                    let index = self.value(index)?;
                    indexed(at, &value, &index)?
                }
                (Step::Attribute(name), Some((_, Step::Call(_)))) if name == "format" => {
                    let Some((_, Step::Call(arguments))) = steps.next() else {
                        return Err(Fault::new(at, ALLOWED));
                    };
                    let arguments = self.arguments(arguments)?;
                    template::format(at, &value, &arguments, &mut self.budget)?
                }
                (Step::Attribute(name), _) => {
                    return Err(
                        Fault::new(at, format!("the attribute `.{name}` is not allowed"))
                            .hint("of values only 'text {}'.format(...) is allowed"),
                    );
                }
                (Step::Call(_), _) => {
                    let message = format!("a {} cannot be called", value.type_name());
                    return Err(
                        Fault::new(at, message).hint("is a `,` or a `%` missing before it?")
                    );
                }
            };
        }
        Ok(value)
    }

    fn call(
        &mut self,
        at: usize,
        call_at: usize,
        name: &str,
        arguments: Vec<Argument>,
    ) -> Result<Value, Fault> {
        let formatted = name
            .strip_suffix(".format")
            .and_then(|base| self.names.value(base));
        if formatted.is_none() && !functions::is_known(name) {
            return Err(
                Fault::new(at, format!("the call of `{name}` is not allowed here")).hint(ALLOWED),
            );
        }
        let arguments = self.arguments(arguments)?;
        if let Some(base) = formatted {
            return template::format(call_at, &base, &arguments, &mut self.budget);
        }
        functions::call(at, name, arguments, self.names, &mut self.budget)
    }

    fn arguments(&mut self, arguments: Vec<Argument>) -> Result<Arguments, Fault> {
        let mut evaluated = Arguments::default();
        for argument in arguments {
            let at = argument.value.at;
            let value = self.value(argument.value)?;
            match argument.name {
                Some(name) if evaluated.named.iter().any(|(known, _)| *known == name) => {
                    return Err(Fault::new(
                        at,
                        format!("the argument `{name}` is given twice"),
                    ));
                }
                Some(name) => evaluated.named.push((name, value)),
                None if evaluated.named.is_empty() => evaluated.placed.push(value),
                None => {
                    return Err(
                        Fault::new(at, "an argument without a name follows named ones")
                            .hint("put it before them"),
                    );
                }
            }
        }
        Ok(evaluated)
    }

    /// `os.environ[index]`
    fn variable(&mut self, at: usize, index: Expr) -> Result<Value, Fault> {
        let name_at = index.at;
        let name = self.value(index)?;
        match self.variable_of(at, &name)? {
            Some(value) => Ok(Value::Str(value)),
            None => {
                let message = format!("the environment variable {name} is not set");
                Err(Fault::new(name_at, message).hint(format!(
                    "set it, or write os.environ.get({name}, 'default')"
                )))
            }
        }
    }
}

fn indexed(at: usize, value: &Value, index: &Value) -> Result<Value, Fault> {
    let found = match (value, arithmetic::as_int(index)) {
        (Value::Dict(pairs), _) => {
            let found = pairs.iter().find(|(key, _)| key == index);
            found.map(|(_, value)| value.clone())
        }
        (Value::List(items) | Value::Tuple(items), Some(n)) => {
            place(&n, items.len()).and_then(|n| items.get(n).cloned())
        }
        (Value::Str(text), Some(n)) => place(&n, text.chars().count())
            .and_then(|n| text.chars().nth(n))
            .map(|c| Value::Str(c.into())),
        _ => {
            let (of, by) = (value.type_name(), index.type_name());
            return Err(Fault::new(at, format!("a {of} has no index of type {by}"))
                .hint("is a `,` missing before the `[`?"));
        }
    };
    found.ok_or_else(|| Fault::new(at, format!("the {} has no {index}", value.type_name())))
}

/// The place that an index means; a negative one counts from the end.
fn place(index: &num_bigint::BigInt, length: usize) -> Option<usize> {
    let from_start = match index.sign() {
        num_bigint::Sign::Minus => index + length,
        _ => index.clone(),
    };
    usize::try_from(&from_start).ok()
}

/// What a text may name.
const ALLOWED: &str = "allowed are literals, int float str bool dict list tuple set, os.getenv, \
                       os.environ, os.path.join, '...'.format and plain values of os and sys";
