//! What a node asks of another one of the same user on its host, over that one's control socket:
//! to come into its convention, or to leave it.
//!
//! Not here: the greeting before (`greeting`), how a node is let in (`wire::JoinRequest`).

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::id::{ConventionId, Incarnation};

/// A node calls another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCall {
    /// What it asks.
    pub wish: NodeWish,
    /// What shows that it knows the user's secret, in hexadecimal digits: SHA-256 over
    /// `director user calls`, the secret, the key of the convention's authority, and
    /// [`NodeWish::digest`].
    pub proof: String,
}

/// What a node asks of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "wish", rename_all = "snake_case")]
pub enum NodeWish {
    /// To join its convention (`preRegisterRemoteSystem`).
    Come {
        /// `host:port` where a member of it is asked to be let in.
        address: String,
        /// Hash of the key of its authority, in hexadecimal digits.
        authority: String,
    },
    /// To leave the convention of both (`deRegisterRemoteSystem`).
    Go {
        /// The convention.
        convention: ConventionId,
    },
}

impl NodeWish {
    /// What a proof is bound to: the wish, and the run that is asked.
    ///
    /// # Format
    /// SHA-256 over the run (u64 little-endian) and the words of the wish, each followed by a zero
    /// byte: `come`, address, authority; or `go`, convention.
    #[must_use]
    pub fn digest(&self, asked: Incarnation) -> [u8; 32] {
        let words = match self {
            Self::Come { address, authority } => {
                vec!["come".to_owned(), address.clone(), authority.clone()]
            }
            Self::Go { convention } => vec!["go".to_owned(), convention.to_string()],
        };
        let mut digest = Sha256::new().chain_update(asked.0.to_le_bytes());
        for word in words {
            digest.update(word.as_bytes());
            digest.update([0]);
        }
        digest.finalize().into()
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum NodeAnswer {
    /// It is so.
    Done,
    /// Not now: it may be asked again.
    Later {
        /// Why.
        reason: String,
    },
    /// It is not to be.
    Refused {
        /// Why.
        reason: String,
        /// The next step.
        hint: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_one_wish_and_one_run_only() {
        let come = |address: &str, authority: &str| NodeWish::Come {
            address: address.to_owned(),
            authority: authority.to_owned(),
        };
        let wish = come("127.0.0.1:7", "ab");
        let own = wish.digest(Incarnation(1));
        assert_ne!(own, wish.digest(Incarnation(2)));
        assert_ne!(own, come("127.0.0.1:", "7ab").digest(Incarnation(1)));
        let go = NodeWish::Go {
            convention: ConventionId([1; 16]),
        };
        assert_ne!(own, go.digest(Incarnation(1)));
    }

    #[test]
    fn a_call_is_a_document() {
        let call = NodeCall {
            wish: NodeWish::Go {
                convention: ConventionId([1; 16]),
            },
            proof: "ab".to_owned(),
        };
        let text = serde_json::to_string(&call).unwrap();
        let wish = r#"{"wish":"go","convention":"01010101010101010101010101010101"}"#;
        assert_eq!(text, format!(r#"{{"wish":{wish},"proof":"ab"}}"#));
        assert_eq!(serde_json::from_str::<NodeCall>(&text).unwrap(), call);
    }
}
