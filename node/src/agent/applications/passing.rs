//! Sources of applications on their way to other members: taken over when an actor of theirs is to
//! run there, unloaded with each other.
//!
//! Whoever has a valid source keeps its bytes as they were loaded and passes them on. A node with a
//! Director directory judges those by its own keys, whoever sent them. One that a program started
//! takes nothing but from nodes of its own user, and asks its own authority, if an actor is
//! registered as one at that moment; without one it takes the zip that the sender's authority made.
//! Source: Thespian `SourceHashTransferRequest`, capability `AllowRemoteActorSources`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::control::{ActorFailure, FailureCode};
use protocol::peer::{PeerRequest, PeerResponse, SourceOffer};
use protocol::registry::MemberState;
use protocol::view::Wish;
use protocol::wire::Refusal;
use protocol::{NodeId, SourceHash};
use pyliteral::Value;
use tokio::task::JoinSet;

use super::super::node::Node;
use super::loading::Brought;
use super::table::Code;
use crate::cluster::programs;

impl Node {
    /// Whether actors of an application's source may be created on other members as well.
    pub(crate) fn may_pass_on(&self, hash: SourceHash) -> bool {
        self.applications.is_valid(hash)
    }

    /// Has a source of an application here because a member wants an actor of it to run here.
    pub(crate) async fn take_over(
        self: &Arc<Self>,
        from: NodeId,
        hash: SourceHash,
    ) -> Result<(), ActorFailure> {
        if !self.applications.offers(hash, false) {
            if !self.accepts_sources_of(from) {
                let text = "this node's `AllowRemoteActorSources` takes no source of that member";
                return Err(no_source(hash, text));
            }
            let offer = self.offer_of(from, hash).await?;
            let (info, node) = (offer.info.clone(), Arc::clone(self));
            let brought = async move { node.borrow_source(from, hash, offer).await };
            self.take_brought(hash, info, Some(from), brought);
        }
        self.application_code(hash).await.map(drop)
    }

    /// Whether the capability lets sources of this member in.
    fn accepts_sources_of(&self, from: NodeId) -> bool {
        match self.sources.offered.value("AllowRemoteActorSources") {
            None => true,
            Some(Value::Str(allowed)) if allowed.eq_ignore_ascii_case("yes") => true,
            Some(Value::Str(allowed)) if allowed == "LeaderOnly" => {
                let standing = self.membership.registry.standing();
                let leader = standing.borrow().leader.clone();
                leader.is_some_and(|(leader, _)| leader == from)
            }
            Some(_) => false,
        }
    }

    async fn offer_of(&self, from: NodeId, hash: SourceHash) -> Result<SourceOffer, ActorFailure> {
        let bare = PeerRequest::Source { hash, proof: None };
        let proof = programs::proof_of(self, from, &bare);
        let request = PeerRequest::Source { hash, proof };
        match self.membership.peers.ask(from, &request, OFFER_LIMIT).await {
            Ok(PeerResponse::Source(Some(offer))) => Ok(offer),
            Ok(_) => Err(no_source(hash, "the member that asks does not have it")),
            Err(fault) => Err(no_source(hash, &fault.to_string())),
        }
    }

    async fn borrow_source(
        &self,
        from: NodeId,
        hash: SourceHash,
        offer: SourceOffer,
    ) -> Result<Brought, String> {
        let peers = &self.membership.peers;
        let borrow = |hash, bytes| self.packages.borrow(peers, hash, bytes, from);
        let package = borrow(hash, offer.bytes).await;
        let package = package.map_err(|fault| fault.to_string())?;
        let zip = match offer.zip {
            Some((hash, bytes)) if self.directory.is_private() && !self.has_authority() => Some(
                borrow(hash, bytes)
                    .await
                    .map_err(|fault| fault.to_string())?,
            ),
            _ => None,
        };
        Ok(Brought { package, zip })
    }

    /// Answers a member that wants to take a source over.
    pub(crate) fn answer_source(
        &self,
        from: NodeId,
        hash: SourceHash,
        proof: Option<[u8; 32]>,
    ) -> PeerResponse {
        let bare = PeerRequest::Source { hash, proof: None };
        let same_user = programs::is_proof(self, &bare, proof);
        let lent = self.applications.lend(hash, from);
        PeerResponse::Source(lent.map(|(info, content)| SourceOffer {
            info,
            bytes: content.package.bytes(),
            zip: match &content.code {
                Code::Zip(zip) if same_user => Some((zip.hash(), zip.bytes())),
                _ => None,
            },
        }))
    }

    /// Unloads a source of an application here and on the members that have it from here, all
    /// nodes of one user included; false: there is none with this hash.
    pub(in crate::agent) fn unload_everywhere(
        self: &Arc<Self>,
        hash: SourceHash,
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        let lent_to = self.unload_source(hash)?;
        Some(Arc::clone(self).tell_unloaded(hash, lent_to))
    }

    async fn tell_unloaded(self: Arc<Self>, hash: SourceHash, lent_to: BTreeSet<NodeId>) {
        let members = if self.membership.identity().user_secret().is_some() {
            let _not_told = self.replica.want(Wish::Members).await;
            self.replica.read(|state| {
                let up = state.members.iter();
                let up = up.filter(|(id, m)| **id != self.id && m.state == MemberState::Up);
                up.map(|(id, _)| *id).collect()
            })
        } else {
            lent_to
        };
        let bare = PeerRequest::UnloadSource { hash, proof: None };
        let mut telling = JoinSet::new();
        for member in members {
            let proof = programs::proof_of(&self, member, &bare);
            let peers = self.membership.peers.clone();
            telling.spawn(async move {
                let request = PeerRequest::UnloadSource { hash, proof };
                if let Err(fault) = peers.ask(member, &request, UNLOAD_LIMIT).await {
                    tracing::warn!(%member, hash = %hash.short(), %fault, "not told of an unload");
                }
            });
        }
        while telling.join_next().await.is_some() {}
    }

    /// A member tells that a source is unloaded: of a node of the same user, and of the member that
    /// it came from, that holds here as well.
    ///
    /// # Errors
    /// [`Refusal`]: it is not that member's to unload.
    pub(crate) async fn answer_unload(
        self: &Arc<Self>,
        from: NodeId,
        hash: SourceHash,
        proof: Option<[u8; 32]>,
    ) -> Result<PeerResponse, Refusal> {
        let bare = PeerRequest::UnloadSource { hash, proof: None };
        if programs::is_proof(self, &bare, proof) {
            // Its sender tells all others.
            let _lent_to = self.unload_source(hash);
            return Ok(PeerResponse::Done);
        }
        if !self.applications.came_from(hash, from) {
            return Err(programs::not_of_this_user());
        }
        if let Some(lent_to) = self.unload_source(hash) {
            Arc::clone(self).tell_unloaded(hash, lent_to).await;
        }
        Ok(PeerResponse::Done)
    }
}

fn no_source(hash: SourceHash, why: &str) -> ActorFailure {
    ActorFailure {
        code: FailureCode::InvalidSourceHash,
        message: format!("source {} is not loaded here: {why}", hash.short()),
        traceback: None,
    }
}

/// How long the member that a source comes from may take to say what it is.
const OFFER_LIMIT: Duration = Duration::from_secs(10);

/// How long a member may take to unload; one that is not told goes on with what it has.
const UNLOAD_LIMIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
