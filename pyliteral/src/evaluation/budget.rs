//! How much the operations of one text may still produce.

use crate::error::Fault;
use crate::limits::PRECISION_MAX;

#[derive(Debug)]
pub(super) struct Budget {
    left: usize,
    bytes_max: usize,
}

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            left: bytes_max,
            bytes_max,
        }
    }

    /// Takes what a formatted value needs at least, before it is laid out.
    pub(super) fn spend_format(
        &mut self,
        at: usize,
        width: usize,
        precision: Option<usize>,
    ) -> Result<(), Fault> {
        let precision = precision.unwrap_or(0);
        // A character of padding has at most four bytes.
        self.spend(at, width.saturating_mul(4).saturating_add(precision))?;
        if precision > PRECISION_MAX {
            let message = format!("a precision of {precision}; at most {PRECISION_MAX} is allowed");
            return Err(Fault::new(at, message).hint("write a smaller precision"));
        }
        Ok(())
    }

    /// Takes `bytes` from what is left, before they are allocated.
    pub(super) fn spend(&mut self, at: usize, bytes: usize) -> Result<(), Fault> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Fault::new(
                at,
                format!(
                    "the result is too large: at most {} bytes are produced",
                    self.bytes_max
                ),
            )
            .hint("write a smaller value")),
        }
    }
}
