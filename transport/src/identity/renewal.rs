//! When a certificate is to be renewed: at half its life, spread by the caller's jitter.
//!
//! The caller draws the jitter once per certificate, so that a fleet which joined in one minute
//! does not renew in one minute.

use protocol::Stamp;

use super::certificate::Validity;

/// The moment from which a certificate is due: between 50 % and 60 % of its life.
///
/// `jitter_permille` is drawn by the caller from 0 to 1000; larger values count as 1000.
#[must_use]
pub fn renew_at(validity: Validity, jitter_permille: u16) -> Stamp {
    let life_ms = validity.not_after.0.saturating_sub(validity.not_before.0);
    let spread_ms = life_ms / SPREAD_PART * u64::from(jitter_permille.min(1000)) / 1000;
    Stamp(validity.not_before.0 + life_ms / 2 + spread_ms)
}

/// A tenth of the life is three days at 30: wide enough for a large fleet, and twelve days remain.
const SPREAD_PART: u64 = 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn renewal_lies_in_the_third_quarter_of_any_life(
            start in 0..1_u64 << 42,
            life in 1_u64..1 << 40,
            jitter in any::<u16>(),
        ) {
            let validity = Validity { not_before: Stamp(start), not_after: Stamp(start + life) };
            let due = renew_at(validity, jitter).0;
            prop_assert!(due >= start + life / 2);
            prop_assert!(due <= start + life / 2 + life / 10);
        }
    }
}
