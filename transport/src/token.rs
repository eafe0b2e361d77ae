//! Join token: what an operator hands to a new host, so that both sides know each other.
//!
//! It pins the authority's *key*, so that the joiner talks to no impostor, and carries a secret,
//! so that the convention talks to no stranger. Only the secret's hash enters the log.
//! Not here: how often and how long a token holds (the registry).
//!
//! # Format
//! `DIR1.<SHA-256 of the authority's public key info>.<id>.<secret>`: 64, 16 and 64 hexadecimal
//! digits.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::crypto;
use crate::identity::KeyHash;

/// A join token with its secret: shown once, never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// The authority whose key the joiner accepts.
    pub authority: KeyHash,
    /// By which the convention finds the token.
    pub id: TokenId,
    /// What proves that the joiner was invited.
    pub secret: TokenSecret,
}

/// Id of a join token; no secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub [u8; 8]);

/// Secret of a join token; printed only by [`JoinToken::reveal`].
#[derive(Clone)]
pub struct TokenSecret([u8; 32]);

/// What the log keeps of a secret.
#[derive(Debug, Clone, Copy)]
pub struct SecretHash(pub [u8; 32]);

/// A text that is no join token. The text itself may be a secret and is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// The first part is not the expected one.
    #[error("a join token starts with `DIR1.`; copy the whole line that `invite` printed")]
    Prefix,
    /// Parts are missing or too many.
    #[error("a join token has 4 parts, this one has {found}; copy the whole line")]
    Parts {
        /// How many.
        found: usize,
    },
    /// A part is not of the right length or not hexadecimal.
    #[error("the {part} in the join token is not {digits} hexadecimal digits; copy the whole line")]
    Part {
        /// Which.
        part: &'static str,
        /// How long it has to be.
        digits: usize,
    },
}

/// The system gives no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no randomness for a join token")]
pub struct NoRandomness;

impl JoinToken {
    /// Draws a token for the convention of this authority.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn draw(authority: KeyHash) -> Result<Self, NoRandomness> {
        let (mut id, mut secret) = ([0; 8], [0; 32]);
        crypto::fill_random(&mut id).map_err(|_cause| NoRandomness)?;
        crypto::fill_random(&mut secret).map_err(|_cause| NoRandomness)?;
        Ok(Self {
            authority,
            id: TokenId(id),
            secret: TokenSecret(secret),
        })
    }

    /// The whole token with its secret, for the operator's eyes.
    #[must_use]
    pub fn reveal(&self) -> String {
        let secret = hex::encode(self.secret.0);
        format!("{PREFIX}.{}.{}.{secret}", self.authority, self.id)
    }
}

impl FromStr for JoinToken {
    type Err = TokenFault;

    fn from_str(text: &str) -> Result<Self, TokenFault> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        if parts.first() != Some(&PREFIX) {
            return Err(TokenFault::Prefix);
        }
        let [_prefix, authority, id, secret] = parts.as_slice() else {
            return Err(TokenFault::Parts { found: parts.len() });
        };
        Ok(Self {
            authority: KeyHash(part("hash of the authority's key", authority)?),
            id: TokenId(part("id", id)?),
            secret: TokenSecret(part("secret", secret)?),
        })
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("authority", &self.authority)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

impl FromStr for TokenId {
    type Err = TokenFault;

    fn from_str(text: &str) -> Result<Self, TokenFault> {
        Ok(Self(part("id", text)?))
    }
}

impl TokenSecret {
    /// The secret as it came in a request; `None` when it has the wrong length.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes for a request over a pinned connection.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What the log keeps: 256 random bits need no salt.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.0).into())
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(..)")
    }
}

impl PartialEq for TokenSecret {
    /// In the same time for all secrets.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenSecret {}

impl PartialEq for SecretHash {
    /// In the same time for all hashes.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretHash {}

fn part<const BYTES: usize>(name: &'static str, text: &str) -> Result<[u8; BYTES], TokenFault> {
    let mut bytes = [0; BYTES];
    hex::decode_to_slice(text, &mut bytes).map_err(|_cause| TokenFault::Part {
        part: name,
        digits: 2 * BYTES,
    })?;
    Ok(bytes)
}

/// The number is the version of the format.
const PREFIX: &str = "DIR1";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_read_back_and_keep_their_secret_to_themselves() {
        let token = JoinToken::draw(KeyHash([3; 32])).unwrap();
        let text = token.reveal();
        assert_eq!(text.len(), "DIR1".len() + 3 + 64 + 16 + 64);
        assert_eq!(text.parse::<JoinToken>().unwrap(), token);
        assert_eq!(format!(" {text}\n").parse::<JoinToken>().unwrap(), token);
        let secret = hex::encode(token.secret.bytes());
        assert!(!format!("{token:?} {:?}", token.secret).contains(&secret));
    }

    #[test]
    fn two_draws_differ_and_so_do_the_hashes_of_their_secrets() {
        let authority = KeyHash([3; 32]);
        let one = JoinToken::draw(authority).unwrap();
        let two = JoinToken::draw(authority).unwrap();
        assert_ne!(one.id, two.id);
        assert_ne!(one.secret.hash(), two.secret.hash());
        assert_eq!(one.secret.hash(), one.secret.clone().hash());
        assert_ne!(&one.secret.hash().0, one.secret.bytes());
    }

    #[test]
    fn broken_tokens_say_which_part_is_wrong() {
        let good = JoinToken::draw(KeyHash([3; 32])).unwrap().reveal();
        let fault = |text: &str| text.parse::<JoinToken>().unwrap_err();
        assert_eq!(fault(""), TokenFault::Prefix);
        assert_eq!(fault(&good.replace("DIR1", "DIR2")), TokenFault::Prefix);
        assert_eq!(fault("DIR1.aa"), TokenFault::Parts { found: 2 });
        let cut = fault(&good[..good.len() - 1]);
        assert_eq!(
            cut.to_string(),
            "the secret in the join token is not 64 hexadecimal digits; copy the whole line"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_parsing_panic(text in ".{0,200}") {
            let _ = text.parse::<JoinToken>();
            let _ = format!("DIR1.{text}").parse::<JoinToken>();
        }
    }
}
