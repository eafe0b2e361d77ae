//! The tight end of the grammar: literals, names, brackets, and calls and indices behind them.

use crate::error::Fault;
use crate::syntax::expected::{self, Expected};
use crate::syntax::grammar::Grammar;
use crate::syntax::token::TokenKind;
use crate::syntax::tree::{Argument, Expr, Kind, Step};
use crate::value::Value;

impl<'t> Grammar<'t> {
    pub(super) fn postfix(&mut self) -> Result<Expr, Fault> {
        let base = self.atom()?;
        let mut steps = Vec::new();
        loop {
            let at = self.peek().start;
            let step = match self.peek().kind {
                TokenKind::Mark("(") => Step::Call(self.arguments()?),
                TokenKind::Mark("[") => Step::Index(self.index()?),
                TokenKind::Mark(".") => {
                    self.next += 1;
                    Step::Attribute(self.attribute()?.to_owned())
                }
                _ => break,
            };
            steps.push((at, step));
        }
        if steps.is_empty() {
            return Ok(base);
        }
        Ok(Expr {
            at: base.at,
            kind: Kind::Postfix(Box::new(base), steps),
        })
    }

    fn attribute(&mut self) -> Result<&'t str, Fault> {
        match self.peek().kind {
            TokenKind::Name(name) => {
                self.next += 1;
                Ok(name)
            }
            _ => Err(self.expected(Expected::Attribute)),
        }
    }

    fn index(&mut self) -> Result<Expr, Fault> {
        self.bracketed(|grammar| {
            let index = grammar.listing()?;
            grammar.close("]", Expected::Closer("]"))?;
            Ok(index)
        })
    }

    fn arguments(&mut self) -> Result<Vec<Argument>, Fault> {
        self.bracketed(|grammar| {
            let mut arguments = Vec::new();
            while !grammar.take(")") {
                arguments.push(grammar.argument()?);
                if !grammar.take(",") {
                    grammar.close(")", Expected::Separator(")"))?;
                    break;
                }
            }
            Ok(arguments)
        })
    }

    fn argument(&mut self) -> Result<Argument, Fault> {
        let name = match self.peek().kind {
            TokenKind::Name(name) if self.token(self.next + 1).is("=") => {
                self.next += 2;
                Some(name.to_owned())
            }
            _ => None,
        };
        let value = self.choice()?;
        Ok(Argument { name, value })
    }

    fn atom(&mut self) -> Result<Expr, Fault> {
        let at = self.peek().start;
        let kind = match self.peek().kind.clone() {
            TokenKind::Literal(value) => {
                self.next += 1;
                Kind::Literal(self.joined(value)?)
            }
            TokenKind::Name(word) => self.word(word)?,
            TokenKind::Mark("(") => return self.bracketed(|grammar| grammar.parenthesis(at)),
            TokenKind::Mark("[") => self.bracketed(Self::list)?,
            TokenKind::Mark("{") => self.bracketed(Self::braces)?,
            _ => return Err(self.expected(Expected::Value)),
        };
        Ok(Expr { at, kind })
    }

    /// Strings that stand side by side are one.
    fn joined(&mut self, mut value: Value) -> Result<Value, Fault> {
        while let TokenKind::Literal(next) = &self.peek().kind {
            match (&mut value, next) {
                (Value::Str(text), Value::Str(more)) => text.push_str(more),
                (Value::Bytes(bytes), Value::Bytes(more)) => bytes.extend(more),
                (Value::Str(_), Value::Bytes(_)) | (Value::Bytes(_), Value::Str(_)) => {
                    let fault = Fault::new(self.peek().start, "a string and bytes stand together");
                    return Err(fault.hint("put a `,` between them, or b before both"));
                }
                _ => break,
            }
            self.next += 1;
        }
        Ok(value)
    }

    fn word(&mut self, word: &str) -> Result<Kind, Fault> {
        let value = match word {
            "None" => Value::None,
            "True" => Value::Bool(true),
            "False" => Value::Bool(false),
            _ if expected::is_keyword(word) => {
                return Err(self.expected(Expected::Value));
            }
            _ => {
                self.next += 1;
                let mut dotted = word.to_owned();
                while self.take(".") {
                    dotted.push('.');
                    dotted.push_str(self.attribute()?);
                }
                return Ok(Kind::Name(dotted));
            }
        };
        self.next += 1;
        Ok(Kind::Literal(value))
    }

    fn parenthesis(&mut self, at: usize) -> Result<Expr, Fault> {
        if self.take(")") {
            return Ok(Expr {
                at,
                kind: Kind::Tuple(Vec::new()),
            });
        }
        let comma_follows = |grammar: &Self| grammar.peek().is(",");
        let mut inner = self.choice()?;
        if comma_follows(self) {
            let mut items = vec![inner];
            while self.take(",") && !self.peek().is(")") {
                items.push(self.choice()?);
            }
            inner = Expr {
                at,
                kind: Kind::Tuple(items),
            };
        }
        self.close(")", Expected::Separator(")"))?;
        Ok(inner)
    }

    fn list(&mut self) -> Result<Kind, Fault> {
        let mut items = Vec::new();
        while !self.take("]") {
            items.push(self.choice()?);
            if !self.take(",") {
                self.close("]", Expected::Separator("]"))?;
                break;
            }
        }
        Ok(Kind::List(items))
    }

    fn braces(&mut self) -> Result<Kind, Fault> {
        if self.take("}") {
            return Ok(Kind::Dict(Vec::new()));
        }
        let first_token = self.next;
        let first = self.choice()?;
        if self.take(":") {
            return self.dict(first, first_token);
        }
        let mut items = vec![first];
        if !self.peek().is(",") {
            self.close("}", Expected::ColonOrSeparator(first_token))?;
            return Ok(Kind::Set(items));
        }
        while self.take(",") && !self.peek().is("}") {
            items.push(self.choice()?);
        }
        self.close("}", Expected::Separator("}"))?;
        Ok(Kind::Set(items))
    }

    fn dict(&mut self, first: Expr, mut key_token: usize) -> Result<Kind, Fault> {
        let mut pairs: Vec<(Expr, Expr)> = Vec::new();
        let mut key = first;
        loop {
            let value = self.choice()?;
            let lone_member = matches!(&value.kind, Kind::Set(items) if items.len() == 1);
            pairs.push((key, value));
            if !self.take(",") {
                self.close("}", Expected::Entry(key_token))?;
                break;
            }
            if self.take("}") {
                break;
            }
            key_token = self.next;
            key = self.choice()?;
            if !self.take(":") {
                return Err(self.expected(Expected::Colon {
                    key_token,
                    lone_member,
                }));
            }
        }
        Ok(Kind::Dict(pairs))
    }

    /// Runs `inside` behind the opening bracket that is next.
    fn bracketed<T>(
        &mut self,
        inside: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if self.depth == self.depth_max {
            let message = format!("brackets are nested more than {} deep", self.depth_max);
            return Err(Fault::new(self.peek().start, message).hint("flatten the value"));
        }
        self.depth += 1;
        self.next += 1;
        let result = inside(self)?;
        self.depth -= 1;
        Ok(result)
    }

    fn close(&mut self, closer: &str, expected: Expected) -> Result<(), Fault> {
        if self.take(closer) {
            return Ok(());
        }
        Err(self.expected(expected))
    }
}
