//! What a voter finds when it starts again.

use std::fs;

use leader::{Config, Consensus, FileOpenError, Identity, OpenError, RaftId, Start, Unconnected};
use protocol::ConventionId;

use crate::support::{CONVENTION, config, entries, open, propose_all, text};

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raft.redb");
    let consensus = open(&path).await.unwrap();
    propose_all(&consensus, 0..30).await;
    let applied = *consensus.applied().borrow();
    consensus.shutdown().await;

    for _ in 0..3 {
        let consensus = open(&path).await.unwrap();
        assert_eq!(entries(&consensus), (0..30).collect::<Vec<_>>());
        assert!(consensus.is_leader());
        assert!(*consensus.applied().borrow() > applied);
        consensus.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_on_the_same_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raft.redb");
    let consensus = open(&path).await.unwrap();
    let error = open(&path).await.unwrap_err();
    assert!(
        matches!(error, OpenError::File(FileOpenError::Locked { .. })),
        "{error:?}"
    );
    assert!(text(&error).contains(path.to_str().unwrap()), "{error}");
    propose_all(&consensus, 0..3).await;
    consensus.shutdown().await;
    open(&path).await.unwrap().shutdown().await;
}

#[tokio::test]
async fn a_file_keeps_its_convention_whatever_the_caller_would_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raft.redb");
    open(&path).await.unwrap().shutdown().await;
    let other = Config {
        start: Start::Found(ConventionId([9; 16])),
        ..config(&path)
    };
    let consensus = Consensus::<openraft::TokioRuntime>::open(other, Unconnected);
    let consensus = consensus.await.unwrap();
    assert_eq!(consensus.identity().convention, CONVENTION);
    consensus.shutdown().await;
}

#[tokio::test]
async fn a_missing_file_is_not_founded_anew_on_resume() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raft.redb");
    let resume = Config {
        start: Start::Resume,
        ..config(&path)
    };
    let error = Consensus::<openraft::TokioRuntime>::open(resume, Unconnected);
    let error = error.await.unwrap_err();
    assert!(
        matches!(error, OpenError::File(FileOpenError::Missing { .. })),
        "{error:?}"
    );
    assert!(!path.exists());
}

#[tokio::test]
async fn a_file_of_another_raft_id_or_epoch_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raft.redb");
    open(&path).await.unwrap().shutdown().await;
    let own = Identity {
        convention: CONVENTION,
        recovery_epoch: 0,
        raft: RaftId::FOUNDER,
        founder: true,
    };
    let reused = Identity {
        raft: RaftId(2),
        ..own
    };
    let recovered = Identity {
        recovery_epoch: 1,
        ..own
    };
    for wanted in [reused, recovered] {
        let join = Config {
            start: Start::Join(wanted),
            ..config(&path)
        };
        let error = Consensus::<openraft::TokioRuntime>::open(join, Unconnected);
        let error = error.await.unwrap_err();
        assert!(
            matches!(error, OpenError::File(FileOpenError::Foreign { .. })),
            "{error:?}"
        );
    }
    // The refusals let go of the file.
    open(&path).await.unwrap().shutdown().await;
}

#[tokio::test]
async fn a_creation_that_was_cut_off_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raft.redb");
    fs::write(folder.path().join("raft.redb.new"), [0; 5000]).unwrap();
    let consensus = open(&path).await.unwrap();
    propose_all(&consensus, 0..3).await;
    consensus.shutdown().await;
    let names = fs::read_dir(folder.path()).unwrap();
    let names: Vec<_> = names.map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, ["raft.redb"]);
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gone").join("raft.redb");
    let error = open(&path).await.unwrap_err();
    assert!(
        matches!(error, OpenError::File(FileOpenError::Io { .. })),
        "{error:?}"
    );
    assert!(text(&error).contains("gone"), "{error}");
}
