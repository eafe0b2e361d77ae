//! `shutdown`: stops the node of the directory and waits until its process has ended.

use std::io::{self, Write};
use std::time::Duration;

use protocol::control::Request;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::{Value, json};

use super::{Context, Outcome};
use crate::online::Online;
use crate::printer::Report;
use crate::progress::Progress;
use crate::{Exit, Failure};

/// Longest orderly stop.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Stop the node of the Director directory and all its actors
///
/// The actors are asked to exit. Starts nothing; where no node runs nothing is done.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args, context: &Context) -> Outcome {
    let settings = context.settings()?;
    let Some(mut online) = Online::find(context, &settings)? else {
        let directory = context.directory.path().display();
        context
            .printer
            .note(format_args!("no node ran for `{directory}`"));
        context.printer.report(&Completed { pid: None });
        return Ok(Exit::Done);
    };
    let pid = online.status()?.pid;
    let process = open(pid);
    online.request(Request::Shutdown)?;
    let progress = Progress::spinner("stopping the node");
    if !process.is_none_or(|process| ended(&process)) {
        let limit_s = STOP_LIMIT.as_secs();
        let text = format!("the node (process {pid}) is asked to stop and runs after {limit_s} s");
        return Err(Failure::text(Exit::Unavailable, text)
            .hint(format_args!("`kill -9 {pid}` ends it and its actors")));
    }
    drop(progress);
    context.printer.report(&Completed { pid: Some(pid) });
    Ok(Exit::Done)
}

fn open(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

fn ended(process: &OwnedFd) -> bool {
    let limit = Timespec {
        tv_sec: STOP_LIMIT.as_secs() as i64,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&limit)), Ok(1))
}

struct Completed {
    pid: Option<u32>,
}

impl Report for Completed {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Shutdown completed")
    }

    fn json(&self) -> Value {
        json!({ "stopped": self.pid.is_some(), "pid": self.pid })
    }
}
