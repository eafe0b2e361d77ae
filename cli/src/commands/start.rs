//! `start`: a node for the Director directory, in the background or here; then a refresh.

use std::io::{self, Write};

use node::directory::NodeRecord;
use protocol::control::Reach;
use serde_json::{Value, json};

use super::{Context, Outcome};
use crate::online::{Daemon, Refreshed, Started, refresh, start, start_or_found};
use crate::printer::Report;
use crate::{Exit, Failure};

/// Start the node of the Director directory, then load what is newer there
///
/// Answers when commands are served. A node that runs already is left as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run in this process until a signal or `director shutdown`; the log goes to stderr
    #[arg(long)]
    foreground: bool,
    /// Found a convention here even where `convleader.cfg` lists other nodes
    #[arg(long)]
    found: bool,
    /// The admin port that the caller expects; must be that of `adminport.cfg`
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Any word: the older form of `--foreground`
    #[arg(hide = true, conflicts_with = "detached")]
    word: Option<String>,
    /// Be the background process that another `start` waits for
    #[arg(long, hide = true, requires = "foreground")]
    detached: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    if args.detached {
        let settings = context.settings()?;
        let daemon = Daemon::new(context.directory.clone(), settings).founding(args.found);
        return daemon.run_detached().map(|()| Exit::Done);
    }
    check_settings(args, context)?;
    if args.foreground || args.word.is_some() {
        return foreground(context, args.found);
    }
    let started = start_or_found(context, Exit::Failed, args.found)?;
    report(context, started)
}

/// Settings that cannot be used are a start that failed, as is another port.
fn check_settings(args: &Args, context: &Context) -> Result<(), Failure> {
    context.directory.check().map_err(|error| {
        let hint = error.hint();
        Failure::new(Exit::Failed, error).hint(hint)
    })?;
    let read = context.directory.settings().map_err(|error| {
        let hint = error.hint();
        Failure::text(Exit::Failed, error).hint(hint)
    })?;
    let ours = read.settings.admin_port;
    let Some(port) = args.port.filter(|port| *port != ours) else {
        return Ok(());
    };
    let directory = context.directory.path().display();
    let text = format!("the node of `{directory}` has the admin port {ours}, not {port}");
    Err(Failure::text(Exit::Failed, text)
        .hint("write the port into `adminport.cfg`, or set THESPIAN_DIRECTOR_DIR"))
}

fn foreground(context: &Context, found: bool) -> Outcome {
    let settings = context.settings()?;
    let daemon = Daemon::new(context.directory.clone(), settings).founding(found);
    daemon.run_foreground(|record| {
        let (context, record) = (context.clone(), record.clone());
        // Its refresh is an ordinary client's, while the node serves here.
        std::thread::spawn(move || {
            let outcome = start(&context, Exit::Failed).and_then(|started| {
                report(
                    &context,
                    Started {
                        fresh: Some(record),
                        ..started
                    },
                )
            });
            if let Err(failure) = outcome {
                context.printer.error(&failure);
            }
        });
    })?;
    Ok(Exit::Done)
}

fn report(context: &Context, started: Started) -> Outcome {
    let Started { mut online, fresh } = started;
    let (record, refreshed) = match fresh {
        Some(record) => {
            let status = online.status()?;
            let refreshed = if status.index == 0 {
                // It belongs to no convention yet: nothing can be loaded.
                let warnings = status.warnings.iter();
                warnings.for_each(|warning| context.printer.warning(warning));
                Refreshed::default()
            } else {
                refresh(context, &mut online, Reach::OnDemand)?
            };
            (record, Some(refreshed))
        }
        None => {
            let status = online.status()?;
            (online.record(&status), None)
        }
    };
    let exit = refreshed.as_ref().map_or(Exit::Done, Refreshed::exit);
    context.printer.report(&Answer { record, refreshed });
    Ok(exit)
}

struct Answer {
    record: NodeRecord,
    refreshed: Option<Refreshed>,
}

impl Report for Answer {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let NodeRecord { pid, port, .. } = self.record;
        match &self.refreshed {
            None => writeln!(
                out,
                "The node runs already: process {pid}, admin port {port}"
            ),
            Some(refreshed) => {
                writeln!(out, "Started the node: process {pid}, admin port {port}")?;
                refreshed.text(out)
            }
        }
    }

    fn json(&self) -> Value {
        json!({
            "started": self.refreshed.is_some(),
            "node": {
                "pid": self.record.pid,
                "port": self.record.port,
                "socket": self.record.socket,
                "incarnation": self.record.incarnation.to_string(),
            },
            "refresh": self.refreshed.as_ref().map(Report::json),
        })
    }
}
