//! The one crypto provider of the process, ring, handed to rustls explicitly.
//!
//! Nothing is installed globally, so that no order of initialisation can pick another.

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, GetRandomFailed};

/// The provider.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    Arc::clone(&PROVIDER)
}

/// Fills `bytes` from the system's entropy.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
    provider().secure_random.fill(bytes)
}
