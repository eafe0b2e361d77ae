//! Traffic: clients that ask the desk without pause, on several nodes, and write down what came.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use node::client::{AskEnd, Client, Reply, ReplyContent, Target};
use node::directory::Directory;
use protocol::RoleId;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ledger::{Account, Acknowledged, End, Entry};
use crate::name::Node;
use crate::ran::Ran;
use crate::scene::Scene;

/// Running clients, one for each node named.
#[derive(Debug)]
pub struct Traffic {
    begun: Instant,
    stop: CancellationToken,
    thread: Option<JoinHandle<Vec<Entry>>>,
    loads: Vec<Acknowledged>,
}

/// Longer than anything may hold a request.
const ASK_LIMIT: Duration = Duration::from_secs(30);

/// Between two requests of one client: the machine has few processors.
const PAUSE: Duration = Duration::from_millis(4);

impl Traffic {
    /// Starts a client on each of the nodes.
    ///
    /// # Panics
    /// When the system gives no thread.
    #[must_use]
    pub fn begin(scene: &Scene, nodes: &[Node]) -> Self {
        scene.phase(&format!("traffic on {} nodes", nodes.len()));
        let (begun, stop) = (Instant::now(), CancellationToken::new());
        let next = Arc::new(AtomicU64::new(1));
        let askers = nodes.iter().map(|node| Asker {
            on: *node,
            directory: scene.directory(*node),
            desk: Target::Role(RoleId::of(scene.group(), "Desk")),
            begun,
            stop: stop.clone(),
            next: Arc::clone(&next),
            entries: Vec::new(),
        });
        let askers: Vec<_> = askers.collect();
        let thread = std::thread::spawn(move || ask_all(askers));
        Self {
            begun,
            stop,
            thread: Some(thread),
            loads: Vec::new(),
        }
    }

    /// Says that a version was acknowledged before the traffic began.
    #[must_use]
    pub fn after(mut self, version: &str) -> Self {
        self.loads.push(Acknowledged {
            version: version.to_owned(),
            begun: Duration::ZERO,
            ended: Duration::ZERO,
        });
        self
    }

    /// Loads a version while clients ask; notes when it was acknowledged, if it was.
    pub fn load(&mut self, scene: &Scene, on: Node, verb: &str, version: &str) -> Ran {
        scene.build(version);
        let begun = self.begun.elapsed();
        let ran = scene.load(on, verb, version);
        // One that was not acknowledged may have happened, and answers then, at any time.
        let ended = match ran.code {
            Some(0) => self.begun.elapsed(),
            _ => Duration::MAX,
        };
        self.loads.push(Acknowledged {
            version: version.to_owned(),
            begun,
            ended,
        });
        ran
    }

    /// Lets the traffic go on for a while.
    pub fn flow(&self, duration: Duration) {
        std::thread::sleep(duration);
    }

    /// Lets each client end its last request, and gives the account.
    ///
    /// # Panics
    /// When a client panicked.
    #[must_use]
    pub fn end(mut self, scene: &Scene) -> Account {
        self.stop.cancel();
        let thread = self.thread.take().unwrap();
        let ledger = thread.join().unwrap();
        let journal = std::fs::read_to_string(scene.journal()).unwrap_or_default();
        let account = Account::balance(&ledger, &journal, &self.loads);
        scene.phase(&format!("traffic ended: {account}"));
        account
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn ask_all(askers: Vec<Asker>) -> Vec<Entry> {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for asker in askers {
            tasks.spawn(asker.ask_on());
        }
        tasks.join_all().await.into_iter().flatten().collect()
    })
}

struct Asker {
    on: Node,
    directory: PathBuf,
    desk: Target,
    begun: Instant,
    stop: CancellationToken,
    next: Arc<AtomicU64>,
    entries: Vec<Entry>,
}

impl Asker {
    async fn ask_on(mut self) -> Vec<Entry> {
        while !self.stop.is_cancelled() {
            let places = Directory::at(&self.directory).find_node(0);
            let connected = match places.first() {
                Some(place) => Client::connect(&place.socket).await.ok(),
                None => None,
            };
            match connected {
                Some(client) => self.ask_until_closed(client).await,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        self.entries
    }

    async fn ask_until_closed(&mut self, mut client: Client) {
        while !self.stop.is_cancelled() {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let order = format!("('order', {number})");
            let sent = self.begun.elapsed();
            let asked = client.ask(self.desk, &order, Some(ASK_LIMIT)).await;
            let closed = matches!(&asked, Err(AskEnd::Closed(_)));
            self.entries.push(Entry {
                number,
                on: self.on,
                sent,
                ended: self.begun.elapsed(),
                end: end(number, asked),
            });
            if closed {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn end(number: u64, asked: Result<Reply, AskEnd>) -> End {
    match asked {
        Ok(reply) => match reply.content() {
            ReplyContent::Literal(text) => read(number, &text),
            other => End::Wrong(format!("{other:?}")),
        },
        Err(AskEnd::DeadLettered(reason)) => End::DeadLettered(reason),
        Err(AskEnd::Unknown(reason)) => End::Unknown(reason),
        Err(AskEnd::TimedOut(_)) => End::Nothing,
        // The connection went: the request may have been handled.
        Err(AskEnd::Closed(error)) => End::Unknown(error.to_string()),
    }
}

/// `(7, '1.0', 'a')`
fn read(number: u64, text: &str) -> End {
    let inner = text.trim_start_matches('(').trim_end_matches(')');
    let words: Vec<_> = inner
        .split(", ")
        .map(|word| word.trim_matches('\''))
        .collect();
    match words.as_slice() {
        [answered, version, node] if *answered == number.to_string() => End::Answered {
            version: (*version).to_owned(),
            node: (*node).to_owned(),
        },
        _ => End::Wrong(text.to_owned()),
    }
}
