//! What was expected where, said so that a person can mend it.
//!
//! A separator that is missing is reported behind the value that it should follow, not at the
//! token that came too early, which may lie lines below.

use crate::error::{Fault, Place};
use crate::syntax::blame;
use crate::syntax::grammar::Grammar;
use crate::syntax::token::{QUOTE_IN_STRING, Token, TokenKind};

/// What the grammar could go on with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Expected {
    /// A value.
    Value,
    /// The name behind a dot.
    Attribute,
    /// `else`, after `x if c`.
    Else,
    /// This closing bracket.
    Closer(&'static str),
    /// `,` or this closing bracket.
    Separator(&'static str),
    /// `,` or `}` behind an entry; where its key begins.
    Entry(usize),
    /// `:` behind a key; whether the value before was a set of one member.
    Colon { key_token: usize, lone_member: bool },
    /// Behind the first member of `{`, which may be a key; where it begins.
    ColonOrSeparator(usize),
}

impl Grammar<'_> {
    /// The fault at the next token.
    pub(super) fn expected(&self, expected: Expected) -> Fault {
        let found = self.peek();
        if let TokenKind::Bad(fault) = &found.kind {
            return fault.clone();
        }
        if let Some(fault) = self.not_allowed(expected).or_else(|| blame::bracket(self)) {
            return fault;
        }
        match expected {
            Expected::Value => self.at_found("a value").hint_for_value(found),
            Expected::Attribute => self.at_found("a name after the `.`"),
            Expected::Else => self
                .at_found("`else` after `... if ...`")
                .hint("write `value if condition else other_value`"),
            Expected::Closer(closer) => self.after_previous(&format!("`{closer}`"), closer),
            Expected::Separator(closer) => {
                self.after_previous(&format!("`,` or `{closer}` after {}", self.previous()), ",")
            }
            Expected::Entry(key) => self.after_entry(key),
            Expected::Colon {
                key_token,
                lone_member,
            } => self.after_key(key_token, lone_member),
            Expected::ColonOrSeparator(first) => self.after_previous(
                &format!("`:`, `,` or `}}` after {}", self.span(first)),
                "`:` or a `,",
            ),
        }
    }

    fn after_entry(&self, key: usize) -> Fault {
        let owner = format!("the value of {}", self.token_text(key));
        let previous = self.next.saturating_sub(1);
        let before = previous.saturating_sub(1);
        let joined = self.token(previous).is_text() && self.token(before).is_text();
        if self.peek().is(":") && joined {
            return Fault::new(
                self.token(before).end,
                format!("expected `,` or `}}` after {owner}, found the next key"),
            )
            .hint(format!("add a `,` after {}", self.token_text(before)));
        }
        self.after_previous(&format!("`,` or `}}` after {owner}"), ",")
    }

    fn after_key(&self, key: usize, lone_member: bool) -> Fault {
        let fault = self.after_previous(&format!("`:` after the key {}", self.span(key)), ":");
        if lone_member && !self.peek().begins_value() {
            return fault.hint(format!(
                "write an entry as `key: value`; if {} belongs to the one-member set before \
                 it, write that as {{key: value}}",
                self.span(key)
            ));
        }
        fault
    }

    /// Behind the previous token if only a mark is missing there, else at the one found.
    fn after_previous(&self, what: &str, mark: &str) -> Fault {
        let found = self.peek();
        let previous = self.token(self.next.saturating_sub(1));
        if !found.begins_value() && !found.closes() {
            return self.at_found(what);
        }
        let line = Place::of(self.text, found.start).line;
        let same_line = line == Place::of(self.text, previous.end).line;
        let on_line = if same_line {
            String::new()
        } else {
            format!(" on line {line}")
        };
        let fault = Fault::new(
            previous.end,
            format!("expected {what}, found {}{on_line}", self.describe(found)),
        );
        let glued = previous.is_text() && previous.end == found.start;
        if glued && matches!(found.kind, TokenKind::Name(_)) {
            return fault.hint(QUOTE_IN_STRING);
        }
        fault.hint(format!(
            "add a `{}` after {}",
            mark.trim_matches('`'),
            self.previous()
        ))
    }

    fn at_found(&self, what: &str) -> Fault {
        let found = self.peek();
        Fault::new(
            found.start,
            format!("expected {what}, found {}", self.describe(found)),
        )
    }

    /// Python that is understood and refused.
    pub(super) fn not_allowed(&self, expected: Expected) -> Option<Fault> {
        let found = self.peek();
        let at_value = matches!(expected, Expected::Value);
        let (what, hint) = match found.kind {
            TokenKind::Name("lambda") => ("`lambda`", CONFIGURATION),
            TokenKind::Name("for" | "async") if !at_value => ("a comprehension", "list the items"),
            TokenKind::Name(word @ ("await" | "yield" | "import" | "def" | "class")) => {
                return Some(refused(found, &format!("`{word}`"), CONFIGURATION));
            }
            TokenKind::Mark("*" | "**") if at_value => ("unpacking with `*`", "write the items"),
            TokenKind::Mark("...") => ("`...`", "write None"),
            TokenKind::Mark(":=") => ("an assignment", CONFIGURATION),
            TokenKind::Mark(":") if matches!(expected, Expected::Closer("]")) => {
                ("a slice", "write the part that you need")
            }
            TokenKind::Mark(
                mark @ ("**" | "//" | "/" | "<<" | ">>" | "&" | "|" | "^" | "@" | "~"),
            ) => {
                let hint = "allowed are + - * % and comparisons";
                return Some(refused(found, &format!("the operator `{mark}`"), hint));
            }
            _ => return None,
        };
        Some(refused(found, what, hint))
    }

    /// The previous token, as it is written.
    fn previous(&self) -> String {
        self.token_text(self.next.saturating_sub(1))
    }

    fn token_text(&self, at: usize) -> String {
        let token = self.token(at);
        format!(
            "`{}`",
            shortened(self.text.get(token.start..token.end).unwrap_or(""))
        )
    }

    /// The tokens from `first` to the one before the next.
    fn span(&self, first: usize) -> String {
        let end = self.token(self.next.saturating_sub(1)).end;
        let start = self.token(first).start;
        format!("`{}`", shortened(self.text.get(start..end).unwrap_or("")))
    }

    pub(super) fn describe(&self, token: &Token<'_>) -> String {
        match token.kind {
            TokenKind::End => "the end of the text".to_owned(),
            TokenKind::Newline => "the end of the line".to_owned(),
            _ => {
                let text = self.text.get(token.start..token.end).unwrap_or("");
                format!("`{}`", shortened(text))
            }
        }
    }
}

impl Fault {
    fn hint_for_value(self, found: &Token<'_>) -> Self {
        match found.kind {
            TokenKind::Mark(",") => self.hint("remove the second `,`, or write the value"),
            TokenKind::Newline => self.hint("put ( ) around an expression of several lines"),
            TokenKind::Mark(".") => self.hint("put the text in quotes"),
            _ => self,
        }
    }
}

/// Python's keywords, apart from the three that are values.
pub(super) fn is_keyword(word: &str) -> bool {
    const KEYWORDS: [&str; 32] = [
        "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
        "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is",
        "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with",
        "yield",
    ];
    KEYWORDS.contains(&word)
}

fn refused(found: &Token<'_>, what: &str, hint: &str) -> Fault {
    Fault::new(found.start, format!("{what} is not allowed here")).hint(hint)
}

fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or("");
    if line.chars().count() <= SHOWN_CHARS_MAX && line.len() == text.len() {
        return text.to_owned();
    }
    let head: String = line.chars().take(SHOWN_CHARS_MAX - 3).collect();
    format!("{head}...")
}

/// Enough to recognise a value by, short enough for one line of an error.
const SHOWN_CHARS_MAX: usize = 40;

const CONFIGURATION: &str = "write a value: this text holds data, not code";
