//! A connection with an admitted peer, and how it ends.
//!
//! Every stream that the peer opens is authorised anew: a node that was removed a moment ago opens
//! none, whatever its certificate says. Streams keep their connection on the list of live ones.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::wire::{About, Refusal, RefusalCode};
use quinn::VarInt;
use rustls::pki_types::CertificateDer;

use crate::endpoint::{self, Alpn, Authorise, Live, Shared};
use crate::identity::{CaCertificate, KeyHash, PeerIdentity};
use crate::streams::{BiStream, FrameReceiver, FrameSender};

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// The other end said why.
    #[error("the other end closed the connection")]
    Refused(#[source] Refusal),
    /// The other end dropped it without a reason: it ended, or had done its work.
    #[error("the other end let the connection go")]
    Dropped,
    /// Nothing came for too long.
    #[error("nothing was heard for too long")]
    Silent,
    /// This end closed it.
    #[error("this end closed the connection")]
    Locally,
    /// The network or QUIC itself failed.
    #[error("the connection broke: {0}")]
    Broken(String),
}

impl From<quinn::ConnectionError> for Closed {
    fn from(cause: quinn::ConnectionError) -> Self {
        use quinn::ConnectionError as Cause;
        match cause {
            Cause::ApplicationClosed(close) if close.error_code == DROPPED => Self::Dropped,
            Cause::ApplicationClosed(close) => {
                let number = u32::try_from(close.error_code.into_inner()).unwrap_or(u32::MAX);
                let text = String::from_utf8_lossy(&close.reason).into_owned();
                Self::Refused(Refusal::new(RefusalCode::from(number), text))
            }
            Cause::ConnectionClosed(close) => match alert_of(close.error_code.into()) {
                Some(refusal) => Self::Refused(refusal),
                None => Self::Broken(close.to_string()),
            },
            Cause::TimedOut => Self::Silent,
            Cause::LocallyClosed => Self::Locally,
            other => Self::Broken(other.to_string()),
        }
    }
}

/// What a TLS alert of the other end means here.
fn alert_of(code: u64) -> Option<Refusal> {
    let (code, text) = match code.checked_sub(CRYPTO_ERROR)? {
        // RFC 8446, 6.2: certificate_expired, unknown_ca, access_denied, no_application_protocol.
        45 => (
            RefusalCode::CertificateExpired,
            "the peer says that our certificate is not valid now; compare both hosts' clocks",
        ),
        48 => (
            RefusalCode::ForeignConvention,
            "the peer does not know the authority of our certificate: it is another convention",
        ),
        49 => (
            RefusalCode::NotAllowed,
            "the peer does not accept our certificate",
        ),
        120 => (
            RefusalCode::NotAllowed,
            "the peer knows no connections of this kind",
        ),
        _ => return None,
    };
    Some(Refusal::new(code, text))
}

/// A connection with an admitted peer; clones are the same connection, dropping the last closes it.
#[derive(Clone)]
pub struct Connection(Arc<Established>);

impl Connection {
    pub(crate) fn new(established: Established) -> Self {
        Self(Arc::new(established))
    }

    /// Whether both are the same connection.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether it has ended, as far as this end knows.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.quic.close_reason().is_some()
    }

    /// Whom the peer's certificate names; `None` for a joiner.
    #[must_use]
    pub fn peer(&self) -> Option<&PeerIdentity> {
        self.0.peer()
    }

    /// Its kind.
    #[must_use]
    pub fn alpn(&self) -> Alpn {
        self.0.alpn
    }

    /// Whether this end dialled.
    #[must_use]
    pub fn is_dialler(&self) -> bool {
        self.0.quic.side().is_client()
    }

    /// The protocol version that both speak.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.0.version
    }

    /// What the peer says of itself.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.0.about
    }

    /// The key of the authority that issued the peer's certificate, for an operator to compare when
    /// joining without a token.
    #[must_use]
    pub fn authority(&self) -> Option<KeyHash> {
        let shown = self.0.quic.peer_identity()?;
        let chain = shown.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        let (_leaf, above) = chain.split_first()?;
        let issuer = above
            .iter()
            .find_map(|each| CaCertificate::new(each.clone()).ok())?;
        Some(issuer.key_hash())
    }

    /// Where the peer is now; it may move.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.0.quic.remote_address()
    }

    /// The present estimate of the round trip.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        self.0.quic.rtt()
    }

    /// Bytes sent and received in UDP datagrams so far.
    #[must_use]
    pub fn traffic_bytes(&self) -> (u64, u64) {
        let stats = self.0.quic.stats();
        (stats.udp_tx.bytes, stats.udp_rx.bytes)
    }

    /// Opens a stream both ways; waits while the peer has too many.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn open(&self) -> Result<BiStream, Closed> {
        let (sender, receiver) = self.0.quic.open_bi().await.map_err(Closed::from)?;
        Ok(BiStream::new(sender, receiver, self))
    }

    /// Opens a stream from here to there.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn open_one_way(&self) -> Result<FrameSender, Closed> {
        let sender = self.0.quic.open_uni().await.map_err(Closed::from)?;
        Ok(FrameSender::new(sender, self.clone()))
    }

    /// The next stream both ways that the peer opens.
    ///
    /// A peer that the owner no longer authorises is told so, and the connection ends.
    ///
    /// # Errors
    /// [`Closed`].
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped.
    pub async fn accept(&self) -> Result<BiStream, Closed> {
        let (sender, receiver) = self.0.quic.accept_bi().await.map_err(Closed::from)?;
        self.still_authorised()?;
        Ok(BiStream::new(sender, receiver, self))
    }

    /// The next stream from there to here.
    ///
    /// # Errors
    /// [`Closed`], as in [`accept`](Self::accept).
    pub async fn accept_one_way(&self) -> Result<FrameReceiver, Closed> {
        let receiver = self.0.quic.accept_uni().await.map_err(Closed::from)?;
        self.still_authorised()?;
        Ok(FrameReceiver::new(receiver, self.clone()))
    }

    /// Closes it for this reason, which the peer reads.
    pub fn close(&self, refusal: &Refusal) {
        endpoint::close(&self.0.quic, refusal);
    }

    /// Waits until it has ended, by either side.
    pub async fn closed(&self) -> Closed {
        Closed::from(self.0.quic.closed().await)
    }

    fn still_authorised(&self) -> Result<(), Closed> {
        self.0.authorised().map_err(|refusal| {
            self.close(&refusal);
            Closed::Locally
        })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("alpn", &self.0.alpn)
            .field("peer", &self.0.peer.map(|peer| peer.node))
            .field("remote", &self.remote_address())
            .finish_non_exhaustive()
    }
}

/// A connection on the list of live ones, from the end of its TLS handshake on.
pub(crate) struct Established {
    quic: quinn::Connection,
    peer: Option<PeerIdentity>,
    alpn: Alpn,
    version: u16,
    about: About,
    authorise: Arc<Authorise>,
    live: Arc<Live>,
    number: Option<u64>,
}

impl Established {
    pub(crate) fn enter(
        quic: quinn::Connection,
        peer: Option<PeerIdentity>,
        alpn: Alpn,
        shared: &Shared,
    ) -> Self {
        let number = peer.map(|peer| shared.live.enter(peer.node, quic.clone()));
        Self {
            quic,
            peer,
            alpn,
            version: 0,
            about: About::default(),
            authorise: Arc::clone(&shared.authorise),
            live: Arc::clone(&shared.live),
            number,
        }
    }

    pub(crate) fn agree(&mut self, version: u16, about: About) {
        self.version = version;
        self.about = about;
    }

    pub(crate) fn quic(&self) -> &quinn::Connection {
        &self.quic
    }

    pub(crate) fn peer(&self) -> Option<&PeerIdentity> {
        self.peer.as_ref()
    }

    pub(crate) fn alpn(&self) -> Alpn {
        self.alpn
    }

    /// Asks the owner; a joiner has no name yet, its request is judged as a whole.
    pub(crate) fn authorised(&self) -> Result<(), Refusal> {
        match &self.peer {
            Some(peer) => (self.authorise)(peer, self.alpn),
            None => Ok(()),
        }
    }
}

impl Drop for Established {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.live.leave(number);
        }
    }
}

/// The number with which a connection or stream ends for this kind of reason.
pub(crate) fn close_code(code: RefusalCode) -> VarInt {
    VarInt::from_u32(u32::from(code))
}

/// What quinn says when the last handle of a connection is dropped; no refusal has this number.
const DROPPED: VarInt = VarInt::from_u32(0);

/// RFC 9001, 4.8: TLS alerts are QUIC errors from here on.
const CRYPTO_ERROR: u64 = 0x100;
