//! The expression tree.
//!
//! Chains (`a + b + c`, `not not a`, `a if b else c if d else e`) are flat: the tree is only as
//! deep as its brackets, times the precedence levels, so walking and dropping it is bounded.

use crate::value::Value;

/// What follows the first operand of a chain: where the operator stands, it, its operand.
pub(crate) type Links = Vec<(usize, Operator, Expr)>;

/// An expression and the offset where it begins.
#[derive(Debug)]
pub(crate) struct Expr {
    pub(crate) at: usize,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Literal(Value),
    Tuple(Vec<Expr>),
    List(Vec<Expr>),
    Set(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    /// A plain or dotted name.
    Name(String),
    /// A value with calls, attributes and indices after it.
    Postfix(Box<Expr>, Vec<(usize, Step)>),
    /// `+` (false) and `-` (true) signs, outermost first.
    Signed(Vec<bool>, Box<Expr>),
    /// `+ - * %`
    Chain(Box<Expr>, Links),
    /// An odd or even number of `not`.
    Not {
        odd: bool,
        operand: Box<Expr>,
    },
    Compare(Box<Expr>, Links),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    /// Values with their conditions, and the one after the last `else`.
    Choice(Vec<(Expr, Expr)>, Box<Expr>),
}

#[derive(Debug)]
pub(crate) enum Step {
    Call(Vec<Argument>),
    Attribute(String),
    Index(Expr),
}

/// An argument of a call, by name or by place.
#[derive(Debug)]
pub(crate) struct Argument {
    pub(crate) name: Option<String>,
    pub(crate) value: Expr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Percent,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
    Is,
    IsNot,
}

impl Operator {
    /// As Python writes it.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Percent => "%",
            Self::Equal => "==",
            Self::Unequal => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
            Self::NotIn => "not in",
            Self::Is => "is",
            Self::IsNot => "is not",
        }
    }
}
