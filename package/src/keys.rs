//! Key files: the public keys that packages are checked with, and the private key that signs them.
//!
//! A directory's keys are read together: one file that holds no usable key is named in a warning
//! and the others are used, so that a single bad file never blocks every load.
//! Not here: who owns the files and their modes (`node`), the arithmetic (`signature`).
//! Source: Thespian director, `*_tls.key`; `openssl genrsa`, `openssl rsa -pubout`.

use std::fmt;

use crate::pem::{self, Block};
use crate::signature::{BITS_ADVISED, RsaPrivate, RsaPublic};

/// A public key with the name of the file that it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct PublicKey {
    name: String,
    key: RsaPublic,
}

impl PublicKey {
    /// The file's name or path, as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Size of the modulus in bits.
    #[must_use]
    pub fn bits(&self) -> usize {
        self.key.bits()
    }

    /// Length in bytes of the signatures that this key can check.
    #[must_use]
    pub fn signature_bytes(&self) -> usize {
        self.key.signature_bytes()
    }

    pub(crate) fn verifies(&self, digest: &[u8; 32], signature: &[u8]) -> bool {
        self.key.verifies(digest, signature)
    }
}

/// The usable keys of a directory, in the order of their names.
#[derive(Debug, Clone, Default)]
pub struct KeyRing {
    keys: Vec<PublicKey>,
}

impl KeyRing {
    /// Reads key files, given as (file name or path, content).
    ///
    /// A file may hold several keys. What cannot be used, and what is used although it should be
    /// replaced, is in the warnings.
    pub fn parse(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> (Self, Vec<KeyWarning>) {
        let mut files: Vec<_> = files.into_iter().collect();
        files.sort();
        let (mut keys, mut warnings) = (Vec::new(), Vec::new());
        for (name, content) in files {
            let blocks = match pem::blocks(&content) {
                Ok(blocks) => blocks,
                Err(problem) => {
                    warnings.push(KeyWarning {
                        file: name,
                        problem,
                    });
                    continue;
                }
            };
            for block in &blocks {
                match public_key(block) {
                    Ok(key) => {
                        let bits = key.bits();
                        if bits < BITS_ADVISED {
                            let problem = KeyProblem::Short { bits };
                            warnings.push(KeyWarning {
                                file: name.clone(),
                                problem,
                            });
                        }
                        keys.push(PublicKey {
                            name: name.clone(),
                            key,
                        });
                    }
                    Err(problem) => warnings.push(KeyWarning {
                        file: name.clone(),
                        problem,
                    }),
                }
            }
        }
        (Self { keys }, warnings)
    }

    /// The keys in the order in which they are tried.
    pub fn iter(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys.iter()
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no package can be trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// What is wrong with one key file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyWarning {
    /// The file's name or path, as it was given.
    pub file: String,
    /// What is wrong.
    pub problem: KeyProblem,
}

impl KeyWarning {
    /// Whether the key is used all the same.
    #[must_use]
    pub fn is_used(&self) -> bool {
        matches!(self.problem, KeyProblem::Short { .. })
    }
}

impl fmt::Display for KeyWarning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_used() {
            "is used, but"
        } else {
            "is not used:"
        };
        write!(
            formatter,
            "key file `{}` {what} {}",
            self.file, self.problem
        )
    }
}

/// Why a key cannot be used, or should not be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// No `-----BEGIN ...-----` in the file.
    #[error("it holds no PEM block")]
    NoPem,
    /// A block begins and does not end.
    #[error("its PEM block `{label}` has no end line: the file is cut off")]
    Unterminated {
        /// The text after `BEGIN`.
        label: String,
    },
    /// A block of another kind than was wanted.
    #[error("it holds a `{label}` block where {wanted} belongs")]
    Label {
        /// The text after `BEGIN`.
        label: String,
        /// What was wanted.
        wanted: &'static str,
    },
    /// A private key protected by a passphrase.
    #[error("its private key is encrypted with a passphrase")]
    Encrypted,
    /// A key of another algorithm.
    #[error("its algorithm `{algorithm}` is unsupported until DirectorFMT2")]
    Algorithm {
        /// Its name or object identifier.
        algorithm: String,
    },
    /// A public exponent that lets others forge signatures.
    #[error("its public exponent `{exponent}` lets signatures be forged")]
    Exponent {
        /// The exponent, decimal.
        exponent: String,
    },
    /// A modulus outside the bounds.
    #[error("its size of `{bits}` bits is outside 1024 to 8192")]
    Size {
        /// Bits of the modulus.
        bits: usize,
    },
    /// A modulus that is used although it is short.
    #[error("its size of `{bits}` bits is short: use 3072 or more")]
    Short {
        /// Bits of the modulus.
        bits: usize,
    },
    /// The bytes are no key.
    #[error("it is malformed: {reason}")]
    Malformed {
        /// What the decoder said.
        reason: String,
    },
}

impl KeyProblem {
    /// The next step to take.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoPem | Self::Unterminated { .. } | Self::Malformed { .. } => {
                "copy the file again, or make a new pair with `director keygen NAME`"
            }
            Self::Label { .. } => {
                "gensrc signs with the private key (`NAME.pem`); hosts check with the public one \
                 (`NAME_tls.key`)"
            }
            Self::Encrypted => {
                "write it without a passphrase: `openssl pkey -in KEY -out NAME.pem`"
            }
            Self::Algorithm { .. } | Self::Exponent { .. } | Self::Size { .. } => {
                "make an RSA key with `director keygen NAME`"
            }
            Self::Short { .. } => "make a longer key with `director keygen NAME` and sign with it",
        }
    }
}

/// The key that packages are signed with.
#[derive(Clone)]
pub struct PrivateKey {
    key: RsaPrivate,
}

impl PrivateKey {
    /// Reads PEM, PKCS#1 or PKCS#8, RSA of 1024 to 8192 bits.
    ///
    /// # Errors
    /// The first reason why it cannot sign.
    pub fn from_pem(content: &[u8]) -> Result<Self, KeyProblem> {
        let blocks = pem::blocks(content)?;
        let block = blocks
            .iter()
            .find(|block| block.label.ends_with("PRIVATE KEY"))
            .or_else(|| blocks.first())
            .ok_or(KeyProblem::NoPem)?;
        let key = match block.label.as_str() {
            _ if block.is_encrypted() => return Err(KeyProblem::Encrypted),
            "RSA PRIVATE KEY" => RsaPrivate::from_pkcs1(block.der()?.as_bytes())?,
            "PRIVATE KEY" => RsaPrivate::from_pkcs8(block.der()?.as_bytes())?,
            other => return Err(other_label(other, "a private key")),
        };
        Ok(Self { key })
    }

    /// A fresh key of `bits`; `fill` fills a buffer with random bytes fit for keys.
    ///
    /// # Errors
    /// `Size` outside 1024 to 8192 bits.
    pub fn generate(bits: usize, mut fill: impl FnMut(&mut [u8])) -> Result<Self, KeyProblem> {
        RsaPrivate::generate(bits, &mut fill).map(|key| Self { key })
    }

    /// Size of the modulus in bits.
    #[must_use]
    pub fn bits(&self) -> usize {
        self.key.public().bits()
    }

    /// Length of its signatures in bytes.
    #[must_use]
    pub fn signature_bytes(&self) -> usize {
        self.key.public().signature_bytes()
    }

    /// The private key as PEM, PKCS#8. Keep it secret.
    ///
    /// # Errors
    /// `Malformed` when the key cannot be encoded.
    pub fn to_pem(&self) -> Result<String, KeyProblem> {
        self.key.to_pkcs8_pem()
    }

    /// The public half as PEM ("BEGIN PUBLIC KEY"): the content of a `*_tls.key` file.
    ///
    /// # Errors
    /// `Malformed` when the key cannot be encoded.
    pub fn public_pem(&self) -> Result<String, KeyProblem> {
        self.key.public().to_spki_pem()
    }

    pub(crate) fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>, KeyProblem> {
        self.key.sign(digest)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PrivateKey({} bits)", self.bits())
    }
}

fn public_key(block: &Block) -> Result<RsaPublic, KeyProblem> {
    match block.label.as_str() {
        "PUBLIC KEY" => RsaPublic::from_spki(block.der()?.as_bytes()),
        "RSA PUBLIC KEY" => RsaPublic::from_pkcs1(block.der()?.as_bytes()),
        other => Err(other_label(other, "a public key")),
    }
}

fn other_label(label: &str, wanted: &'static str) -> KeyProblem {
    match label {
        "EC PRIVATE KEY" | "EC PARAMETERS" => KeyProblem::Algorithm {
            algorithm: "EC".to_owned(),
        },
        label => KeyProblem::Label {
            label: label.to_owned(),
            wanted,
        },
    }
}
