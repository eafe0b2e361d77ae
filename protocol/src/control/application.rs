//! What applications ask of their node besides actors: capabilities and sources of their own.
//!
//! Sources that an application loads live on one node, as long as it runs, in no group.
//! Not here: packages that an operator loads (`Request::Load`).

use serde::{Deserialize, Serialize};

use crate::id::SourceHash;

/// One request of [`super::Request::Application`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum ApplicationRequest {
    /// `updateCapability(name, value)`.
    UpdateCapability {
        /// The name, a literal.
        name: String,
        /// The value, a literal; `None` removes the capability.
        value: Option<String>,
    },
    /// `loadActorSource` of a client, which has uploaded the bytes under this request's number.
    LoadSource {
        /// Where it came from, for people.
        info: String,
    },
    /// `unloadActorSource(hash)`.
    UnloadSource {
        /// The source.
        hash: SourceHash,
    },
    /// `registerSourceAuthority()` of an actor.
    RegisterSourceAuthority,
    /// `notifyOnSystemRegistrationChanges(on)` of an actor.
    NotifyMembers {
        /// Whether it is to be told from now on.
        on: bool,
    },
    /// `notifyOnSourceAvailability(on)` of an actor.
    NotifySources {
        /// Whether it is to be told from now on.
        on: bool,
    },
    /// `preRegisterRemoteSystem(address, capabilities)` of an actor: the system is invited, now and
    /// until it is deregistered.
    InviteSystem {
        /// `host:port` of the system, or its own address in hexadecimal digits.
        address: String,
        /// What it is taken to offer until it says so itself, a dictionary literal.
        capabilities: String,
    },
    /// `deRegisterRemoteSystem(address)` of an actor: it is invited no longer, and leaves.
    DismissSystem {
        /// `host:port` of the system, or its own address in hexadecimal digits.
        address: String,
    },
}

/// What an actor sends to its node's own address: raw bytes behind this document.
///
/// # Format
/// Payload kind raw: length of the JSON u32 little-endian, the JSON, the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "delivery", rename_all = "snake_case")]
pub enum ActorDelivery {
    /// `loadActorSource`: the bytes are the source.
    LoadSource {
        /// What they hash to, as the actor says.
        hash: SourceHash,
        /// Where it came from, for people.
        info: String,
    },
    /// `ValidatedSource(hash, zip, info)`: the bytes are the zip.
    ValidatedSource {
        /// The source.
        hash: SourceHash,
        /// Whether it is accepted; the bytes mean nothing otherwise.
        accepted: bool,
        /// What the authority says of it, if it says anything.
        info: Option<String>,
    },
}

impl ActorDelivery {
    /// Cuts a payload into its document, still JSON, and the bytes behind it.
    #[must_use]
    pub fn cut(payload: &[u8]) -> Option<(&[u8], &[u8])> {
        let (length, rest) = payload.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        rest.split_at_checked(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_its_document_and_the_bytes_behind() {
        let hash = SourceHash([7; 32]);
        let json = format!(r#"{{"delivery":"load_source","hash":"{hash}","info":"a.zip"}}"#);
        let mut payload = (json.len() as u32).to_le_bytes().to_vec();
        payload.extend_from_slice(json.as_bytes());
        payload.extend_from_slice(b"PK..");
        let (document, bytes) = ActorDelivery::cut(&payload).unwrap();
        let delivery: ActorDelivery = serde_json::from_slice(document).unwrap();
        let info = "a.zip".to_owned();
        assert_eq!(delivery, ActorDelivery::LoadSource { hash, info });
        assert_eq!(bytes, b"PK..");
    }

    #[test]
    fn what_is_cut_off_is_no_delivery() {
        for payload in [&b""[..], b"\x05\0\0\0{}", b"\xff\xff\xff\xff{}"] {
            assert_eq!(ActorDelivery::cut(payload), None);
        }
    }

    #[test]
    fn requests_are_one_document_with_two_tags() {
        let text = r#"{"op":"application","ask":"notify_sources","on":true}"#;
        let request: crate::control::Request = serde_json::from_str(text).unwrap();
        let expected = ApplicationRequest::NotifySources { on: true };
        assert_eq!(request, crate::control::Request::Application(expected));
    }
}
