//! The grammar: Python's expressions, as far as they can stand in a literal or a configuration.
//!
//! Precedence from loose to tight: `if else`, `or`, `and`, `not`, comparison, `+ -`, `* %`, sign,
//! call or index, atom (both in `atom`). Only brackets recurse, at most `depth_max` times.

use crate::error::Fault;
use crate::syntax::expected::Expected;
use crate::syntax::token::{Token, TokenKind};
use crate::syntax::tree::{Expr, Kind, Links, Operator};
use crate::syntax::{Dialect, blame, tokenizer};

/// Reads the one expression that `text` holds.
pub(crate) fn expression(text: &str, dialect: Dialect, depth_max: usize) -> Result<Expr, Fault> {
    let mut tokens = tokenizer::tokens(text, dialect);
    let last = tokens.pop().unwrap_or(Token {
        start: 0,
        end: 0,
        kind: TokenKind::End,
    });
    let mut grammar = Grammar {
        text,
        tokens,
        last,
        next: 0,
        depth_max,
        depth: 0,
    };
    grammar.whole()
}

pub(super) struct Grammar<'t> {
    pub(super) text: &'t str,
    /// All tokens but the last.
    pub(super) tokens: Vec<Token<'t>>,
    /// `End` or `Bad`.
    pub(super) last: Token<'t>,
    pub(super) next: usize,
    pub(super) depth_max: usize,
    pub(super) depth: usize,
}

impl<'t> Grammar<'t> {
    fn whole(&mut self) -> Result<Expr, Fault> {
        if self.tokens.is_empty() && matches!(self.last.kind, TokenKind::End) {
            return Err(Fault::new(0, "expected a value, the text is empty")
                .hint("write a Python literal, such as {} or 'text'"));
        }
        let value = self.listing()?;
        while matches!(self.peek().kind, TokenKind::Newline) {
            self.next += 1;
        }
        match self.peek().kind {
            TokenKind::End => Ok(value),
            _ => Err(blame::trailing(self)),
        }
    }

    /// An expression, or a tuple without brackets.
    pub(super) fn listing(&mut self) -> Result<Expr, Fault> {
        let first = self.choice()?;
        if !self.peek().is(",") {
            return Ok(first);
        }
        let at = first.at;
        let mut items = vec![first];
        while self.take(",") && !self.ends_listing() {
            items.push(self.choice()?);
        }
        Ok(Expr {
            at,
            kind: Kind::Tuple(items),
        })
    }

    fn ends_listing(&self) -> bool {
        let token = self.peek();
        token.closes() || matches!(token.kind, TokenKind::Newline | TokenKind::End)
    }

    pub(super) fn choice(&mut self) -> Result<Expr, Fault> {
        let mut value = self.or()?;
        let at = value.at;
        let mut branches = Vec::new();
        while self.take_word("if") {
            let condition = self.or()?;
            if !self.take_word("else") {
                return Err(self.expected(Expected::Else));
            }
            branches.push((value, condition));
            value = self.or()?;
        }
        Ok(match branches.is_empty() {
            true => value,
            false => Expr {
                at,
                kind: Kind::Choice(branches, Box::new(value)),
            },
        })
    }

    fn or(&mut self) -> Result<Expr, Fault> {
        self.logic("or", Kind::Or, |grammar| {
            grammar.logic("and", Kind::And, Self::not)
        })
    }

    fn logic(
        &mut self,
        word: &str,
        kind: fn(Vec<Expr>) -> Kind,
        operand: fn(&mut Self) -> Result<Expr, Fault>,
    ) -> Result<Expr, Fault> {
        let first = operand(self)?;
        if !self.peek().is_word(word) {
            return Ok(first);
        }
        let at = first.at;
        let mut operands = vec![first];
        while self.take_word(word) {
            operands.push(operand(self)?);
        }
        Ok(Expr {
            at,
            kind: kind(operands),
        })
    }

    fn not(&mut self) -> Result<Expr, Fault> {
        let at = self.peek().start;
        let mut count = 0;
        while self.take_word("not") {
            count += 1;
        }
        let operand = self.comparison()?;
        if count == 0 {
            return Ok(operand);
        }
        let (odd, operand) = (count % 2 == 1, Box::new(operand));
        Ok(Expr {
            at,
            kind: Kind::Not { odd, operand },
        })
    }

    fn comparison(&mut self) -> Result<Expr, Fault> {
        self.chain(Self::comparing, Kind::Compare, |grammar| {
            grammar.chain(Self::adding, Kind::Chain, |grammar| {
                grammar.chain(Self::multiplying, Kind::Chain, Self::signed)
            })
        })
    }

    fn chain(
        &mut self,
        operator: fn(&mut Self) -> Option<Operator>,
        kind: fn(Box<Expr>, Links) -> Kind,
        operand: fn(&mut Self) -> Result<Expr, Fault>,
    ) -> Result<Expr, Fault> {
        let first = operand(self)?;
        let mut rest = Vec::new();
        loop {
            let at = self.peek().start;
            let Some(operator) = operator(self) else {
                break;
            };
            rest.push((at, operator, operand(self)?));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        Ok(Expr {
            at: first.at,
            kind: kind(Box::new(first), rest),
        })
    }

    fn comparing(&mut self) -> Option<Operator> {
        let not = self.peek().is_word("not");
        let operator = match self.peek().kind {
            TokenKind::Mark("==") => Operator::Equal,
            TokenKind::Mark("!=") => Operator::Unequal,
            TokenKind::Mark("<") => Operator::Less,
            TokenKind::Mark("<=") => Operator::LessOrEqual,
            TokenKind::Mark(">") => Operator::Greater,
            TokenKind::Mark(">=") => Operator::GreaterOrEqual,
            TokenKind::Name("in") => Operator::In,
            TokenKind::Name("is") => Operator::Is,
            TokenKind::Name("not") if self.token(self.next + 1).is_word("in") => Operator::NotIn,
            _ => return None,
        };
        self.next += if not { 2 } else { 1 };
        if operator == Operator::Is && self.take_word("not") {
            return Some(Operator::IsNot);
        }
        Some(operator)
    }

    fn adding(&mut self) -> Option<Operator> {
        let operators = [("+", Operator::Add), ("-", Operator::Subtract)];
        self.one_of(operators)
    }

    fn multiplying(&mut self) -> Option<Operator> {
        let operators = [("*", Operator::Multiply), ("%", Operator::Percent)];
        self.one_of(operators)
    }

    fn one_of(&mut self, operators: [(&str, Operator); 2]) -> Option<Operator> {
        let found = operators.into_iter().find(|(mark, _)| self.peek().is(mark));
        self.next += usize::from(found.is_some());
        found.map(|(_, operator)| operator)
    }

    fn signed(&mut self) -> Result<Expr, Fault> {
        let at = self.peek().start;
        let mut signs = Vec::new();
        loop {
            let negative = self.peek().is("-");
            if !negative && !self.peek().is("+") {
                break;
            }
            signs.push(negative);
            self.next += 1;
        }
        let operand = self.postfix()?;
        if signs.is_empty() {
            return Ok(operand);
        }
        Ok(Expr {
            at,
            kind: Kind::Signed(signs, Box::new(operand)),
        })
    }

    pub(super) fn take(&mut self, mark: &str) -> bool {
        let found = self.peek().is(mark);
        self.next += usize::from(found);
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.peek().is_word(word);
        self.next += usize::from(found);
        found
    }

    pub(super) fn peek(&self) -> &Token<'t> {
        self.token(self.next)
    }

    pub(super) fn token(&self, at: usize) -> &Token<'t> {
        self.tokens.get(at).unwrap_or(&self.last)
    }
}
