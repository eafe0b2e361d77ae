//! A connection that somebody dials: from its first packet to an admitted [`Connection`].
//!
//! The order is the security: certificate, room on the list of live connections, its age, the
//! owner's callback, the first exchange. On the list first, so that a removal in between closes it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::Stamp;
use protocol::wire::{HelloRequest, Refusal, RefusalCode};
use quinn::crypto::rustls::HandshakeData;
use rustls::pki_types::CertificateDer;
use tokio::time::timeout;

use super::settings::Alpn;
use super::{Shared, configs};
use crate::connection::{Closed, Connection, Established};
use crate::hello;
use crate::identity::PeerIdentity;
use crate::verify::{Note, PeerFault};

/// A connection that is not yet admitted.
#[must_use = "an arrival that nobody establishes is turned away"]
pub struct Arrival {
    incoming: quinn::Incoming,
    shared: Arc<Shared>,
    _counted: Counted,
}

/// A connection that was turned away: for the audit.
#[derive(Debug, thiserror::Error)]
#[error("connection from `{remote}` turned away")]
pub struct Rejected {
    /// Where it came from.
    pub remote: SocketAddr,
    /// Whom its certificate names, if it showed one that holds.
    pub peer: Option<PeerIdentity>,
    /// Why.
    #[source]
    pub by: RejectedBy,
}

/// Why a connection was turned away.
#[derive(Debug, thiserror::Error)]
pub enum RejectedBy {
    /// The certificate does not hold.
    #[error(transparent)]
    Certificate(PeerFault),
    /// The certificate holds, but the peer may not do this, or speaks no common version.
    #[error(transparent)]
    Refusal(Refusal),
    /// The dialler went away, or did not accept *our* certificate.
    #[error("the dialler went away in the handshake")]
    Gone(#[source] Closed),
    /// The handshake or the first exchange was not done in time.
    #[error("no complete handshake within {} ms", within.as_millis())]
    TooSlow {
        /// How long it may take.
        within: Duration,
    },
    /// This node has not joined a convention yet.
    #[error("this node has no certificate yet and accepts nobody")]
    NoCredentials,
    /// A bug, or a build without the needed ciphers.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

impl Arrival {
    pub(crate) fn new(incoming: quinn::Incoming, shared: Arc<Shared>) -> Self {
        let counted = Counted::new(&shared);
        Self {
            incoming,
            shared,
            _counted: counted,
        }
    }

    /// Where it comes from.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.incoming.remote_address()
    }

    /// Carries the handshake and the first exchange through.
    ///
    /// # Errors
    /// [`Rejected`], for the audit; the peer has been told as far as it can be.
    pub async fn establish(self) -> Result<Connection, Rejected> {
        let remote = self.remote_address();
        let within = self.shared.settings.handshake_within;
        let mut peer = None;
        let established = timeout(within, self.admit(&mut peer)).await;
        established
            .unwrap_or(Err(RejectedBy::TooSlow { within }))
            .map_err(|by| Rejected { remote, peer, by })
    }

    async fn admit(self, shown: &mut Option<PeerIdentity>) -> Result<Connection, RejectedBy> {
        let Self {
            incoming, shared, ..
        } = self;
        let Some(credentials) = shared.credentials.current() else {
            incoming.refuse();
            return Err(RejectedBy::NoCredentials);
        };
        let note = Note::default();
        let config = configs::acceptor(&credentials, Arc::clone(&note), &shared.settings)
            .map_err(|cause| RejectedBy::Setup(cause.to_string()))?;
        let gone = |cause: quinn::ConnectionError| match note.fault() {
            Some(fault) => RejectedBy::Certificate(fault.clone()),
            None => RejectedBy::Gone(Closed::from(cause)),
        };
        let quic = incoming
            .accept_with(config)
            .map_err(gone)?
            .await
            .map_err(gone)?;
        let alpn = alpn_of(&quic).ok_or_else(|| RejectedBy::Setup("no ALPN".to_owned()))?;
        let peer = peer_of(&quic).map_err(RejectedBy::Certificate)?;
        *shown = peer;
        let mut established = Established::enter(quic, peer, alpn, &shared);
        let (greeting, version) = greet(&established, &shared, note.is_retired()).await?;
        established.agree(version, greeting.about);
        configs::admit(established.quic(), alpn);
        Ok(Connection::new(established))
    }
}

/// Checks what the certificate allows, asks the owner, and answers the first document.
async fn greet(
    established: &Established,
    shared: &Shared,
    is_retired: bool,
) -> Result<(HelloRequest, u16), RejectedBy> {
    let refuse = |refusal: Refusal| {
        super::close(established.quic(), &refusal);
        RejectedBy::Refusal(refusal)
    };
    let shown = (established.peer(), is_retired);
    certified(shown, established.alpn(), now()).map_err(refuse)?;
    established.authorised().map_err(refuse)?;
    let gone = |cause| RejectedBy::Gone(Closed::from(cause));
    let (mut sender, mut receiver) = established.quic().accept_bi().await.map_err(gone)?;
    let greeting = hello::read_request(&mut receiver).await.map_err(refuse)?;
    let version = hello::agree(&greeting, shared.settings.versions).map_err(refuse)?;
    hello::respond(&mut sender, version, &shared.about())
        .await
        .map_err(refuse)?;
    Ok((greeting, version))
}

/// What a connection of this kind needs of the dialler's certificate, which may be of an authority
/// that has retired.
fn certified(
    (peer, is_retired): (Option<&PeerIdentity>, bool),
    alpn: Alpn,
    now: Stamp,
) -> Result<(), Refusal> {
    match peer {
        _ if alpn == Alpn::Join => Ok(()),
        Some(peer) if is_retired => Err(Refusal::new(
            RefusalCode::AuthorityRetired,
            format!(
                "the certificate of node `{}` is of an authority that was replaced; renew it on \
                 `{}`",
                peer.node,
                Alpn::Join
            ),
        )),
        None => Err(Refusal::new(
            RefusalCode::NoCertificate,
            format!("`{alpn}` needs a certificate of this convention; join it first"),
        )),
        Some(peer) if peer.validity.is_over(now) => Err(Refusal::new(
            RefusalCode::CertificateExpired,
            format!(
                "the certificate of node `{}` has expired; renew it on `{}`",
                peer.node,
                Alpn::Join
            ),
        )),
        Some(_) => Ok(()),
    }
}

fn alpn_of(quic: &quinn::Connection) -> Option<Alpn> {
    let data = quic.handshake_data()?.downcast::<HandshakeData>().ok()?;
    Alpn::from_name(&data.protocol?)
}

/// Whom the peer's certificate names; rustls has checked that it holds.
pub(crate) fn peer_of(quic: &quinn::Connection) -> Result<Option<PeerIdentity>, PeerFault> {
    let Some(shown) = quic.peer_identity() else {
        return Ok(None);
    };
    let chain = shown.downcast::<Vec<CertificateDer<'static>>>();
    match chain.ok().as_deref().and_then(|chain| chain.first()) {
        Some(leaf) => Ok(Some(PeerIdentity::read(leaf)?)),
        None => Ok(None),
    }
}

/// The clock that rustls uses for certificates as well.
pub(crate) fn now() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since.map_or(0, |since| since.as_millis());
    Stamp(u64::try_from(ms).unwrap_or(u64::MAX))
}

/// Counts handshakes under way, however they end.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.arriving.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.arriving.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Arrival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Arrival")
            .field(&self.remote_address())
            .finish()
    }
}
