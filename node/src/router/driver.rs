//! The router's thread: accepts, reads and writes connections, feeds the machine.

use std::io;
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use super::agent::AgentEvent;
use super::config::{Config, Listeners};
use super::handle::{CommandSender, RouterHandle};

/// The running thread.
#[derive(Debug)]
pub struct Router {
    thread: JoinHandle<()>,
}

impl Router {
    /// Waits until the thread has ended, which [`RouterHandle::close`] makes it do.
    pub fn join(self) {
        drop(self.thread.join());
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
    let (commands, queue) = mpsc::unbounded_channel();
    let handle = RouterHandle::new(CommandSender(commands));
    let thread = std::thread::Builder::new()
        .name("router".to_owned())
        .spawn(move || drop((config, listeners, events, queue)))?;
    Ok((handle, Router { thread }))
}
