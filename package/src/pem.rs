//! PEM blocks of a key file, found leniently and decoded strictly.
//!
//! Text around the blocks, CR LF, and lines of any width are accepted, as openssl does.

use pkcs1::der::SecretDocument;

use crate::keys::KeyProblem;

/// One `-----BEGIN LABEL-----` to `-----END LABEL-----`.
pub(crate) struct Block {
    pub(crate) label: String,
    body: String,
}

impl Block {
    /// Whether a passphrase protects it, in either of the two ways to say so.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.label == "ENCRYPTED PRIVATE KEY" || self.body.contains("Proc-Type:")
    }

    /// The bytes inside.
    pub(crate) fn der(&self) -> Result<SecretDocument, KeyProblem> {
        let malformed = |reason: String| KeyProblem::Malformed { reason };
        let text: String = self.body.chars().filter(|c| !c.is_whitespace()).collect();
        let mut pem = format!("-----BEGIN {}-----\n", self.label);
        for (index, character) in text.chars().enumerate() {
            if index > 0 && index % 64 == 0 {
                pem.push('\n');
            }
            pem.push(character);
        }
        pem.push_str(&format!("\n-----END {}-----\n", self.label));
        let (_, document) =
            SecretDocument::from_pem(&pem).map_err(|error| malformed(error.to_string()))?;
        Ok(document)
    }
}

/// All blocks of a file, at least one.
pub(crate) fn blocks(content: &[u8]) -> Result<Vec<Block>, KeyProblem> {
    let text = String::from_utf8_lossy(content);
    let mut rest = text.as_ref();
    let mut blocks = Vec::new();
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let (label, after) = after.split_once("-----").ok_or(KeyProblem::NoPem)?;
        let end = format!("-----END {label}-----");
        let Some((body, after)) = after.split_once(end.as_str()) else {
            return Err(KeyProblem::Unterminated {
                label: label.to_owned(),
            });
        };
        blocks.push(Block {
            label: label.to_owned(),
            body: body.to_owned(),
        });
        rest = after;
    }
    if blocks.is_empty() {
        Err(KeyProblem::NoPem)
    } else {
        Ok(blocks)
    }
}
