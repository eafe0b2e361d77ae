//! Dialling: as a member to a member, as a joiner to a stranger, as an expired member for renewal.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::NodeId;
use protocol::wire::{HelloResponse, Refusal};
use tokio::time::timeout;

use super::settings::Alpn;
use super::{Endpoint, arrival, configs};
use crate::connection::{Closed, Connection, Established};
use crate::credentials::Credentials;
use crate::hello::{self, GreetFault};
use crate::identity::KeyHash;
use crate::verify::{Accepts, Note, PeerFault};

/// Whom a joiner trusts before it is a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinTrust {
    /// Who holds the key that the join token pins.
    Pinned(KeyHash),
    /// Whoever answers: an operator compares [`Connection::authority`] with what the convention
    /// shows before anything that is learnt counts.
    Compared,
}

/// No connection came about.
#[derive(Debug, thiserror::Error)]
pub enum DialFault {
    /// We have no certificate to show; join first.
    #[error("this node has no certificate yet; it has to join a convention first")]
    NoCredentials,
    /// The address cannot be dialled at all.
    #[error("`{remote}` cannot be dialled: {reason}")]
    Address {
        /// Whom we dialled.
        remote: SocketAddr,
        /// What quinn says.
        reason: String,
    },
    /// We do not accept the other's certificate.
    #[error("`{remote}` is not accepted")]
    Peer {
        /// Whom we dialled.
        remote: SocketAddr,
        /// Why not.
        #[source]
        fault: PeerFault,
    },
    /// The other does not accept us, or we refuse it by our own callback.
    #[error("`{remote}` and this node do not come together")]
    Refused {
        /// Whom we dialled.
        remote: SocketAddr,
        /// Why not.
        #[source]
        refusal: Refusal,
    },
    /// It cannot be reached, or went away; try again or another.
    #[error("`{remote}` is not there")]
    Gone {
        /// Whom we dialled.
        remote: SocketAddr,
        /// How it ended.
        #[source]
        closed: Closed,
    },
    /// It did not answer in time; try again or another.
    #[error("`{remote}` did not answer within {} ms", within.as_millis())]
    TooSlow {
        /// Whom we dialled.
        remote: SocketAddr,
        /// How long it may take.
        within: Duration,
    },
    /// A bug, or a build without the needed ciphers.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

impl Endpoint {
    /// Dials a member of our convention: this node, or whoever is there.
    ///
    /// # Errors
    /// [`DialFault`].
    ///
    /// # Cancel safety
    /// A connection that is being made is dropped.
    pub async fn dial(
        &self,
        remote: SocketAddr,
        node: Option<NodeId>,
        alpn: Alpn,
    ) -> Result<Connection, DialFault> {
        let credentials = self.shared.credentials.current();
        let credentials = credentials.ok_or(DialFault::NoCredentials)?;
        let accepts = Accepts::Members {
            roots: credentials.roots(),
            convention: credentials.identity().convention,
            node,
        };
        self.establish(remote, Some(&credentials), accepts, alpn)
            .await
    }

    /// Dials a convention that this node is to join, without a certificate of its own.
    ///
    /// # Errors
    /// [`DialFault`]; [`PeerFault::Pin`] in it means that somebody pretends to be the convention.
    pub async fn dial_to_join(
        &self,
        remote: SocketAddr,
        trust: JoinTrust,
    ) -> Result<Connection, DialFault> {
        let accepts = Accepts::Pinned(match trust {
            JoinTrust::Pinned(key) => Some(key),
            JoinTrust::Compared => None,
        });
        self.establish(remote, None, accepts, Alpn::Join).await
    }

    async fn establish(
        &self,
        remote: SocketAddr,
        credentials: Option<&Credentials>,
        accepts: Accepts,
        alpn: Alpn,
    ) -> Result<Connection, DialFault> {
        let within = self.shared.settings.handshake_within;
        timeout(within, self.handshake(remote, credentials, accepts, alpn))
            .await
            .unwrap_or(Err(DialFault::TooSlow { remote, within }))
    }

    async fn handshake(
        &self,
        remote: SocketAddr,
        credentials: Option<&Credentials>,
        accepts: Accepts,
        alpn: Alpn,
    ) -> Result<Connection, DialFault> {
        let shared = &self.shared;
        let note = Note::default();
        let config = configs::dialler(
            credentials,
            accepts,
            Arc::clone(&note),
            alpn,
            &shared.settings,
        )
        .map_err(|cause| DialFault::Setup(cause.to_string()))?;
        let gone = |closed: Closed| match (note.get(), closed) {
            (Some(fault), _) => DialFault::Peer {
                remote,
                fault: fault.clone(),
            },
            (None, Closed::Refused(refusal)) => DialFault::Refused { remote, refusal },
            (None, closed) => DialFault::Gone { remote, closed },
        };
        let quic = self
            .quic
            .connect_with(config, remote, SERVER_NAME)
            .map_err(|cause| DialFault::Address {
                remote,
                reason: cause.to_string(),
            })?
            .await
            .map_err(|cause| gone(Closed::from(cause)))?;
        let peer = arrival::peer_of(&quic).map_err(|fault| DialFault::Peer { remote, fault })?;
        let mut established = Established::enter(quic, peer, alpn, shared);
        // Whom a joiner meets is no member to it yet; everybody else asks the owner.
        if credentials.is_some() {
            established.authorised().map_err(|refusal| {
                super::close(established.quic(), &refusal);
                DialFault::Refused { remote, refusal }
            })?;
        }
        let response = greet(&established, shared).await.map_err(gone)?;
        established.agree(response.version, response.about);
        Ok(Connection::new(established))
    }
}

async fn greet(established: &Established, shared: &super::Shared) -> Result<HelloResponse, Closed> {
    let settings = &shared.settings;
    match hello::greet(established.quic(), settings.versions, &shared.about()).await {
        Ok(response) => Ok(response),
        Err(GreetFault::Bad(refusal)) => {
            super::close(established.quic(), &refusal);
            Err(Closed::Refused(refusal))
        }
        // The close tells the reason; a stream only tells that it ended.
        Err(GreetFault::Ended) => Err(Closed::from(established.quic().closed().await)),
    }
}

/// Sent in the clear by TLS and looked at by nobody: identity is in the certificate.
const SERVER_NAME: &str = "director";
