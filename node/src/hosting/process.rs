//! Processes that this agent answers for: their ends, and the zombies that fall to it.
//!
//! The agent is child subreaper: what loses its parent becomes its child and is reaped here.
//! Processes reported by a forkserver are *followed*: whoever learns of the status first, the
//! reaper or a `child_ended`, settles it. A zombie that nobody follows is left for a while,
//! because it may be a `std::process::Child` whose owner is about to wait for it.
//! Not here: pidfds of workers (`worker`), how forkservers are started (`spawner`).

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use protocol::control::{ActorFailure, FailureCode};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// How followed processes ended.
#[derive(Debug, Default)]
pub(crate) struct Fates {
    /// Locked for single look-ups only.
    followed: Mutex<HashMap<u32, watch::Sender<Option<i32>>>>,
}

/// Receives the status of one process: exit code, or minus the signal.
pub(crate) type Fate = watch::Receiver<Option<i32>>;

impl Fates {
    /// Follows a process from now on, or once more.
    pub(crate) fn follow(&self, pid: u32) -> Fate {
        let mut followed = self.lock();
        let entry = followed.entry(pid);
        entry
            .or_insert_with(|| watch::Sender::new(None))
            .subscribe()
    }

    /// Notes how a process ended; false when nobody follows it.
    pub(crate) fn settle(&self, pid: u32, status: i32) -> bool {
        let followed = self.lock();
        let Some(fate) = followed.get(&pid) else {
            return false;
        };
        fate.send_if_modified(|known| {
            let first = known.is_none();
            known.get_or_insert(status);
            first
        });
        true
    }

    /// Follows a process no longer.
    pub(crate) fn forget(&self, pid: u32) {
        self.lock().remove(&pid);
    }

    fn knows(&self, pid: u32) -> bool {
        self.lock().contains_key(&pid)
    }

    fn followed(&self) -> impl Iterator<Item = u32> + use<> {
        let pids: Vec<u32> = self.lock().keys().copied().collect();
        pids.into_iter()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u32, watch::Sender<Option<i32>>>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The status, if it is known within `limit`.
pub(crate) async fn known_within(fate: &mut Fate, limit: Duration) -> Option<i32> {
    let known = tokio::time::timeout(limit, fate.wait_for(Option::is_some)).await;
    known.ok().and_then(Result::ok).and_then(|status| *status)
}

/// Makes the agent the reaper of everything below it. The task ends with the last `Fates`.
pub(crate) fn start_reaper() -> io::Result<Arc<Fates>> {
    nix::sys::prctl::set_child_subreaper(true)?;
    let fates = Arc::new(Fates::default());
    let reaper = Reaper {
        fates: Arc::downgrade(&fates),
        unclaimed: HashMap::new(),
    };
    tokio::spawn(reaper.run(signal(SignalKind::child())?));
    Ok(fates)
}

struct Reaper {
    fates: std::sync::Weak<Fates>,
    /// Zombies that nobody follows, with the time when they were first seen.
    unclaimed: HashMap<u32, Instant>,
}

impl Reaper {
    async fn run(mut self, mut deaths: Signal) {
        while let Some(fates) = self.fates.upgrade() {
            let pause = if self.reap(&fates) { RECHECK } else { IDLE };
            drop(fates);
            let _ = tokio::time::timeout(pause, deaths.recv()).await;
        }
    }

    /// Reaps what may be reaped; true when a zombie is left for its owner.
    fn reap(&mut self, fates: &Fates) -> bool {
        let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while let Some((pid, _)) = ended(Id::All, peek) {
            if !fates.knows(pid) && !self.is_unclaimed(pid) {
                // The kernel shows one zombie at a time, and others wait behind this one.
                fates.followed().for_each(|one| collect(fates, one));
                return true;
            }
            collect(fates, pid);
            self.unclaimed.remove(&pid);
        }
        self.unclaimed.clear();
        false
    }

    fn is_unclaimed(&mut self, pid: u32) -> bool {
        let first_seen = self.unclaimed.entry(pid).or_insert_with(Instant::now);
        first_seen.elapsed() > CLAIM_GRACE
    }
}

/// Reaps this process if it is a child that has ended.
fn collect(fates: &Fates, pid: u32) {
    let one = Id::Pid(Pid::from_raw(pid.cast_signed()));
    if let Some((pid, status)) = ended(one, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG) {
        fates.settle(pid, status);
    }
}

/// The next process that has ended, and its status.
fn ended(which: Id<'_>, flags: WaitPidFlag) -> Option<(u32, i32)> {
    match waitid(which, flags) {
        Ok(WaitStatus::Exited(pid, code)) => Some((pid.as_raw().cast_unsigned(), code)),
        Ok(WaitStatus::Signaled(pid, signal, _)) => {
            Some((pid.as_raw().cast_unsigned(), -(signal as i32)))
        }
        _ => None,
    }
}

/// A status in words: `exit code 3`, `signal SIGKILL`.
pub(crate) fn in_words(status: Option<i32>) -> String {
    match status {
        None => String::from("an unknown status"),
        Some(code) if code >= 0 => format!("exit code {code}"),
        Some(negative) => match nix::sys::signal::Signal::try_from(-negative) {
            Ok(signal) => format!("signal {signal}"),
            Err(_) => format!("signal {}", -negative),
        },
    }
}

/// The failure of everything that is asked for while the node stops.
pub(crate) fn going_down() -> ActorFailure {
    failure(FailureCode::Failure, "the node is shutting down")
}

/// A failure without a traceback.
pub(crate) fn failure(code: FailureCode, message: impl Into<String>) -> ActorFailure {
    ActorFailure {
        code,
        message: message.into(),
        traceback: None,
    }
}

/// How long a zombie is left for the owner of a `std::process::Child`.
const CLAIM_GRACE: Duration = Duration::from_millis(500);

/// Pause while a zombie is left for its owner.
const RECHECK: Duration = Duration::from_millis(100);

/// Pause otherwise, so that the task notices when hosting has gone.
const IDLE: Duration = Duration::from_secs(5);
