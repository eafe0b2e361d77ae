//! The demo: one application through its life on three nodes, and an account of each request.
//!
//! It uses the commands as a user would, each as a process of its own; only the clients that ask
//! without pause are part of this process.
//! Not here: how the account is shown (`commands::demo`).

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::Printer;

mod stage;
use stage::{NODES, Stage};

mod clients;
use clients::Clients;

mod account;
pub(crate) use account::Account;
use account::{Event, Happened};

/// Clients that ask at the same time.
const CLIENTS: usize = 3;

/// After so long an update is under way.
const MID_UPDATE: Duration = Duration::from_millis(120);

/// How long each version is shown at work.
const SHOWN: Duration = Duration::from_millis(1500);

/// Plays the demo and gives the account.
pub(crate) fn run(printer: Printer) -> Result<Account> {
    let stage = Stage::set(printer)?;
    stage.tell("examples laid out in a temporary directory, with directories for three nodes");
    stage.pack("1.0")?;
    stage.pack("2.0")?;
    stage.tell("keys made; versions 1.0 and 2.0 packed and signed, a dependency packed along");
    stage.come_together()?;
    let leader = stage.leader()?;
    // The desk runs where its load came from; the leader's end shall not be its own.
    let (home, other) = others(leader);
    stage.cluster_load(home, "1.0")?;
    stage.tell(&format!(
        "version 1.0 loaded from {home}: all three hold and trust it"
    ));
    let clients = Clients::begin(CLIENTS, stage.socket_finder())?;
    stage.tell("three clients ask without pause, one at each node");
    thread::sleep(SHOWN);

    let mut happened = Vec::new();
    let mut event = |what, begun, ended| happened.push(Happened { what, begun, ended });
    let begun = clients.now();
    stage.cluster_load(other, "2.0")?;
    event(Event::Update, begun, clients.now());
    stage.tell(&format!("version 2.0 loaded from {other}: hot update"));
    thread::sleep(SHOWN);

    let begun = clients.now();
    stage.command(other, &["rollback", "orders"])?;
    event(Event::Rollback, begun, clients.now());
    stage.tell("rolled back to version 1.0");
    thread::sleep(SHOWN);

    let begun = clients.now();
    update_under_a_kill(&stage, leader, home)?;
    event(Event::Kill, begun, clients.now());
    thread::sleep(SHOWN);
    stage.command(leader, &["start"])?;
    stage.until_up(NODES.len())?;
    stage.tell(&format!("{leader} started again: three members"));
    thread::sleep(SHOWN);

    let ledger = clients.end().context("a client failed")?;
    ensure!(!ledger.is_empty(), "no request was sent");
    let journal = stage.journal()?;
    for node in NODES {
        stage.command(node, &["shutdown"])?;
    }
    stage.tell("nodes shut down");
    Ok(Account::balance(&ledger, &journal, &happened, CLIENTS))
}

/// Loads version 2.0 again and kills the leader while it does.
fn update_under_a_kill(stage: &Stage, leader: &str, home: &str) -> Result<()> {
    let loading = stage.begin_load(home, "2.0")?;
    thread::sleep(MID_UPDATE);
    let pid = stage.kill_agent(leader)?;
    stage.tell(&format!(
        "the leader, {leader}, killed with SIGKILL in the middle of an update (process {pid})"
    ));
    let output = loading.wait_with_output()?;
    if !output.status.success() {
        stage.tell("the update was not acknowledged: what became of it is unknown, once more");
        stage.load_until_done(home, "2.0")?;
    }
    let next = stage.leader()?;
    stage.tell(&format!("version 2.0 is active, the leader is {next}"));
    Ok(())
}

/// The nodes that are not this one.
fn others(node: &str) -> (&'static str, &'static str) {
    match node {
        "a" => ("b", "c"),
        "b" => ("a", "c"),
        _ => ("a", "b"),
    }
}
