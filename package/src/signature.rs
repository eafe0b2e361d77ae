//! RSA signatures, PKCS#1 v1.5 over SHA-256: the only module that names the crate `rsa`.
//!
//! `rsa` 0.9 carries a timing advisory (RUSTSEC-2023-0071) about operations with the private key.
//! Verification uses none; signing happens offline on the build host. Behind this door the crate
//! can be replaced.
//! The check is the whole encoded message, padding included, so that nothing can hide in it.

use rsa::pkcs1v15::{Signature, SigningKey, VerifyingKey};
use rsa::pkcs8::der::Decode;
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding, ObjectIdentifier};
use rsa::pkcs8::{PrivateKeyInfo, SubjectPublicKeyInfoRef, der};
use rsa::rand_core::{CryptoRng, RngCore};
use rsa::signature::SignatureEncoding;
use rsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPrivateKey, RsaPublicKey, pkcs1};
use sha2::Sha256;

use crate::keys::KeyProblem;

/// Smallest modulus that is used at all: the seed's own example.
pub(crate) const BITS_MIN: usize = 1024;
/// Largest modulus: four times what anyone needs, and verification stays in milliseconds.
pub(crate) const BITS_MAX: usize = 8192;
/// Modulus below which a key is used with a warning.
pub(crate) const BITS_ADVISED: usize = 2048;
/// Largest signature, in bytes.
pub(crate) const SIGNATURE_BYTES_MAX: usize = BITS_MAX / 8;
/// Smallest signature, in bytes.
pub(crate) const SIGNATURE_BYTES_MIN: usize = BITS_MIN / 8;

const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const ED448: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.113");

/// A public key that can check signatures; its size and exponent are within bounds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RsaPublic(RsaPublicKey);

impl RsaPublic {
    /// From the DER of "BEGIN PUBLIC KEY".
    pub(crate) fn from_spki(der: &[u8]) -> Result<Self, KeyProblem> {
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(malformed)?;
        check_algorithm(info.algorithm.oid)?;
        let key = info
            .subject_public_key
            .as_bytes()
            .ok_or_else(|| malformed("the key bits do not fill whole bytes"))?;
        Self::from_pkcs1(key)
    }

    /// From the DER of "BEGIN RSA PUBLIC KEY".
    pub(crate) fn from_pkcs1(der: &[u8]) -> Result<Self, KeyProblem> {
        let key = pkcs1::RsaPublicKey::from_der(der).map_err(malformed)?;
        let modulus = BigUint::from_bytes_be(key.modulus.as_bytes());
        let exponent = BigUint::from_bytes_be(key.public_exponent.as_bytes());
        check_bounds(&modulus, &exponent)?;
        RsaPublicKey::new_with_max_size(modulus, exponent, BITS_MAX)
            .map(Self)
            .map_err(malformed)
    }

    pub(crate) fn bits(&self) -> usize {
        self.0.n().bits()
    }

    /// Length of this key's signatures.
    pub(crate) fn signature_bytes(&self) -> usize {
        self.0.size()
    }

    /// Whether `signature` is this key's over the SHA-256 digest.
    pub(crate) fn verifies(&self, digest: &[u8; 32], signature: &[u8]) -> bool {
        let Ok(signature) = Signature::try_from(signature) else {
            return false;
        };
        VerifyingKey::<Sha256>::new(self.0.clone())
            .verify_prehash(digest, &signature)
            .is_ok()
    }

    pub(crate) fn to_spki_pem(&self) -> Result<String, KeyProblem> {
        self.0.to_public_key_pem(LineEnding::LF).map_err(malformed)
    }
}

/// A private key that can sign.
#[derive(Clone)]
pub(crate) struct RsaPrivate(RsaPrivateKey);

impl RsaPrivate {
    /// From the DER of "BEGIN PRIVATE KEY".
    pub(crate) fn from_pkcs8(der: &[u8]) -> Result<Self, KeyProblem> {
        let info = PrivateKeyInfo::from_der(der).map_err(malformed)?;
        check_algorithm(info.algorithm.oid)?;
        Self::from_pkcs1(info.private_key)
    }

    /// From the DER of "BEGIN RSA PRIVATE KEY".
    pub(crate) fn from_pkcs1(der: &[u8]) -> Result<Self, KeyProblem> {
        let key = pkcs1::RsaPrivateKey::from_der(der).map_err(malformed)?;
        let number = |part: der::asn1::UintRef<'_>| BigUint::from_bytes_be(part.as_bytes());
        let (modulus, exponent) = (number(key.modulus), number(key.public_exponent));
        check_bounds(&modulus, &exponent)?;
        let primes = vec![number(key.prime1), number(key.prime2)];
        RsaPrivateKey::from_components(modulus, exponent, number(key.private_exponent), primes)
            .map(Self)
            .map_err(malformed)
    }

    /// A fresh key of `bits`, from the caller's random bytes.
    pub(crate) fn generate(
        bits: usize,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Self, KeyProblem> {
        if !(BITS_MIN..=BITS_MAX).contains(&bits) {
            return Err(KeyProblem::Size { bits });
        }
        RsaPrivateKey::new(&mut Random(fill), bits)
            .map(Self)
            .map_err(malformed)
    }

    pub(crate) fn public(&self) -> RsaPublic {
        RsaPublic(self.0.to_public_key())
    }

    /// The signature over a SHA-256 digest, as long as the modulus.
    pub(crate) fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>, KeyProblem> {
        let key = SigningKey::<Sha256>::new(self.0.clone());
        Ok(key.sign_prehash(digest).map_err(malformed)?.to_vec())
    }

    pub(crate) fn to_pkcs8_pem(&self) -> Result<String, KeyProblem> {
        let pem = self.0.to_pkcs8_pem(LineEnding::LF).map_err(malformed)?;
        Ok((*pem).clone())
    }
}

/// The caller's source of random bytes in the shape that `rsa` 0.9 wants.
struct Random<'a>(&'a mut dyn FnMut(&mut [u8]));

impl RngCore for Random<'_> {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        (self.0)(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        (self.0)(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        (self.0)(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        (self.0)(bytes);
        Ok(())
    }
}

impl CryptoRng for Random<'_> {}

fn check_algorithm(oid: ObjectIdentifier) -> Result<(), KeyProblem> {
    let algorithm = match oid {
        pkcs1::ALGORITHM_OID => return Ok(()),
        RSA_PSS => "RSA-PSS".to_owned(),
        EC => "EC".to_owned(),
        ED25519 => "Ed25519".to_owned(),
        ED448 => "Ed448".to_owned(),
        other => other.to_string(),
    };
    Err(KeyProblem::Algorithm { algorithm })
}

fn check_bounds(modulus: &BigUint, exponent: &BigUint) -> Result<(), KeyProblem> {
    let bits = modulus.bits();
    if !(BITS_MIN..=BITS_MAX).contains(&bits) {
        return Err(KeyProblem::Size { bits });
    }
    // Signatures under e = 3 were forged without the private key; under e = 1 anybody signs.
    if *exponent <= BigUint::from(3_u8) {
        return Err(KeyProblem::Exponent {
            exponent: exponent.to_string(),
        });
    }
    Ok(())
}

fn malformed(error: impl std::fmt::Display) -> KeyProblem {
    KeyProblem::Malformed {
        reason: error.to_string(),
    }
}
