//! Identities that cross a process boundary: nodes, actors, roles, sources, requests.
//!
//! Every id is a newtype, printed and parsed as lowercase hexadecimal of fixed width (numbers in
//! decimal), so that an id of one kind can never stand where another is meant.
//! Not here: how ids are allotted; the node and the leader draw them and pass them in.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {kind}: {want} expected")]
pub struct IdError {
    text: String,
    kind: &'static str,
    want: &'static str,
}

macro_rules! bytes_id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $kind:literal, $want:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0; $len];
                hex::decode_to_slice(text, &mut bytes).map_err(|_cause| IdError {
                    text: text.to_owned(),
                    kind: $kind,
                    want: $want,
                })?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
                if source.is_human_readable() {
                    let text = std::borrow::Cow::<'de, str>::deserialize(source)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    Ok(Self(Deserialize::deserialize(source)?))
                }
            }
        }
    };
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize,
            Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id! {
    /// One node agent of a convention; drawn once, never used again for another.
    NodeId
}
number_id! {
    /// One run of a node's agent process: fresh at every start of the agent.
    Incarnation
}
number_id! {
    /// One rollout: the switch of a group from one source to another.
    RolloutId
}
number_id! {
    /// One place for a Director actor (class of a source on a node), kept over its restarts.
    SlotId
}
number_id! {
    /// Wall-clock milliseconds since 1970 that a leader put into a command.
    Stamp
}

bytes_id! {
    /// One incarnation of one actor or client: `<incarnation of the allotting node><serial>`,
    /// both big-endian u64; allotted before placement and never used for another.
    ActorId, 16, "actor address", "32 hexadecimal digits"
}
bytes_id! {
    /// A role of a group, independent of the actor that plays it now.
    RoleId, 16, "role address", "32 hexadecimal digits"
}
bytes_id! {
    /// Identity of a source: the SHA-256 of its package's bytes.
    SourceHash, 32, "source hash", "64 hexadecimal digits"
}
bytes_id! {
    /// A program whose own modules have actors: SHA-256 over what they are imported with
    /// ([`crate::control::ClientEnvironment::program`]); zeros: none.
    ProgramId, 32, "program id", "64 hexadecimal digits"
}
bytes_id! {
    /// Follows one request through all the messages that it causes; zeros: none.
    TraceId, 16, "trace id", "32 hexadecimal digits"
}
bytes_id! {
    /// Idempotency id of a request that changes the registry; the same id is carried out once:
    /// `<node that it was given at><drawn>`, 8 bytes each. A leader believes the first half of
    /// nobody but writes it itself ([`RequestId::of`]): records are counted by it.
    RequestId, 16, "request id", "32 hexadecimal digits"
}
bytes_id! {
    /// Identity of a convention, drawn when it is founded.
    ConventionId, 16, "convention id", "32 hexadecimal digits"
}

impl RequestId {
    /// The id of a step of an order of several: the same one whoever carries the order out.
    ///
    /// # Format
    /// Behind the node, the first 8 bytes of SHA-256 over the drawn half of the order's id and the
    /// number of the step.
    #[must_use]
    pub fn step(self, number: u8) -> Self {
        let digest = Sha256::new()
            .chain_update(self.drawn())
            .chain_update([number]);
        let digest: [u8; 32] = digest.finalize().into();
        Self::halves(
            self.node(),
            digest.first_chunk().copied().unwrap_or_default(),
        )
    }

    /// The id as that of an order that was given at this node.
    #[must_use]
    pub fn of(self, node: NodeId) -> Self {
        Self::halves(node, self.drawn())
    }

    /// Where the order was given.
    #[must_use]
    pub fn node(self) -> NodeId {
        let node = self.0.first_chunk().copied().unwrap_or_default();
        NodeId(u64::from_be_bytes(node))
    }

    /// What tells the orders of one node apart.
    #[must_use]
    pub fn drawn(self) -> [u8; 8] {
        self.0.last_chunk().copied().unwrap_or_default()
    }

    /// The ids that orders given at this node can have.
    #[must_use]
    pub fn all_of(node: NodeId) -> RangeInclusive<Self> {
        Self::halves(node, [0; 8])..=Self::halves(node, [u8::MAX; 8])
    }

    fn halves(node: NodeId, drawn: [u8; 8]) -> Self {
        let mut bytes = [0; 16];
        let (high, low) = bytes.split_at_mut(8);
        high.copy_from_slice(&node.0.to_be_bytes());
        low.copy_from_slice(&drawn);
        Self(bytes)
    }
}

impl ActorId {
    /// The address of nobody: the zero id.
    pub const NONE: Self = Self([0; 16]);

    /// The id with this serial, allotted by this run of a node.
    #[must_use]
    pub fn allot(incarnation: Incarnation, serial: u64) -> Self {
        let mut bytes = [0; 16];
        let (high, low) = bytes.split_at_mut(8);
        high.copy_from_slice(&incarnation.0.to_be_bytes());
        low.copy_from_slice(&serial.to_be_bytes());
        Self(bytes)
    }

    /// Whether this is the address of nobody.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// The run of the node that allotted this id.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        let mut high = [0; 8];
        high.copy_from_slice(self.0.split_at(8).0);
        Incarnation(u64::from_be_bytes(high))
    }
}

impl RoleId {
    /// The id of a role of a group.
    ///
    /// # Format
    /// The first 16 bytes of SHA-256 over the group's name, one zero byte, and the role's name.
    #[must_use]
    pub fn of(group: &str, role: &str) -> Self {
        let digest = Sha256::new()
            .chain_update(group.as_bytes())
            .chain_update([0])
            .chain_update(role.as_bytes())
            .finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(digest.split_at(16).0);
        Self(bytes)
    }
}

impl SourceHash {
    /// The hash of these package bytes.
    #[must_use]
    pub fn of(package: &[u8]) -> Self {
        Self(Sha256::digest(package).into())
    }

    /// The first 12 digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(12);
        text
    }
}

impl NodeId {
    /// No node: an actor that is placed nowhere.
    pub const NONE: Self = Self(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_and_parse_as_hex() {
        let hash = SourceHash::of(b"foo");
        assert_eq!(hash.to_string().parse::<SourceHash>(), Ok(hash));
        assert_eq!(hash.short(), "2c26b46b68ff");
        let error = "xyz".parse::<ActorId>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`xyz` is no actor address: 32 hexadecimal digits expected"
        );
    }

    #[test]
    fn an_actor_id_tells_the_run_that_allotted_it() {
        let id = ActorId::allot(Incarnation(7), 9);
        assert_eq!(id.to_string(), "00000000000000070000000000000009");
        assert_eq!(id.incarnation(), Incarnation(7));
    }

    #[test]
    fn an_order_keeps_the_node_that_it_was_given_at_through_its_steps() {
        let id = RequestId([7; 16]).of(NodeId(3));
        assert_eq!((id.node(), id.drawn()), (NodeId(3), [7; 8]));
        assert_eq!(id.of(NodeId(3)), id);
        assert_eq!(id.step(1).node(), NodeId(3));
        assert_eq!(id.step(1), RequestId([7; 16]).step(1).of(NodeId(3)));
        assert!(RequestId::all_of(NodeId(3)).contains(&id.step(2)));
        assert!(!RequestId::all_of(NodeId(4)).contains(&id));
    }

    #[test]
    fn roles_of_two_groups_differ() {
        assert_ne!(RoleId::of("a", "bc"), RoleId::of("ab", "c"));
        assert_eq!(RoleId::of("a", "b"), RoleId::of("a", "b"));
    }
}
