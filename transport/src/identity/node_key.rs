//! A node's private key, and the request with which it asks for a certificate.
//!
//! The request is signed by the key that it names: proof that the asker holds the private half.

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::certificate::KeyHash;

/// The private key of a node; it never leaves the host.
pub struct NodeKey {
    pair: KeyPair,
}

/// A key that cannot be drawn, read or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// The system gives no randomness, or the key does not sign.
    #[error("a key cannot be drawn or does not sign")]
    Draw(#[source] rcgen::Error),
    /// The text is no private key in PEM.
    #[error("the text is no private key (PKCS #8 in PEM)")]
    Read(#[source] rcgen::Error),
}

impl NodeKey {
    /// Draws a key (ECDSA on P-256).
    ///
    /// # Errors
    /// [`KeyFault::Draw`].
    pub fn generate() -> Result<Self, KeyFault> {
        KeyPair::generate()
            .map(|pair| Self { pair })
            .map_err(KeyFault::Draw)
    }

    /// Reads the key from its file's text.
    ///
    /// # Errors
    /// [`KeyFault::Read`].
    pub fn from_pem(text: &str) -> Result<Self, KeyFault> {
        KeyPair::from_pem(text)
            .map(|pair| Self { pair })
            .map_err(KeyFault::Read)
    }

    /// The key as its file's text: keep it from other users (mode 0600).
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.pair.serialize_pem()
    }

    /// The hash of its public half, by which an operator recognises the node.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(&self.pair.subject_public_key_info())
    }

    /// The certificate signing request (PKCS #10, DER): the public half and nothing else.
    ///
    /// # Errors
    /// [`KeyFault::Draw`].
    pub fn request(&self) -> Result<Vec<u8>, KeyFault> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params
            .serialize_request(&self.pair)
            .map_err(KeyFault::Draw)?;
        Ok(request.der().to_vec())
    }

    pub(crate) fn to_rustls(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pair.serialize_der()))
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NodeKey").field(&self.hash()).finish()
    }
}
