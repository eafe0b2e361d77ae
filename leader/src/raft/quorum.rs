//! Three voters in one process: the same code over another network, with real replication,
//! snapshots to a voter that lags, and reads that name the leader.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::error::{
    InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable,
};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{Raft, TokioRuntime};
use protocol::registry::{Command, State};
use protocol::{ConventionId, Incarnation, NodeId, Stamp};
use redb::backends::InMemoryBackend;
use tokio::time::timeout;

use super::config::{Config, Start, Timing};
use super::consensus::Consensus;
use super::error::{ProposeError, ReadError};
use super::file::Identity;
use super::types::{RaftId, TypeConfig, Voter};

type Types = TypeConfig<TokioRuntime>;
type CallError<E> = RPCError<RaftId, Voter, E>;

/// Reaches every voter that was put in.
#[derive(Clone, Default)]
struct Hub(Arc<Mutex<BTreeMap<RaftId, Raft<Types>>>>);

struct Line {
    hub: Hub,
    target: RaftId,
}

impl Hub {
    fn plug(&self, consensus: &Consensus) {
        let raft = consensus.raft().clone();
        self.0
            .lock()
            .unwrap()
            .insert(consensus.identity().raft, raft);
    }

    fn unplug(&self, raft: RaftId) {
        self.0.lock().unwrap().remove(&raft);
    }
}

impl Line {
    fn raft<E: std::error::Error>(&self) -> Result<Raft<Types>, Box<CallError<E>>> {
        let raft = self.hub.0.lock().unwrap().get(&self.target).cloned();
        let gone = std::io::Error::from(std::io::ErrorKind::NotConnected);
        raft.ok_or_else(|| Box::new(RPCError::Unreachable(Unreachable::new(&gone))))
    }

    fn remote<E: std::error::Error>(&self, error: E) -> CallError<E> {
        RPCError::RemoteError(RemoteError::new(self.target, error))
    }
}

impl RaftNetworkFactory<Types> for Hub {
    type Network = Line;

    async fn new_client(&mut self, target: RaftId, _node: &Voter) -> Line {
        Line {
            hub: self.clone(),
            target,
        }
    }
}

impl RaftNetwork<Types> for Line {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<RaftId>, CallError<RaftError<RaftId>>> {
        let raft = self.raft().map_err(|error| *error)?;
        let answer = raft.append_entries(rpc).await;
        answer.map_err(|error| self.remote(error))
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<Types>,
        _option: RPCOption,
    ) -> Result<InstallSnapshotResponse<RaftId>, CallError<RaftError<RaftId, InstallSnapshotError>>>
    {
        let raft = self.raft().map_err(|error| *error)?;
        let answer = raft.install_snapshot(rpc).await;
        answer.map_err(|error| self.remote(error))
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<RaftId>,
        _option: RPCOption,
    ) -> Result<VoteResponse<RaftId>, CallError<RaftError<RaftId>>> {
        let raft = self.raft().map_err(|error| *error)?;
        let answer = raft.vote(rpc).await;
        answer.map_err(|error| RPCError::Network(NetworkError::new(&error)))
    }
}

const CONVENTION: ConventionId = ConventionId([5; 16]);

fn voter(raft: u64) -> Voter {
    Voter {
        node: NodeId(100 + raft),
        address: format!("voter-{raft}"),
    }
}

async fn open(hub: &Hub, raft: u64) -> Consensus {
    let start = match raft {
        1 => Start::Found(CONVENTION),
        _ => Start::Join(Identity {
            convention: CONVENTION,
            recovery_epoch: 0,
            raft: RaftId(raft),
            founder: false,
        }),
    };
    let config = Config {
        timing: Timing::Quorum {
            heartbeat_ms: 100,
            election_min_ms: 300,
            election_max_ms: 600,
        },
        snapshot_entries: 20,
        kept_entries: 2,
        ..Config::single(Path::new("memory").to_owned(), start, voter(raft))
    };
    let consensus = Consensus::open_on(config, InMemoryBackend::new(), hub.clone());
    let consensus = consensus.await.unwrap();
    hub.plug(&consensus);
    consensus
}

fn member(number: u64) -> Command {
    Command::MemberStarted {
        node: NodeId(number),
        name: String::new(),
        address: String::new(),
        incarnation: Incarnation(number),
        capabilities: String::new(),
        stamp: Stamp(number),
    }
}

async fn reach(consensus: &Consensus, index: u64) {
    let mut applied = consensus.applied();
    let reached = applied.wait_for(|applied| *applied >= index);
    timeout(Duration::from_secs(20), reached)
        .await
        .expect("the entry is applied in time")
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn three_voters_agree_and_a_late_one_gets_a_snapshot() {
    let hub = Hub::default();
    let first = open(&hub, 1).await;
    let mut index = first.linearizable().await;
    while index.is_err() {
        first.raft().metrics().changed().await.unwrap();
        index = first.linearizable().await;
    }
    for number in 0..60 {
        first.propose(member(number)).await.unwrap();
    }

    // The log behind the snapshot is purged by now: the others can only start from it.
    let others = [open(&hub, 2).await, open(&hub, 3).await];
    for raft in [2, 3] {
        let added = first.raft().add_learner(RaftId(raft), voter(raft), true);
        added.await.unwrap();
    }
    let ids = BTreeSet::from([1, 2, 3].map(RaftId));
    first.raft().change_membership(ids, false).await.unwrap();
    let (index, _) = first.propose(member(1000)).await.unwrap();
    let expected = first.read(State::clone);
    for other in &others {
        reach(other, index.0).await;
        assert_eq!(other.read(State::clone), expected);
        assert!(other.raft().metrics().borrow().snapshot.is_some());
    }

    let refused = others[0].propose(member(1001)).await.unwrap_err();
    let ProposeError::Unavailable(unavailable) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(unavailable.not_leader, Some(voter(1)));

    // Cut off from both, the first can no longer claim that its reads are fresh.
    hub.unplug(RaftId(2));
    hub.unplug(RaftId(3));
    let stale = first.linearizable().await.unwrap_err();
    assert!(matches!(stale, ReadError::Unavailable(_)), "{stale:?}");
    first.shutdown().await;
    for other in others {
        other.shutdown().await;
    }
}
