//! Shapes of the QUIC streams between nodes: the first exchange of each connection, refusals, the
//! answer around a reply, joining and renewal, and the head of a bulk transfer.
//!
//! [`HelloRequest`] and [`HelloResponse`] are frozen: nodes of any version must read them to learn
//! that they cannot talk; what is added later goes into `more`. All others carry their version
//! in the envelope of [`encode`](crate::encode).
//! Not here: streams, certificates and windows (`transport`), what a request does (`node`).

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{ConventionId, Incarnation, NodeId, SourceHash};

/// Version of the protocol between nodes that this build prefers.
///
/// 1: the first.
pub const WIRE_VERSION: u16 = 1;

/// Oldest version that this build still speaks: the one before [`WIRE_VERSION`], once there is one.
pub const WIRE_VERSION_OLDEST: u16 = 1;

/// A value that crosses a stream in an envelope of its own name and version.
pub trait Shape: Serialize + DeserializeOwned {
    /// Its name in errors.
    const NAME: &'static str;
    /// Version that this build writes and reads.
    const VERSION: u16;
}

macro_rules! shapes {
    ($($type:ty => $name:literal, $version:literal;)*) => {
        $(impl Shape for $type {
            const NAME: &'static str = $name;
            const VERSION: u16 = $version;
        })*
    };
}

shapes! {
    HelloRequest => "hello request", 1;
    HelloResponse => "hello response", 1;
    JoinRequest => "join request", 1;
    JoinResponse => "join response", 1;
    RenewRequest => "renew request", 1;
    RenewResponse => "renew response", 1;
    TransferRequest => "transfer request", 1;
    TransferResponse => "transfer response", 1;
}

/// First document of a connection, from the dialler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloRequest {
    /// Oldest protocol version that the dialler speaks.
    pub oldest: u16,
    /// Newest protocol version that the dialler speaks.
    pub newest: u16,
    /// Who the dialler is apart from its certificate.
    pub about: About,
    /// Additions of later versions, by name; unknown ones are passed over.
    pub more: Vec<(String, Vec<u8>)>,
}

/// Answer to [`HelloRequest`]; a refusal closes the connection instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloResponse {
    /// Version that both speak from here on.
    pub version: u16,
    /// Who answers.
    pub about: About,
    /// Additions of later versions, by name; unknown ones are passed over.
    pub more: Vec<(String, Vec<u8>)>,
}

/// What a node says of itself in the first exchange.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// This run of the node.
    pub incarnation: Incarnation,
    /// Newest commands and shapes of the registry that the node can apply.
    pub feature_level: u32,
    /// How often the node knows its convention to have been recovered from a lost quorum.
    pub recoveries: u64,
    /// Version of the program, for people.
    pub release: String,
}

/// Why a connection or a request is turned down: the caller's fault, or its turn later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// What kind of reason; also the code with which a connection is closed.
    pub code: RefusalCode,
    /// The reason and the next step, for people.
    pub text: String,
}

impl Refusal {
    /// A refusal of this kind with this text.
    #[must_use]
    pub fn new(code: RefusalCode, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }
}

macro_rules! refusal_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        /// Kind of a [`Refusal`]; the numbers are part of the protocol and never used again.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(into = "u32", from = "u32")]
        pub enum RefusalCode {
            $($(#[$doc])* $name,)*
            /// A kind that this build does not know.
            Other(u32),
        }

        impl From<u32> for RefusalCode {
            fn from(number: u32) -> Self {
                match number {
                    $($number => Self::$name,)*
                    other => Self::Other(other),
                }
            }
        }

        impl From<RefusalCode> for u32 {
            fn from(code: RefusalCode) -> Self {
                match code {
                    $(RefusalCode::$name => $number,)*
                    RefusalCode::Other(other) => other,
                }
            }
        }
    };
}

refusal_codes! {
    /// The peer showed no certificate where one is needed.
    NoCertificate = 1;
    /// The certificate is of another convention.
    ForeignConvention = 2;
    /// The registry does not know this node.
    UnknownNode = 3;
    /// The node was removed from the convention.
    Removed = 4;
    /// The certificate is known but has expired: renew it on `join/1`.
    CertificateExpired = 5;
    /// Another node answered than the one that was dialled.
    WrongNode = 6;
    /// The peer speaks only versions that are too old.
    VersionTooOld = 7;
    /// The peer speaks only versions that are too new.
    VersionTooNew = 8;
    /// The first document is missing or malformed.
    BadHello = 9;
    /// The join token is not known, or its secret is wrong.
    TokenUnknown = 10;
    /// The join token has been used as often as it may.
    TokenUsed = 11;
    /// The join token is too old.
    TokenExpired = 12;
    /// The request to join waits for an operator's approval.
    NotApproved = 13;
    /// The peer may not use this kind of connection or request.
    NotAllowed = 14;
    /// Too much to do at present; try another node or later.
    Busy = 15;
    /// The node is about to stop.
    Stopping = 16;
    /// This node does not hold what was asked for.
    NotHeld = 17;
    /// The request makes no sense to this node.
    BadRequest = 18;
    /// The request has to go to the leader.
    NotLeader = 19;
    /// The request was begun, and whether it was carried out is not known.
    Unknown = 20;
    /// The certificate names a member that was admitted with another key.
    OtherKey = 21;
    /// The certificate is of an authority that was replaced: renew it on `join/1`.
    AuthorityRetired = 22;
}

/// What comes back for a request: the response, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer<T> {
    /// It was done.
    Done(T),
    /// It was not done.
    Refused(Refusal),
}

impl<T: Shape> Shape for Answer<T> {
    const NAME: &'static str = T::NAME;
    const VERSION: u16 = T::VERSION;
}

/// A node asks for its first certificate, on a connection without one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// Id of the join token; `None` waits for approval.
    pub token_id: Option<String>,
    /// Secret of the join token; empty without one.
    pub secret: Vec<u8>,
    /// Certificate signing request (PKCS #10, DER), signed by the key that it names.
    pub certificate_request: Vec<u8>,
    /// The joiner's own wishes (name, address, capabilities) in a document of the node.
    pub document: Vec<u8>,
}

impl std::fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinRequest")
            .field("token_id", &self.token_id)
            .finish_non_exhaustive()
    }
}

/// Answer to [`JoinRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinResponse {
    /// The convention that was joined.
    pub convention: ConventionId,
    /// The id that the joiner has from now on.
    pub node: NodeId,
    /// The certificate and those above it (X.509, DER), the node's first.
    pub chain: Vec<Vec<u8>>,
    /// What the convention tells a new member, in a document of the node.
    pub document: Vec<u8>,
}

/// A member asks for a new certificate, with its present one, which may have expired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewRequest {
    /// Certificate signing request (PKCS #10, DER), signed by the key that it names.
    pub certificate_request: Vec<u8>,
}

/// Answer to [`RenewRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewResponse {
    /// The certificate and those above it (X.509, DER), the node's first.
    pub chain: Vec<Vec<u8>>,
}

/// A getter asks a provider for the bytes of a package from an offset on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferRequest {
    /// What is wanted.
    pub hash: SourceHash,
    /// Bytes that the getter has already.
    pub offset_bytes: u64,
}

/// What a provider announces before the bytes, which follow without frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferResponse {
    /// Length of the whole package; the bytes from the offset up to it follow.
    pub length_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode, encode};

    #[test]
    fn the_first_document_never_changes_its_bytes() {
        let hello = HelloRequest {
            oldest: 1,
            newest: 2,
            about: About {
                incarnation: Incarnation(7),
                feature_level: 3,
                recoveries: 0,
                release: "0.1.0".to_owned(),
            },
            more: vec![("x".to_owned(), vec![9])],
        };
        let bytes = encode(HelloRequest::NAME, HelloRequest::VERSION, &hello).unwrap();
        assert_eq!(
            hex::encode(&bytes),
            "4452010010000000010207030005302e312e300101780109"
        );
        let back: HelloRequest = decode(HelloRequest::NAME, 1, &bytes).unwrap();
        assert_eq!(back, hello);
    }

    #[test]
    fn refusal_codes_keep_numbers_that_this_build_does_not_know() {
        for number in 0..=40 {
            assert_eq!(u32::from(RefusalCode::from(number)), number);
        }
        assert_eq!(RefusalCode::from(4), RefusalCode::Removed);
        assert_eq!(RefusalCode::from(4000), RefusalCode::Other(4000));
    }
}
