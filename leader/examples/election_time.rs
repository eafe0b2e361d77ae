//! Measures what a lost leader costs three voters in one process, on real files and a real clock:
//! `cargo run --release -p leader --example election_time [DIRECTORY]`.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use leader::{CallFault, Config, Consensus, Identity, Peers, RaftId, Sender, Start, Voter};
use protocol::registry::{Command, MemberCommand};
use protocol::{ConventionId, Incarnation, NodeId, Stamp};
use tokio::time::{sleep, timeout};

const ROUNDS: u64 = 30;

const CONVENTION: ConventionId = ConventionId([1; 16]);

/// Reaches every consensus that was put in, as this node.
#[derive(Clone)]
struct Hub(Arc<Mutex<BTreeMap<NodeId, Weak<Consensus>>>>, NodeId);

impl Hub {
    fn reach(&self, node: NodeId) -> Option<Arc<Consensus>> {
        let plugged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        plugged.get(&node)?.upgrade()
    }
}

impl Peers for Hub {
    async fn call(
        &self,
        voter: &Voter,
        message: Vec<u8>,
        _within: Duration,
    ) -> Result<Vec<u8>, CallFault> {
        let reached = self.reach(voter.node);
        let consensus = reached.ok_or_else(|| CallFault::Unreachable(voter.clone()))?;
        let sender = Sender {
            node: self.1,
            is_trusted: true,
        };
        let answer = consensus.answer(sender, &message).await;
        answer.map_err(|fault| CallFault::Refused(fault.to_string()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args_os()
        .nth(1)
        .map_or_else(env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder)?;
    let hub = Hub(Arc::default(), NodeId::default());
    let mut open = BTreeMap::new();
    for raft in 1..=3 {
        let consensus = start(&hub, folder.path(), raft, true).await?;
        open.insert(raft, consensus);
    }
    grow(open.get(&1)).await?;
    let (mut lost, mut handed) = (Vec::new(), Vec::new());
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let leader = leader(&open, round).await;
        if let Some(consensus) = open.get(&leader) {
            for _ in 0..20 {
                let begun = Instant::now();
                consensus.propose(command(round)).await?;
                times.push(begun.elapsed());
            }
        }
        let Some(consensus) = open.remove(&leader) else {
            return Err("the leader is gone".into());
        };
        consensus.shutdown().await;
        drop(consensus);
        let begun = Instant::now();
        self::leader(&open, round).await;
        lost.push(begun.elapsed());
        open.insert(leader, start(&hub, folder.path(), leader, false).await?);

        let leader = self::leader(&open, round).await;
        sleep(Duration::from_secs(2)).await;
        let begun = Instant::now();
        if let Some(consensus) = open.get(&leader) {
            consensus.step_down().await?;
        }
        self::leader(&open, round).await;
        handed.push(begun.elapsed());
    }
    for consensus in open.into_values() {
        consensus.shutdown().await;
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "propose, three voters:        {}", summary(times))?;
    writeln!(out, "leader lost to next proposal: {}", summary(lost))?;
    writeln!(out, "handed over to next proposal: {}", summary(handed))?;
    Ok(())
}

async fn start(
    hub: &Hub,
    folder: &Path,
    raft: u64,
    first: bool,
) -> Result<Arc<Consensus>, Box<dyn Error>> {
    let joins = Identity {
        convention: CONVENTION,
        recovery_epoch: 0,
        raft: RaftId(raft),
        founder: false,
    };
    let start = match (first, raft) {
        (false, _) => Start::Resume,
        (true, 1) => Start::Found(CONVENTION),
        (true, _) => Start::Join(joins),
    };
    let path = folder.join(format!("{raft}.redb"));
    let consensus = Consensus::open(
        Config::single(path, start, voter(raft)),
        Hub(Arc::clone(&hub.0), voter(raft).node),
    )
    .await?;
    let consensus = Arc::new(consensus);
    let mut plugged = hub.0.lock().unwrap_or_else(PoisonError::into_inner);
    plugged.insert(NodeId(raft), Arc::downgrade(&consensus));
    Ok(consensus)
}

async fn grow(first: Option<&Arc<Consensus>>) -> Result<(), Box<dyn Error>> {
    let first = first.ok_or("the founder is gone")?;
    for raft in [2, 3] {
        first.add_learner(RaftId(raft), voter(raft)).await?;
        while !first.caught_up(RaftId(raft)) {
            sleep(Duration::from_millis(10)).await;
        }
    }
    let voters = BTreeSet::from([1, 2, 3].map(RaftId));
    first.change_voters(voters).await?;
    Ok(())
}

/// Proposes until somebody acknowledges: that one leads.
async fn leader(open: &BTreeMap<u64, Arc<Consensus>>, number: u64) -> u64 {
    loop {
        for (raft, consensus) in open {
            let proposed = consensus.propose(command(number));
            if let Ok(Ok(_)) = timeout(Duration::from_secs(1), proposed).await {
                return *raft;
            }
        }
        sleep(Duration::from_millis(5)).await;
    }
}

fn voter(raft: u64) -> Voter {
    Voter {
        node: NodeId(raft),
        address: String::new(),
    }
}

fn command(number: u64) -> Command {
    Command::Member(MemberCommand::Describe {
        node: NodeId(1),
        incarnation: Incarnation(number),
        address: "10.0.0.1:1900".to_owned(),
        capabilities: "{}".to_owned(),
        may_vote: true,
        stamp: Stamp(number),
    })
}

fn summary(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: usize| {
        let last = times.len().saturating_sub(1);
        times
            .get((times.len() * part / 100).min(last))
            .copied()
            .unwrap_or_default()
    };
    format!(
        "median {:?}, 90 % {:?}, worst {:?}",
        at(50),
        at(90),
        at(100)
    )
}
