//! `'...' % values`: printf-style formatting of strings.
//!
//! # Format
//! `%[(key)][flags][width][.precision][hlL]conversion`, flags `#0- +`, width and precision also
//! `*`, conversions `d i u o x X e E f F g G c r s a %`.

use num_bigint::{BigInt, ToBigInt};

use crate::error::Fault;
use crate::evaluation::arithmetic::{as_float, as_int};
use crate::evaluation::budget::Budget;
use crate::evaluation::layout::{Align, Number, padded};
use crate::float::{self, General};
use crate::repr::ascii;
use crate::value::Value;

/// `template % values`; faults lie at `at`.
pub(super) fn format(
    at: usize,
    template: &str,
    values: Value,
    budget: &mut Budget,
) -> Result<Value, Fault> {
    let mut source = Source::new(at, values);
    let mut out = String::new();
    let mut rest = template;
    while let Some((plain, after)) = rest.split_once('%') {
        out.push_str(plain);
        let (directive, length) = Directive::read(at, after, &mut source)?;
        rest = after.get(length..).unwrap_or("");
        if directive.conversion == '%' {
            out.push('%');
            continue;
        }
        budget.spend_format(at, directive.width, directive.precision)?;
        let value = source.value(directive.key.as_deref())?;
        budget.spend(at, value.weight())?;
        let text = directive.text(at, &value)?;
        budget.spend(at, text.len())?;
        out.push_str(&text);
    }
    budget.spend(at, template.len())?;
    source.finish()?;
    out.push_str(rest);
    Ok(Value::Str(out))
}

/// The values, taken in order or by key.
struct Source {
    at: usize,
    single: Option<Value>,
    rest: std::vec::IntoIter<Value>,
    mapping: Option<Vec<(Value, Value)>>,
    /// A value that Python treats as a mapping may be left unused.
    may_stay_unused: bool,
}

impl Source {
    fn new(at: usize, values: Value) -> Self {
        let may_stay_unused = matches!(values, Value::Dict(_) | Value::List(_) | Value::Bytes(_));
        let mapping = values.as_dict().map(<[_]>::to_vec);
        let (single, rest) = match values {
            Value::Tuple(items) => (None, items.into_iter()),
            other => (Some(other), Vec::new().into_iter()),
        };
        Self {
            at,
            single,
            rest,
            mapping,
            may_stay_unused,
        }
    }

    fn value(&mut self, key: Option<&str>) -> Result<Value, Fault> {
        let Some(key) = key else {
            return self.next();
        };
        let Some(mapping) = &self.mapping else {
            return Err(
                Fault::new(self.at, format!("`%({key})` needs a dict after the `%`"))
                    .hint(format!("write % {{'{key}': value}}")),
            );
        };
        let found = mapping.iter().find(|(own, _)| own.as_str() == Some(key));
        match found {
            Some((_, value)) => {
                self.single = None;
                Ok(value.clone())
            }
            None => Err(Fault::new(self.at, format!("the dict has no key '{key}'"))
                .hint(format!("add '{key}' to it"))),
        }
    }

    fn next(&mut self) -> Result<Value, Fault> {
        let next = self.single.take().or_else(|| self.rest.next());
        next.ok_or_else(|| {
            Fault::new(
                self.at,
                "the text has more `%` places than there are values",
            )
            .hint("add the values, in ( ) after the `%`; a plain percent sign is written %%")
        })
    }

    fn finish(mut self) -> Result<(), Fault> {
        let unused = self.single.is_some() && !self.may_stay_unused || self.rest.next().is_some();
        if unused {
            return Err(Fault::new(
                self.at,
                "the text has fewer `%` places than there are values",
            )
            .hint("add a %s, or remove a value"));
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Directive {
    key: Option<String>,
    left: bool,
    plus: &'static str,
    alternate: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
    conversion: char,
}

impl Directive {
    /// Reads what follows a `%`; also returns its length.
    fn read(at: usize, text: &str, source: &mut Source) -> Result<(Self, usize), Fault> {
        let mut directive = Self::default();
        let mut rest = text;
        if rest.starts_with('(') {
            let length = key_length(rest).ok_or_else(|| {
                Fault::new(at, "a `%(` in the text has no `)`").hint("write %(key)s")
            })?;
            directive.key = rest.get(1..length).map(str::to_owned);
            rest = rest.get(length + 1..).unwrap_or("");
        }
        let flags = rest.len() - rest.trim_start_matches(['-', '+', ' ', '#', '0']).len();
        let (flags, after) = rest.split_at_checked(flags).unwrap_or(("", rest));
        directive.set_flags(flags);
        rest = directive.read_sizes(at, after, source)?;
        rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest);
        let Some(conversion) = rest.chars().next() else {
            return Err(Fault::new(at, "the text ends within a `%` place")
                .hint("write %s; a plain percent sign is written %%"));
        };
        directive.conversion = conversion;
        Ok((directive, text.len() - rest.len() + conversion.len_utf8()))
    }

    fn set_flags(&mut self, flags: &str) {
        self.left = flags.contains('-');
        self.alternate = flags.contains('#');
        self.zero = flags.contains('0');
        self.plus = match (flags.contains('+'), flags.contains(' ')) {
            (true, _) => "+",
            (false, true) => " ",
            _ => "",
        };
    }

    /// Width and precision; returns the text after them.
    fn read_sizes<'t>(
        &mut self,
        at: usize,
        text: &'t str,
        source: &mut Source,
    ) -> Result<&'t str, Fault> {
        let (width, mut rest) = size(at, text, source)?;
        if let Some(width) = width {
            self.left |= width < 0;
            self.width = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
        }
        if let Some(after) = rest.strip_prefix('.') {
            let (precision, after) = size(at, after, source)?;
            self.precision = Some(usize::try_from(precision.unwrap_or(0)).unwrap_or(0));
            rest = after;
        }
        Ok(rest)
    }

    fn text(&self, at: usize, value: &Value) -> Result<String, Fault> {
        match self.conversion {
            's' => Ok(self.cut(value.text())),
            'r' => Ok(self.cut(value.repr())),
            'a' => Ok(self.cut(ascii(&value.repr()))),
            'c' => Ok(self.pad(&character(at, value)?)),
            'd' | 'i' | 'u' => self.integer(at, value, truncated(value)),
            'o' | 'x' | 'X' => self.integer(at, value, as_int(value)),
            'e' | 'E' | 'f' | 'F' | 'g' | 'G' => self.float(at, value),
            other => Err(
                Fault::new(at, format!("`%{other}` is no place for a value"))
                    .hint("use one of %s %r %d %x %o %f %e %g %c; a plain percent sign is %%"),
            ),
        }
    }

    fn integer(&self, at: usize, value: &Value, int: Option<BigInt>) -> Result<String, Fault> {
        let int = int.ok_or_else(|| self.unfit(at, value, "an int"))?;
        let mut number = Number::integer(&int, self.conversion, self.plus, self.alternate);
        let missing = self
            .precision
            .unwrap_or(0)
            .saturating_sub(number.digits.len());
        number.digits.insert_str(0, &"0".repeat(missing));
        Ok(self.lay_out(number))
    }

    fn float(&self, at: usize, value: &Value) -> Result<String, Fault> {
        let float = as_float(value).ok_or_else(|| self.unfit(at, value, "a number"))?;
        let precision = self.precision.unwrap_or(6);
        let style = if self.alternate {
            General::Alternate
        } else {
            General::Plain
        };
        let mut text = match self.conversion.to_ascii_lowercase() {
            'e' => float::exponential(float, precision),
            'f' => float::fixed(float, precision),
            _ => float::general(float, precision, style),
        };
        if self.alternate && precision == 0 && float.is_finite() && !text.contains('.') {
            let point = text.find('e').unwrap_or(text.len());
            text.insert(point, '.');
        }
        if self.conversion.is_ascii_uppercase() {
            text = text.to_uppercase();
        }
        Ok(self.lay_out(Number::new(&text, self.plus)))
    }

    fn lay_out(&self, number: Number) -> String {
        let (fill, align) = match (self.left, self.zero) {
            (true, _) => (' ', Align::Left),
            (false, true) => ('0', Align::AfterSign),
            (false, false) => (' ', Align::Right),
        };
        number.laid_out(self.width, fill, align)
    }

    fn cut(&self, text: String) -> String {
        match self.precision {
            Some(most) => self.pad(&text.chars().take(most).collect::<String>()),
            None => self.pad(&text),
        }
    }

    fn pad(&self, text: &str) -> String {
        padded(
            text,
            self.width,
            ' ',
            if self.left { Align::Left } else { Align::Right },
        )
    }

    fn unfit(&self, at: usize, value: &Value, wanted: &str) -> Fault {
        let (conversion, type_name) = (self.conversion, value.type_name());
        Fault::new(
            at,
            format!("`%{conversion}` needs {wanted}, not {type_name}"),
        )
        .hint("write %s for any value, or int(...) around it")
    }
}

/// Length up to the `)` that closes the `(` at the head; keys may hold pairs of them.
fn key_length(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// A number, or `*` for the next value; returns the text after it.
fn size<'t>(
    at: usize,
    text: &'t str,
    source: &mut Source,
) -> Result<(Option<i64>, &'t str), Fault> {
    if let Some(rest) = text.strip_prefix('*') {
        let value = source.next()?;
        let Some(size) = value.as_i64() else {
            return Err(Fault::new(
                at,
                format!("`*` needs an int, not {}", value.type_name()),
            ));
        };
        return Ok((Some(size), rest));
    }
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at_checked(length).unwrap_or(("", text));
    if digits.is_empty() {
        return Ok((None, rest));
    }
    // A number that does not fit is over every budget.
    Ok((Some(digits.parse().unwrap_or(i64::MAX)), rest))
}

fn truncated(value: &Value) -> Option<BigInt> {
    match value {
        Value::Float(float) => float.trunc().to_bigint(),
        other => as_int(other),
    }
}

fn character(at: usize, value: &Value) -> Result<String, Fault> {
    let code = as_int(value)
        .and_then(|code| u32::try_from(&code).ok())
        .and_then(char::from_u32);
    match (value, code) {
        (Value::Str(text), _) if text.chars().count() == 1 => Ok(text.clone()),
        (_, Some(c)) => Ok(c.into()),
        _ => Err(Fault::new(at, "`%c` needs one character or its number")),
    }
}
