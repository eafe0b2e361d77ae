//! What a node does on its own, and the moment when its convention is back.

use std::sync::Arc;
use std::thread;

use protocol::registry::{Command, MemberCommand, State};
use protocol::{ConventionId, Stamp};
use tokio_util::task::TaskTracker;

use crate::cluster::registry::RegistryHandle;
use crate::cluster::view::View;

fn noted() -> Command {
    Command::Member(MemberCommand::Note {
        what: "done".to_owned(),
        subject: "alone".to_owned(),
        by: "nobody".to_owned(),
        detail: String::new(),
        stamp: Stamp(1),
    })
}

#[test]
fn what_is_done_alone_enters_no_registry_of_the_convention() {
    for _ in 0..1_000 {
        let registry = Arc::new(RegistryHandle::new(TaskTracker::new()));
        let known = State {
            convention: Some(ConventionId([4; 16])),
            ..State::default()
        };
        registry.become_follower(View {
            index: 17,
            state: known.clone(),
            ..View::default()
        });
        registry.go_offline(|_| {});
        let proposing = Arc::clone(&registry);
        let alone = thread::spawn(move || while proposing.apply_offline(&noted()).is_some() {});
        while registry.read(|state| state.roll.audit.is_empty()) {
            thread::yield_now();
        }
        registry.take_over(known.clone(), 31, None, None).unwrap();
        assert!(!registry.is_offline());
        alone.join().unwrap();
        let now = registry.read_at(|index, state| (index, state.clone()));
        assert!(
            now == (31, known),
            "{} notes came along",
            now.1.roll.audit.len()
        );
    }
}
