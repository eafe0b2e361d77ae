//! What the node refuses, as the failure of a command: exit code, reason, traceback, next step.

use node::client::{ClientError, ConnectError};
use protocol::control::{ErrorCode, RequestError, Response};

use crate::{Exit, Failure};

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        let exit = match error.code {
            ErrorCode::Refused | ErrorCode::Forbidden => Exit::Refused,
            ErrorCode::Usage => Exit::Usage,
            ErrorCode::Unavailable | ErrorCode::TimedOut => Exit::Unavailable,
            ErrorCode::Internal => Exit::Bug,
        };
        let failure = Self::text(exit, &error.message);
        let failure = match &error.traceback {
            Some(traceback) => failure.detail(traceback.trim_end()),
            None => failure,
        };
        match &error.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// A failure for what a client could not do.
pub(crate) fn refusal(error: ClientError) -> Failure {
    let hint = match &error {
        ClientError::Refused(error) => return error.clone().into(),
        ClientError::Closed | ClientError::Io(_) => {
            "whether it was done is not known: look with `director list`"
        }
        ClientError::Header(_) | ClientError::Frame(_) => {
            "the node may be of another version: `director shutdown`, then `director start`"
        }
        ClientError::Source(_) => {
            let hint = "check the file and its disk, then repeat";
            return Failure::new(Exit::Refused, error).hint(hint);
        }
        ClientError::TooLong { .. } => {
            let hint = "hand over the name of a file instead of its content";
            return Failure::new(Exit::Refused, error).hint(hint);
        }
    };
    Failure::new(Exit::Unavailable, error).hint(hint)
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let hint = match error {
            ConnectError::Session(error) => return refusal(error),
            ConnectError::Version { .. } => {
                "use the `director` of the node's version, or restart the node with this one"
            }
            ConnectError::Dial { .. } => "`director start` starts the node",
        };
        Self::new(Exit::Unavailable, error).hint(hint)
    }
}

/// A failure for an answer that belongs to another request.
pub(crate) fn unexpected(response: &Response) -> Failure {
    Failure::text(
        Exit::Bug,
        format_args!("the node gave another answer than was asked for: {response:?}"),
    )
}
