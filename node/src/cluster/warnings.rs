//! Warnings of this node's actors on their way to the leader's log, and others' warnings here.
//!
//! The log process, or where there is none each actor, writes records of level WARNING and above
//! to a socket of the node as well; the node's own warnings come from its program. They wait here,
//! bounded and counted, until the leader has them; what a leader writes into its own logs needs no
//! way. Whoever leads has them written: those of actors by its own logging configuration, with the
//! sender's name as `nodeName`, those of nodes into its own log.
//! Not here: the log process (`python/thespian/system/log_process.py`).
//!
//! # Format
//! On the sockets: length (4 bytes, little endian) and a record as a JSON object.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::limits::{WARNING_BYTES_MAX, WARNINGS_BATCH_BYTES, WARNINGS_WAITING_BYTES_MAX};
use protocol::peer::{PeerRequest, PeerResponse};
use protocol::wire::{Refusal, RefusalCode};
use protocol::{Incarnation, NodeId};
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::peers::PeerFault;
use super::serve::must_lead;
use crate::agent::node::Node;

/// Where the records come from and go to.
#[derive(Debug)]
pub(crate) struct Warnings {
    /// The log process's socket; `None`: there is none, records go to the node's own log.
    log: Option<PathBuf>,
    // Held for an insertion or removal only.
    waiting: Mutex<Waiting>,
    more: Notify,
    // Held while records are written: one writer, and a limit on each.
    writing: tokio::sync::Mutex<Option<UnixStream>>,
    /// The last ones of each member that were written here. Held while those of one are: they come
    /// again where their answer was lost.
    written: tokio::sync::Mutex<BTreeMap<NodeId, (Incarnation, u64)>>,
}

/// Records that the leader has not got yet.
#[derive(Debug, Default)]
struct Waiting {
    records: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: u64,
    /// How many of each were sent last, whether they have arrived or not.
    offered: Option<(usize, u64)>,
    /// How often records were sent and have arrived.
    number: u64,
}

/// Records that go to the leader together: all of them again, and no others, until they are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) number: u64,
    pub(super) records: Vec<Vec<u8>>,
    /// How many were dropped since the last ones.
    pub(super) dropped: u64,
}

/// An event of a node's own program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Whether a person must act.
    pub is_error: bool,
    /// Where it comes from.
    pub target: String,
    /// What happened.
    pub text: String,
    /// How many before it were dropped.
    pub missed: u64,
}

impl Warnings {
    /// Of a node whose log process, if there is one, listens at `log`.
    pub(crate) fn new(log: Option<PathBuf>) -> Self {
        Self {
            log,
            waiting: Mutex::default(),
            more: Notify::new(),
            writing: tokio::sync::Mutex::default(),
            written: tokio::sync::Mutex::default(),
        }
    }

    /// Keeps a record for the leader, or counts it.
    fn keep(&self, record: Vec<u8>) {
        let mut waiting = self.waiting();
        if waiting.bytes + record.len() > WARNINGS_WAITING_BYTES_MAX {
            waiting.dropped += worth(&record);
        } else {
            waiting.bytes += record.len();
            waiting.records.push_back(record);
        }
        drop(waiting);
        self.more.notify_one();
    }

    fn count_lost(&self, number: u64) {
        self.waiting().dropped += number;
        self.more.notify_one();
    }

    /// The next records for the leader; they stay, and are the next, until `sent`.
    fn next(&self) -> Option<Batch> {
        let mut waiting = self.waiting();
        let mut bytes = 0;
        let fits = |record: &&Vec<u8>| {
            bytes += record.len();
            bytes <= WARNINGS_BATCH_BYTES.max(record.len())
        };
        let (count, dropped) = waiting.offered.unwrap_or_else(|| {
            let count = waiting.records.iter().take_while(fits).count();
            (count, waiting.dropped)
        });
        if (count, dropped) == (0, 0) {
            return None;
        }
        waiting.offered = Some((count, dropped));
        Some(Batch {
            number: waiting.number,
            records: waiting.records.iter().take(count).cloned().collect(),
            dropped,
        })
    }

    /// What `next` gave last is where it belongs.
    fn sent(&self) {
        let mut waiting = self.waiting();
        let (count, dropped) = waiting.offered.take().unwrap_or_default();
        let gone: usize = waiting.records.drain(..count).map(|r| r.len()).sum();
        waiting.bytes -= gone;
        waiting.dropped -= dropped;
        waiting.number += 1;
    }

    fn clear(&self) {
        let mut waiting = self.waiting();
        *waiting = Waiting {
            number: waiting.number + 1,
            ..Waiting::default()
        };
    }

    /// Writes a member's records once, however often they come; `false`: they could not be.
    async fn write(&self, from: NodeId, name: &str, run: Incarnation, batch: &Batch) -> bool {
        let mut written = self.written.lock().await;
        if written.get(&from) == Some(&(run, batch.number)) {
            return true;
        }
        let of_node = |record: &Value| record.get(OF_NODE) == Some(&Value::Bool(true));
        let records = readable(name, &batch.records, batch.dropped);
        let (nodes, actors): (Vec<_>, Vec<_>) = records.into_iter().partition(of_node);
        let taken = match &self.log {
            Some(path) => actors.is_empty() || self.log(path, &actors).await,
            None => {
                actors.iter().for_each(note);
                true
            }
        };
        if taken {
            nodes.iter().for_each(note);
            written.insert(from, (run, batch.number));
        }
        taken
    }

    /// Has the log process write these records; `false` if it does not take them in time.
    async fn log(&self, path: &PathBuf, records: &[Value]) -> bool {
        let mut bytes = Vec::new();
        for record in records {
            let record = record.to_string();
            let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
            bytes.extend(length.to_le_bytes());
            bytes.extend(record.as_bytes());
        }
        let mut writing = self.writing.lock().await;
        let mut again = true;
        loop {
            let kept = writing.take();
            let was_open = kept.is_some();
            let written = timeout(WRITE_LIMIT, async {
                let mut stream = match kept {
                    Some(stream) => stream,
                    None => UnixStream::connect(path).await?,
                };
                stream.write_all(&bytes).await.map(|()| stream)
            });
            match written.await {
                Ok(Ok(stream)) => {
                    *writing = Some(stream);
                    return true;
                }
                // The log process was started again.
                Ok(Err(_)) if was_open && again => again = false,
                Ok(Err(cause)) => {
                    tracing::debug!(%cause, "the log process does not take records");
                    return false;
                }
                Err(_elapsed) => return false,
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the records that this node's processes write to its socket, until shutdown.
pub(crate) async fn collect(node: Arc<Node>, listener: UnixListener) {
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((stream, _address)) => {
                    let reading = read(Arc::clone(&node), stream);
                    let ended = node.shutdown.clone();
                    node.tasks.spawn(async move {
                        let _stopped = ended.run_until_cancelled(reading).await;
                    });
                }
                Err(cause) => {
                    tracing::warn!(%cause, "no connection for warnings can be taken");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    };
    let _stopped = node.shutdown.run_until_cancelled(accepting).await;
}

/// Reads one process's records until it closes.
async fn read(node: Arc<Node>, mut stream: UnixStream) {
    while let Ok(length) = stream.read_u32_le().await {
        let length = length as usize;
        if length > WARNING_BYTES_MAX {
            let mut skipped = (&mut stream).take(length as u64);
            let copied = tokio::io::copy(&mut skipped, &mut tokio::io::sink()).await;
            if copied.is_err() {
                return;
            }
            node.for_leader.count_lost(1);
            continue;
        }
        let mut record = vec![0; length];
        if stream.read_exact(&mut record).await.is_err() {
            return;
        }
        if !node.membership.leads() {
            node.for_leader.keep(record);
        }
    }
}

/// Takes the warnings of the node's own program, until shutdown.
pub(crate) async fn own(node: Arc<Node>, mut warnings: mpsc::Receiver<Warning>) {
    while let Some(Some(warning)) = node.shutdown.run_until_cancelled(warnings.recv()).await {
        if node.membership.leads() {
            continue;
        }
        if warning.missed > 0 {
            node.for_leader.count_lost(warning.missed);
        }
        let record = warning.record().to_string().into_bytes();
        if record.len() > WARNING_BYTES_MAX {
            node.for_leader.count_lost(1);
        } else {
            node.for_leader.keep(record);
        }
    }
}

impl Warning {
    fn record(&self) -> Value {
        let level = WARNING_LEVEL + i64::from(self.is_error) * 10;
        serde_json::json!({
            OF_NODE: true,
            "name": self.target,
            "levelno": level,
            "msg": self.text,
        })
    }
}

/// Sends the leader what waits, whoever leads, until shutdown.
pub(crate) async fn send(node: Arc<Node>) {
    let sending = async {
        loop {
            node.for_leader.more.notified().await;
            while let Some(batch) = node.for_leader.next() {
                send_batch(&node, batch).await;
            }
        }
    };
    let _stopped = node.shutdown.run_until_cancelled(sending).await;
}

async fn send_batch(node: &Node, batch: Batch) {
    let request = PeerRequest::Warnings {
        run: node.incarnation,
        number: batch.number,
        records: batch.records,
        dropped: batch.dropped,
    };
    let peers = &node.membership.peers;
    match peers.ask_leader(&request, SEND_LIMIT).await {
        Ok(_) => node.for_leader.sent(),
        // They are in its own log already.
        Err(PeerFault::Leads) => node.for_leader.clear(),
        Err(PeerFault::Refused(refusal)) if refusal.code == RefusalCode::BadRequest => {
            tracing::warn!(%refusal, "the leader does not take this node's warnings");
            node.for_leader.sent();
        }
        Err(fault) => {
            tracing::debug!(%fault, "the leader has not got this node's warnings yet");
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Writes the warnings of the member `from` into this leader's log, unless it has them.
pub(super) async fn answer(
    node: &Node,
    from: NodeId,
    run: Incarnation,
    batch: &Batch,
) -> Result<PeerResponse, Refusal> {
    must_lead(node)?;
    let members = &node.membership.registry;
    let name = members.read(|state| state.members.get(&from).map(|it| it.name.clone()));
    let name = name.unwrap_or_else(|| from.to_string());
    if node.for_leader.write(from, &name, run, batch).await {
        return Ok(PeerResponse::Done);
    }
    let text = format!(
        "the log process of node `{}` takes no more now",
        node.membership.name
    );
    Err(Refusal::new(RefusalCode::Busy, text))
}

/// The records as a log process takes them, each with its node's name.
fn readable(name: &str, records: &[Vec<u8>], dropped: u64) -> Vec<Value> {
    let read = |record: &Vec<u8>| serde_json::from_slice::<Map<String, Value>>(record).ok();
    let known: Vec<_> = records.iter().filter_map(read).collect();
    let lost = dropped + (records.len() - known.len()) as u64;
    let told = (lost > 0).then(|| lost_record(lost));
    let marked = known.into_iter().chain(told).map(|mut record| {
        record.insert("nodeName".to_owned(), Value::from(name));
        record.insert("relayed".to_owned(), Value::from(true));
        // What makes a text of a record, and nothing else.
        record.remove("args");
        record.remove("exc_info");
        Value::Object(record)
    });
    marked.collect()
}

/// For how many a record stands: one that tells of dropped ones stands for them.
fn worth(record: &[u8]) -> u64 {
    let read = serde_json::from_slice::<Map<String, Value>>(record).ok();
    let told = read.and_then(|record| record.get("n_dropped")?.as_u64());
    told.unwrap_or(1)
}

fn lost_record(count: u64) -> Map<String, Value> {
    let text = format!("{count} warnings of this node were dropped on their way to the leader");
    let fields = [
        ("name", Value::from("thespian.log")),
        ("levelno", Value::from(WARNING_LEVEL)),
        ("levelname", Value::from("WARNING")),
        ("msg", Value::from(text)),
    ];
    let fields = fields.into_iter();
    fields
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Where there is no log process: one line in the node's own log.
fn note(record: &Value) {
    let text = |name: &str| match record.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    let level = record.get("levelno").and_then(Value::as_i64);
    let (node, logger, actor) = (text("nodeName"), text("name"), text("actorAddress"));
    let message = [text("msg"), text("exc_text")].join("\n");
    let message = message.trim_end();
    if level > Some(WARNING_LEVEL) {
        tracing::error!(node, logger, actor, "{message}");
    } else {
        tracing::warn!(node, logger, actor, "{message}");
    }
}

/// Marks a record of a node's own program.
const OF_NODE: &str = "ofNode";

/// Python's number for it.
const WARNING_LEVEL: i64 = 30;

/// Wait before what failed is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// How long the leader may take for a batch.
const SEND_LIMIT: Duration = Duration::from_secs(20);

/// How long the log process may take for a batch.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted_and_told_once() {
        let warnings = Warnings::new(None);
        let record = vec![b' '; WARNING_BYTES_MAX];
        let fit = WARNINGS_WAITING_BYTES_MAX / WARNING_BYTES_MAX;
        for _ in 0..fit + 3 {
            warnings.keep(record.clone());
        }
        let mut taken = 0;
        while let Some(batch) = warnings.next() {
            assert_eq!(batch.dropped, if taken == 0 { 3 } else { 0 });
            let bytes = batch.records.iter().map(Vec::len).sum::<usize>();
            assert!(bytes <= WARNINGS_BATCH_BYTES);
            taken += batch.records.len();
            warnings.sent();
        }
        assert_eq!(taken, fit);
        for text in [r#"{"n_dropped": 40}"#, "{}"] {
            let mut told = vec![b' '; WARNINGS_WAITING_BYTES_MAX + 1];
            told.splice(..text.len(), text.bytes());
            warnings.keep(told);
        }
        let told = |warnings: &Warnings| {
            let batch = warnings.next().unwrap();
            (batch.records, batch.dropped)
        };
        assert_eq!(told(&warnings), (Vec::new(), 41));
        warnings.sent();
        warnings.keep(b"{}".to_vec());
        assert_eq!(told(&warnings), (vec![b"{}".to_vec()], 0));
    }

    #[test]
    fn what_may_have_arrived_is_sent_again_as_it_was() {
        let warnings = Warnings::new(None);
        warnings.keep(b"{}".to_vec());
        warnings.count_lost(2);
        let first = warnings.next().unwrap();
        warnings.keep(b"later".to_vec());
        warnings.count_lost(1);
        assert_eq!(warnings.next().unwrap(), first);
        warnings.sent();
        let second = warnings.next().unwrap();
        let later = Batch {
            number: first.number + 1,
            records: vec![b"later".to_vec()],
            dropped: 1,
        };
        assert_eq!(second, later);
        // What was for a leader that this node has become goes with its number.
        warnings.clear();
        warnings.keep(b"anew".to_vec());
        assert_eq!(warnings.next().unwrap().number, second.number + 1);
    }

    #[tokio::test]
    async fn a_batch_whose_answer_was_lost_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = UnixListener::bind(&path).unwrap();
        let leader = Warnings::new(Some(path));
        let batch = |number: u64, text: &str| Batch {
            number,
            records: vec![format!(r#"{{"msg":"{text}"}}"#).into_bytes()],
            dropped: 0,
        };
        let (run, anew) = (Incarnation(7), Incarnation(8));
        let given = [
            (2, run, batch(0, "one")),
            (2, run, batch(0, "one")),
            (3, run, batch(0, "of another")),
            (2, run, batch(1, "two")),
            (2, anew, batch(1, "started anew")),
        ];
        let giving = async {
            for (from, run, batch) in &given {
                assert!(leader.write(NodeId(*from), "a", *run, batch).await);
            }
            drop(leader);
        };
        let taking = async {
            let (mut stream, _) = log.accept().await.unwrap();
            let mut texts = Vec::new();
            while let Ok(length) = stream.read_u32_le().await {
                let mut record = vec![0; length as usize];
                stream.read_exact(&mut record).await.unwrap();
                let record: Value = serde_json::from_slice(&record).unwrap();
                texts.push(record["msg"].as_str().unwrap().to_owned());
            }
            texts
        };
        let ((), texts) = tokio::join!(giving, taking);
        assert_eq!(texts, ["one", "of another", "two", "started anew"]);
    }

    #[test]
    fn a_member_cannot_speak_in_anothers_name() {
        let record = br#"{"msg": "%s", "args": ["x"], "nodeName": "other"}"#.to_vec();
        let read = readable("a", &[record, b"no record".to_vec()], 2);
        assert_eq!(
            read[0].to_string(),
            r#"{"msg":"%s","nodeName":"a","relayed":true}"#
        );
        let text = "3 warnings of this node were dropped on their way to the leader";
        assert_eq!(read[1]["msg"], text);
        assert_eq!(read.len(), 2);
    }
}
