//! The first documents of a connection: who dials, and who answers.

use serde::{Deserialize, Serialize};

use crate::id::{ActorId, Incarnation, NodeId, ProgramId};
use crate::limits::{PROTOCOL_VERSION, PROTOCOL_VERSION_OLDEST};

/// First document of a connection, from the side that dialled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Newest protocol version of the dialler.
    pub protocol: u8,
    /// The oldest that it speaks; not told: only `protocol`.
    #[serde(default)]
    pub oldest: Option<u8>,
    /// What the connection is for.
    pub role: ConnectionRole,
    /// Secret that the node gave to the process it started; clients have none.
    #[serde(default)]
    pub token: Option<String>,
    /// The dialler's process id.
    pub pid: u32,
    /// Of a client: the program that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<ProgramId>,
    /// Of a node: itself, and its run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<(NodeId, Incarnation)>,
}

impl Hello {
    /// The newest version that both sides speak.
    #[must_use]
    pub fn common_version(&self) -> Option<u8> {
        let oldest = self.oldest.unwrap_or(self.protocol);
        let newest = self.protocol.min(PROTOCOL_VERSION);
        (newest >= oldest.max(PROTOCOL_VERSION_OLDEST)).then_some(newest)
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionRole {
    /// An external program or the command line.
    Client,
    /// The process of one actor.
    Worker,
    /// A forkserver: the root one or one of a source.
    Forkserver,
    /// Standard output and error of a worker; raw bytes follow the hello.
    Stdio,
    /// Another node that a program of the same user has started on this host; after the welcome
    /// each side sends one byte, and then, both ways, batches of whole frames behind their length.
    Node,
}

/// Answer of the node to a hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Protocol version that the node will speak.
    pub protocol: u8,
    /// The connection's own address.
    pub address: ActorId,
    /// Run of the node.
    pub incarnation: Incarnation,
    /// The node.
    pub node: NodeId,
    /// The node's name.
    pub node_name: String,
    /// The node's capabilities, a dictionary literal.
    pub capabilities: String,
    /// Version of the `director` program.
    pub version: String,
}
