//! Measures one leader with many followers: `cargo run --release -p cluster --example followers --
//! [COUNT]...`. Nothing is asserted; docs/measurements.md has the figures.
//!
//! The leader is a process of its own, `director` as it is built; the members are in this one.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a measurement shows its figures, and ends where something is missing"
)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cluster::{A, Application, Followers, Op, Plan, Scene, Usage};
use protocol::view::Wish;

fn main() {
    let counts: Vec<usize> = std::env::args()
        .skip(1)
        .map(|word| word.parse().unwrap())
        .collect();
    for count in counts {
        measure(count);
    }
}

/// A figure and its unit, as a row.
fn show(count: usize, what: &str, figure: f64, unit: &str) {
    println!("| {count} | {what} | {figure:.3} | {unit} |");
}

/// What happened between two looks.
struct Look {
    at: Instant,
    usage: Usage,
}

impl Look {
    fn at(scene: &Scene) -> Self {
        Self {
            at: Instant::now(),
            usage: scene.usage(A),
        }
    }

    /// Processor time since then, and time.
    fn since(&self, scene: &Scene) -> (f64, f64) {
        let used = scene.usage(A).processor - self.usage.processor;
        (used.as_secs_f64(), self.at.elapsed().as_secs_f64())
    }
}

fn measure(count: usize) {
    let scene = Scene::set(Plan {
        nodes: 1,
        application: Application::default().requiring("{'desk': True}"),
        ..Plan::default()
    });
    scene.keep_port(A);
    scene.write(A, "othercaps.cfg", "{'desk': True}\n");
    scene.play(&[Op::Start(A), Op::load(A, "1.0")]);
    let row = |what: &str, figure: f64, unit: &str| show(count, what, figure, unit);
    let listed = scene.json(A, "cluster members");
    let capabilities = listed["members"][0]["capabilities"].as_str();
    let capabilities = capabilities.unwrap_or("{}").replace("'desk'", "'none'");
    let alone = scene.usage(A);
    let invited = scene.run(A, &format!("cluster invite --uses {count}"));
    let token = invited.last_line().to_owned();

    let before = Look::at(&scene);
    // A few wishes each; each tenth is interested in the desk.
    let wishes = |number: usize| {
        let mut wishes = vec![
            Wish::Called(format!("nobody-{number}")),
            Wish::Called("nothing".to_owned()),
        ];
        if number.is_multiple_of(10) {
            wishes.push(Wish::Called("Desk".to_owned()));
        }
        wishes
    };
    let leader = (scene.listens_at(A), token.as_str());
    let followers = Followers::join(count, leader, &capabilities, wishes);
    let nodes = followers.nodes();
    for number in 0..count {
        followers.wish(number, Wish::Node(nodes[(number * 7 + 1) % count]));
    }
    if !followers.are_served(count, LONG) {
        println!(
            "only {} served: {:?}",
            followers.served(),
            followers.ended()
        );
        return;
    }
    let (used, took) = before.since(&scene);
    row("all join", took, "s");
    row(
        "all join: leader",
        used * 1e3 / count as f64,
        "ms of processor each",
    );

    settle(&scene);
    let (before, bytes) = (Look::at(&scene), followers.counted());
    std::thread::sleep(Duration::from_secs(20));
    let (used, took) = before.since(&scene);
    row("idle: leader", 100.0 * used / took, "% of a processor");
    let told = followers.counted().stream_bytes - bytes.stream_bytes;
    row(
        "idle: stream",
        told as f64 / count as f64 / took,
        "bytes/s each",
    );
    let usage = scene.usage(A);
    let grown = usage.resident_bytes.saturating_sub(alone.resident_bytes) as f64;
    row(
        "memory of the leader",
        usage.resident_bytes as f64 / 1048576.0,
        "MiB",
    );
    row(
        "memory of the leader, each member",
        grown / count as f64 / 1024.0,
        "KiB",
    );

    let commands = [
        ("cluster members", "--json cluster members"),
        ("cluster status", "--json cluster status"),
        ("list", "--json list"),
    ];
    for (what, line) in commands {
        let before = Look::at(&scene);
        let ran = scene.run(A, line);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let (used, _) = before.since(&scene);
        row(what, ran.took.as_secs_f64() * 1e3, "ms");
        row(&format!("{what}: leader"), used * 1e3, "ms of processor");
    }

    flow(&scene, &followers, count);
    load(&scene, &followers, "load", "2.0", count);
    load(&scene, &followers, "load", "3.0", count);
    load(&scene, &followers, "cluster load", "4.0", count);

    // All sessions are over, and begin again at once.
    let counted = followers.counted();
    scene.play(&[Op::Kill(A)]);
    assert!(followers.are_served(0, LONG));
    let begun = Instant::now();
    scene.play(&[Op::Start(A)]);
    let is_back = followers.are_served(count, LONG);
    row(
        "leader starts again: all are served",
        begun.elapsed().as_secs_f64(),
        "s",
    );
    row(
        "leader starts again: leader",
        scene.usage(A).processor.as_secs_f64() * 1e3 / count as f64,
        "ms of processor each",
    );
    let now = followers.counted();
    row(
        "sessions begun",
        (now.sessions - counted.sessions) as f64,
        "",
    );
    row("members lost", (now.lost - counted.lost) as f64, "");
    let told = now.stream_bytes - counted.stream_bytes;
    row("stream", told as f64 / count as f64, "bytes each");
    if !is_back {
        println!(
            "only {} served: {:?}",
            followers.served(),
            followers.ended()
        );
    }
    row(
        "peak memory of the leader",
        scene.usage(A).peak_bytes as f64 / 1048576.0,
        "MiB",
    );
    println!("sessions ended: {:?}", followers.ended());
}

/// A stream of changes that concern nobody but one member.
fn flow(scene: &Scene, followers: &Followers, count: usize) {
    settle(scene);
    let (before, counted) = (Look::at(scene), followers.counted());
    let first = index(scene);
    for number in 0..CHANGES {
        let off = if number % 2 == 0 { "" } else { " --off" };
        let line = format!("cluster drain follower-{}{off}", number / 2 % count);
        let ran = scene.run(A, &line);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    let last = index(scene);
    let reached = followers.until_each(LONG, |_, index, _| index >= last);
    let (used, took) = before.since(scene);
    let told = followers.counted().stream_bytes - counted.stream_bytes;
    let changes = (last - first) as f64;
    show(count, "changes", changes, "");
    show(count, "changes: all have come", took, "s");
    show(
        count,
        "a change: leader",
        used * 1e3 / changes,
        "ms of processor",
    );
    show(
        count,
        "a change: stream",
        told as f64 / count as f64 / changes,
        "bytes each",
    );
    assert!(reached.is_ok());
}

fn load(scene: &Scene, followers: &Followers, verb: &str, version: &str, count: usize) {
    scene.build(version);
    settle(scene);
    let before = Look::at(scene);
    let known: BTreeSet<_> = followers.applied().into_keys().collect();
    let ran = scene.load(A, verb, version);
    let (used, _) = before.since(scene);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    show(count, verb, ran.took.as_secs_f64() * 1e3, "ms");
    show(
        count,
        &format!("{verb}: leader"),
        used * 1e3,
        "ms of processor",
    );
    for (index, asked) in followers.applied() {
        if !known.contains(&index) {
            let what = format!("{verb}: index {index}, {} confirm", asked.answers);
            let took = asked.last - asked.first;
            show(count, &what, took.as_secs_f64() * 1e3, "ms");
        }
    }
}

fn index(scene: &Scene) -> u64 {
    scene.json(A, "cluster status")["index"].as_u64().unwrap()
}

/// Waits until the leader does little else than hear that all live.
fn settle(scene: &Scene) {
    let mut last = f64::MAX;
    for _ in 0..20 {
        let before = Look::at(scene);
        std::thread::sleep(Duration::from_secs(2));
        let (used, _) = before.since(scene);
        if used >= 0.9 * last {
            return;
        }
        last = used;
    }
}

const CHANGES: usize = 100;
const LONG: Duration = Duration::from_secs(180);
