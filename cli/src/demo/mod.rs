//! The demo: one application through its life, and an account of what became of each request.
//!
//! It uses the commands as a user would, each as a process of its own; only the clients that ask
//! without pause are part of this process.
//! Not here: how the account is shown (`commands::demo`).

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::Printer;

mod stage;
use stage::Stage;

mod clients;
use clients::Clients;

mod account;
pub(crate) use account::Account;
use account::{Event, Happened};

/// Clients that ask at the same time.
const CLIENTS: usize = 3;

/// How long each version is shown at work.
const SHOWN: Duration = Duration::from_millis(1500);

/// Plays the demo and gives the account.
pub(crate) fn run(printer: Printer) -> Result<Account> {
    let stage = Stage::set(printer)?;
    stage.tell("examples laid out in a temporary directory");
    stage.pack("1.0")?;
    stage.pack("2.0")?;
    stage.tell("keys made; versions 1.0 and 2.0 packed and signed, a dependency packed along");
    stage.command(&["start", "--json"])?;
    stage.tell("node started");
    stage.load("1.0")?;
    stage.tell("version 1.0 loaded");
    let clients = Clients::begin(CLIENTS, stage.socket_finder())?;
    stage.tell(&format!("{CLIENTS} clients ask without pause"));
    thread::sleep(SHOWN);

    let mut happened = Vec::new();
    let mut event = |what, begun, ended| happened.push(Happened { what, begun, ended });
    let begun = clients.now();
    stage.load("2.0")?;
    event(Event::Update, begun, clients.now());
    stage.tell("version 2.0 loaded: hot update");
    thread::sleep(SHOWN);

    let begun = clients.now();
    stage.command(&["rollback", "orders"])?;
    event(Event::Rollback, begun, clients.now());
    stage.tell("rolled back to version 1.0");
    thread::sleep(SHOWN);

    let begun = clients.now();
    let pid = stage.kill_agent()?;
    stage.tell(&format!("agent {pid} killed with SIGKILL"));
    stage.command(&["start"])?;
    event(Event::Kill, begun, clients.now());
    stage.tell("node started again: it runs what was active");
    thread::sleep(SHOWN);

    let ledger = clients.end().context("a client failed")?;
    ensure!(!ledger.is_empty(), "no request was sent");
    let journal = stage.journal()?;
    stage.command(&["shutdown"])?;
    stage.tell("node shut down");
    Ok(Account::balance(&ledger, &journal, &happened, CLIENTS))
}
