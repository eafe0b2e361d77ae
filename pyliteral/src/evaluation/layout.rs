//! Digits, signs and padding: what `%` and `.format` share.

use num_bigint::{BigInt, Sign};

/// Where a text stands in its width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
    Center,
    /// The padding stands between sign and digits.
    AfterSign,
}

/// A number in parts, so that padding and separators find their place.
#[derive(Debug)]
pub(super) struct Number {
    /// Sign and base prefix.
    pub(super) head: String,
    pub(super) digits: String,
}

impl Number {
    /// `plus` stands before a number that is not negative: `+`, a space or nothing.
    pub(super) fn new(text: &str, plus: &str) -> Self {
        let (head, digits) = match text.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => (plus, text),
        };
        Self {
            head: head.to_owned(),
            digits: digits.to_owned(),
        }
    }

    /// An integer in the base that the conversion letter names, after `0x` and its like if
    /// `prefixed`.
    pub(super) fn integer(int: &BigInt, letter: char, plus: &str, prefixed: bool) -> Self {
        let base = match letter {
            'b' => 2,
            'o' => 8,
            'x' | 'X' => 16,
            _ => 10,
        };
        let text = int.magnitude().to_str_radix(base);
        let digits = if letter == 'X' {
            text.to_uppercase()
        } else {
            text
        };
        let mut head = if int.sign() == Sign::Minus { "-" } else { plus }.to_owned();
        if prefixed && base != 10 {
            head.extend(['0', letter]);
        }
        Self { head, digits }
    }

    /// Puts `separator` between groups of the digits of `base` at the head.
    pub(super) fn group(&mut self, separator: char, size: usize, base: u32) {
        let is_digit = |byte: &u8| char::from(*byte).is_digit(base);
        let whole_length = self.digits.bytes().take_while(is_digit).count();
        let (whole, rest) = self
            .digits
            .split_at_checked(whole_length)
            .unwrap_or(("", ""));
        let mut grouped = String::new();
        for (n, c) in whole.chars().enumerate() {
            if n > 0 && (whole.len() - n) % size == 0 {
                grouped.push(separator);
            }
            grouped.push(c);
        }
        self.digits = grouped + rest;
    }

    pub(super) fn laid_out(self, width: usize, fill: char, align: Align) -> String {
        if align == Align::AfterSign {
            let length = self.head.chars().count() + self.digits.chars().count();
            let padding = width.saturating_sub(length);
            let padding: String = std::iter::repeat_n(fill, padding).collect();
            return self.head + &padding + &self.digits;
        }
        padded(&(self.head + &self.digits), width, fill, align)
    }
}

/// `text` in at least `width` characters.
pub(super) fn padded(text: &str, width: usize, fill: char, align: Align) -> String {
    let missing = width.saturating_sub(text.chars().count());
    let before = match align {
        Align::Left => 0,
        Align::Center => missing / 2,
        Align::Right | Align::AfterSign => missing,
    };
    let padding = |count| std::iter::repeat_n(fill, count);
    padding(before)
        .chain(text.chars())
        .chain(padding(missing - before))
        .collect()
}
