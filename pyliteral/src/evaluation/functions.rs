//! The functions that a text may call.

use crate::error::Fault;
use crate::evaluation::budget::Budget;
use crate::evaluation::conversion;
use crate::names::Names;
use crate::value::Value;

/// The arguments of a call.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) placed: Vec<Value>,
    pub(super) named: Vec<(String, Value)>,
}

/// Whether there is a function of this name.
pub(super) fn is_known(name: &str) -> bool {
    FUNCTIONS.contains(&name)
}

/// Calls the function `name`.
pub(super) fn call(
    at: usize,
    name: &str,
    arguments: Arguments,
    names: &dyn Names,
    budget: &mut Budget,
) -> Result<Value, Fault> {
    let weight: usize = arguments.placed.iter().map(Value::weight).sum();
    budget.spend(at, weight)?;
    match name {
        "os.getenv" => variable(at, name, arguments, ["key", "default"], names),
        "os.environ.get" => variable(at, name, arguments, ["key", "default"], names),
        "os.path.join" => joined_path(at, unnamed(at, name, arguments)?),
        "dict" => conversion::dict(
            at,
            one_or_none(at, name, arguments.placed)?,
            arguments.named,
        ),
        "int" => {
            let [value, base] = matched(at, name, arguments, ["x", "base"])?;
            conversion::int(at, value, base)
        }
        _ => {
            let value = one_or_none(at, name, unnamed(at, name, arguments)?)?;
            match name {
                "bool" => Ok(Value::Bool(value.is_some_and(|value| value.is_truthy()))),
                "str" => {
                    let text = value.map(|value| value.text()).unwrap_or_default();
                    budget.spend(at, text.len())?;
                    Ok(Value::Str(text))
                }
                "float" => conversion::float(at, value),
                "list" => conversion::items(at, value).map(Value::List),
                "tuple" => conversion::items(at, value).map(Value::Tuple),
                _ => conversion::set(at, value),
            }
        }
    }
}

fn variable(
    at: usize,
    function: &str,
    arguments: Arguments,
    parameters: [&str; 2],
    names: &dyn Names,
) -> Result<Value, Fault> {
    let [key, default] = matched(at, function, arguments, parameters)?;
    match key {
        Some(Value::Str(key)) => Ok(match names.variable(&key) {
            Some(value) => Value::Str(value),
            None => default.unwrap_or(Value::None),
        }),
        _ => Err(Fault::new(
            at,
            format!("`{function}` needs the name of a variable, a str"),
        )
        .hint(format!("write {function}('NAME', 'default')"))),
    }
}

/// Joins as `posixpath.join` does: an absolute part drops those before it.
fn joined_path(at: usize, parts: Vec<Value>) -> Result<Value, Fault> {
    if parts.is_empty() {
        return Err(Fault::new(at, "`os.path.join` needs at least one part"));
    }
    let mut path = String::new();
    for (n, part) in parts.iter().enumerate() {
        let Some(part) = part.as_str() else {
            let message = format!("`os.path.join` joins str, not {}", part.type_name());
            let hint = "give the variable a default, or write str(...) around the value";
            return Err(Fault::new(at, message).hint(hint));
        };
        if part.starts_with('/') {
            path.clear();
        } else if n > 0 && !path.is_empty() && !path.ends_with('/') {
            path.push('/');
        }
        path.push_str(part);
    }
    Ok(Value::Str(path))
}

/// The arguments under the names of two parameters, given by place or by name.
fn matched(
    at: usize,
    function: &str,
    arguments: Arguments,
    parameters: [&str; 2],
) -> Result<[Option<Value>; 2], Fault> {
    let given = arguments.placed.len();
    if given > parameters.len() {
        return Err(too_many(at, function, given, parameters.len()));
    }
    let mut placed = arguments.placed.into_iter();
    let mut values = [placed.next(), placed.next()];
    for (name, value) in arguments.named {
        let known = parameters
            .iter()
            .zip(&mut values)
            .find(|(parameter, _)| **parameter == name);
        match known {
            Some((_, slot)) if slot.is_none() => *slot = Some(value),
            _ => {
                let message = format!("`{function}` has no place for the argument `{name}`");
                return Err(Fault::new(at, message));
            }
        }
    }
    Ok(values)
}

fn unnamed(at: usize, function: &str, arguments: Arguments) -> Result<Vec<Value>, Fault> {
    match arguments.named.first() {
        None => Ok(arguments.placed),
        Some((name, _)) => Err(Fault::new(
            at,
            format!("`{function}` takes no argument called `{name}`"),
        )),
    }
}

fn one_or_none(at: usize, function: &str, values: Vec<Value>) -> Result<Option<Value>, Fault> {
    let given = values.len();
    let mut values = values.into_iter();
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(too_many(at, function, given, 1)),
    }
}

fn too_many(at: usize, function: &str, given: usize, most: usize) -> Fault {
    let message = format!("`{function}` takes at most {most} argument(s), {given} are given");
    Fault::new(at, message)
}

const FUNCTIONS: [&str; 11] = [
    "int",
    "float",
    "str",
    "bool",
    "dict",
    "list",
    "tuple",
    "set",
    "os.getenv",
    "os.environ.get",
    "os.path.join",
];
