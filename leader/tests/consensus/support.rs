//! What the tests share: a configuration, a command a number, and what the registry then shows.

use std::path::Path;

use leader::{Config, Consensus, OpenError, Start, Unconnected, Voter};
use protocol::registry::{Command, KeyDigest, MemberCommand};
use protocol::{ConventionId, NodeId, Stamp};

pub(crate) const CONVENTION: ConventionId = ConventionId([7; 16]);

pub(crate) fn config(path: &Path) -> Config {
    let voter = Voter {
        node: NodeId(11),
        address: String::new(),
    };
    Config::single(path.to_owned(), Start::Found(CONVENTION), voter)
}

pub(crate) async fn open(path: &Path) -> Result<Consensus, OpenError> {
    Consensus::open(config(path), Unconnected).await
}

/// A command whose effect is that [`entries`] shows `number`.
pub(crate) fn entry(number: u64) -> Command {
    Command::Member(MemberCommand::Issue {
        id: format!("{number:020}"),
        secret: KeyDigest::default(),
        uses: 1,
        expires: Stamp(number + 1_000),
        authority: KeyDigest::default(),
        by: "x".repeat(200),
        stamp: Stamp(number),
    })
}

pub(crate) fn entries(consensus: &Consensus) -> Vec<u64> {
    consensus.read(|state| {
        let ids = state.roll.tokens.keys();
        ids.map(|id| id.parse().unwrap()).collect()
    })
}

pub(crate) async fn propose_all(consensus: &Consensus, numbers: std::ops::Range<u64>) {
    for number in numbers {
        consensus.propose(entry(number)).await.unwrap();
    }
}

/// An error with all its causes, as a person would read it.
pub(crate) fn text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
