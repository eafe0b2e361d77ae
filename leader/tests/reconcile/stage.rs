//! The leader's side over a registry in memory and a fleet of three members.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use leader::reconcile::{Director, LoadOrder, Reconciler, Replica};
use protocol::control::Reach;
use protocol::definition::{ActorDefinition, Placement};
use protocol::registry::{Command, KeyDigest, MemberCommand, SlotState, State};
use protocol::{GroupDefinition, Incarnation, NodeId, RequestId, SlotId, SourceHash, Stamp};
use tokio_util::sync::CancellationToken;

use crate::memory::Memory;
use crate::troupe::Troupe;

/// The leader's side over both.
pub(crate) struct Stage {
    pub(crate) memory: Arc<Memory>,
    pub(crate) troupe: Arc<Troupe>,
    pub(crate) director: Director<Memory, Troupe>,
    stop: CancellationToken,
}

impl Stage {
    /// Members 1, 2 and 3 are up; the first leads.
    pub(crate) fn new() -> Self {
        let memory = Arc::new(Memory::new());
        let troupe = Arc::new(Troupe::new(Arc::clone(&memory)));
        for command in (1..=3).flat_map(joined) {
            memory.apply(&command);
        }
        Self::lead(memory, troupe)
    }

    /// A leader that knows nothing but the registry.
    fn lead(memory: Arc<Memory>, troupe: Arc<Troupe>) -> Self {
        memory.set_leads(true);
        let stop = CancellationToken::new();
        let hold = Duration::from_secs(30);
        let reconciler = Reconciler::new(Arc::clone(&memory), Arc::clone(&troupe), hold);
        tokio::spawn(reconciler.run(stop.clone()));
        let director = Director::new(Arc::clone(&memory), Arc::clone(&troupe));
        Self {
            memory,
            troupe,
            director,
            stop,
        }
    }

    /// Another node leads from here.
    pub(crate) fn next_leader(self) -> Self {
        self.stop.cancel();
        Self::lead(Arc::clone(&self.memory), Arc::clone(&self.troupe))
    }

    /// The first slot whose class is this, with its state.
    pub(crate) fn slot(&self, class: &str) -> (SlotId, SlotState) {
        self.memory.read(|state| {
            let mut slots = state.slots.iter();
            let (id, slot) = slots.find(|(_, slot)| slot.class == class).unwrap();
            (*id, slot.state.clone())
        })
    }

    /// Where actors of a class run, in order.
    pub(crate) fn running(&self, class: &str) -> Vec<u64> {
        self.memory.read(|state| running(state, class))
    }

    /// Waits until something holds of the registry.
    pub(crate) async fn until(&self, holds: impl Fn(&State) -> bool) {
        let mut applied = self.memory.applied();
        let waiting = async {
            while !self.memory.read(&holds) {
                applied.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), waiting).await;
        if waited.is_err() {
            panic!("{:#?}", self.memory.read(|state| state.slots.clone()));
        }
    }

    /// Waits until actors of a class run on these members.
    pub(crate) async fn until_running(&self, class: &str, nodes: &[u64]) {
        self.until(|state| running(state, class) == nodes).await;
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn running(state: &State, class: &str) -> Vec<u64> {
    let slots = state.slots.values();
    let there = slots.filter(|slot| slot.class == class && slot.state == SlotState::Running);
    let mut nodes: Vec<_> = there.map(|slot| slot.node.0).collect();
    nodes.sort_unstable();
    nodes
}

/// What a member's joining and start put into the registry.
pub(crate) fn joined(node: u64) -> [Command; 3] {
    let key = KeyDigest([node as u8; 32]);
    let (name, stamp) = (format!("member-{node}"), Stamp(1_000));
    [
        Command::Member(MemberCommand::Approve {
            key,
            name: name.clone(),
            by: "a test".to_owned(),
            stamp,
        }),
        Command::Member(MemberCommand::Admit {
            node: NodeId(node),
            key,
            name: name.clone(),
            address: String::new(),
            token: None,
            may_vote: true,
            stamp,
        }),
        started(node, 1),
    ]
}

/// A member starts its run of this number.
pub(crate) fn started(node: u64, run: u64) -> Command {
    Command::MemberStarted {
        node: NodeId(node),
        name: format!("member-{node}"),
        address: String::new(),
        incarnation: Incarnation(node * 100 + run),
        capabilities: "{}".to_owned(),
        stamp: Stamp(1_000),
    }
}

/// The first run of a member is lost.
pub(crate) fn lost(node: u64) -> Command {
    Command::Member(MemberCommand::Lost {
        node: NodeId(node),
        incarnation: Incarnation(node * 100 + 1),
        stamp: Stamp(1_000),
    })
}

pub(crate) fn drained(node: u64, on: bool) -> Command {
    Command::Member(MemberCommand::Drain {
        node: NodeId(node),
        on,
        by: "a test".to_owned(),
        stamp: Stamp(1_000),
    })
}

pub(crate) fn request() -> RequestId {
    static LAST: Mutex<u128> = Mutex::new(0);
    let mut last = LAST.lock().unwrap();
    *last += 1;
    RequestId(last.to_be_bytes())
}

pub(crate) fn hash(version: &str) -> SourceHash {
    SourceHash::of(version.as_bytes())
}

/// A load of group `foo` from member 1: the first class plays `Main`; `each:` before a class
/// places it on each member.
pub(crate) fn order(version: &str, classes: &[&str]) -> LoadOrder {
    let mut definition = GroupDefinition::default();
    for (position, class) in classes.iter().enumerate() {
        let each = class.strip_prefix("each:");
        definition.actors.push(ActorDefinition {
            class: each.unwrap_or(class).to_owned(),
            role: (position == 0).then(|| "Main".to_owned()),
            on_load: Some("'loaded'".to_owned()),
            on_deactivate: Some("'left'".to_owned()),
            on_reactivate: Some("'back'".to_owned()),
            placement: each.map_or(Placement::One, |_| Placement::Each),
            ..ActorDefinition::default()
        });
    }
    LoadOrder {
        request: request(),
        hash: hash(version),
        group: "foo".to_owned(),
        version: Some(version.to_owned()),
        bytes: 1,
        definition,
        by: "a test".to_owned(),
        origin: NodeId(1),
        reach: Reach::OnDemand,
        no_wait: false,
        upwards_only: false,
    }
}
