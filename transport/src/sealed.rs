//! Bytes sealed under a passphrase: the authority's key in a backup.
//!
//! Not here: how a passphrase is asked for (`cli`), the backup around it (`node`).
//!
//! # Format
//! `DRSEAL1` and a newline, iterations u32 little-endian, salt (16 bytes), nonce (12 bytes), then
//! the ciphertext with its tag: AES-256-GCM under a key of PBKDF2-HMAC-SHA256 (RFC 8018).

use std::num::NonZeroU32;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::pbkdf2;

use crate::crypto;

/// Why sealed bytes cannot be made or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealFault {
    /// The bytes are not sealed ones, or cut short.
    #[error("these are no bytes sealed under a passphrase")]
    Format,
    /// Another passphrase, or somebody changed the bytes.
    #[error("the passphrase is another one, or the bytes were changed")]
    Passphrase,
    /// The system gives no randomness, or the cipher fails.
    #[error("the system gives no randomness to seal with")]
    System,
}

const MAGIC: &[u8] = b"DRSEAL1\n";

/// Rounds that slow down guessing; the number of OWASP's password storage cheat sheet (2023).
const ITERATIONS: u32 = 600_000;

/// Most rounds that are carried out for a file somebody else wrote.
const ITERATIONS_MAX: u32 = 10_000_000;

const SALT_BYTES: usize = 16;
const HEAD_BYTES: usize = MAGIC.len() + 4 + SALT_BYTES + NONCE_LEN;

/// Seals `plain` under a passphrase. Takes a good part of a second.
///
/// # Errors
/// [`SealFault::System`].
pub fn seal(plain: &[u8], passphrase: &str) -> Result<Vec<u8>, SealFault> {
    let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_LEN]);
    crypto::fill_random(&mut salt).map_err(|_cause| SealFault::System)?;
    crypto::fill_random(&mut nonce).map_err(|_cause| SealFault::System)?;
    let mut sealed = Vec::with_capacity(HEAD_BYTES + plain.len() + AES_256_GCM.tag_len());
    sealed.extend_from_slice(MAGIC);
    sealed.extend_from_slice(&ITERATIONS.to_le_bytes());
    sealed.extend_from_slice(&salt);
    sealed.extend_from_slice(&nonce);
    let key = key(passphrase, &salt, ITERATIONS).ok_or(SealFault::System)?;
    let mut body = plain.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::from(MAGIC), &mut body)
        .map_err(|_cause| SealFault::System)?;
    sealed.extend_from_slice(&body);
    Ok(sealed)
}

/// Opens what [`seal`] made. Takes as long.
///
/// # Errors
/// [`SealFault::Format`], [`SealFault::Passphrase`].
pub fn open(sealed: &[u8], passphrase: &str) -> Result<Vec<u8>, SealFault> {
    let rest = sealed.strip_prefix(MAGIC).ok_or(SealFault::Format)?;
    let (rounds, rest) = rest.split_first_chunk::<4>().ok_or(SealFault::Format)?;
    let (salt, rest) = rest
        .split_first_chunk::<SALT_BYTES>()
        .ok_or(SealFault::Format)?;
    let (nonce, body) = rest
        .split_first_chunk::<NONCE_LEN>()
        .ok_or(SealFault::Format)?;
    let rounds = u32::from_le_bytes(*rounds);
    if rounds > ITERATIONS_MAX {
        return Err(SealFault::Format);
    }
    let key = key(passphrase, salt, rounds).ok_or(SealFault::Format)?;
    let mut body = body.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let plain = key.open_in_place(nonce, Aad::from(MAGIC), &mut body);
    plain
        .map(|plain| plain.to_vec())
        .map_err(|_cause| SealFault::Passphrase)
}

fn key(passphrase: &str, salt: &[u8], iterations: u32) -> Option<LessSafeKey> {
    let mut bytes = [0; 32];
    let (method, iterations) = (pbkdf2::PBKDF2_HMAC_SHA256, NonZeroU32::new(iterations)?);
    pbkdf2::derive(method, iterations, salt, passphrase.as_bytes(), &mut bytes);
    Some(LessSafeKey::new(
        UnboundKey::new(&AES_256_GCM, &bytes).ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_passphrase_opens_what_was_sealed() {
        let sealed = seal(b"the key", "open sesame").unwrap();
        assert_eq!(open(&sealed, "open sesame").unwrap(), b"the key");
        assert_eq!(open(&sealed, "sesame"), Err(SealFault::Passphrase));
        let mut changed = sealed.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(open(&changed, "open sesame"), Err(SealFault::Passphrase));
        assert_eq!(open(&sealed[..20], "open sesame"), Err(SealFault::Format));
        assert_eq!(open(b"-----BEGIN", "open sesame"), Err(SealFault::Format));
    }
}
