//! The specification of a field: `{:>8}`, `{:04d}`, `{:,.2f}`.
//!
//! # Format
//! `[[fill]align][sign][#][0][width][,_][.precision][type]`, as in Python's `format()`.

use num_bigint::BigInt;

use crate::error::Fault;
use crate::evaluation::arithmetic::{as_float, as_int};
use crate::evaluation::budget::Budget;
use crate::evaluation::layout::{Align, Number, padded};
use crate::float::{self, General};
use crate::value::Value;

#[derive(Debug, Default)]
pub(super) struct Specification {
    is_empty: bool,
    fill: Option<char>,
    align: Option<Align>,
    plus: Option<&'static str>,
    alternate: bool,
    zero: bool,
    width: usize,
    separator: Option<char>,
    precision: Option<usize>,
    letter: Option<char>,
}

impl Specification {
    pub(super) fn read(at: usize, text: &str) -> Result<Self, Fault> {
        let mut read = Self {
            is_empty: text.is_empty(),
            ..Self::default()
        };
        let mut rest = read.read_align(text);
        for (mark, plus) in [('+', "+"), ('-', ""), (' ', " ")] {
            if let Some(after) = rest.strip_prefix(mark) {
                (read.plus, rest) = (Some(plus), after);
                break;
            }
        }
        (read.alternate, rest) = flag(rest, '#');
        (read.zero, rest) = flag(rest, '0');
        let (width, after) = number(rest);
        (read.width, rest) = (width.unwrap_or(0), after);
        if let Some(separator) = rest.chars().next().filter(|c| matches!(c, ',' | '_')) {
            read.separator = Some(separator);
            rest = rest.get(1..).unwrap_or("");
        }
        if let Some(after) = rest.strip_prefix('.') {
            let (precision, after) = number(after);
            if precision.is_none() {
                return Err(refused(at, text));
            }
            (read.precision, rest) = (precision, after);
        }
        let mut letters = rest.chars();
        read.letter = letters.next();
        match letters.next() {
            None => Ok(read),
            Some(_) => Err(refused(at, text)),
        }
    }

    fn read_align<'t>(&mut self, text: &'t str) -> &'t str {
        let mut chars = text.chars();
        let (first, second) = (chars.next(), chars.next());
        if let (Some(fill), Some(align)) = (first, second.and_then(alignment)) {
            (self.fill, self.align) = (Some(fill), Some(align));
            return chars.as_str();
        }
        match first.and_then(alignment) {
            Some(align) => {
                self.align = Some(align);
                text.get(1..).unwrap_or("")
            }
            None => text,
        }
    }

    /// The text of `value` as specified.
    pub(super) fn text(
        &self,
        at: usize,
        value: &Value,
        budget: &mut Budget,
    ) -> Result<String, Fault> {
        if self.is_empty {
            return Ok(value.text());
        }
        budget.spend_format(at, self.width, self.precision)?;
        let number = match value {
            Value::Str(text) => return self.string(at, text),
            Value::Float(float) => self.float(*float),
            other => match (as_int(other), self.letter) {
                (Some(int), None | Some('b' | 'c' | 'd' | 'n' | 'o' | 'x' | 'X')) => {
                    self.integer(&int)
                }
                (Some(_), Some(_)) => as_float(other).and_then(|float| self.float(float)),
                (None, _) => None,
            },
        };
        let number = number.ok_or_else(|| self.unfit(at, value))?;
        Ok(number.laid_out(self.width, self.fill(), self.number_align()))
    }

    fn string(&self, at: usize, text: &str) -> Result<String, Fault> {
        let numeric = self.plus.is_some() || self.alternate || self.separator.is_some();
        let misfit = numeric || self.align == Some(Align::AfterSign);
        if misfit || !matches!(self.letter, None | Some('s')) {
            return Err(self.unfit(at, &Value::from(text)));
        }
        let cut: String = text
            .chars()
            .take(self.precision.unwrap_or(usize::MAX))
            .collect();
        Ok(padded(
            &cut,
            self.width,
            self.fill(),
            self.align.unwrap_or(Align::Left),
        ))
    }

    fn integer(&self, int: &BigInt) -> Option<Number> {
        if self.precision.is_some() || self.grouping_is_unfit() {
            return None;
        }
        let letter = self.letter.unwrap_or('d');
        if letter == 'c' {
            let c = u32::try_from(int).ok().and_then(char::from_u32)?;
            let plain = self.plus.is_none() && !self.alternate && self.separator.is_none();
            return plain.then(|| Number::new(&c.to_string(), ""));
        }
        let plus = self.plus.unwrap_or("");
        let mut number = Number::integer(int, letter, plus, self.alternate);
        if let Some(separator) = self.separator {
            let decimal = matches!(letter, 'd' | 'n');
            if letter == 'n' || separator == ',' && !decimal {
                return None;
            }
            if decimal {
                number.group(separator, 3, 10);
            } else {
                number.group(separator, 4, 16);
            }
        }
        Some(number)
    }

    fn float(&self, float: f64) -> Option<Number> {
        if self.grouping_is_unfit() {
            return None;
        }
        let precision = self.precision.unwrap_or(6);
        let style = if self.alternate {
            General::Alternate
        } else {
            General::Plain
        };
        let mut text = match (self.letter, self.precision) {
            (None, None) => float::repr(float, true),
            (None, Some(precision)) => float::general(float, precision, General::Untyped),
            (Some('e' | 'E'), _) => float::exponential(float, precision),
            (Some('f' | 'F'), _) => float::fixed(float, precision),
            (Some('g' | 'G' | 'n'), _) => float::general(float, precision, style),
            (Some('%'), _) => float::fixed(float * 100.0, precision) + "%",
            _ => return None,
        };
        if self.alternate && (self.letter.is_none() || !text.contains('.')) {
            return None;
        }
        if self
            .letter
            .is_some_and(|letter| letter.is_ascii_uppercase())
        {
            text = text.to_uppercase();
        }
        let mut number = Number::new(&text, self.plus.unwrap_or(""));
        if let Some(separator) = self.separator.filter(|_| float.is_finite()) {
            number.group(separator, 3, 10);
        }
        Some(number)
    }

    /// Zeros between separators are not offered.
    fn grouping_is_unfit(&self) -> bool {
        let after_sign = self.number_align() == Align::AfterSign && self.fill() == '0';
        self.separator.is_some() && after_sign && self.width > 0
    }

    fn number_align(&self) -> Align {
        let default = match (self.zero, self.letter) {
            (true, _) => Align::AfterSign,
            (false, Some('c')) => Align::Left,
            _ => Align::Right,
        };
        self.align.unwrap_or(default)
    }

    fn fill(&self) -> char {
        self.fill.unwrap_or(if self.zero { '0' } else { ' ' })
    }

    fn unfit(&self, at: usize, value: &Value) -> Fault {
        let message = format!(
            "this format specification does not fit a {}",
            value.type_name()
        );
        Fault::new(at, message).hint("leave it out, or write !s or !r before the `:`")
    }
}

fn alignment(c: char) -> Option<Align> {
    Some(match c {
        '<' => Align::Left,
        '>' => Align::Right,
        '^' => Align::Center,
        '=' => Align::AfterSign,
        _ => return None,
    })
}

fn flag(text: &str, mark: char) -> (bool, &str) {
    match text.strip_prefix(mark) {
        Some(rest) => (true, rest),
        None => (false, text),
    }
}

fn number(text: &str) -> (Option<usize>, &str) {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at_checked(length).unwrap_or(("", text));
    let parsed = (length > 0).then(|| digits.parse().unwrap_or(usize::MAX));
    (parsed, rest)
}

fn refused(at: usize, text: &str) -> Fault {
    Fault::new(
        at,
        format!("the format specification `{text}` is not understood"),
    )
    .hint("it is [fill][align][sign][#][0][width][,][.precision][type]")
}
