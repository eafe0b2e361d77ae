//! One word of the text.

use crate::error::Fault;
use crate::value::Value;

/// A token and the bytes it spans.
#[derive(Debug, Clone)]
pub(crate) struct Token<'t> {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) kind: TokenKind<'t>,
}

#[derive(Debug, Clone)]
pub(crate) enum TokenKind<'t> {
    /// A number, string or byte string.
    Literal(Value),
    /// A name or keyword.
    Name(&'t str),
    /// A bracket, operator or other mark.
    Mark(&'static str),
    /// The end of a line outside brackets.
    Newline,
    /// The end of the text.
    End,
    /// What no token begins with; always the last token.
    Bad(Fault),
}

impl Token<'_> {
    pub(crate) fn is(&self, mark: &str) -> bool {
        matches!(self.kind, TokenKind::Mark(own) if own == mark)
    }

    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(self.kind, TokenKind::Name(own) if own == word)
    }

    pub(crate) fn is_text(&self) -> bool {
        matches!(
            self.kind,
            TokenKind::Literal(Value::Str(_) | Value::Bytes(_))
        )
    }

    pub(crate) fn opens(&self) -> bool {
        matches!(self.kind, TokenKind::Mark("(" | "[" | "{"))
    }

    pub(crate) fn closes(&self) -> bool {
        matches!(self.kind, TokenKind::Mark(")" | "]" | "}"))
    }

    /// Whether a value may begin here: then a separator was forgotten before it.
    pub(crate) fn begins_value(&self) -> bool {
        match self.kind {
            TokenKind::Literal(_) => true,
            TokenKind::Name(word) => !JOINING_WORDS.contains(&word),
            _ => self.opens(),
        }
    }
}

/// Keywords that stand between values, never before one.
const JOINING_WORDS: [&str; 9] = ["and", "or", "if", "else", "in", "is", "for", "async", "as"];

/// Every mark, longer ones before those they begin with.
pub(crate) const MARKS: [&str; 48] = [
    "...", "**=", "//=", ">>=", "<<=", "**", "//", "<<", ">>", "<=", ">=", "==", "!=", "->", ":=",
    "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "@=", "(", ")", "[", "]", "{", "}", ",", ":",
    "+", "-", "*", "%", ".", "<", ">", "=", "/", "&", "|", "^", "~", "@", ";", "!",
];

/// The likely reason for a letter right behind a string, as in `'don't'`.
pub(crate) const QUOTE_IN_STRING: &str = "a quotation mark inside a string is written \\' or \\\"";
