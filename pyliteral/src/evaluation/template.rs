//! `'...'.format(...)`: fields by place or by name, with conversion and specification.
//!
//! Refused: attributes and indices of fields (they reach into objects), fields inside a
//! specification.

use crate::error::Fault;
use crate::evaluation::budget::Budget;
use crate::evaluation::functions::Arguments;
use crate::evaluation::specification::Specification;
use crate::repr::ascii;
use crate::value::Value;

/// `template.format(arguments)`; faults lie at `at`.
pub(super) fn format(
    at: usize,
    template: &Value,
    arguments: &Arguments,
    budget: &mut Budget,
) -> Result<Value, Fault> {
    let Some(mut rest) = template.as_str() else {
        let message = format!("a {} has no `.format`", template.type_name());
        return Err(Fault::new(at, message).hint("only a str has"));
    };
    budget.spend(at, rest.len())?;
    let mut fields = Fields {
        at,
        arguments,
        numbering: Numbering::Unused,
    };
    let mut out = String::new();
    while let Some(brace) = rest.find(['{', '}']) {
        let (plain, after) = rest.split_at_checked(brace).unwrap_or((rest, ""));
        out.push_str(plain);
        if let Some(doubled) = after
            .strip_prefix("{{")
            .or_else(|| after.strip_prefix("}}"))
        {
            out.push_str(after.get(..1).unwrap_or(""));
            rest = doubled;
            continue;
        }
        let field = after
            .strip_prefix('{')
            .and_then(|field| field.split_once('}'));
        let Some((field, after)) = field else {
            let mark = after.get(..1).unwrap_or("");
            return Err(Fault::new(at, format!("the text has a single `{mark}`"))
                .hint(format!("write {mark}{mark} for a plain one")));
        };
        let text = fields.text(field, budget)?;
        budget.spend(at, text.len())?;
        out.push_str(&text);
        rest = after;
    }
    out.push_str(rest);
    Ok(Value::Str(out))
}

/// How fields without a name have been given so far.
#[derive(Debug, Clone, Copy)]
enum Numbering {
    Unused,
    /// `{}`: the next one's number.
    Automatic(usize),
    /// `{0}`
    Manual,
}

struct Fields<'a> {
    at: usize,
    arguments: &'a Arguments,
    numbering: Numbering,
}

impl Fields<'_> {
    /// The text of a field, from what stands between its braces.
    fn text(&mut self, field: &str, budget: &mut Budget) -> Result<String, Fault> {
        if field.contains('{') {
            return Err(self.fault("a field inside a field is not allowed", "write the number"));
        }
        let name_end = field.find(['!', ':']).unwrap_or(field.len());
        let (name, rest) = field.split_at_checked(name_end).unwrap_or((field, ""));
        let at = self.at;
        let value = self.value(name)?;
        budget.spend(at, value.weight())?;
        let (conversion, rest) = match rest.strip_prefix('!') {
            Some(rest) => rest.split_once(':').unwrap_or((rest, "")),
            None => ("", rest.strip_prefix(':').unwrap_or("")),
        };
        let value = match conversion {
            "" => value.clone(),
            "s" => Value::Str(value.text()),
            "r" => Value::Str(value.repr()),
            "a" => Value::Str(ascii(&value.repr())),
            other => {
                return Err(self.fault(&format!("the conversion `!{other}`"), "use !r, !s or !a"));
            }
        };
        Specification::read(self.at, rest)?.text(self.at, &value, budget)
    }

    fn value(&mut self, name: &str) -> Result<&Value, Fault> {
        if name.contains(['.', '[']) {
            let message = format!("the field `{{{name}}}` reaches into a value");
            return Err(self.fault(&message, "hand the part itself to .format"));
        }
        let number = match (name, self.numbering) {
            ("", Numbering::Unused) => Some(0),
            ("", Numbering::Automatic(next)) => Some(next),
            ("", Numbering::Manual) => return Err(self.mixed()),
            (digits, numbering) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                if matches!(numbering, Numbering::Automatic(_)) {
                    return Err(self.mixed());
                }
                self.numbering = Numbering::Manual;
                Some(digits.parse().unwrap_or(usize::MAX))
            }
            _ => None,
        };
        if let (Some(number), "") = (number, name) {
            self.numbering = Numbering::Automatic(number + 1);
        }
        let found = match number {
            Some(number) => self.arguments.placed.get(number),
            None => {
                let found = self.arguments.named.iter().find(|(own, _)| own == name);
                found.map(|(_, value)| value)
            }
        };
        found.ok_or_else(|| {
            let message = format!("the field `{{{name}}}` has no argument");
            self.fault(
                &message,
                "add it to .format(...), or write {{ }} for plain braces",
            )
        })
    }

    fn mixed(&self) -> Fault {
        self.fault(
            "fields `{}` and `{0}` are mixed",
            "number all fields, or none",
        )
    }

    fn fault(&self, message: &str, hint: &str) -> Fault {
        Fault::new(self.at, message).hint(hint)
    }
}
