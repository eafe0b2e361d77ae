//! The bytes of the file are a promise to later versions: openraft's part of them is pinned here.
//!
//! Not here: the bytes of commands and of the registry's state; they are `protocol`'s.

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use openraft::storage::RaftStateMachine;
use openraft::{
    CommittedLeaderId, EntryPayload, Membership as Voters, RaftSnapshotBuilder, TokioRuntime,
};
use protocol::registry::{Command, REGISTRY_VERSION};
use protocol::{ConventionId, NodeId, Stamp};
use redb::backends::InMemoryBackend;

use super::file::{FILE_VERSION, Identity, RaftFile};
use super::machine::Machine;
use super::message::{self, Rpc};
use super::snapshot::{self, Image};
use super::types::{Entry, LogId, RaftId, Vote, Voter};

fn log_id(index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(3, RaftId(1)), index)
}

fn entry(index: u64, commands: Vec<Command>) -> Entry<TokioRuntime> {
    Entry {
        log_id: log_id(index),
        payload: EntryPayload::Normal(commands),
    }
}

fn found() -> Command {
    Command::Found {
        convention: ConventionId([9; 16]),
        feature_level: 1,
        stamp: Stamp(1000),
    }
}

fn stopped(node: u64) -> Command {
    Command::MemberStopped {
        node: NodeId(node),
        stamp: Stamp(node),
    }
}

fn identity(recovery_epoch: u64) -> Identity {
    Identity {
        convention: ConventionId([9; 16]),
        recovery_epoch,
        raft: RaftId(1),
        founder: true,
    }
}

fn file(recovery_epoch: u64) -> Arc<RaftFile> {
    let identity = Some(identity(recovery_epoch));
    let file = RaftFile::open_backend(Path::new("memory"), InMemoryBackend::new(), identity);
    Arc::new(file.unwrap())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn check<T: serde::Serialize + serde::de::DeserializeOwned>(version: u16, value: &T, golden: &str) {
    let bytes = protocol::encode("golden", version, value).unwrap();
    assert_eq!(hex(&bytes), golden);
    let back: T = protocol::decode("golden", version, &bytes).unwrap();
    assert_eq!(protocol::encode("golden", version, &back).unwrap(), bytes);
}

#[test]
fn bytes_of_log_entries_are_pinned() {
    check(
        REGISTRY_VERSION,
        &entry(8, vec![]),
        "44520100050000000301080100",
    );
    let voter = Voter {
        node: NodeId(11),
        address: "a:1".to_owned(),
    };
    let voters = Voters::new(
        vec![[RaftId(1)].into()],
        std::collections::BTreeMap::from([(RaftId(1), voter)]),
    );
    let membership = Entry::<TokioRuntime> {
        log_id: log_id(0),
        payload: EntryPayload::Membership(voters),
    };
    check(
        REGISTRY_VERSION,
        &membership,
        "445201000e0000000301000201010101010b03613a31",
    );
}

#[test]
fn bytes_of_votes_and_log_ids_are_pinned() {
    check(
        FILE_VERSION,
        &Vote::new_committed(3, RaftId(2)),
        "4452010003000000030201",
    );
    check(
        FILE_VERSION,
        &Some(log_id(300)),
        "4452010006000000010301fb2c01",
    );
}

#[tokio::test]
async fn the_same_log_gives_the_same_snapshot_bytes() {
    let log = || {
        [
            entry(1, vec![found()]),
            entry(2, vec![stopped(5), stopped(6)]),
        ]
    };
    let mut one = Machine::<TokioRuntime>::restore(file(0)).unwrap();
    one.apply(log()).await.unwrap();
    let one = one.get_snapshot_builder().await.build_snapshot().await;

    // The other is interrupted by a snapshot and a restart.
    let kept = file(0);
    let mut other = Machine::<TokioRuntime>::restore(Arc::clone(&kept)).unwrap();
    let [first, second] = log();
    other.apply([first]).await.unwrap();
    let cut = other.get_snapshot_builder().await.build_snapshot().await;
    assert_eq!(cut.unwrap().meta.last_log_id, Some(log_id(1)));
    let mut other = Machine::<TokioRuntime>::restore(kept).unwrap();
    other.apply([second]).await.unwrap();
    let other = other.get_snapshot_builder().await.build_snapshot().await;

    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.snapshot.get_ref(), other.snapshot.get_ref());
    assert_eq!(one.meta, other.meta);
    assert_eq!(one.meta.snapshot_id, "T3-N1-2");
    // Convention, epoch, last applied, membership; then the state.
    let head = "0909090909090909090909090909090900010301020000";
    assert_eq!(hex(one.snapshot.get_ref())[16..16 + head.len()], *head);
}

#[tokio::test]
async fn one_snapshot_is_kept_and_an_older_one_never_replaces_it() {
    let file = file(0);
    let mut machine = Machine::<TokioRuntime>::restore(Arc::clone(&file)).unwrap();
    machine.apply([entry(1, vec![found()])]).await.unwrap();
    let mut late = machine.get_snapshot_builder().await;
    machine.apply([entry(2, vec![stopped(5)])]).await.unwrap();
    let mut builder = machine.get_snapshot_builder().await;
    builder.build_snapshot().await.unwrap();
    late.build_snapshot().await.unwrap();

    let (meta, bytes) = snapshot::load(&file).unwrap().unwrap();
    assert_eq!(meta.last_log_id, Some(log_id(2)));
    assert_eq!(
        Image::decode(&file, &bytes).unwrap().applied,
        Some(log_id(2))
    );
}

#[tokio::test]
async fn a_snapshot_of_another_epoch_is_never_installed() {
    let mut source = Machine::<TokioRuntime>::restore(file(0)).unwrap();
    source.apply([entry(1, vec![found()])]).await.unwrap();
    let built = source.get_snapshot_builder().await.build_snapshot().await;
    let built = built.unwrap();

    let mut same = Machine::<TokioRuntime>::restore(file(0)).unwrap();
    let bytes = Box::new(Cursor::new(built.snapshot.get_ref().clone()));
    same.install_snapshot(&built.meta, bytes).await.unwrap();
    assert!(same.replica().read(|state| state.convention.is_some()));

    let mut other = Machine::<TokioRuntime>::restore(file(1)).unwrap();
    let refused = other.install_snapshot(&built.meta, built.snapshot).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("epoch 0"), "{refused}");
    assert!(other.replica().read(|state| state.convention.is_none()));
    assert!(other.get_current_snapshot().await.unwrap().is_none());
}

#[test]
fn bytes_of_messages_are_pinned_and_foreign_ones_are_refused() {
    let poll = Rpc::<TokioRuntime>::Poll {
        last: Some(log_id(300)),
    };
    let bytes = message::ask(identity(0), RaftId(2), &poll).unwrap();
    // Convention, epoch, to, from, length; then the rpc.
    let convention = "09".repeat(16);
    let golden = format!(
        "4452010023000000{convention}0002010f4452{REGISTRY_VERSION:02x}0007000000{poll}",
        poll = "03010301fb2c01",
    );
    assert_eq!(hex(&bytes), golden);

    let theirs = Identity {
        raft: RaftId(2),
        ..identity(0)
    };
    let (from, _) = message::read::<TokioRuntime>(theirs, &bytes).unwrap();
    assert_eq!(from, RaftId(1));
    let refused = |ours| {
        let read = message::read::<TokioRuntime>(ours, &bytes);
        read.map(|_| ()).unwrap_err().to_string()
    };
    let other = refused(identity(0));
    assert!(
        other.contains("raft id 1, the message is for raft id 2"),
        "{other}"
    );
    let recovered = refused(Identity {
        recovery_epoch: 1,
        ..theirs
    });
    assert!(
        recovered.contains("epoch 1, raft id 2, the message"),
        "{recovered}"
    );
    let foreign = refused(Identity {
        convention: ConventionId([8; 16]),
        ..theirs
    });
    assert!(foreign.contains("must join anew"), "{foreign}");
}
