//! The network of a single voter: there is nobody to reach.
//!
//! Not here: the QUIC network of three or five voters; it implements the same two traits.

use openraft::AsyncRuntime;
use openraft::error::{InstallSnapshotError, RPCError, RaftError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};

use super::types::{RaftId, TypeConfig, Voter};

/// Reaches nobody: every call answers that the voter is unreachable.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unconnected;

/// A connection of [`Unconnected`].
#[derive(Debug, Clone)]
pub struct NoConnection {
    target: Voter,
}

#[derive(Debug, thiserror::Error)]
#[error("this node has no connection to voter `{node}` at `{address}`")]
struct NotConnected {
    node: protocol::NodeId,
    address: String,
}

type CallError<E> = RPCError<RaftId, Voter, E>;

impl NoConnection {
    fn refusal<E: std::error::Error>(&self) -> CallError<E> {
        RPCError::Unreachable(Unreachable::new(&NotConnected {
            node: self.target.node,
            address: self.target.address.clone(),
        }))
    }
}

impl<R: AsyncRuntime> RaftNetworkFactory<TypeConfig<R>> for Unconnected {
    type Network = NoConnection;

    async fn new_client(&mut self, _target: RaftId, node: &Voter) -> NoConnection {
        NoConnection {
            target: node.clone(),
        }
    }
}

impl<R: AsyncRuntime> RaftNetwork<TypeConfig<R>> for NoConnection {
    async fn append_entries(
        &mut self,
        _rpc: AppendEntriesRequest<TypeConfig<R>>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<RaftId>, CallError<RaftError<RaftId>>> {
        Err(self.refusal())
    }

    async fn install_snapshot(
        &mut self,
        _rpc: InstallSnapshotRequest<TypeConfig<R>>,
        _option: RPCOption,
    ) -> Result<InstallSnapshotResponse<RaftId>, CallError<RaftError<RaftId, InstallSnapshotError>>>
    {
        Err(self.refusal())
    }

    async fn vote(
        &mut self,
        _rpc: VoteRequest<RaftId>,
        _option: RPCOption,
    ) -> Result<VoteResponse<RaftId>, CallError<RaftError<RaftId>>> {
        Err(self.refusal())
    }
}
