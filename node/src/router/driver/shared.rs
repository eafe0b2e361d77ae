//! What the tasks of the router's thread share: the machine, the connections, the way to the
//! agent. One thread, so cells instead of locks; no borrow is held across an await.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use protocol::{Incarnation, NodeId};
use tokio::sync::{Notify, mpsc, oneshot};

use super::line::{Line, Written};
use super::linger::Linger;
use super::link::LinkLine;
use crate::router::agent::{AgentEvent, Gone, Responder, Taken};
use crate::router::config::{Authorize, Config, Limits, Serials};
use crate::router::core::{Core, Effect, Event, IdHash, PartyId};
use crate::router::handle::{Command, CommandSender};
use crate::router::moment::Moment;

pub(super) struct Shared {
    pub(super) core: RefCell<Core>,
    pub(super) lines: RefCell<HashMap<PartyId, Rc<Line>, IdHash>>,
    pub(super) links: RefCell<HashMap<NodeId, Rc<LinkLine>>>,
    pub(super) scratch: RefCell<Vec<u8>>,
    pub(super) limits: Limits,
    pub(super) incarnation: Incarnation,
    pub(super) node: NodeId,
    pub(super) node_name: String,
    pub(super) version: String,
    pub(super) capabilities: RefCell<String>,
    pub(super) serials: Arc<Serials>,
    pub(super) authorize: Authorize,
    pub(super) neighbours: bool,
    pub(super) timer: Notify,
    pub(super) linger: Linger,
    armed: Cell<Option<Moment>>,
    tickets: RefCell<HashMap<u64, oneshot::Sender<Result<(), Gone>>>>,
    last_ticket: Cell<u64>,
    greeting: Cell<usize>,
    started: Instant,
    events: mpsc::UnboundedSender<AgentEvent>,
    /// Weak: the router ends when the agent has dropped its handles.
    commands: mpsc::WeakUnboundedSender<Command>,
}

impl Shared {
    pub(super) fn new(
        config: Config,
        events: mpsc::UnboundedSender<AgentEvent>,
        commands: mpsc::WeakUnboundedSender<Command>,
    ) -> Self {
        let key = RandomState::new().build_hasher().finish();
        let epoch_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |passed| passed.as_millis() as u64);
        let limits = config.limits;
        let mut core = Core::new(
            (config.incarnation, config.node),
            limits.clone(),
            key,
            epoch_ms,
        );
        if config.neighbours {
            core.has_neighbours();
        }
        Self {
            core: RefCell::new(core),
            links: RefCell::new(HashMap::new()),
            lines: RefCell::new(HashMap::with_hasher(IdHash { key })),
            scratch: RefCell::new(Vec::new()),
            limits,
            incarnation: config.incarnation,
            node: config.node,
            node_name: config.node_name,
            version: config.version,
            capabilities: RefCell::new(config.capabilities),
            serials: config.serials,
            authorize: config.authorize,
            neighbours: config.neighbours,
            timer: Notify::new(),
            linger: Linger::default(),
            armed: Cell::new(None),
            tickets: RefCell::new(HashMap::new()),
            last_ticket: Cell::new(0),
            greeting: Cell::new(0),
            started: Instant::now(),
            events,
            commands,
        }
    }

    /// Tells the machine what happened; [`Self::settle`] does what it wants.
    pub(super) fn handle(&self, event: Event<'_>) {
        let now = self.now();
        self.core.borrow_mut().handle_event(now, event);
    }

    pub(super) fn now(&self) -> Moment {
        Moment(self.started.elapsed().as_millis() as u64)
    }

    pub(super) fn moment_of(&self, at: Instant) -> Moment {
        Moment(at.saturating_duration_since(self.started).as_millis() as u64)
    }

    /// When the machine wants to be told of the time, as an instant.
    pub(super) fn due(&self) -> Option<Instant> {
        let due = self.core.borrow().poll_timeout();
        self.armed.set(due);
        due.map(|moment| self.started + std::time::Duration::from_millis(moment.0))
    }

    /// Does all that the machine wants.
    pub(super) fn settle(&self) {
        self.linger.moved();
        loop {
            let effect = self.core.borrow_mut().poll_effect();
            let Some(effect) = effect else { break };
            self.carry_out(effect);
        }
        if self.core.borrow().poll_timeout() != self.armed.get() {
            self.timer.notify_one();
        }
    }

    fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::Flush(id) => self.flush(id),
            Effect::FlushLink(node) => {
                let line = self.links.borrow().get(&node).cloned();
                if let Some(line) = line {
                    line.write(self, node);
                }
            }
            Effect::CloseLink(node) => self.close_link(node),
            Effect::Close { party, reason } => {
                let line = self.lines.borrow_mut().remove(&party);
                if let Some(line) = line {
                    tracing::debug!(party = party.number(), %reason, "connection closed");
                    line.close();
                }
            }
            Effect::Tell(event) => self.tell(event),
            Effect::Request {
                from,
                caller,
                sequence,
                request,
            } => {
                let Some(commands) = self.commands() else {
                    return;
                };
                let respond = Responder::new(commands, from.number(), sequence);
                self.tell(AgentEvent::Request {
                    from: caller,
                    sequence,
                    request: *request,
                    respond,
                });
            }
            Effect::Message { meta, from, frame } => {
                let Some(commands) = self.commands() else {
                    return;
                };
                let taken = Taken::new(commands, meta, frame.bytes());
                self.tell(AgentEvent::Message { from, frame, taken });
            }
            Effect::Ticket { ticket, stands } => self.end_ticket(ticket, stands),
            Effect::Warn(text) => tracing::warn!("{text}"),
        }
    }

    fn flush(&self, id: PartyId) {
        let line = self.lines.borrow().get(&id).cloned();
        let Some(line) = line else { return };
        match line.write(self, id) {
            Written::All => {}
            Written::SocketFull => line.write_later(),
            // What it wrote before it ended is read all the same.
            Written::Failed => line.end_when_read(),
        }
    }

    /// Lets a link go.
    pub(super) fn close_link(&self, node: NodeId) {
        let line = self.links.borrow_mut().remove(&node);
        if let Some(line) = line {
            line.close();
        }
    }

    /// The link has ended by itself; whether it was the node's link until now.
    pub(super) fn forget_link(&self, node: NodeId, line: &Rc<LinkLine>) -> bool {
        let mut links = self.links.borrow_mut();
        let current = links.get(&node).is_some_and(|held| Rc::ptr_eq(held, line));
        if current {
            links.remove(&node);
        }
        current
    }

    /// Tells the agent; one that is gone does not care.
    pub(super) fn tell(&self, event: AgentEvent) {
        drop(self.events.send(event));
    }

    /// Remembers who waits, under a number for the machine.
    pub(super) fn ticket(&self, done: oneshot::Sender<Result<(), Gone>>) -> u64 {
        let ticket = self.last_ticket.get() + 1;
        self.last_ticket.set(ticket);
        self.tickets.borrow_mut().insert(ticket, done);
        ticket
    }

    fn end_ticket(&self, ticket: u64, stands: bool) {
        if let Some(done) = self.tickets.borrow_mut().remove(&ticket) {
            let outcome = if stands { Ok(()) } else { Err(Gone) };
            // Who waited may have lost interest.
            let _ = done.send(outcome);
        }
    }

    /// A connection comes that has to say Hello; false: too many do already.
    pub(super) fn comes(&self) -> bool {
        let n_greeting = self.greeting.get();
        if n_greeting >= self.limits.greeting_max {
            return false;
        }
        self.greeting.set(n_greeting + 1);
        true
    }

    /// It has said Hello, or never will.
    pub(super) fn greeted(&self) {
        self.greeting.set(self.greeting.get().saturating_sub(1));
    }

    fn commands(&self) -> Option<CommandSender> {
        self.commands.upgrade().map(CommandSender)
    }
}
