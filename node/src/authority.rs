//! The source authority: whether this node trusts a package, by its own public keys.
//!
//! Keys are read afresh at every verification, so that a removed key is removed trust.
//! What another node says about a package counts for nothing here.
//! Source: Thespian director, `SourceAuthority`; defects D1 to D10.

use std::fs::File;
use std::path::Path;

use package::{KeyRing, Limits, Verified, VerifyError};

use protocol::SourceHash;
use sha2::{Digest, Sha256};

use crate::directory::{Directory, KeyFilesError};

/// Verifies packages with the keys of one Director directory.
#[derive(Debug, Clone)]
pub struct SourceAuthority {
    directory: Directory,
}

/// A package that this node trusts, and what was noticed on the way.
#[derive(Debug)]
pub struct Trusted {
    /// The proof.
    pub verified: Verified,
    /// Keys passed over or weak.
    pub warnings: Vec<String>,
}

/// Why a package is not trusted here.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The keys cannot be read.
    #[error(transparent)]
    Keys(#[from] KeyFilesError),
    /// The package cannot be opened.
    #[error("the package cannot be read")]
    Read(#[from] std::io::Error),
    /// It does not verify.
    #[error("{error}{}", list(warnings))]
    Verify {
        /// Why.
        #[source]
        error: VerifyError,
        /// Keys passed over.
        warnings: Vec<String>,
    },
}

impl AuthorityError {
    /// The next step to take.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Keys(error) => error.hint(),
            Self::Read(_) => "check the disk and the rights of the state folder".to_owned(),
            Self::Verify { error, .. } => error.hint().to_owned(),
        }
    }
}

impl SourceAuthority {
    /// The authority of this directory.
    #[must_use]
    pub fn new(directory: Directory) -> Self {
        Self { directory }
    }

    /// Stands for the key files as they are now: another mark, another judgement. Blocks.
    #[must_use]
    pub fn mark(&self) -> SourceHash {
        let mut digest = Sha256::new();
        match self.directory.key_files() {
            Ok(keys) => {
                for (name, content) in &keys.files {
                    digest.update(name.len().to_le_bytes());
                    digest.update(name);
                    digest.update(content.len().to_le_bytes());
                    digest.update(content);
                }
                for refused in &keys.refused {
                    digest.update(refused.to_string());
                }
            }
            Err(error) => digest.update(error.to_string()),
        }
        SourceHash(digest.finalize().into())
    }

    /// Verifies the package in this file. Blocks: it reads the whole file.
    ///
    /// # Errors
    /// [`AuthorityError`] when no key of the directory validates it.
    pub fn verify(&self, package: &Path) -> Result<Trusted, AuthorityError> {
        self.verify_opened(&mut File::open(package)?)
    }

    /// Verifies an opened package, so that what is read of it next is what was verified, whatever
    /// lies at its path by then. Blocks: it reads the whole file.
    ///
    /// # Errors
    /// [`AuthorityError`] when no key of the directory validates it.
    pub fn verify_opened(&self, package: &mut File) -> Result<Trusted, AuthorityError> {
        let keys = self.directory.key_files()?;
        let mut warnings: Vec<_> = keys.refused.iter().map(ToString::to_string).collect();
        let (ring, problems) = KeyRing::parse(keys.files);
        warnings.extend(problems.iter().map(ToString::to_string));
        match package::verify(package, &ring, &Limits::default()) {
            Ok(verified) => Ok(Trusted { verified, warnings }),
            Err(error) => Err(AuthorityError::Verify { error, warnings }),
        }
    }
}

fn list(warnings: &[String]) -> String {
    warnings
        .iter()
        .map(|warning| format!("; {warning}"))
        .collect()
}
