//! Measures what one proposal costs on one voter: `cargo run --release -p leader --example
//! propose_latency [DIRECTORY]`; the directory's disk is what is measured.

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use leader::{Config, Consensus, OpenError, Start, Unconnected, Voter};
use protocol::registry::{Command, MemberCommand};
use protocol::{ConventionId, Incarnation, NodeId, Stamp};
use tokio::task::JoinSet;

/// The design's limit.
const MEMBERS: u64 = 10_000;

const ROUNDS: u64 = 1000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args_os()
        .nth(1)
        .map_or_else(env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder)?;
    let path = folder.path().join("raft.redb");
    let mut out = std::io::stdout().lock();

    writeln!(
        out,
        "fsync of 4 KiB:       {}",
        summary(fsyncs(folder.path())?)
    )?;

    let begun = Instant::now();
    let consensus = open(&path).await?;
    writeln!(out, "founded, leading:     {:?}", begun.elapsed())?;

    let mut times = Vec::new();
    for number in 0..ROUNDS {
        let begun = Instant::now();
        consensus.propose(command(number)).await?;
        times.push(begun.elapsed());
    }
    writeln!(out, "propose, alone:       {}", summary(times))?;

    let consensus = Arc::new(consensus);
    let begun = Instant::now();
    let mut all = JoinSet::new();
    for number in 0..ROUNDS {
        let consensus = Arc::clone(&consensus);
        all.spawn(async move { consensus.propose(command(number)).await });
    }
    while let Some(done) = all.join_next().await {
        done??;
    }
    writeln!(
        out,
        "propose, {ROUNDS} at once: {:?} in all",
        begun.elapsed()
    )?;

    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        consensus.linearizable().await?;
        times.push(begun.elapsed());
    }
    writeln!(out, "linearizable read:    {}", summary(times))?;

    let begun = Instant::now();
    for thousand in 0..MEMBERS / ROUNDS {
        for number in thousand * ROUNDS..(thousand + 1) * ROUNDS {
            let consensus = Arc::clone(&consensus);
            all.spawn(async move { consensus.propose(command(number)).await });
        }
        while let Some(done) = all.join_next().await {
            done??;
        }
    }
    consensus.snapshot().await?;
    writeln!(out, "{MEMBERS} members join: {:?} in all", begun.elapsed())?;

    let Some(consensus) = Arc::into_inner(consensus) else {
        return Err("a proposal is still under way".into());
    };
    consensus.shutdown().await;
    let begun = Instant::now();
    let consensus = open(&path).await?;
    writeln!(out, "opened anew, leading: {:?}", begun.elapsed())?;
    let members = consensus.read(|state| state.members.len());
    let bytes = std::fs::metadata(&path)?.len();
    writeln!(out, "members, file bytes:  {members}, {bytes}")?;
    consensus.shutdown().await;
    Ok(())
}

async fn open(path: &Path) -> Result<Consensus, OpenError> {
    let start = Start::Found(ConventionId([1; 16]));
    let config = Config::single(path.to_owned(), start, Voter::default());
    Consensus::open(config, Unconnected).await
}

fn command(number: u64) -> Command {
    Command::Member(MemberCommand::Describe {
        node: NodeId(1),
        incarnation: Incarnation(number),
        address: "10.0.0.1:1900".to_owned(),
        capabilities: "{'Python Version': (3, 12, 1), 'Thespian ActorSystem Name': 'x'}".to_owned(),
        may_vote: true,
        stamp: Stamp(number),
    })
}

fn fsyncs(folder: &Path) -> std::io::Result<Vec<Duration>> {
    let mut file = File::create(folder.join("plain"))?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

fn summary(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: usize| {
        times
            .get(times.len() * part / 100)
            .copied()
            .unwrap_or_default()
    };
    format!("median {:?}, 99 % {:?}", at(50), at(99))
}
