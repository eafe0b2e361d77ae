//! A connection to the node of the Director directory, for one command.

use std::path::{Path, PathBuf};

use node::client::{Client, ClientError, ConnectError};
use node::directory::{NodePlace, NodeRecord, Settings};
use protocol::control::{NodeStatus, Request, Response};
use tokio::runtime::{Builder, Runtime};

use super::refusal::{refusal, unexpected};
use crate::commands::Context;
use crate::{Exit, Failure};

/// A node that answers.
#[derive(Debug)]
pub(crate) struct Online {
    runtime: Runtime,
    client: Client,
    socket: PathBuf,
}

impl Online {
    /// Connects to the node of this directory, if one runs.
    ///
    /// # Errors
    /// When a node is there that refuses, or speaks another protocol.
    pub(crate) fn find(context: &Context, settings: &Settings) -> Result<Option<Self>, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|cause| Failure::new(Exit::Unavailable, cause))?;
        let directory = context.directory.path();
        for place in context.directory.find_node(settings.admin_port) {
            if let Some(client) = runtime.block_on(dial(&place, directory))? {
                let socket = place.socket;
                return Ok(Some(Self {
                    runtime,
                    client,
                    socket,
                }));
            }
        }
        Ok(None)
    }

    /// Connects to the node of this directory.
    ///
    /// # Errors
    /// `Unavailable` when none runs.
    pub(crate) fn connect(context: &Context) -> Result<Self, Failure> {
        let settings = context.settings()?;
        Self::find(context, &settings)?.ok_or_else(|| {
            let directory = context.directory.path().display();
            Failure::text(
                Exit::Unavailable,
                format_args!("no node runs for the Director directory `{directory}`"),
            )
            .hint("`director start` starts it; THESPIAN_DIRECTOR_DIR names the directory")
        })
    }

    /// The node's answer.
    ///
    /// # Errors
    /// What the node says.
    pub(crate) fn request(&mut self, request: Request) -> Result<Response, Failure> {
        let answer = self.runtime.block_on(self.client.request(request));
        answer.map_err(refusal)
    }

    /// Who and what the node is.
    ///
    /// # Errors
    /// What the node says.
    pub(crate) fn status(&mut self) -> Result<NodeStatus, Failure> {
        match self.request(Request::Status)? {
            Response::Status(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }

    /// What the node's record says, from its own answer.
    pub(crate) fn record(&self, status: &NodeStatus) -> NodeRecord {
        NodeRecord {
            pid: status.pid,
            port: status.port,
            socket: self.socket.clone(),
            incarnation: self.client.welcome().incarnation,
        }
    }

    /// Runs something with the client to its end.
    pub(crate) fn with<T>(&mut self, work: impl AsyncFnOnce(&mut Client) -> T) -> T {
        self.runtime.block_on(work(&mut self.client))
    }
}

/// Dials one place; `None`: nobody is there, or the node of another directory.
async fn dial(place: &NodePlace, directory: &Path) -> Result<Option<Client>, Failure> {
    let mut client = match Client::connect(&place.socket).await {
        Ok(client) => client,
        // A node that goes away before it says welcome is one that does not run.
        Err(
            ConnectError::Dial { .. }
            | ConnectError::Session(ClientError::Closed | ClientError::Io(_)),
        ) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if place.record.is_some() {
        return Ok(Some(client));
    }
    // Found by its port alone: two directories with the same port are still two nodes.
    match client.request(Request::Status).await.map_err(refusal)? {
        Response::Status(status) if is_same(&status.directory, directory) => Ok(Some(client)),
        Response::Status(_) => Ok(None),
        other => Err(unexpected(&other)),
    }
}

fn is_same(theirs: &str, ours: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(&PathBuf::from(theirs)) == real(ours)
}
