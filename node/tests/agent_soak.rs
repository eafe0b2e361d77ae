//! Hot updates of a role under continuous asks: nothing lost, nothing twice, nothing old.
//!
//! `DIRECTOR_SOAK_UPDATES` sets how many updates; the figures are printed (`--nocapture`).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail the test"
)]

#[path = "agent/app.rs"]
#[expect(dead_code, reason = "shared with the other tests of nodes")]
mod app;
#[path = "agent/host.rs"]
#[expect(dead_code, reason = "shared with the other tests of nodes")]
mod host;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use node::client::{Client, ReplyContent, Target};
use protocol::RoleId;

use crate::app::App;
use crate::host::{Host, LONG, until};

const CLIENTS: u64 = 4;
const TLI: &str = "{'Actors': {'foo.main.Foo': {'OnLoad': {'Role': 'Main'}}}, 'AutoUnload': True}";

/// Version `number`, which notes each number that it handles in a journal and answers its own.
fn version(number: u64, journal: &Path) -> App {
    App::new(&number.to_string()).whole_tli(TLI).code(&format!(
        "
    def receiveMsg_int(self, number, sender):
        with open({journal:?}, 'a') as journal:
            journal.write('%d\\n' % number)
        self.send(sender, int(VERSION))
"
    ))
}

/// What one client saw.
#[derive(Debug, Default)]
struct Seen {
    asked: Vec<u64>,
    longest: Duration,
    total: Duration,
    old: u64,
}

/// Asks the role number after number until `stop`; `loaded` is the version of the latest load
/// that has returned.
async fn ask_on(
    mut client: Client,
    first: u64,
    loaded: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> Seen {
    let role = Target::Role(RoleId::of("foo", "Main"));
    let mut seen = Seen::default();
    for number in first.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let newest = loaded.load(Ordering::Acquire);
        let began = Instant::now();
        let reply = client.ask(role, &number.to_string(), Some(LONG)).await;
        let reply = reply.unwrap_or_else(|end| panic!("{number} while {newest} is loaded: {end}"));
        let ReplyContent::Literal(answered) = reply.content() else {
            panic!("{:?}", reply.content());
        };
        let took = began.elapsed();
        seen.asked.push(number);
        seen.longest = seen.longest.max(took);
        seen.total += took;
        seen.old += u64::from(answered.parse::<u64>().unwrap() < newest);
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_under_load_lose_and_repeat_nothing() {
    let updates = std::env::var("DIRECTOR_SOAK_UPDATES").ok();
    let updates = updates.map_or(25, |text| text.parse::<u64>().unwrap());
    let host = Host::start().await;
    let journal = host.folder.path().join("journal");
    host.load(&version(1, &journal)).await.unwrap();
    let (loaded, stop) = (
        Arc::new(AtomicU64::new(1)),
        Arc::new(AtomicBool::new(false)),
    );
    let mut asking = Vec::new();
    for client in 0..CLIENTS {
        let (loaded, stop) = (Arc::clone(&loaded), Arc::clone(&stop));
        let connection = host.client().await;
        let asks = ask_on(connection, client * 1_000_000_000, loaded, stop);
        asking.push(tokio::spawn(asks));
    }
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    for number in 2..=updates + 1 {
        let app = version(number, &journal);
        let loading = Instant::now();
        host.load(&app).await.unwrap();
        slowest = slowest.max(loading.elapsed());
        loaded.store(number, Ordering::Release);
    }
    let took = began.elapsed();
    stop.store(true, Ordering::Release);
    let mut seen = Vec::new();
    for asks in asking {
        seen.push(asks.await.unwrap());
    }
    let text = std::fs::read_to_string(&journal).unwrap();
    let handled: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
    let distinct: BTreeSet<u64> = handled.iter().copied().collect();
    let asked: BTreeSet<u64> = seen
        .iter()
        .flat_map(|seen| seen.asked.iter().copied())
        .collect();
    let mean = seen.iter().map(|seen| seen.total).sum::<Duration>() / asked.len() as u32;
    let longest = seen.iter().map(|seen| seen.longest).max().unwrap();
    println!(
        "{updates} updates in {took:.1?} (slowest {slowest:.1?}), {} asks, mean {mean:.1?}, \
         longest gap {longest:.1?}",
        asked.len()
    );
    assert_eq!(distinct, asked, "nothing is lost");
    assert_eq!(handled.len(), distinct.len(), "nothing is handled twice");
    let old: u64 = seen.iter().map(|seen| seen.old).sum();
    assert_eq!(old, 0, "no old version answers after the load has returned");
    until(async || host.sources().await.len() == 1).await;
    let packages = host.folder.path().join("state/packages");
    until(async || packages.read_dir().unwrap().count() == 1).await;
    host.stop().await;
}
