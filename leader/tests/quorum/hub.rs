//! Voters on real files, and the hub between them, whose lines can be cut in each direction.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use leader::{CallFault, Config, Consensus, Identity, Peers, RaftId, Sender, Start, Voter};
use protocol::registry::{Command, KeyDigest, MemberCommand};
use protocol::{ConventionId, NodeId, Stamp};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

pub(crate) const CONVENTION: ConventionId = ConventionId([5; 16]);

/// Longest wait for a condition; virtual time where the test's clock is paused.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a line does to what is sent along it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It says at once that nobody is there.
    Cut,
    /// It says nothing, ever.
    Silent,
    /// It is slow.
    Delayed(Duration),
    /// Everything arrives twice.
    Twice,
}

#[derive(Default)]
struct Lines {
    plugged: BTreeMap<String, Weak<Consensus>>,
    faults: BTreeMap<(String, String), Fault>,
    refusals: BTreeMap<(String, String), String>,
    senders: BTreeMap<String, Sender>,
}

#[derive(Clone, Default)]
pub(crate) struct Hub(Arc<Mutex<Lines>>);

/// One voter's end of the hub.
#[derive(Clone)]
pub(crate) struct Plug {
    hub: Hub,
    from: String,
    sender: Sender,
}

impl Hub {
    fn fault(&self, from: &str, to: &str) -> Option<Fault> {
        let lines = self.0.lock().unwrap();
        let found = lines.faults.get(&(from.to_owned(), to.to_owned()));
        found.copied()
    }

    /// Sets what happens to everything from `from` to `to`; answers travel the other direction.
    pub(crate) fn set(&self, from: u64, to: u64, fault: Option<Fault>) {
        let key = (address(from), address(to));
        let mut lines = self.0.lock().unwrap();
        match fault {
            Some(fault) => lines.faults.insert(key, fault),
            None => lines.faults.remove(&key),
        };
    }

    pub(crate) fn set_both(&self, one: u64, other: u64, fault: Option<Fault>) {
        self.set(one, other, fault);
        self.set(other, one, fault);
    }

    /// How `to` last refused a message of `from`, once it did.
    pub(crate) async fn refusal(&self, from: u64, to: u64) -> String {
        let key = (address(from), address(to));
        let mut found = None;
        wait("a message is refused", || {
            found = self.0.lock().unwrap().refusals.get(&key).cloned();
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// What the hub says from now on of who sends what comes from `raft`.
    pub(crate) fn say(&self, raft: u64, sender: Sender) {
        let mut lines = self.0.lock().unwrap();
        lines.senders.insert(address(raft), sender);
    }

    fn sender(&self, from: &str) -> Option<Sender> {
        self.0.lock().unwrap().senders.get(from).copied()
    }

    fn reach(&self, address: &str) -> Option<Arc<Consensus>> {
        self.0.lock().unwrap().plugged.get(address)?.upgrade()
    }
}

impl Peers for Plug {
    async fn call(
        &self,
        voter: &Voter,
        message: Vec<u8>,
        _within: Duration,
    ) -> Result<Vec<u8>, CallFault> {
        let to = &voter.address;
        let unreachable = || CallFault::Unreachable(voter.clone());
        let mut times = 1;
        match self.hub.fault(&self.from, to) {
            Some(Fault::Cut) => return Err(unreachable()),
            Some(Fault::Silent) => std::future::pending().await,
            Some(Fault::Delayed(time)) => sleep(time).await,
            Some(Fault::Twice) => times = 2,
            None => {}
        }
        let consensus = self.hub.reach(to).ok_or_else(unreachable)?;
        let sender = self.hub.sender(&self.from).unwrap_or(self.sender);
        let mut answer = consensus.answer(sender, &message).await;
        for _ in 1..times {
            answer = consensus.answer(sender, &message).await;
        }
        drop(consensus);
        match self.hub.fault(to, &self.from) {
            Some(Fault::Cut | Fault::Silent) => std::future::pending().await,
            Some(Fault::Delayed(time)) => sleep(time).await,
            Some(Fault::Twice) | None => {}
        }
        answer.map_err(|fault| {
            let text = fault.to_string();
            let key = (self.from.clone(), to.clone());
            let mut lines = self.hub.0.lock().unwrap();
            lines.refusals.insert(key, text.clone());
            CallFault::Refused(text)
        })
    }
}

/// Several voters, the hub between them and the folder with their files.
pub(crate) struct Group {
    pub(crate) hub: Hub,
    pub(crate) folder: TempDir,
    pub(crate) open: BTreeMap<u64, Arc<Consensus>>,
}

impl Group {
    /// Voter 1 founds the convention; 2 and up to `count` come in.
    pub(crate) async fn of(count: u64) -> Self {
        let mut group = Self {
            hub: Hub::default(),
            folder: tempfile::tempdir().unwrap(),
            open: BTreeMap::new(),
        };
        group.start(1, Start::Found(CONVENTION)).await;
        group.grow(2..=count).await;
        group
    }

    /// Brings `raft_ids` in, in one change.
    pub(crate) async fn grow(&mut self, raft_ids: impl Iterator<Item = u64>) {
        let mut wanted = BTreeSet::from([RaftId(1)]);
        for raft in raft_ids {
            self.learn(raft).await;
            wanted.insert(RaftId(raft));
        }
        if wanted.len() > 1 {
            self.open[&1].change_voters(wanted).await.unwrap();
        }
    }

    /// Starts `raft` and waits until the leader, 1, has given it the log.
    pub(crate) async fn learn(&mut self, raft: u64) {
        self.start(raft, Start::Join(identity(raft))).await;
        let first = &self.open[&1];
        first.add_learner(RaftId(raft), voter(raft)).await.unwrap();
        wait("the learner is caught up", || first.caught_up(RaftId(raft))).await;
    }

    pub(crate) fn path(&self, raft: u64) -> PathBuf {
        self.folder.path().join(format!("{raft}.redb"))
    }

    pub(crate) fn config(&self, raft: u64, start: Start) -> Config {
        Config {
            snapshot_entries: 20,
            kept_entries: 2,
            ..Config::single(self.path(raft), start, voter(raft))
        }
    }

    pub(crate) fn plug(&self, raft: u64) -> Plug {
        Plug {
            hub: self.hub.clone(),
            from: address(raft),
            sender: Sender {
                node: voter(raft).node,
                is_trusted: true,
            },
        }
    }

    pub(crate) async fn start(&mut self, raft: u64, start: Start) {
        let opened = Consensus::open(self.config(raft, start), self.plug(raft)).await;
        self.put(raft, opened.unwrap());
    }

    pub(crate) fn put(&mut self, raft: u64, consensus: Consensus) {
        let consensus = Arc::new(consensus);
        let mut lines = self.hub.0.lock().unwrap();
        lines
            .plugged
            .insert(address(raft), Arc::downgrade(&consensus));
        drop(lines);
        self.open.insert(raft, consensus);
    }

    /// Ends `raft` without a word to the others; its file is free when this returns.
    pub(crate) async fn kill(&mut self, raft: u64) {
        let consensus = self.open.remove(&raft).unwrap();
        consensus.shutdown().await;
    }

    pub(crate) async fn kill_all(&mut self) {
        for raft in self.open.keys().copied().collect::<Vec<_>>() {
            self.kill(raft).await;
        }
    }

    /// Who leads with a majority behind it, once somebody does and the others know.
    pub(crate) async fn leader(&self) -> u64 {
        let mut found = None;
        wait("somebody leads", || {
            let leads = |raft: &&u64| self.open[raft].standing().borrow().leads;
            found = self.open.keys().find(leads).copied();
            let named = found.map(voter);
            found.is_some()
                && self
                    .open
                    .values()
                    .all(|it| it.standing().borrow().leader == named)
        })
        .await;
        found.unwrap()
    }

    /// Proposes until somebody acknowledges; how long it took.
    pub(crate) async fn propose_anywhere(&self, number: u64) -> Duration {
        let begun = Instant::now();
        let proposed = async {
            loop {
                for consensus in self.open.values() {
                    let once = consensus.propose(entry(number));
                    if let Ok(Ok(_)) = timeout(Duration::from_secs(1), once).await {
                        return;
                    }
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, proposed).await.unwrap();
        begun.elapsed()
    }

    /// Waits until all voters show the members with these numbers.
    pub(crate) async fn agree(&self, numbers: &[u64]) {
        wait("all show the same members", || {
            self.open.values().all(|it| entries(it) == numbers)
        })
        .await;
    }
}

pub(crate) fn address(raft: u64) -> String {
    format!("voter-{raft}")
}

pub(crate) fn voter(raft: u64) -> Voter {
    Voter {
        node: NodeId(100 + raft),
        address: address(raft),
    }
}

pub(crate) fn identity(raft: u64) -> Identity {
    Identity {
        convention: CONVENTION,
        recovery_epoch: 0,
        raft: RaftId(raft),
        founder: false,
    }
}

/// A command whose effect is that [`entries`] shows `number`.
pub(crate) fn entry(number: u64) -> Command {
    Command::Member(MemberCommand::Issue {
        id: format!("{number:020}"),
        secret: KeyDigest::default(),
        uses: 1,
        expires: Stamp(number + 1_000),
        authority: KeyDigest::default(),
        by: "a test".to_owned(),
        stamp: Stamp(number),
    })
}

pub(crate) fn entries(consensus: &Consensus) -> Vec<u64> {
    consensus.read(|state| {
        let ids = state.roll.tokens.keys();
        ids.map(|id| id.parse().unwrap()).collect()
    })
}

pub(crate) fn ids<const N: usize>(raft_ids: [u64; N]) -> BTreeSet<RaftId> {
    raft_ids.map(RaftId).into()
}

/// Waits for `condition`, which is looked at every few (perhaps virtual) milliseconds.
pub(crate) async fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = timeout(PATIENCE, async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "not in time: {what}");
}
