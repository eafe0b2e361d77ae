//! Random faults from a seed: whatever happens, nothing acknowledged is lost, and when the
//! faults end all agree again.

use std::time::Duration;

use leader::Start;
use tokio::time::{sleep, timeout};

use crate::hub::{Fault, Group, entries, entry};

/// Random numbers that a seed repeats (the splitmix64 sequence).
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// Does one thing to the lines or to a voter.
async fn disturb(group: &mut Group, draw: &mut Draw) {
    let (from, to) = (1 + draw.below(3), 1 + draw.below(3));
    let fault = match draw.below(6) {
        0 => Some(Fault::Cut),
        1 => Some(Fault::Silent),
        2 => Some(Fault::Delayed(Duration::from_millis(draw.below(500)))),
        3 => Some(Fault::Twice),
        _ => None,
    };
    match draw.below(8) {
        0 if group.open.contains_key(&from) => group.kill(from).await,
        0 | 1 if !group.open.contains_key(&from) => group.start(from, Start::Resume).await,
        2 => group.hub.set_both(from, to, fault),
        _ => group.hub.set(from, to, fault),
    }
}

/// Proposes `number` to every voter that is there; whether one acknowledged.
async fn propose(group: &Group, number: u64) -> bool {
    let mut acknowledged = false;
    for consensus in group.open.values() {
        let proposed = consensus.propose(entry(number));
        let outcome = timeout(Duration::from_millis(700), proposed).await;
        acknowledged |= matches!(outcome, Ok(Ok(_)));
    }
    acknowledged
}

async fn storm(seed: u64) -> usize {
    let mut draw = Draw(seed);
    let mut group = Group::of(3).await;
    let mut acknowledged = Vec::new();
    for number in 0..60 {
        disturb(&mut group, &mut draw).await;
        sleep(Duration::from_millis(draw.below(900))).await;
        if propose(&group, number).await {
            acknowledged.push(number);
        }
    }
    for raft in 1..=3 {
        for other in 1..=3 {
            group.hub.set(raft, other, None);
        }
        if !group.open.contains_key(&raft) {
            group.start(raft, Start::Resume).await;
        }
    }
    let took = group.propose_anywhere(1_000).await;
    assert!(took < Duration::from_secs(10), "seed {seed}: {took:?}");
    let found = {
        let leader = group.leader().await;
        group.open[&leader].linearizable().await.unwrap();
        entries(&group.open[&leader])
    };
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|it| !found.contains(it))
        .collect();
    assert!(
        lost.is_empty(),
        "seed {seed}: acknowledged, but gone: {lost:?}"
    );
    group.agree(&found).await;
    group.kill_all().await;
    acknowledged.len()
}

#[tokio::test(start_paused = true)]
async fn nothing_acknowledged_is_lost_whatever_the_lines_do() {
    let mut acknowledged = 0;
    for seed in 123..131 {
        acknowledged += storm(seed).await;
    }
    assert!(acknowledged > 100, "the storm left only {acknowledged}");
}
