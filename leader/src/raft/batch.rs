//! Gathers the proposals that wait together into one log entry.
//!
//! openraft writes one entry at a time, each with its own fsync; without this, a hundred callers
//! would wait for a hundred fsyncs in a row. A lone proposal never waits for company.
//! Not here: time limits; the caller keeps its own.

use openraft::error::{ClientWriteError, Fatal, RaftError};
use openraft::{AsyncRuntime, Raft};
use protocol::registry::{Command, Outcome, REGISTRY_VERSION};
use tokio::sync::{mpsc, oneshot};

use super::error::{FatalError, ProposeError, Unavailable};
use super::types::{Index, RaftId, TypeConfig, Voter};

/// Proposals in one entry: bounds an entry's size and how much one failure takes along.
const BATCH_MAX: usize = 256;

/// Bytes of commands in one entry, as far as they are not one command: an append must fit into one
/// message to another voter.
const BATCH_BYTES: usize = 2 << 20;

/// Proposals that may wait; beyond it a caller is told that the node is busy.
const WAITING_MAX: usize = 4096;

/// One command and who waits for it; `None`: an empty batch is wanted.
#[derive(Debug)]
pub(crate) struct Proposal {
    pub(crate) command: Option<Command>,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// Outcome is `None` where no command was given.
pub(crate) type Answer = Result<(Index, Option<Outcome>), ProposeError>;

/// Starts the task; it ends when the last sender is dropped.
pub(crate) fn spawn<R: AsyncRuntime>(raft: Raft<TypeConfig<R>>) -> mpsc::Sender<Proposal> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    drop(R::spawn(run(raft, receiver)));
    sender
}

async fn run<R: AsyncRuntime>(raft: Raft<TypeConfig<R>>, mut proposals: mpsc::Receiver<Proposal>) {
    let mut waiting = Vec::new();
    while !waiting.is_empty() || proposals.recv_many(&mut waiting, BATCH_MAX).await > 0 {
        let mut commands = Vec::new();
        let mut answers = Vec::new();
        let count = fitting(&waiting);
        for proposal in waiting.drain(..count) {
            answers.push((proposal.command.is_some(), proposal.answer));
            commands.extend(proposal.command);
        }
        match raft.client_write(commands).await {
            Ok(response) => {
                let index = Index(response.log_id.index);
                let mut outcomes = response.data.into_iter();
                for (wanted, answer) in answers {
                    let outcome = if wanted { outcomes.next() } else { None };
                    // A caller that no longer waits has taken its outcome as unknown.
                    let _ = answer.send(Ok((index, outcome)));
                }
            }
            Err(error) => {
                // Stopped while it was under way: unknown, which a dropped answer means.
                if let Some(error) = failure(error) {
                    for (_, answer) in answers {
                        let _ = answer.send(Err(error.clone()));
                    }
                }
            }
        }
    }
}

/// How many of the first proposals make one entry: at least one.
fn fitting(waiting: &[Proposal]) -> usize {
    if waiting.len() <= 1 {
        return waiting.len();
    }
    let mut bytes = 0;
    let fits = |proposal: &&Proposal| {
        let encoded = protocol::encode("command", REGISTRY_VERSION, &proposal.command);
        bytes += encoded.map_or(0, |encoded| encoded.len());
        bytes <= BATCH_BYTES
    };
    waiting.iter().take_while(fits).count().max(1)
}

fn failure(error: RaftError<RaftId, ClientWriteError<RaftId, Voter>>) -> Option<ProposeError> {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            Some(Unavailable::from(forward).into())
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(_)) => {
            Some(Unavailable::because("the voters are being changed").into())
        }
        RaftError::Fatal(Fatal::Stopped) => None,
        RaftError::Fatal(fatal) => Some(FatalError::from(fatal).into()),
    }
}
