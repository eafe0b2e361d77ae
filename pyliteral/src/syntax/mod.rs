//! From text to expression tree: tokens, grammar, and who is to blame when it does not fit.

mod atom;
mod blame;
mod expected;
mod grammar;
mod number;
mod quoted;
mod token;
mod tokenizer;
mod tree;

pub(crate) use self::grammar::expression;
pub(crate) use self::tree::{Argument, Expr, Kind, Links, Operator, Step};

/// Which texts are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `ast.literal_eval`'s: an indented first line is an error.
    Strict,
    /// That of `.tli` and `.cfg` files.
    Wide,
}
