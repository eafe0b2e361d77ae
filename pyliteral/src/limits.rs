//! Bounds on what is read and produced.
//!
//! A hostile or mistaken file costs a bounded amount of stack, memory and time.

/// How much nesting, text and produced data is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Brackets within brackets; values above 100 count as 100.
    pub depth_max: usize,
    /// Bytes of the text, and bytes of all that its operations produce together.
    pub text_bytes_max: usize,
}

impl Limits {
    pub(crate) fn depth_max(&self) -> usize {
        self.depth_max.min(DEPTH_MAX)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth_max: 64,
            text_bytes_max: 1024 * 1024,
        }
    }
}

/// Keeps the stack need known whatever a caller asks: reading 100 levels fits in 2 MiB unoptimised.
pub(crate) const DEPTH_MAX: usize = 100;

/// CPython's limit for decimal integers; conversion is quadratic, so it holds for every base.
pub(crate) const INT_DIGITS_MAX: usize = 4300;

/// Decimals of a formatted number; beyond any float's own, and within what `format!` takes.
pub(crate) const PRECISION_MAX: usize = 4300;
