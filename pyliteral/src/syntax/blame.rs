//! Which bracket is to blame when they do not pair.
//!
//! The grammar notices a bracket too many or too few only at the end of the text. A person sees
//! it earlier, by the indentation: a closing bracket that begins its line stands under the line
//! or the bracket that it is meant to close.

use crate::error::{Fault, Place};
use crate::syntax::expected::Expected;
use crate::syntax::grammar::Grammar;
use crate::syntax::token::{Token, TokenKind};

/// The fault where the whole value has ended and text follows.
pub(super) fn trailing(grammar: &Grammar<'_>) -> Fault {
    let found = grammar.peek();
    if let TokenKind::Bad(fault) = &found.kind {
        return fault.clone();
    }
    let refused = grammar.not_allowed(Expected::Separator(""));
    if let Some(fault) = refused.or_else(|| closed_too_often(grammar)) {
        return fault;
    }
    let described = grammar.describe(found);
    if found.closes() {
        return Fault::new(
            found.start,
            format!("one {described} too many: nothing is open here"),
        )
        .hint(format!("remove this {described}"));
    }
    match last_closer(grammar).filter(|_| belongs_inside(grammar)) {
        Some(closer) => closed_too_soon(grammar, closer),
        None => Fault::new(
            found.start,
            format!("expected the end of the text after the value, found {described}"),
        )
        .hint("put [ ] with commas around several values, ( ) around one of several lines"),
    }
}

/// The fault if the next token is a closing bracket that does not fit, or the end.
pub(super) fn bracket(grammar: &Grammar<'_>) -> Option<Fault> {
    let found = grammar.peek();
    let at_end = matches!(found.kind, TokenKind::End);
    let open = innermost_open(grammar, grammar.next)?;
    if at_end {
        let token = never_closed(grammar).unwrap_or(open);
        let described = grammar.describe(token);
        return Some(
            Fault::new(
                token.start,
                format!("the {described} that begins here is never closed"),
            )
            .hint(format!("add the closing `{}`", closer_of(token))),
        );
    }
    let mismatch = found.closes() && !found.is(closer_of(open));
    mismatch.then(|| {
        let (open_text, found_text) = (grammar.describe(open), grammar.describe(found));
        let place = Place::of(grammar.text, open.start);
        Fault::new(
            found.start,
            format!("{found_text} does not close the {open_text} of {place}"),
        )
        .hint(format!(
            "write `{}` here, or add it before",
            closer_of(open)
        ))
    })
}

/// A bracket closed more than once: the first closing bracket that stands under one that is
/// already closed.
fn closed_too_often(grammar: &Grammar<'_>) -> Option<Fault> {
    let (extra, twin, closed) = closed_twice(grammar)?;
    let mark = grammar.describe(extra);
    let opened = Place::of(grammar.text, twin.start);
    let closed_at = Place::of(grammar.text, closed.start);
    Some(
        Fault::new(
            extra.start,
            format!(
                "one {mark} too many: the {} of {opened}, under which it stands, is already \
                 closed at {closed_at}",
                grammar.describe(twin)
            ),
        )
        .hint(format!(
            "remove this {mark}, or one on line {}",
            closed_at.line
        )),
    )
}

/// An open bracket (none at the bottom) and the pair that was closed last inside it.
type Level<'g, 't> = (
    Option<&'g Token<'t>>,
    Option<(&'g Token<'t>, &'g Token<'t>)>,
);

fn closed_twice<'g, 't>(
    grammar: &'g Grammar<'t>,
) -> Option<(&'g Token<'t>, &'g Token<'t>, &'g Token<'t>)> {
    let mut levels: Vec<Level<'g, 't>> = vec![(None, None)];
    let lines = Lines::of(grammar.text);
    let mut suspect = None;
    for token in &grammar.tokens {
        if token.opens() {
            levels.push((Some(token), None));
        }
        if !token.closes() {
            continue;
        }
        let (opener, inner) = levels.pop().unwrap_or((None, None));
        let own = opener.is_some_and(|opener| lines.stands_under(token, opener));
        if let Some((twin, closed)) = inner
            && suspect.is_none()
            && !own
            && lines.is_first(token)
            && lines.stands_under(token, twin)
            && lines.number(twin.start) != lines.number(token.start)
        {
            suspect = Some((token, twin, closed));
        }
        match (opener, levels.last_mut()) {
            (Some(opener), Some(outer)) => outer.1 = Some((opener, token)),
            // Nothing was open: there is one too many, and the suspect explains it.
            _ => return suspect,
        }
    }
    None
}

/// The opening bracket that a closing one, by its indentation, passes over.
fn never_closed<'g, 't>(grammar: &'g Grammar<'t>) -> Option<&'g Token<'t>> {
    let lines = Lines::of(grammar.text);
    let mut open: Vec<&Token<'_>> = Vec::new();
    for token in &grammar.tokens {
        if token.opens() {
            open.push(token);
        }
        if !token.closes() {
            continue;
        }
        let opener = open.pop()?;
        let meant = open
            .iter()
            .rev()
            .find(|outer| lines.stands_under(token, outer));
        if let Some(meant) = meant
            && lines.is_first(token)
            && !lines.stands_under(token, opener)
            && lines.number(meant.start) != lines.number(opener.start)
        {
            return Some(opener);
        }
    }
    None
}

fn closed_too_soon(grammar: &Grammar<'_>, closer: &Token<'_>) -> Fault {
    let found = grammar.peek();
    let mark = grammar.describe(closer);
    let (next, line) = (
        grammar.describe(found),
        Place::of(grammar.text, found.start).line,
    );
    Fault::new(
        closer.start,
        format!("this {mark} ends the whole value, but {next} follows on line {line}"),
    )
    .hint(format!(
        "if {next} belongs inside, write `,` here instead of the {mark} and close at the end"
    ))
}

/// Whether what follows reads as a further entry: a key with its `:`.
fn belongs_inside(grammar: &Grammar<'_>) -> bool {
    grammar.token(grammar.next + 1).is(":")
}

/// The bracket that ended the value, a comma and line ends after it aside.
fn last_closer<'g, 't>(grammar: &'g Grammar<'t>) -> Option<&'g Token<'t>> {
    let before = grammar.tokens.get(..grammar.next)?;
    let skipped = |token: &&Token<'_>| !token.is(",") && !matches!(token.kind, TokenKind::Newline);
    before
        .iter()
        .rev()
        .find(skipped)
        .filter(|token| token.closes())
}

fn innermost_open<'g, 't>(grammar: &'g Grammar<'t>, before: usize) -> Option<&'g Token<'t>> {
    let mut open = Vec::new();
    for token in grammar.tokens.get(..before)? {
        if token.opens() {
            open.push(token);
        } else if token.closes() {
            open.pop();
        }
    }
    open.pop()
}

fn closer_of(opener: &Token<'_>) -> &'static str {
    match opener.kind {
        TokenKind::Mark("(") => ")",
        TokenKind::Mark("[") => "]",
        _ => "}",
    }
}

/// Where lines begin, and what is indented how far.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        let after_newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            text,
            starts: std::iter::once(0).chain(after_newlines).collect(),
        }
    }

    fn number(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    fn start(&self, at: usize) -> usize {
        self.starts
            .get(self.number(at).saturating_sub(1))
            .copied()
            .unwrap_or(0)
    }

    fn column(&self, at: usize) -> usize {
        let before = self.text.get(self.start(at)..at).unwrap_or("");
        before.chars().count()
    }

    fn indent(&self, at: usize) -> usize {
        let line = self.text.get(self.start(at)..).unwrap_or("");
        line.chars().take_while(|c| matches!(c, ' ' | '\t')).count()
    }

    fn is_first(&self, token: &Token<'_>) -> bool {
        self.column(token.start) == self.indent(token.start)
    }

    /// Whether `closer` has the column of `opener` or that of its line.
    fn stands_under(&self, closer: &Token<'_>, opener: &Token<'_>) -> bool {
        let column = self.column(closer.start);
        column == self.column(opener.start) || column == self.indent(opener.start)
    }
}
