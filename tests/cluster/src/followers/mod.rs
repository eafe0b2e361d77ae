//! Many members that do not vote, in this process: each with a certificate, an endpoint, a session
//! and a view of its own, and nothing else of a node.
//!
//! They speak to a real leader as real members do (`node`'s `join` and `session`), and answer its
//! steps as soon as their view has come so far. They have no router, disk or Python: a package
//! counts as held at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use protocol::NodeId;
use protocol::registry::State;
use protocol::view::Wish;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use transport::token::JoinToken;

mod follower;
use follower::Follower;

/// Simulated members, until they are dropped.
#[derive(Debug)]
pub struct Followers {
    // Taken when it is dropped.
    runtime: Option<Runtime>,
    all: Vec<Arc<Follower>>,
    tally: Arc<Tally>,
    stop: CancellationToken,
    leader: SocketAddr,
}

/// What all of them together have seen and done.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Those whose last heartbeat was acknowledged in a session that goes on.
    served: watch::Sender<usize>,
    stream_bytes: AtomicU64,
    documents: AtomicU64,
    whole_views: AtomicU64,
    sessions: AtomicU64,
    lost: AtomicU64,
    /// The steps that ask for an index: how they were asked and answered.
    applied: Mutex<BTreeMap<u64, Asked>>,
    ended: Mutex<BTreeMap<String, u64>>,
}

/// One step that all members were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// When the first was asked.
    pub first: Instant,
    /// When the last has answered.
    pub last: Instant,
    /// How many have answered.
    pub answers: usize,
}

/// What was counted so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Bytes of the registry's stream.
    pub stream_bytes: u64,
    /// Its documents.
    pub documents: u64,
    /// Those of them that were a whole view.
    pub whole_views: u64,
    /// Sessions that began.
    pub sessions: u64,
    /// Sessions by which a member heard that it had counted as lost.
    pub lost: u64,
}

impl Followers {
    /// So many members that join by this token, `capabilities` a dictionary literal; each wishes
    /// to know of what `wishes` says for its number.
    ///
    /// # Panics
    /// When one cannot join.
    #[must_use]
    pub fn join(
        count: usize,
        (leader, token): (SocketAddr, &str),
        capabilities: &str,
        wishes: impl Fn(usize) -> Vec<Wish>,
    ) -> Self {
        let token: Arc<JoinToken> = Arc::new(token.parse().unwrap());
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()
            .unwrap();
        let tally = Arc::new(Tally::default());
        let all: Vec<_> = runtime.block_on(async {
            (0..count)
                .map(|number| {
                    let tally = Arc::clone(&tally);
                    Arc::new(Follower::new(number, capabilities, wishes(number), tally))
                })
                .collect()
        });
        let followers = Self {
            runtime: Some(runtime),
            all,
            tally,
            stop: CancellationToken::new(),
            leader,
        };
        followers.let_in(&token);
        followers
    }

    /// Has each join and begin its session, some at a time.
    fn let_in(&self, token: &Arc<JoinToken>) {
        let runtime = self.runtime.as_ref().unwrap();
        runtime.block_on(async {
            let turns = Arc::new(Semaphore::new(JOINING_AT_ONCE));
            let mut joining = JoinSet::new();
            for follower in &self.all {
                let (follower, token) = (Arc::clone(follower), Arc::clone(token));
                let (turns, leader) = (Arc::clone(&turns), self.leader);
                let stop = self.stop.clone();
                joining.spawn(async move {
                    let turn = turns.acquire().await.unwrap();
                    follower.join(leader, &token).await;
                    tokio::spawn(stop.run_until_cancelled_owned(follower.run(leader)));
                    drop(turn);
                });
            }
            while let Some(joined) = joining.join_next().await {
                joined.unwrap();
            }
        });
    }

    /// Waits until so many are served, and says whether they were within the limit.
    ///
    /// # Panics
    /// Never; the runtime is there.
    #[must_use]
    pub fn are_served(&self, count: usize, limit: Duration) -> bool {
        let mut served = self.tally.served.subscribe();
        let runtime = self.runtime.as_ref().unwrap();
        runtime.block_on(async {
            let waiting = served.wait_for(|served| *served == count);
            tokio::time::timeout(limit, waiting).await.is_ok()
        })
    }

    /// How many are served now.
    #[must_use]
    pub fn served(&self) -> usize {
        *self.tally.served.borrow()
    }

    /// Waits until the view of each is as it should be; gives the first whose is not.
    ///
    /// # Errors
    /// Its number, and its view.
    ///
    /// # Panics
    /// Never; the runtime is there.
    pub fn until_each(
        &self,
        limit: Duration,
        holds: impl Fn(usize, u64, &State) -> bool,
    ) -> Result<(), Box<(usize, State)>> {
        let until = tokio::time::Instant::now() + limit;
        let runtime = self.runtime.as_ref().unwrap();
        for (number, follower) in self.all.iter().enumerate() {
            let waiting = follower.until(|index, state| holds(number, index, state));
            let waited =
                runtime.block_on(async { tokio::time::timeout_at(until, waiting).await.is_ok() });
            if !waited {
                return Err(Box::new((number, follower.view())));
            }
        }
        Ok(())
    }

    /// The node of each, by its number.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.all.iter().map(|follower| follower.me()).collect()
    }

    /// From now on one of them wishes to know of this as well.
    ///
    /// # Panics
    /// When there is no such member.
    pub fn wish(&self, number: usize, wish: Wish) {
        self.all[number].wish(wish);
    }

    /// How the steps that ask for an index went, by index.
    #[must_use]
    pub fn applied(&self) -> BTreeMap<u64, Asked> {
        lock(&self.tally.applied).clone()
    }

    /// Why sessions ended, and how often.
    #[must_use]
    pub fn ended(&self) -> BTreeMap<String, u64> {
        lock(&self.tally.ended).clone()
    }

    /// What was counted so far.
    #[must_use]
    pub fn counted(&self) -> Counted {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted {
            stream_bytes: of(&self.tally.stream_bytes),
            documents: of(&self.tally.documents),
            whole_views: of(&self.tally.whole_views),
            sessions: of(&self.tally.sessions),
            lost: of(&self.tally.lost),
        }
    }
}

impl Drop for Followers {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Tally {
    fn serve(&self, is_served: bool) {
        self.served.send_modify(|served| match is_served {
            true => *served += 1,
            false => *served -= 1,
        });
    }

    fn answered(&self, index: u64, asked: Instant) {
        let now = Instant::now();
        let mut applied = lock(&self.applied);
        let entry = applied.entry(index).or_insert(Asked {
            first: asked,
            last: now,
            answers: 0,
        });
        entry.first = entry.first.min(asked);
        entry.last = now;
        entry.answers += 1;
    }

    fn end(&self, reason: String) {
        *lock(&self.ended).entry(reason).or_default() += 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Threads that all members share.
const THREADS: usize = 2;

/// Members that join at a time, as an operator's tool would have them.
const JOINING_AT_ONCE: usize = 32;
