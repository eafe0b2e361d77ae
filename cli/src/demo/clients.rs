//! Clients that ask the order desk without pause and write down what became of each request.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use node::client::{AskEnd, Client, ReplyContent, Target};
use protocol::RoleId;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::account::{End, Entry};

/// The running clients.
pub(super) struct Clients {
    begun: Instant,
    stop: CancellationToken,
    thread: JoinHandle<Vec<Entry>>,
}

/// Longer than anything in the demo holds a request.
const ASK_LIMIT: Duration = Duration::from_secs(20);

impl Clients {
    /// Starts them on a thread of their own.
    pub(super) fn begin(
        count: usize,
        find: impl Fn(usize) -> Option<PathBuf> + Send + Clone + 'static,
    ) -> Result<Self> {
        let (begun, stop) = (Instant::now(), CancellationToken::new());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("clients".to_owned())
            .spawn(move || ask_all(&runtime, count, begun, &stopped, &find))?;
        Ok(Self {
            begun,
            stop,
            thread,
        })
    }

    /// Time since the first request.
    pub(super) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Lets each end its last request and gives all entries.
    pub(super) fn end(self) -> Result<Vec<Entry>> {
        self.stop.cancel();
        self.thread
            .join()
            .map_err(|_panic| anyhow!("the clients' thread panicked"))
    }
}

fn ask_all(
    runtime: &Runtime,
    count: usize,
    begun: Instant,
    stop: &CancellationToken,
    find: &(impl Fn(usize) -> Option<PathBuf> + Send + Clone + 'static),
) -> Vec<Entry> {
    let next = Arc::new(AtomicU64::new(1));
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for index in 0..count {
            let asker = Asker {
                index,
                begun,
                stop: stop.clone(),
                next: Arc::clone(&next),
                entries: Vec::new(),
            };
            tasks.spawn(asker.ask_on(find.clone()));
        }
        tasks.join_all().await.into_iter().flatten().collect()
    })
}

struct Asker {
    index: usize,
    begun: Instant,
    stop: CancellationToken,
    next: Arc<AtomicU64>,
    entries: Vec<Entry>,
}

impl Asker {
    async fn ask_on(mut self, find: impl Fn(usize) -> Option<PathBuf>) -> Vec<Entry> {
        while !self.stop.is_cancelled() {
            let connected = match find(self.index) {
                Some(socket) => Client::connect(&socket).await.ok(),
                None => None,
            };
            match connected {
                Some(client) => self.ask_until_closed(client).await,
                None => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
        self.entries
    }

    async fn ask_until_closed(&mut self, mut client: Client) {
        let desk = Target::Role(RoleId::of("orders", "Desk"));
        while !self.stop.is_cancelled() {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let order = format!("('order', {number}, 'apple', 12)");
            let sent = self.begun.elapsed();
            let end = match client.ask(desk, &order, Some(ASK_LIMIT)).await {
                Ok(reply) => match reply.content() {
                    ReplyContent::Literal(text) => End::Answered(text),
                    other => End::Wrong(format!("{other:?}")),
                },
                Err(AskEnd::DeadLettered(reason)) => End::DeadLettered(reason),
                Err(AskEnd::Unknown(reason)) => End::Unknown(reason),
                Err(AskEnd::TimedOut(_)) => End::Nothing,
                // The connection went: the request may have been handled.
                Err(AskEnd::Closed(error)) => End::Unknown(error.to_string()),
            };
            let closed = matches!(&end, End::Unknown(_));
            self.entries.push(Entry {
                number,
                sent,
                ended: self.begun.elapsed(),
                end,
            });
            if closed {
                return;
            }
        }
    }
}
