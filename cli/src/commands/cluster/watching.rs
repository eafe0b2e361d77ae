//! A look at each member while a load is under way: lines on a terminal, the last state kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use protocol::RequestId;
use protocol::control::{ClusterRequest, ClusterResponse, MemberProgress};

use super::super::Context;
use super::asking::ask;
use crate::Failure;
use crate::online::Online;
use crate::progress::Lines;

/// Follows a load on a connection of its own, until told to stop.
#[derive(Debug)]
pub(super) struct Watching {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<MemberProgress>>,
}

/// Between two looks.
const PERIOD: Duration = Duration::from_millis(150);

impl Watching {
    /// Begins to follow the load that has this id, from before it is asked for.
    pub(super) fn begin(context: &Context, request: RequestId) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (context, stopped) = (context.clone(), Arc::clone(&stop));
        let thread = thread::spawn(move || follow(&context, request, &stopped));
        Self { stop, thread }
    }

    /// How far each member was at the end.
    pub(super) fn end(self) -> Vec<MemberProgress> {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or_default()
    }
}

fn follow(context: &Context, request: RequestId, stop: &AtomicBool) -> Vec<MemberProgress> {
    let mut last = Vec::new();
    let mut lines = Lines::new();
    // The load itself says what is wrong with the node.
    let Ok(mut online) = Online::connect(context) else {
        return last;
    };
    loop {
        let is_last = stop.load(Ordering::Acquire);
        match look(&mut online, request) {
            Ok(members) if members.is_empty() => {}
            Ok(members) => {
                lines.show(members.iter().map(shown));
                last = members;
            }
            Err(failure) => context.printer.detail(failure),
        }
        if is_last {
            return last;
        }
        thread::park_timeout(PERIOD);
    }
}

fn look(online: &mut Online, request: RequestId) -> Result<Vec<MemberProgress>, Failure> {
    match ask(online, ClusterRequest::Progress { request })? {
        ClusterResponse::Progress { members } => Ok(members),
        other => Err(super::asking::another(other)),
    }
}

fn shown(member: &MemberProgress) -> String {
    let MemberProgress {
        name,
        state,
        detail,
    } = member;
    format!("{name}: {state} {detail}").trim_end().to_owned()
}
