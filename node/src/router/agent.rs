//! What the agent hears from the router, and how it answers a request.

use std::os::unix::net::UnixStream;

use protocol::control::{ActorFailure, Hello, Request, Response};
use protocol::{ActorId, Frame, NodeId, RoleId};
use tokio::sync::mpsc;

use super::config::Rights;
use super::core::Meta;
use super::handle::{Command, CommandSender};

/// A fact or wish from a worker or client, in the order in which they came per connection.
#[derive(Debug)]
pub enum AgentEvent {
    /// A request; `respond` answers it.
    Request {
        /// Who asks.
        from: Caller,
        /// Its number; 0: no answer wanted.
        sequence: u64,
        /// What is asked.
        request: Request,
        /// For the answer.
        respond: Responder,
    },
    /// The first piece of an upload has come; the chunks end before the request with the same
    /// number is reported (or when the client goes).
    Upload {
        /// Who uploads.
        client: ActorId,
        /// Number of the request that will follow.
        sequence: u64,
        /// The pieces; a full channel holds back this client only.
        chunks: mpsc::Receiver<Vec<u8>>,
    },
    /// The actor is constructed.
    Started {
        /// Which.
        actor: ActorId,
    },
    /// The actor could not be constructed; its process ends.
    StartFailed {
        /// Which.
        actor: ActorId,
        /// Why.
        failure: ActorFailure,
    },
    /// The actor has handled its exit request; its process ends.
    Exiting {
        /// Which.
        actor: ActorId,
    },
    /// The actor's connection has ended; whether its process has, the agent knows.
    Disconnected {
        /// Which.
        actor: ActorId,
    },
    /// A client has come.
    ClientConnected {
        /// Who.
        client: Caller,
    },
    /// A client has gone; its address is dead.
    ClientGone {
        /// Its address.
        client: ActorId,
    },
    /// A message to the node's own address.
    Message {
        /// Who sent it.
        from: ActorId,
        /// Header and payload.
        frame: Frame,
        /// Dropped when the message is dealt with: gives its credit back to the sender.
        taken: Taken,
    },
    /// A forkserver has said Hello (and was welcomed); its token is not checked yet.
    Forkserver(Handover),
    /// A worker's standard output has said Hello; its token is not checked yet.
    Stdio(Handover),
    /// A node of the same user that shares no convention has said Hello (and was welcomed).
    Neighbour(Handover),
    /// Messages wait for a link to this node, which is not up; told again when they have waited
    /// in vain.
    WantLink {
        /// To whom.
        node: NodeId,
    },
    /// Messages wait for an actor of which nobody told where it lives; `located` answers.
    Locate {
        /// Which.
        actor: ActorId,
    },
    /// Messages wait for a role of which nobody has told; it is bound or unbound, and released.
    SeekRole {
        /// Which.
        role: RoleId,
    },
    /// The peer broke a rule: the router has let the link go, as after `link_down`.
    LinkBroken {
        /// Who.
        node: NodeId,
        /// What it did.
        reason: String,
    },
}

/// A connection that is not the router's; non-blocking.
#[derive(Debug)]
pub struct Handover {
    /// What it said.
    pub hello: Hello,
    /// Process at the other end, as the kernel says; what it said itself otherwise.
    pub pid: u32,
    /// The connection.
    pub stream: UnixStream,
    /// Bytes that came behind the hello.
    pub read_ahead: Vec<u8>,
}

/// Who sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Its address.
    pub address: ActorId,
    /// An actor or a client.
    pub kind: CallerKind,
    /// Its process.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// What it may do; actors have [`Rights::Use`].
    pub rights: Rights,
}

/// What a caller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerKind {
    /// The process of an actor.
    Actor,
    /// A program or command.
    Client,
}

/// Answers one request, once; dropped unanswered it answers that the node does not.
#[derive(Debug)]
pub struct Responder {
    commands: Option<CommandSender>,
    connection: u64,
    sequence: u64,
}

impl Responder {
    pub(crate) fn new(commands: CommandSender, connection: u64, sequence: u64) -> Self {
        Self {
            commands: Some(commands),
            connection,
            sequence,
        }
    }

    /// Sends the answer; without effect for a request with number 0 or a caller that has gone.
    pub fn respond(mut self, response: Response) {
        self.send(Some(response));
    }

    fn send(&mut self, response: Option<Response>) {
        let Some(commands) = self.commands.take() else {
            return;
        };
        if self.sequence != 0 {
            commands.send(Command::Respond {
                connection: self.connection,
                sequence: self.sequence,
                response: response.map(Box::new),
            });
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.send(None);
    }
}

/// Gives the credit of a message back when it is dropped, so that a sender cannot flood the agent.
#[derive(Debug)]
pub struct Taken {
    commands: CommandSender,
    meta: Meta,
    n_bytes: usize,
}

impl Taken {
    pub(crate) fn new(commands: CommandSender, meta: Meta, n_bytes: usize) -> Self {
        Self {
            commands,
            meta,
            n_bytes,
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.commands.send(Command::Taken {
            meta: self.meta,
            n_bytes: self.n_bytes,
        });
    }
}

/// The actor has ended, or the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the actor has ended")]
pub struct Gone;

/// Counters since the router started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Messages accepted.
    pub messages: u64,
    /// Messages passed on to a connection.
    pub delivered: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Messages to actors that never came up, sent back.
    pub returned: u64,
    /// Waits for credit that were broken.
    pub unblocked: u64,
    /// Bytes passed on to actors that ended before they reported them as handled: unknown.
    pub unconfirmed_bytes: u64,
    /// Messages waiting in the router now.
    pub waiting: u64,
    /// Actors known now.
    pub actors: u64,
    /// Clients connected now.
    pub clients: u64,
    /// Messages handed to links.
    pub sent: u64,
    /// Messages that came over links.
    pub arrived: u64,
    /// Messages that may be lost with a link or a node: nobody can say.
    pub unknown: u64,
    /// Links that are up now.
    pub links: u64,
    /// Actors and clients of other nodes remembered now.
    pub proxies: u64,
}
