//! What the agent may ask of the router, from any thread.
//!
//! Calls of one handle are carried out in their order; those that are awaited have been applied
//! when they return, so that nothing which arrives after can miss them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use protocol::control::{DeadLetter, Response, SystemMessage};
use protocol::{ActorId, Incarnation, NodeId, RoleId};
use tokio::sync::{mpsc, oneshot};

use super::agent::{Gone, Stats};
use super::config::ActorRecord;
use super::core::Meta;

/// The agent's end of the router.
#[derive(Debug, Clone)]
pub struct RouterHandle {
    commands: CommandSender,
}

impl RouterHandle {
    pub(crate) fn new(commands: CommandSender) -> Self {
        Self { commands }
    }

    /// The actor exists from now; messages to it wait until its process has sent `started`.
    pub fn expect(&self, record: ActorRecord) {
        self.commands.send(Command::Expect(Box::new(record)));
    }

    /// Messages to the role go to this actor from now; `None`: they become dead letters.
    pub async fn bind_role(&self, role: RoleId, actor: Option<ActorId>) {
        let reason = "nobody plays this role".to_owned();
        self.applied(|done| Command::Bind {
            role,
            actor,
            reason,
            done,
        })
        .await;
    }

    /// Messages to the role become dead letters with this reason from now.
    pub async fn unbind_role(&self, role: RoleId, reason: impl Into<String>) {
        let reason = reason.into();
        self.applied(|done| Command::Bind {
            role,
            actor: None,
            reason,
            done,
        })
        .await;
    }

    /// Nobody says any more what these roles are: the next message to one has it looked for.
    pub async fn forget_roles(&self, roles: Vec<RoleId>) {
        self.applied(|done| Command::Forget { roles, done }).await;
    }

    /// Messages to these roles wait from now.
    pub async fn hold(&self, roles: Vec<RoleId>) {
        self.applied(|done| Command::Hold {
            roles,
            limit: None,
            done,
        })
        .await;
    }

    /// As [`Self::hold`]; after `limit` they go on to the actor bound then.
    pub async fn hold_for(&self, roles: Vec<RoleId>, limit: Duration) {
        self.applied(|done| Command::Hold {
            roles,
            limit: Some(limit),
            done,
        })
        .await;
    }

    /// Messages to these roles go on, those that waited first.
    pub async fn release(&self, roles: Vec<RoleId>) {
        self.applied(|done| Command::Release { roles, done }).await;
    }

    /// Sends a Python literal from the node's own address.
    pub fn send_literal(&self, target: ActorId, literal: String) {
        self.commands.send(Command::Literal { target, literal });
    }

    /// Sends a system message from the node's own address.
    pub fn send_system(&self, target: ActorId, message: SystemMessage) {
        self.commands.send(Command::System { target, message });
    }

    /// The actor's process has ended: what waits for it becomes dead letters with this reason,
    /// its parent is told. What the process wrote before its end is read first; later calls do not
    /// wait for that.
    pub fn ended(&self, actor: ActorId, reason: impl Into<String>) {
        self.end(actor, reason.into(), None);
    }

    /// As [`Self::ended`]; the future is ready when all that is done.
    pub fn ended_and_told(
        &self,
        actor: ActorId,
        reason: String,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (done, told) = oneshot::channel();
        self.end(actor, reason, Some(done));
        async move { drop(told.await) }
    }

    fn end(&self, actor: ActorId, reason: String, done: Option<oneshot::Sender<()>>) {
        self.commands.send(Command::Ended {
            actor,
            reason,
            done,
        });
    }

    /// The actor never came up: its parent is told, and what waits for it goes back to the
    /// senders as PoisonMessage.
    pub fn failed_creation(&self, actor: ActorId, reason: impl Into<String>) {
        let reason = reason.into();
        self.commands
            .send(Command::FailedCreation { actor, reason });
    }

    /// Resolves when every message that was accepted for the actor before has been handled.
    ///
    /// # Errors
    /// [`Gone`] when the actor ends first, or is not known.
    pub async fn marker(&self, actor: ActorId) -> Result<(), Gone> {
        self.ask(|done| Command::Marker { actor, done })
            .await
            .unwrap_or(Err(Gone))
    }

    /// Resolves when the actor has nothing to do: no message waits for it, none is being
    /// handled, no ask through it is unanswered.
    ///
    /// # Errors
    /// [`Gone`] when the actor ends first, or is not known.
    pub async fn idle(&self, actor: ActorId) -> Result<(), Gone> {
        self.ask(|done| Command::Idle { actor, done })
            .await
            .unwrap_or(Err(Gone))
    }

    /// Which node each run of a node belongs to, for all members of the convention; replaces what
    /// was told before. This node's own may be among them. A run that was not among them before
    /// is no longer lost. While there are no others, unknown addresses are dead at once.
    pub fn peers(&self, peers: Vec<(Incarnation, NodeId)>) {
        self.commands.send(Command::Peers(peers));
    }

    /// The actor is placed on this node, whoever allotted its address; `None`: forget that.
    pub fn place(&self, actor: ActorId, node: Option<NodeId>) {
        self.commands.send(Command::Place { actor, node });
    }

    /// As [`Self::expect`], of an actor that another node runs and expects already: what waited
    /// for it here goes there, and its parent here hears of its end, or of its node's, once.
    pub fn expect_remote(&self, record: ActorRecord, node: NodeId) {
        let record = Box::new(record);
        self.commands.send(Command::ExpectRemote { record, node });
    }

    /// Answers [`super::AgentEvent::Locate`]; `None`: no node has it, what waits becomes dead
    /// letters.
    pub fn located(&self, actor: ActorId, node: Option<NodeId>) {
        self.commands.send(Command::Located { actor, node });
    }

    /// Bytes flow to and from this run of a node: what goes there comes out of the link, what
    /// comes from there goes into it, as whole frames in their order. A link that was up before
    /// is down; one to another run is lost. `same_user`: the node at the other end of this very
    /// connection has proven to run as this node's user, so what it says of programs is believed.
    #[must_use = "nothing flows without someone at the other ends"]
    pub fn link_up(&self, node: NodeId, incarnation: Incarnation, same_user: bool) -> Link {
        let (outgoing, from_router) = mpsc::channel(BATCHES_OUT);
        let (to_router, incoming) = mpsc::channel(BATCHES_IN);
        self.commands.send(Command::LinkUp(Box::new(NewLink {
            node,
            incarnation,
            same_user,
            outgoing,
            incoming,
        })));
        Link {
            outgoing: from_router,
            incoming: to_router,
        }
    }

    /// The connection broke and the node may run on. What was not handed over waits for the next
    /// link to the same run; of what was, nobody knows: asks end as unknown. Dropping either end
    /// of the link says the same.
    pub fn link_down(&self, node: NodeId) {
        self.commands.send(Command::LinkDown { node });
    }

    /// This run of the node is over: it is lost, removed or has started again. What waits for its
    /// actors becomes dead letters, asks end, parents here hear of children there; so it stays
    /// until `peers` names the node again or the link comes up. Nothing changes when the link to
    /// another run was up by then: that has ended the run before already.
    pub fn link_lost(&self, node: NodeId, run: Incarnation, reason: impl Into<String>) {
        let reason = reason.into();
        self.commands.send(Command::LinkLost { node, run, reason });
    }

    /// Resolves when every message that went to the links of these nodes before is with their
    /// routers, or a link went down after it was handed over, or it became a dead letter.
    pub async fn flush_links(&self, to: BTreeSet<NodeId>) {
        // An error means that the router has ended: then nothing is on its way.
        let _ = self.ask(|done| Command::FlushLinks { to, done }).await;
    }

    /// All dead letters counted, and those kept, newest last.
    pub async fn dead_letters(&self) -> (u64, Vec<DeadLetter>) {
        self.ask(Command::DeadLetters).await.unwrap_or_default()
    }

    /// The counters.
    pub async fn stats(&self) -> Stats {
        self.ask(Command::Stats).await.unwrap_or_default()
    }

    /// The actors that are expected or running, without those only announced by their creator.
    pub async fn alive(&self) -> Vec<ActorRecord> {
        self.ask(Command::Alive).await.unwrap_or_default()
    }

    /// New capabilities of the node, for those who connect from now.
    pub fn set_capabilities(&self, capabilities: String) {
        self.commands.send(Command::Capabilities(capabilities));
    }

    /// Nothing is delivered by role from then on, however late that is noticed; what comes then
    /// waits until this is said anew. `None`: there is no such end.
    pub fn serve_until(&self, until: Option<Instant>) {
        self.commands.send(Command::ServeUntil(until));
    }

    /// Tells everyone that nothing more comes, writes what is written, ends the thread.
    pub async fn close(&self) {
        self.applied(Command::Close).await;
    }

    async fn applied(&self, command: impl FnOnce(oneshot::Sender<()>) -> Command) {
        self.ask(command).await;
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (done, answer) = oneshot::channel();
        self.commands.send(command(done));
        answer.await.ok()
    }
}

/// The other ends of a link's channels: batches of whole frames.
#[derive(Debug)]
pub struct Link {
    /// What goes to the node; ends when the router lets the link go.
    pub outgoing: mpsc::Receiver<Vec<u8>>,
    /// What came from the node; each batch holds whole frames only.
    pub incoming: mpsc::Sender<Vec<u8>>,
}

/// Batches that wait to be carried away: one is mostly at most 256 KiB.
const BATCHES_OUT: usize = 4;

/// Batches that wait for the router.
const BATCHES_IN: usize = 4;

/// Way to the router's thread; unbounded, because its users are the agent's own tasks, which
/// wait for answers.
#[derive(Debug, Clone)]
pub(crate) struct CommandSender(pub(crate) mpsc::UnboundedSender<Command>);

impl CommandSender {
    /// Sends, unless the router has ended: then nobody is left to whom it could matter.
    pub(crate) fn send(&self, command: Command) {
        drop(self.0.send(command));
    }
}

/// One call of a handle.
#[derive(Debug)]
pub(crate) enum Command {
    Expect(Box<ActorRecord>),
    Bind {
        role: RoleId,
        actor: Option<ActorId>,
        reason: String,
        done: oneshot::Sender<()>,
    },
    Hold {
        roles: Vec<RoleId>,
        limit: Option<Duration>,
        done: oneshot::Sender<()>,
    },
    Release {
        roles: Vec<RoleId>,
        done: oneshot::Sender<()>,
    },
    Forget {
        roles: Vec<RoleId>,
        done: oneshot::Sender<()>,
    },
    Literal {
        target: ActorId,
        literal: String,
    },
    System {
        target: ActorId,
        message: SystemMessage,
    },
    Ended {
        actor: ActorId,
        reason: String,
        done: Option<oneshot::Sender<()>>,
    },
    FailedCreation {
        actor: ActorId,
        reason: String,
    },
    Marker {
        actor: ActorId,
        done: oneshot::Sender<Result<(), Gone>>,
    },
    Idle {
        actor: ActorId,
        done: oneshot::Sender<Result<(), Gone>>,
    },
    Respond {
        connection: u64,
        sequence: u64,
        response: Option<Box<Response>>,
    },
    Taken {
        meta: Meta,
        n_bytes: usize,
    },
    Peers(Vec<(Incarnation, NodeId)>),
    Place {
        actor: ActorId,
        node: Option<NodeId>,
    },
    ExpectRemote {
        record: Box<ActorRecord>,
        node: NodeId,
    },
    Located {
        actor: ActorId,
        node: Option<NodeId>,
    },
    LinkUp(Box<NewLink>),
    LinkDown {
        node: NodeId,
    },
    LinkLost {
        node: NodeId,
        run: Incarnation,
        reason: String,
    },
    FlushLinks {
        to: BTreeSet<NodeId>,
        done: oneshot::Sender<Result<(), Gone>>,
    },
    DeadLetters(oneshot::Sender<(u64, Vec<DeadLetter>)>),
    Stats(oneshot::Sender<Stats>),
    Alive(oneshot::Sender<Vec<ActorRecord>>),
    Capabilities(String),
    ServeUntil(Option<Instant>),
    Close(oneshot::Sender<()>),
}

/// The router's ends of a link's channels.
#[derive(Debug)]
pub(crate) struct NewLink {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) same_user: bool,
    pub(crate) outgoing: mpsc::Sender<Vec<u8>>,
    pub(crate) incoming: mpsc::Receiver<Vec<u8>>,
}
