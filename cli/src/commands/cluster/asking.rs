//! What the verbs of `cluster` share: asking the node, and answers that say only that it is done.

use std::io::{self, Write};

use protocol::control::{ClusterRequest, ClusterResponse, Request, Response};
use serde_json::{Value, json};

use super::super::{Context, Outcome};
use crate::online::{Online, unexpected};
use crate::printer::Report;
use crate::{Exit, Failure};

/// Asks a connected node about the convention.
///
/// # Errors
/// What the node says.
pub(super) fn ask(
    online: &mut Online,
    request: ClusterRequest,
) -> Result<ClusterResponse, Failure> {
    match online.request(Request::Cluster(request))? {
        Response::Cluster(answer) => Ok(answer),
        other => Err(unexpected(&other)),
    }
}

/// The failure for an answer that belongs to another request.
pub(super) fn another(answer: ClusterResponse) -> Failure {
    unexpected(&Response::Cluster(answer))
}

/// Has something done, and says what was.
///
/// # Errors
/// What the node says.
pub(super) fn order(
    context: &Context,
    request: ClusterRequest,
    done: &'static str,
    subject: &str,
) -> Outcome {
    let mut online = Online::connect(context)?;
    match ask(&mut online, request)? {
        ClusterResponse::Done { notes } => {
            let subject = subject.to_owned();
            context.printer.report(&Done {
                done,
                subject,
                notes,
            });
            Ok(Exit::Done)
        }
        other => Err(another(other)),
    }
}

/// Something that is done.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) done: &'static str,
    pub(super) subject: String,
    pub(super) notes: Vec<String>,
}

impl Report for Done {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{} {}", self.done, self.subject)?;
        self.notes
            .iter()
            .try_for_each(|note| writeln!(out, "  {note}"))
    }

    fn json(&self) -> Value {
        json!({
            "done": self.done.to_lowercase(),
            "subject": self.subject,
            "notes": self.notes,
        })
    }
}
