//! Whether a certificate is one of this convention: the checks that rustls calls in a handshake.
//!
//! One object per connection, which notes exactly why it said no: an alert on the wire says less.
//! A client's certificate that has only expired, or is of an authority that has retired, passes
//! here, so that the endpoint can tell it to renew; everything but `join/1` refuses it there.
//! Not here: whether the node is still a member (the endpoint's callback).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use protocol::{ConventionId, NodeId, Stamp};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use crate::crypto;
use crate::identity::{
    CaCertificate, CertificateFault, KeyHash, NodeCertificate, PeerIdentity, Validity, names_voter,
};

/// Why the other end's certificate is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerFault {
    /// Not a certificate of a Director node.
    #[error("the peer's certificate names no node")]
    Unreadable(#[from] CertificateFault),
    /// Issued by an authority that we do not trust.
    #[error("the peer's certificate is from an authority that this convention does not trust")]
    ForeignAuthority,
    /// From a trusted authority, but of another convention.
    #[error("the peer is of convention `{found}`, this node of `{ours}`")]
    ForeignConvention {
        /// The peer's.
        found: ConventionId,
        /// This node's.
        ours: ConventionId,
    },
    /// Another node than the one dialled.
    #[error("node `{found}` answers where node `{wanted}` was dialled; check its address")]
    WrongNode {
        /// Whom we dialled.
        wanted: NodeId,
        /// Who answered.
        found: NodeId,
    },
    /// Past its last moment.
    #[error("the certificate of node `{node}` has expired; the node has to renew it")]
    Expired {
        /// The peer.
        node: NodeId,
        /// When it held.
        validity: Validity,
    },
    /// Before its first moment: one of the two clocks is wrong.
    #[error("the certificate of node `{node}` is not valid yet; compare both hosts' clocks")]
    NotYetValid {
        /// The peer.
        node: NodeId,
        /// When it holds.
        validity: Validity,
    },
    /// The authority is not the one that the token pins.
    #[error("the peer's authority is not `{pinned}`, which the join token names: do not trust it")]
    Pin {
        /// What the token says.
        pinned: KeyHash,
    },
    /// It does not prove that it holds the authority's key.
    #[error("node `{node}` does not prove that it votes")]
    NoVoter {
        /// The peer.
        node: NodeId,
    },
    /// The peer shows no authority at the end of its chain.
    #[error("the peer shows no certificate of its authority")]
    NoAuthority,
    /// Another flaw.
    #[error("the peer's certificate does not hold: {0}")]
    Flawed(String),
}

/// Whom a dialler accepts.
#[derive(Debug, Clone)]
pub(crate) enum Accepts {
    /// Members of our convention, one of them or any.
    Members {
        roots: Arc<RootCertStore>,
        convention: ConventionId,
        node: Option<NodeId>,
    },
    /// Whoever shows a chain to this key, or to any if there is no pin.
    Pinned(Option<KeyHash>),
}

/// Where a check notes why it said no, and whom a dialler met.
pub(crate) type Note = Arc<Notes>;

/// What the checks of one handshake came to.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    fault: OnceLock<PeerFault>,
    met: OnceLock<NodeId>,
    retired: OnceLock<()>,
}

impl Notes {
    /// Why the other's certificate was not accepted.
    pub(crate) fn fault(&self) -> Option<&PeerFault> {
        self.fault.get()
    }

    /// Whether the dialler's certificate is of an authority that has retired.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.get().is_some()
    }

    /// Who answered: its certificate holds, and it has proven to have the key in it.
    pub(crate) fn met(&self) -> Option<NodeId> {
        self.met.get().copied()
    }
}

/// The dialler's check.
#[derive(Debug)]
pub(crate) struct DiallerCheck {
    pub(crate) accepts: Accepts,
    pub(crate) note: Note,
}

impl DiallerCheck {
    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), PeerFault> {
        match &self.accepts {
            Accepts::Pinned(pin) => {
                let chain: Vec<_> = std::iter::once(leaf).chain(above).cloned().collect();
                let chain: Vec<_> = chain.into_iter().map(CertificateDer::into_owned).collect();
                pinned_issuer(&chain, *pin, stamp_of(now)).map(drop)
            }
            Accepts::Members {
                roots,
                convention,
                node,
            } => {
                let identity = PeerIdentity::read(leaf)?;
                check_server_chain(leaf, above, roots, now)
                    .map_err(|cause| fault_of(&cause, &identity))?;
                check_convention(&identity, *convention)?;
                match *node {
                    Some(wanted) if wanted != identity.node => Err(PeerFault::WrongNode {
                        wanted,
                        found: identity.node,
                    }),
                    _ => Ok(()),
                }
            }
        }
    }
}

impl ServerCertVerifier for DiallerCheck {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.check(end_entity, intermediates, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(fault) => Err(noted(&self.note, fault)),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let held = signature_holds(message, cert, dss)?;
        // A joiner meets a stranger, who may name itself as it likes.
        if let (Accepts::Members { .. }, Ok(met)) = (&self.accepts, PeerIdentity::read(cert)) {
            let _first = self.note.met.set(met.node);
        }
        Ok(held)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

/// The acceptor's check of a dialler's certificate, when it shows one.
#[derive(Debug)]
pub(crate) struct AcceptorCheck {
    pub(crate) roots: Arc<RootCertStore>,
    /// Authorities whose certificates are good for a renewal only.
    pub(crate) retired: Arc<RootCertStore>,
    pub(crate) convention: ConventionId,
    pub(crate) note: Note,
}

impl AcceptorCheck {
    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), PeerFault> {
        let identity = PeerIdentity::read(leaf)?;
        // An expired certificate is judged as of its last moment: all but its age must hold.
        let last = UnixTime::since_unix_epoch(Duration::from_millis(identity.validity.not_after.0));
        let at = if identity.validity.is_over(stamp_of(now)) {
            last
        } else {
            now
        };
        let checked = check_client_chain(leaf, above, &self.roots, at);
        if let Err(cause) = checked {
            let retired = !self.retired.is_empty()
                && check_client_chain(leaf, above, &self.retired, at).is_ok();
            if !retired {
                return Err(fault_of(&cause, &identity));
            }
            let _first = self.note.retired.set(());
        }
        check_convention(&identity, self.convention)
    }
}

impl ClientCertVerifier for AcceptorCheck {
    fn offer_client_auth(&self) -> bool {
        true
    }

    /// Joiners have none yet; the endpoint demands one for everything but `join/1`.
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.check(end_entity, intermediates, now) {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(fault) => Err(noted(&self.note, fault)),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signature_holds(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

/// The authority in `chain` with the pinned key (or the nearest one), to which its first leads.
pub(crate) fn pinned_issuer(
    chain: &[CertificateDer<'static>],
    pin: Option<KeyHash>,
    now: Stamp,
) -> Result<CaCertificate, PeerFault> {
    let certificate = NodeCertificate::new(chain.to_vec())?;
    let (Some((leaf, above)), identity) = (chain.split_first(), certificate.identity()) else {
        return Err(PeerFault::NoAuthority);
    };
    let issuer = above
        .iter()
        .filter_map(|each| CaCertificate::new(each.clone()).ok())
        .find(|each| pin.is_none_or(|pinned| each.key_hash() == pinned))
        .ok_or_else(|| pin.map_or(PeerFault::NoAuthority, |pinned| PeerFault::Pin { pinned }))?;
    let roots = roots_of(std::slice::from_ref(&issuer))
        .map_err(|cause| PeerFault::Flawed(cause.to_string()))?;
    let now = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
    check_server_chain(leaf, above, &roots, now).map_err(|cause| fault_of(&cause, identity))?;
    Ok(issuer)
}

/// Checks a voucher: the authority itself says that this peer holds its key, as voters do.
pub(crate) fn check_voucher(
    chain: &[CertificateDer<'static>],
    peer: &PeerIdentity,
    roots: &RootCertStore,
    now: Stamp,
) -> Result<(), PeerFault> {
    let no_voter = || PeerFault::NoVoter { node: peer.node };
    let (leaf, above) = chain.split_first().ok_or_else(no_voter)?;
    if !names_voter(leaf, peer)? {
        return Err(no_voter());
    }
    let now = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
    check_server_chain(leaf, above, roots, now).map_err(|cause| fault_of(&cause, peer))
}

/// The authorities as rustls wants them.
pub(crate) fn roots_of(trusted: &[CaCertificate]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for each in trusted {
        roots.add(each.der().clone())?;
    }
    Ok(roots)
}

pub(crate) fn check_server_chain(
    leaf: &CertificateDer<'_>,
    above: &[CertificateDer<'_>],
    roots: &RootCertStore,
    now: UnixTime,
) -> Result<(), Error> {
    let algorithms = crypto::provider().signature_verification_algorithms;
    let leaf = ParsedCertificate::try_from(leaf)?;
    verify_server_cert_signed_by_trust_anchor(&leaf, roots, above, now, algorithms.all)
}

fn check_client_chain(
    leaf: &CertificateDer<'_>,
    above: &[CertificateDer<'_>],
    roots: &Arc<RootCertStore>,
    now: UnixTime,
) -> Result<(), Error> {
    WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), crypto::provider())
        .build()
        .map_err(|cause| Error::General(cause.to_string()))?
        .verify_client_cert(leaf, above, now)
        .map(drop)
}

fn check_convention(identity: &PeerIdentity, ours: ConventionId) -> Result<(), PeerFault> {
    if identity.convention == ours {
        return Ok(());
    }
    Err(PeerFault::ForeignConvention {
        found: identity.convention,
        ours,
    })
}

pub(crate) fn fault_of(cause: &Error, identity: &PeerIdentity) -> PeerFault {
    let (node, validity) = (identity.node, identity.validity);
    let Error::InvalidCertificate(cause) = cause else {
        return PeerFault::Flawed(cause.to_string());
    };
    match cause {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            PeerFault::ForeignAuthority
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            PeerFault::Expired { node, validity }
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            PeerFault::NotYetValid { node, validity }
        }
        other => PeerFault::Flawed(other.to_string()),
    }
}

/// Notes the fault for our side and picks the alert for the other.
fn noted(note: &Note, fault: PeerFault) -> Error {
    let alert = match fault {
        PeerFault::Expired { .. } => CertificateError::Expired,
        PeerFault::NotYetValid { .. } => CertificateError::NotValidYet,
        PeerFault::ForeignAuthority | PeerFault::ForeignConvention { .. } => {
            CertificateError::UnknownIssuer
        }
        _ => CertificateError::ApplicationVerificationFailure,
    };
    // The first reason stands; a handshake asks once.
    let _first = note.fault.set(fault);
    Error::InvalidCertificate(alert)
}

fn signature_holds(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let algorithms = crypto::provider().signature_verification_algorithms;
    rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
}

fn schemes() -> Vec<SignatureScheme> {
    let algorithms = crypto::provider().signature_verification_algorithms;
    algorithms.supported_schemes()
}

fn only_tls13() -> Error {
    Error::General("QUIC knows TLS 1.3 only".to_owned())
}

fn stamp_of(now: UnixTime) -> Stamp {
    Stamp(now.as_secs().saturating_mul(1000))
}
