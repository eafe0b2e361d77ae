//! The router's thread: accepts, reads and writes connections, feeds the machine.
//!
//! One OS thread with a runtime of its own; every task on it shares the machine without a lock.
//! Not here: any decision about a message (`core`).

use std::io;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use protocol::ActorId;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use super::agent::AgentEvent;
use super::config::{Config, Listeners};
use super::core::{Event, PartyId};
use super::handle::{Command, CommandSender, NewLink, RouterHandle};

mod shared;
use shared::Shared;

mod greeting;
use greeting::Door;

mod line;
mod linger;

mod link;
use link::LinkLine;

mod cut;

/// The running thread.
#[derive(Debug)]
#[must_use = "the thread is joined after `RouterHandle::close`"]
pub struct Router {
    thread: JoinHandle<()>,
}

impl Router {
    /// Waits until the thread has ended, which [`RouterHandle::close`] makes it do, and so does
    /// the end of all handles. Blocks.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the router's thread has panicked");
        }
    }

    /// Whether the thread has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Starts the router on a thread of its own.
///
/// # Errors
/// When the thread, its runtime or the listeners cannot be set up.
pub fn start(
    config: Config,
    listeners: Listeners,
    events: mpsc::UnboundedSender<AgentEvent>,
) -> io::Result<(RouterHandle, Router)> {
    listeners.control.set_nonblocking(true)?;
    listeners.workers.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (commands, queue) = mpsc::unbounded_channel();
    let weak = commands.downgrade();
    let thread = std::thread::Builder::new()
        .name("router".to_owned())
        .spawn(move || {
            let local = LocalSet::new();
            let shared = Rc::new(Shared::new(config, events, weak));
            if let Err(error) = local.block_on(&runtime, run(shared, listeners, queue)) {
                tracing::error!(%error, "the router has ended");
            }
        })?;
    Ok((
        RouterHandle::new(CommandSender(commands)),
        Router { thread },
    ))
}

async fn run(
    shared: Rc<Shared>,
    listeners: Listeners,
    mut queue: mpsc::UnboundedReceiver<Command>,
) -> io::Result<()> {
    let control = UnixListener::from_std(listeners.control)?;
    let workers = UnixListener::from_std(listeners.workers)?;
    let closed = tokio::select! {
        closed = obey(&shared, &mut queue) => closed,
        () = accept(&shared, &control, Door::Control) => None,
        () = accept(&shared, &workers, Door::Workers) => None,
        () = tell_time(&shared) => None,
        () = shared.linger.run() => None,
    };
    close(&shared).await;
    if let Some(done) = closed {
        let _ = done.send(());
    }
    Ok(())
}

/// Carries out commands until one says close, or nobody is left who could.
async fn obey(
    shared: &Rc<Shared>,
    queue: &mut mpsc::UnboundedReceiver<Command>,
) -> Option<oneshot::Sender<()>> {
    let mut batch = Vec::with_capacity(COMMANDS_AT_ONCE);
    while queue.recv_many(&mut batch, COMMANDS_AT_ONCE).await > 0 {
        for command in batch.drain(..) {
            if let Command::Close(done) = command {
                return Some(done);
            }
            carry_out(shared, command);
        }
        shared.settle();
    }
    None
}

const COMMANDS_AT_ONCE: usize = 64;

fn carry_out(shared: &Rc<Shared>, command: Command) {
    let (event, done) = match command {
        Command::Bind {
            role,
            actor,
            reason,
            done,
        } => (
            Event::Bind {
                role,
                actor,
                reason,
            },
            done,
        ),
        Command::Hold { roles, limit, done } => {
            let limit_ms = limit.map(|limit| limit.as_millis() as u64);
            (Event::Hold { roles, limit_ms }, done)
        }
        Command::Release { roles, done } => (Event::Release { roles }, done),
        Command::Forget { roles, done } => (Event::Forget { roles }, done),
        command => return carry_out_unanswered(shared, command),
    };
    shared.handle(event);
    // Who asked may have stopped waiting; it is done all the same.
    let _ = done.send(());
}

fn carry_out_unanswered(shared: &Rc<Shared>, command: Command) {
    let event = match command {
        Command::Expect(record) => Event::Expect(record),
        Command::Literal { target, literal } => Event::Literal { target, literal },
        Command::System { target, message } => Event::System { target, message },
        Command::Ended {
            actor,
            reason,
            done,
        } => return end(shared, actor, Event::Ended { actor, reason }, done),
        Command::FailedCreation { actor, reason } => {
            return end(shared, actor, Event::FailedCreation { actor, reason }, None);
        }
        Command::Taken { meta, n_bytes } => Event::Taken { meta, n_bytes },
        Command::Marker { actor, done } => Event::Marker {
            actor,
            ticket: shared.ticket(done),
        },
        Command::Idle { actor, done } => Event::Idle {
            actor,
            ticket: shared.ticket(done),
        },
        Command::Respond {
            connection,
            sequence,
            response,
        } => Event::Respond {
            to: PartyId::from_number(connection),
            sequence,
            response,
        },
        Command::ServeUntil(until) => Event::ServeUntil(until.map(|at| shared.moment_of(at))),
        command => return carry_out_far(shared, command),
    };
    shared.handle(event);
}

fn carry_out_far(shared: &Rc<Shared>, command: Command) {
    let event = match command {
        Command::Peers(peers) => Event::Peers(peers),
        Command::Place { actor, node } => Event::Place { actor, node },
        Command::ExpectRemote { record, node } => Event::ExpectRemote { record, node },
        Command::Located { actor, node } => Event::Located { actor, node },
        Command::LinkUp(link) => return link_up(shared, *link),
        Command::LinkDown { node } => {
            shared.close_link(node);
            Event::LinkDown { node }
        }
        Command::LinkLost { node, run, reason } => {
            if !shared.core.borrow().links_to_other_run(node, run) {
                shared.close_link(node);
            }
            Event::LinkLost { node, run, reason }
        }
        Command::FlushLinks { to, done } => Event::FlushLinks {
            to,
            ticket: shared.ticket(done),
        },
        command => return answer(shared, command),
    };
    shared.handle(event);
}

fn link_up(shared: &Rc<Shared>, link: NewLink) {
    let NewLink {
        node,
        incarnation,
        same_user,
        outgoing,
        incoming,
    } = link;
    shared.close_link(node);
    shared.handle(Event::LinkUp {
        node,
        incarnation,
        same_user,
    });
    let line = Rc::new(LinkLine::new(outgoing));
    shared.links.borrow_mut().insert(node, Rc::clone(&line));
    tokio::task::spawn_local(link::serve(Rc::clone(shared), node, line, incoming));
}

/// A process has ended: what it wrote before is read first.
fn end(
    shared: &Rc<Shared>,
    actor: ActorId,
    event: Event<'static>,
    done: Option<oneshot::Sender<()>>,
) {
    let id = shared.core.borrow().connection_of(actor);
    let line = id.and_then(|id| shared.lines.borrow().get(&id).cloned());
    // Who asked may have stopped waiting.
    let tell = || {
        let _gone = done.map(|done| done.send(()));
    };
    let Some(line) = line else {
        shared.handle(event);
        return tell();
    };
    let shared = Rc::clone(shared);
    tokio::task::spawn_local(async move {
        line.read_out().await;
        shared.handle(event);
        shared.settle();
        tell();
    });
}

fn answer(shared: &Shared, command: Command) {
    let core = shared.core.borrow();
    match command {
        Command::DeadLetters(done) => drop(done.send(core.dead_letters())),
        Command::Stats(done) => drop(done.send(core.stats())),
        Command::Alive(done) => drop(done.send(core.alive())),
        Command::Capabilities(text) => drop(shared.capabilities.replace(text)),
        _ => {}
    }
}

async fn accept(shared: &Rc<Shared>, listener: &UnixListener, door: Door) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if shared.comes() => {
                let shared = Rc::clone(shared);
                tokio::task::spawn_local(greeting::greet(shared, stream, door));
            }
            Ok(_) => tracing::warn!(?door, "connection refused: too many are at their hello"),
            Err(error) => {
                tracing::warn!(?door, %error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// After a failed accept, mostly for want of descriptors: trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

async fn tell_time(shared: &Shared) {
    loop {
        match shared.due() {
            None => shared.timer.notified().await,
            Some(due) => tokio::select! {
                () = shared.timer.notified() => {}
                () = tokio::time::sleep_until(due.into()) => {
                    shared.handle(Event::Timeout);
                    shared.settle();
                }
            },
        }
    }
}

/// Tells everyone, and writes what is written, within a time.
async fn close(shared: &Shared) {
    shared.handle(Event::Close);
    shared.settle();
    let lines: Vec<_> = shared
        .lines
        .borrow()
        .iter()
        .map(|(id, line)| (*id, Rc::clone(line)))
        .collect();
    let limit = Duration::from_millis(shared.limits.closing_ms);
    let all = async {
        for (id, line) in lines {
            line.write_all(shared, id).await;
        }
    };
    if tokio::time::timeout(limit, all).await.is_err() {
        tracing::warn!("closed with bytes unwritten: somebody does not read");
    }
}
