//! The text cut into tokens: lines, comments, names and marks.
//!
//! Numbers and strings are read by `number` and `quoted`. The first fault ends the list, so that
//! a grammar error before it is the one that is reported.

use crate::error::Fault;
use crate::limits::DEPTH_MAX;
use crate::syntax::token::{MARKS, QUOTE_IN_STRING, Token, TokenKind};
use crate::syntax::{Dialect, number, quoted};

/// Cuts `text` up; the last token is `End` or `Bad`.
pub(crate) fn tokens(text: &str, dialect: Dialect) -> Vec<Token<'_>> {
    let mut tokenizer = Tokenizer {
        text,
        at: 0,
        depth: 0,
        dialect,
        tokens: Vec::new(),
    };
    let last = match tokenizer.run() {
        Ok(()) => TokenKind::End,
        Err(fault) => TokenKind::Bad(fault),
    };
    let end = tokenizer.at.min(text.len());
    tokenizer.push(end, end, last);
    tokenizer.tokens
}

struct Tokenizer<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    dialect: Dialect,
    tokens: Vec<Token<'t>>,
}

impl<'t> Tokenizer<'t> {
    fn run(&mut self) -> Result<(), Fault> {
        if self.dialect == Dialect::Strict {
            let body = self.text.trim_start_matches([' ', '\t']);
            self.at = self.text.len() - body.len();
        }
        let mut indent = 0;
        while let Some(c) = self.rest().chars().next() {
            match c {
                ' ' | '\t' => indent += 1,
                '\u{c}' => indent = 0,
                '\n' => {
                    if self.depth == 0 && !self.tokens.is_empty() {
                        self.push(self.at, self.at, TokenKind::Newline);
                    }
                    indent = 0;
                }
                '#' => {
                    self.at += self.rest().split('\n').next().map_or(0, str::len);
                    continue;
                }
                '\\' => self.continue_line()?,
                _ if self.tokens.is_empty() && indent > 0 && self.dialect == Dialect::Strict => {
                    return Err(Fault::new(self.at, "the first line is indented")
                        .hint("remove the spaces before it"));
                }
                _ => {
                    self.token(c)?;
                    continue;
                }
            }
            self.at += c.len_utf8();
        }
        Ok(())
    }

    fn token(&mut self, c: char) -> Result<(), Fault> {
        let start = self.at;
        let rest = self.rest();
        let dot_digit = c == '.' && rest.chars().nth(1).is_some_and(|c| c.is_ascii_digit());
        if c.is_ascii_digit() || dot_digit {
            let (value, length) = number::read(rest, start)?;
            self.at += length;
            self.push(start, self.at, TokenKind::Literal(value));
        } else if let Some(prefix) = quoted::prefix(rest) {
            if prefix.template
                && self
                    .tokens
                    .last()
                    .is_some_and(|t| t.is_text() && t.end == start)
            {
                let message = "a letter follows the end of a string";
                return Err(Fault::new(start, message).hint(QUOTE_IN_STRING));
            }
            let (value, length) = quoted::read(rest, prefix, start)?;
            self.at += length;
            self.push(start, self.at, TokenKind::Literal(value));
        } else if c == '_' || c.is_alphabetic() {
            let in_name = |c: char| c == '_' || c.is_alphanumeric();
            let name = rest.split(|c| !in_name(c)).next().unwrap_or(rest);
            self.at += name.len();
            self.push(start, self.at, TokenKind::Name(name));
        } else if let Some(mark) = MARKS.iter().find(|mark| rest.starts_with(**mark)) {
            self.at += mark.len();
            self.push(start, self.at, TokenKind::Mark(mark));
            self.count_bracket(mark);
            if self.depth > DEPTH_MAX {
                // The grammar stops before this; the rest need not be cut up.
                return Err(Fault::new(start, "brackets are nested too deep"));
            }
        } else {
            return Err(stray(c, start));
        }
        Ok(())
    }

    /// A backslash before the end of a line joins it with the next one, which must exist.
    fn continue_line(&mut self) -> Result<(), Fault> {
        let after = self.rest().get(1..).unwrap_or("");
        if after.starts_with('\n') && after.len() > 1 {
            self.at += 1;
            return Ok(());
        }
        let message = if after.trim_start_matches('\n').is_empty() {
            "the text ends after a `\\` that joins lines"
        } else {
            "`\\` outside a string must be the last character of its line"
        };
        Err(Fault::new(self.at, message).hint("remove the `\\`, or put the text in quotes"))
    }

    fn count_bracket(&mut self, mark: &str) {
        match mark {
            "(" | "[" | "{" => self.depth += 1,
            ")" | "]" | "}" => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    fn push(&mut self, start: usize, end: usize, kind: TokenKind<'t>) {
        self.tokens.push(Token { start, end, kind });
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or("")
    }
}

fn stray(c: char, at: usize) -> Fault {
    match c {
        '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}' | '`' => {
            Fault::new(at, format!("{c} is not a quotation mark of Python"))
                .hint("write `'` or `\"`; a word processor may have replaced it")
        }
        '$' | '?' => Fault::new(at, format!("`{c}` has no meaning outside a string"))
            .hint("put the text in quotes; an environment variable is os.getenv('NAME')"),
        c => Fault::new(
            at,
            format!("unexpected character {:?} (U+{:04X})", c, u32::from(c)),
        )
        .hint("remove it, or put the text in quotes"),
    }
}
