//! One actor's process, and how its end is noticed.
//!
//! A pidfd tells of the end however it came; the status comes from the forkserver, or from the
//! reaper when the forkserver has gone. Whichever is first counts.
//! Not here: what happens then (`workers`).

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use protocol::ActorId;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::hosting::forkservers::Serving;
use crate::hosting::link::Link;
use crate::hosting::output::Output;
use crate::hosting::process::{Fate, known_within};
use crate::hosting::resources;

/// A worker from its fork to its end.
#[derive(Debug)]
pub(crate) struct Worker {
    actor: ActorId,
    pid: u32,
    token: String,
    output: Arc<Output>,
    /// Held so that the forkserver can still say how its worker ended.
    forkserver: Arc<Link>,
    /// Keeps the forkserver from being idle.
    _user: Arc<()>,
    /// `None`: it had ended before this could be opened.
    handle: Option<AsyncFd<OwnedFd>>,
}

impl Worker {
    /// A process that a forkserver has just reported.
    pub(crate) fn new(
        actor: ActorId,
        pid: u32,
        token: String,
        output: Arc<Output>,
        forkserver: &Serving,
    ) -> Self {
        Self {
            actor,
            pid,
            token,
            output,
            handle: open(pid, forkserver.link.pid()),
            forkserver: Arc::clone(&forkserver.link),
            _user: forkserver.user(),
        }
    }

    pub(crate) fn actor(&self) -> ActorId {
        self.actor
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn output(&self) -> &Arc<Output> {
        &self.output
    }

    /// Kills it, and its process group once it has one.
    pub(crate) fn kill(&self) {
        resources::kill_group(self.pid);
        self.signal(Signal::KILL);
    }

    /// Sends it a signal, and surely no other process.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        let sent = self
            .handle
            .as_ref()
            .map(|handle| pidfd_send_signal(handle, signal));
        matches!(sent, Some(Ok(())))
    }

    /// Resolves when the process has ended, with its status if that becomes known.
    pub(crate) async fn ended(&self, fate: &mut Fate) -> Option<i32> {
        let mut settled = fate.clone();
        tokio::select! {
            () = self.gone() => {}
            _ = settled.wait_for(Option::is_some) => {}
            () = self.orphaned() => self.kill(),
        }
        if let Some(handle) = &self.handle {
            // Killed as an orphan: the end is near, but it is not here yet.
            let _ = tokio::time::timeout(STATUS_LIMIT, handle.readable()).await;
        }
        known_within(fate, STATUS_LIMIT).await
    }

    async fn gone(&self) {
        if let Some(handle) = &self.handle {
            let _ = handle.readable().await;
        }
    }

    /// Its forkserver has gone, and the kernel did not take the worker along.
    async fn orphaned(&self) {
        self.forkserver.closed().await;
        tokio::time::sleep(ORPHAN_GRACE).await;
    }
}

/// A handle to the process, if it is still the one that `forkserver` forked.
fn open(pid: u32, forkserver: u32) -> Option<AsyncFd<OwnedFd>> {
    let handle = pidfd_open(resources::raw(pid)?, PidfdFlags::empty()).ok()?;
    let parent = parent_of(pid)?;
    let is_ours = parent == forkserver || parent == std::process::id();
    watch(handle).ok().filter(|_| is_ours)
}

#[expect(
    deprecated,
    reason = "sound for an OwnedFd; what replaces it is unsafe for any type"
)]
fn watch(handle: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(handle, Interest::READABLE)
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything; the state and the parent follow it.
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(1)?.parse().ok()
}

/// How long after the end its status may come.
const STATUS_LIMIT: Duration = Duration::from_millis(500);

/// How long the kernel may take to end the workers of a forkserver that died.
const ORPHAN_GRACE: Duration = Duration::from_millis(500);
