//! Packages from providers that hold, stop, lie or never end.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use protocol::SourceHash;
use protocol::wire::{Answer, Refusal, RefusalCode, TransferResponse};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;
use transport::bulk::{
    GetFault, Getter, Pace, Providers, PullFault, Sink, Wanted, get, provide, refuse,
};
use transport::streams::BiStream;
use transport::{Alpn, Connection};

use crate::world::{Host, World, connected};

/// Bytes in memory that can be begun anew.
#[derive(Debug, Default)]
struct Memory {
    bytes: Vec<u8>,
    restarts: usize,
}

impl Sink for Memory {
    async fn restart(&mut self) -> std::io::Result<()> {
        self.bytes.clear();
        self.restarts += 1;
        Ok(())
    }
}

impl AsyncWrite for Memory {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.bytes.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What a provider of these tests does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conduct {
    Honest,
    /// Stops after so many bytes from the offset on.
    StopsAfter(usize),
    /// Changes one byte in the last kilobyte.
    Corrupt,
    /// Announces what is right and sends without end.
    Endless,
    /// Announces more than it has.
    Boasts(u64),
    Busy,
    /// Announces, then says nothing.
    Mute,
    /// Sends a piece, and after a while another: less than is wanted, and never nothing for long.
    Drips,
}

async fn serve(mut stream: BiStream, package: &[u8], conduct: Conduct) {
    let request = transport::bulk::wanted(&mut stream).await.unwrap();
    assert_eq!(request.hash, SourceHash::of(package));
    let length_bytes = package.len() as u64;
    let mut held = package.to_vec();
    let from = request.offset_bytes as usize;
    // A getter that gives up ends the stream; what that looks like here is not the point.
    let _end = match conduct {
        Conduct::Busy => {
            let refusal = Refusal::new(RefusalCode::Busy, "20 transfers are under way");
            refuse(stream, refusal).await.is_ok()
        }
        Conduct::Honest => {
            let mut bytes = &held[from..];
            provide(stream, &mut bytes, request.offset_bytes, length_bytes)
                .await
                .is_ok()
        }
        Conduct::Corrupt => {
            let place = held.len() - 1000;
            held[place] ^= 1;
            let mut bytes = &held[from..];
            provide(stream, &mut bytes, request.offset_bytes, length_bytes)
                .await
                .is_ok()
        }
        Conduct::StopsAfter(n_bytes) => {
            let mut bytes = &held[from..from + n_bytes];
            let fault = provide(stream, &mut bytes, request.offset_bytes, length_bytes).await;
            assert!(fault.is_err());
            true
        }
        Conduct::Boasts(length_bytes) => {
            let mut bytes = &held[from..];
            provide(stream, &mut bytes, request.offset_bytes, length_bytes)
                .await
                .is_ok()
        }
        Conduct::Endless => endless(stream, length_bytes).await,
        Conduct::Mute => {
            let answer = Answer::Done(TransferResponse { length_bytes });
            stream.sender.send(&answer).await.unwrap();
            std::future::pending::<bool>().await
        }
        Conduct::Drips => {
            let (mut end, mut bytes) = tokio::io::duplex(1 << 20);
            let dripping = async {
                for drip in held[from..].chunks(1 << 20) {
                    end.write_all(drip).await?;
                    tokio::time::sleep(Duration::from_millis(600)).await;
                }
                std::future::pending::<std::io::Result<()>>().await
            };
            let providing = provide(stream, &mut bytes, request.offset_bytes, length_bytes);
            tokio::select! {
                end = providing => end.is_ok(),
                end = dripping => end.is_ok(),
            }
        }
    };
}

/// Sends until the getter stops it, far beyond what was announced.
async fn endless(mut stream: BiStream, length_bytes: u64) -> bool {
    let answer = Answer::Done(TransferResponse { length_bytes });
    stream.sender.send(&answer).await.unwrap();
    let chunk = vec![7; 1 << 20];
    for _ in 0..10_000 {
        if stream.sender.send_frame(&chunk).await.is_err() {
            return true;
        }
    }
    panic!("the getter took 10 GB");
}

/// Providers asked in turn, and what was said of each.
struct Line {
    connections: Vec<Connection>,
    asked: usize,
    faults: Vec<(String, bool)>,
    _hosts: Vec<Host>,
    _serving: JoinSet<()>,
}

impl Providers for Line {
    async fn next(&mut self) -> Option<Connection> {
        self.asked += 1;
        self.connections.get(self.asked - 1).cloned()
    }

    fn failed(&mut self, fault: &PullFault, proven: bool) {
        self.faults.push((fault.to_string(), proven));
    }
}

async fn line(package: &'static [u8], conducts: &[Conduct]) -> Line {
    let world = World::new(1);
    let getter = world.host(1);
    let (mut connections, mut hosts, mut serving) = (Vec::new(), Vec::new(), JoinSet::new());
    for (number, conduct) in conducts.iter().copied().enumerate() {
        let mut host = world.host(number as u64 + 2);
        let (here, there) = connected(&getter, &mut host, Alpn::Bulk).await;
        connections.push(here);
        hosts.push(host);
        serving.spawn(async move {
            while let Ok(stream) = there.accept().await {
                serve(stream, package, conduct).await;
            }
        });
    }
    hosts.push(getter);
    Line {
        connections,
        asked: 0,
        faults: Vec::new(),
        _hosts: hosts,
        _serving: serving,
    }
}

fn package(n_bytes: usize) -> &'static [u8] {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(n_bytes)
    .collect();
    bytes.leak()
}

fn wanted(package: &[u8]) -> Wanted {
    Wanted {
        hash: SourceHash::of(package),
        length_bytes: None,
        max_bytes: 64 << 20,
        stall: Duration::from_secs(5),
        pace: Pace {
            bytes: 64 << 10,
            within: Duration::from_secs(2),
        },
    }
}

struct Outcome {
    result: Result<u64, GetFault>,
    sink: Memory,
    line: Line,
}

async fn run(wanted: Wanted, package: &'static [u8], conducts: &[Conduct]) -> Outcome {
    let mut line = line(package, conducts).await;
    let mut sink = Memory::default();
    let mut getter = Getter::new(wanted);
    let result = get(&mut getter, &mut line, &mut sink).await;
    Outcome { result, sink, line }
}

#[tokio::test]
async fn packages_of_all_sizes_arrive_whole() {
    for n_bytes in [0, 1, (1 << 20) - 1, 1 << 20, (3 << 20) + 17] {
        let package = package(n_bytes);
        let done = run(wanted(package), package, &[Conduct::Honest]).await;
        assert_eq!(done.result.unwrap(), n_bytes as u64);
        assert!(done.sink.bytes == package);
    }
}

#[tokio::test]
async fn an_interrupted_transfer_goes_on_with_another_provider() {
    let package = package(5 << 20);
    let conducts = [
        Conduct::StopsAfter(2 << 20),
        Conduct::Busy,
        Conduct::StopsAfter(1 << 20),
        Conduct::Honest,
    ];
    let done = run(wanted(package), package, &conducts).await;
    assert_eq!(done.result.unwrap(), 5 << 20);
    assert!(done.sink.bytes == package);
    assert_eq!((done.sink.restarts, done.line.faults.len()), (0, 3));
}

#[tokio::test]
async fn a_connection_lost_in_the_middle_costs_no_byte_twice() {
    let package = package(8 << 20);
    let mut line = line(package, &[Conduct::Honest, Conduct::Honest]).await;
    let mut getter = Getter::new(wanted(package));
    let mut sink = Cutter {
        memory: Memory::default(),
        at_bytes: 3 << 20,
        connection: line.connections[0].clone(),
    };
    get(&mut getter, &mut line, &mut sink).await.unwrap();
    assert!(sink.memory.bytes == package);
    assert_eq!((sink.memory.restarts, line.faults.len()), (0, 1));
    let (_sent, received) = line.connections[1].traffic_bytes();
    assert!(received < 6 << 20, "{received} bytes came from the second");
}

#[tokio::test]
async fn what_an_earlier_run_stored_is_taken_up() {
    let package = package(4 << 20);
    let mut line = line(package, &[Conduct::Honest]).await;
    let stored = &package[..3_000_001];
    let mut sink = Memory {
        bytes: stored.to_vec(),
        restarts: 0,
    };
    let mut getter = Getter::new(wanted(package));
    getter.take_up(&mut &stored[..]).await.unwrap();
    assert_eq!(getter.received_bytes(), 3_000_001);
    get(&mut getter, &mut line, &mut sink).await.unwrap();
    assert!(sink.bytes == package);
    assert_eq!(sink.restarts, 0);
}

#[tokio::test]
async fn wrong_bytes_from_an_earlier_run_are_thrown_away() {
    let package = package(2 << 20);
    let conducts = [Conduct::Honest, Conduct::Honest];
    let mut line = line(package, &conducts).await;
    let stored = vec![0; 1 << 20];
    let mut sink = Memory {
        bytes: stored.clone(),
        restarts: 0,
    };
    let mut getter = Getter::new(wanted(package));
    getter.take_up(&mut &stored[..]).await.unwrap();
    get(&mut getter, &mut line, &mut sink).await.unwrap();
    assert!(sink.bytes == package);
    // The provider was honest: nothing is proven against it.
    assert_eq!(line.faults.len(), 1);
    assert!(!line.faults[0].1);
}

#[tokio::test]
async fn a_corrupt_provider_is_found_and_the_next_one_serves() {
    let package = package(2 << 20);
    let conducts = [Conduct::Corrupt, Conduct::Honest];
    let done = run(wanted(package), package, &conducts).await;
    done.result.unwrap();
    assert!(done.sink.bytes == package);
    assert_eq!(done.sink.restarts, 1);
    let (fault, proven) = &done.line.faults[0];
    assert!(fault.contains("is wanted") && *proven, "{fault}");
}

#[tokio::test]
async fn nobody_is_blamed_for_wrong_bytes_of_two() {
    let package = package(2 << 20);
    let conducts = [
        Conduct::StopsAfter(1 << 20),
        Conduct::Corrupt,
        Conduct::Corrupt,
        Conduct::Honest,
    ];
    let done = run(wanted(package), package, &conducts).await;
    done.result.unwrap();
    assert!(done.sink.bytes == package);
    let proven: Vec<bool> = done.line.faults.iter().map(|(_, proven)| *proven).collect();
    assert_eq!(proven, [true, false, true]);
}

#[tokio::test]
async fn an_endless_provider_is_cut_off() {
    let package = package(1 << 20);
    let conducts = [Conduct::Endless, Conduct::Honest];
    let done = run(wanted(package), package, &conducts).await;
    done.result.unwrap();
    assert!(done.sink.bytes == package);
    assert!(done.line.faults[0].0.contains("sends more"));
    // Not more than its window came, whatever it sends.
    let (_sent, received) = done.line.connections[0].traffic_bytes();
    assert!(received < 40 << 20, "{received} bytes came");
}

#[tokio::test]
async fn an_announcement_above_the_cap_or_beside_the_registry_is_refused() {
    let package = package(1 << 20);
    let conducts = [Conduct::Boasts(1 << 60), Conduct::Boasts((1 << 20) + 1)];
    let mut wanted = wanted(package);
    wanted.length_bytes = Some(1 << 20);
    let done = run(wanted, package, &conducts).await;
    let Err(GetFault::Exhausted { tried, .. }) = done.result else {
        panic!("a boaster was believed");
    };
    assert_eq!(tried, 2);
    assert!(done.line.faults[0].0.contains("at most"));
    assert!(done.line.faults[1].0.contains("are known"));
    assert!(done.sink.bytes.is_empty());
}

#[tokio::test]
async fn a_wrong_length_of_the_first_provider_does_not_bind_the_next() {
    let package = package(1 << 20);
    let conducts = [Conduct::Boasts((1 << 20) + 9), Conduct::Honest];
    let done = run(wanted(package), package, &conducts).await;
    assert_eq!(done.result.unwrap(), 1 << 20);
    assert!(done.sink.bytes == package);
    assert_eq!(done.line.faults.len(), 1);
}

#[tokio::test]
async fn a_mute_provider_is_left_in_time() {
    let package = package(1 << 10);
    let mut wanted = wanted(package);
    wanted.stall = Duration::from_millis(200);
    let done = run(wanted, package, &[Conduct::Mute, Conduct::Honest]).await;
    done.result.unwrap();
    assert!(done.line.faults[0].0.contains("sent nothing for 200 ms"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_drips_is_left_and_what_has_come_is_kept() {
    let package = package(12 << 20);
    let mut wanted = wanted(package);
    wanted.pace = Pace {
        bytes: 4 << 20,
        within: Duration::from_millis(1_500),
    };
    // One that serves may be slow for once.
    let conducts = [
        Conduct::Drips,
        Conduct::Honest,
        Conduct::Honest,
        Conduct::Honest,
    ];
    let done = run(wanted, package, &conducts).await;
    done.result.unwrap();
    let told = &done.line.faults[0].0;
    assert!(
        told.contains("sent less than 4194304 bytes in 1500 ms"),
        "{told}"
    );
    let at_bytes: u64 = told.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(at_bytes > 0, "{told}");
    assert_eq!((done.sink.restarts, &*done.sink.bytes), (0, package));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_megabytes_cross_loopback() {
    let package = package(20 << 20);
    let mut line = line(package, &[Conduct::Honest]).await;
    let mut sink = Memory::default();
    let mut getter = Getter::new(wanted(package));
    let since = Instant::now();
    get(&mut getter, &mut line, &mut sink).await.unwrap();
    println!("20 MiB in {} ms", since.elapsed().as_millis());
    assert!(sink.bytes == package);
}

/// Closes the connection that the bytes come from, once so many are there.
struct Cutter {
    memory: Memory,
    at_bytes: usize,
    connection: Connection,
}

impl Sink for Cutter {
    async fn restart(&mut self) -> std::io::Result<()> {
        self.memory.restart().await
    }
}

impl AsyncWrite for Cutter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.memory.bytes.len() >= self.at_bytes {
            let cut = Refusal::new(RefusalCode::Stopping, "cut by the test");
            self.connection.close(&cut);
        }
        Pin::new(&mut self.memory).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
