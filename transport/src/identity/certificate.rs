//! What a node's certificate says: node, convention, key, and from when to when.
//!
//! Reading a certificate proves nothing; that it was issued by the convention's authority is
//! checked by `verify` before anything here counts.

use std::fmt;
use std::str::FromStr;

use protocol::{ConventionId, NodeId, Stamp};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::authority::CaCertificate;

/// SHA-256 of a public key info (SPKI, DER): what join tokens pin and operators compare.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// The hash of this public key info.
    #[must_use]
    pub fn of(public_key_info: &[u8]) -> Self {
        Self(Sha256::digest(public_key_info).into())
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({self})")
    }
}

impl FromStr for KeyHash {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

/// From when to when a certificate holds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First moment; whole seconds.
    pub not_before: Stamp,
    /// Last moment; whole seconds.
    pub not_after: Stamp,
}

impl Validity {
    /// Whether the last moment lies behind `now`.
    #[must_use]
    pub fn is_over(&self, now: Stamp) -> bool {
        now.0 > self.not_after.0
    }
}

/// Whom a certificate names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The node.
    pub node: NodeId,
    /// The convention that it is a member of.
    pub convention: ConventionId,
    /// The node's key: the same over renewals unless the node drew a new one.
    pub key: KeyHash,
    /// When the certificate holds.
    pub validity: Validity,
}

impl PeerIdentity {
    /// Reads the node's certificate.
    ///
    /// # Errors
    /// [`CertificateFault`] when it is no certificate of a Director node.
    ///
    /// # Format
    /// Exactly one subject alternative name that is a URI
    /// `director:<convention id, 32 hex digits>:<node id, decimal>`.
    pub fn read(certificate: &CertificateDer<'_>) -> Result<Self, CertificateFault> {
        let x509 = parse(certificate)?;
        let (convention, node) = parse_name(only_uri(&x509)?)?;
        Ok(Self {
            node,
            convention,
            key: KeyHash::of(x509.public_key().raw),
            validity: validity_of(&x509),
        })
    }
}

/// Bytes that are no certificate of a Director node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// No X.509 in DER.
    #[error("the bytes are no X.509 certificate")]
    NotX509,
    /// No PEM with at least one certificate.
    #[error("the text holds no certificate in PEM")]
    NotPem,
    /// No URI, or several, where one must be.
    #[error("the certificate has {found} names of nodes; exactly one is expected")]
    Names {
        /// How many.
        found: usize,
    },
    /// The URI is not of the expected form.
    #[error("`{name}` names no node: `director:<convention>:<node>` is expected")]
    Name {
        /// What it is.
        name: String,
    },
}

/// A node's certificate and those above it, its own first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCertificate {
    chain: Vec<CertificateDer<'static>>,
    identity: PeerIdentity,
}

impl NodeCertificate {
    /// The chain in DER, the node's first, as a join or renewal brings it.
    ///
    /// # Errors
    /// [`CertificateFault`] when the first is no certificate of a node.
    pub fn from_der(chain: Vec<Vec<u8>>) -> Result<Self, CertificateFault> {
        Self::new(chain.into_iter().map(CertificateDer::from).collect())
    }

    /// The chain from a PEM text, the node's first.
    ///
    /// # Errors
    /// [`CertificateFault`].
    pub fn from_pem(text: &str) -> Result<Self, CertificateFault> {
        let chain = CertificateDer::pem_slice_iter(text.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_cause| CertificateFault::NotPem)?;
        Self::new(chain)
    }

    pub(crate) fn new(chain: Vec<CertificateDer<'static>>) -> Result<Self, CertificateFault> {
        let first = chain.first().ok_or(CertificateFault::NotPem)?;
        let identity = PeerIdentity::read(first)?;
        Ok(Self { chain, identity })
    }

    /// Shows these authorities above the certificate as well, for those who trust only an older
    /// one: first what vouches for the issuer, then the older authority itself.
    #[must_use]
    pub fn with_above(mut self, authorities: &[CaCertificate]) -> Self {
        let more = authorities.iter().map(|each| each.der().clone());
        self.chain.extend(more);
        self
    }

    /// The certificate and the root that issued it, without what is shown above them.
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.chain.truncate(2);
        self
    }

    /// The key of the authority that issued it, by what stands right above it.
    #[must_use]
    pub fn issuer(&self) -> Option<KeyHash> {
        key_hash_of(self.chain.get(1)?).ok()
    }

    /// Whom it names.
    #[must_use]
    pub fn identity(&self) -> &PeerIdentity {
        &self.identity
    }

    /// The chain in DER, the node's first.
    #[must_use]
    pub fn to_der(&self) -> Vec<Vec<u8>> {
        self.chain.iter().map(|each| each.to_vec()).collect()
    }

    /// The chain as a PEM text.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.chain.iter().map(|each| pem_of(each)).collect()
    }

    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }
}

/// The name of a node in its certificate.
pub(crate) fn name_of(convention: ConventionId, node: NodeId) -> String {
    format!("{SCHEME}:{convention}:{node}")
}

/// The name in a voucher: that this node holds the authority's key. No certificate of a node.
pub(crate) fn voter_name_of(convention: ConventionId, node: NodeId) -> String {
    format!("{VOTER_SCHEME}:{convention}:{node}")
}

/// Whether a certificate, if it holds, says that `peer` and its very key hold the authority's.
pub(crate) fn names_voter(
    certificate: &CertificateDer<'_>,
    peer: &PeerIdentity,
) -> Result<bool, CertificateFault> {
    let x509 = parse(certificate)?;
    let name = voter_name_of(peer.convention, peer.node);
    let key = KeyHash::of(x509.public_key().raw);
    Ok(only_uri(&x509)? == name && key == peer.key)
}

/// One certificate as a PEM text.
pub(crate) fn pem_of(certificate: &CertificateDer<'_>) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", certificate.as_ref()), config)
}

/// The public key info of a certificate, hashed.
pub(crate) fn key_hash_of(certificate: &CertificateDer<'_>) -> Result<KeyHash, CertificateFault> {
    Ok(KeyHash::of(parse(certificate)?.public_key().raw))
}

pub(crate) fn parse<'a>(
    certificate: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, CertificateFault> {
    match X509Certificate::from_der(certificate.as_ref()) {
        Ok(([], x509)) => Ok(x509),
        Ok(_) | Err(_) => Err(CertificateFault::NotX509),
    }
}

pub(crate) fn validity_of(x509: &X509Certificate<'_>) -> Validity {
    let millis = |seconds: i64| Stamp(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
    Validity {
        not_before: millis(x509.validity().not_before.timestamp()),
        not_after: millis(x509.validity().not_after.timestamp()),
    }
}

fn only_uri<'a>(x509: &'a X509Certificate<'_>) -> Result<&'a str, CertificateFault> {
    let names = x509
        .subject_alternative_name()
        .map_err(|_cause| CertificateFault::NotX509)?;
    let uris: Vec<&str> = names
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    match uris.as_slice() {
        [one] => Ok(one),
        several => Err(CertificateFault::Names {
            found: several.len(),
        }),
    }
}

fn parse_name(name: &str) -> Result<(ConventionId, NodeId), CertificateFault> {
    let fault = || CertificateFault::Name {
        name: name.to_owned(),
    };
    let rest = name
        .strip_prefix(SCHEME)
        .and_then(|rest| rest.strip_prefix(':'))
        .ok_or_else(fault)?;
    let (convention, node) = rest.split_once(':').ok_or_else(fault)?;
    let convention: ConventionId = convention.parse().map_err(|_cause| fault())?;
    let node = NodeId(node.parse().map_err(|_cause| fault())?);
    // One spelling only: `+7`, `07` or upper-case digits are another text for the same id.
    if node != NodeId::NONE && name_of(convention, node) == name {
        Ok((convention, node))
    } else {
        Err(fault())
    }
}

const SCHEME: &str = "director";

const VOTER_SCHEME: &str = "director-voter";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_spelling_names_a_node() {
        let convention = ConventionId([0xab; 16]);
        let good = name_of(convention, NodeId(7));
        assert_eq!(parse_name(&good), Ok((convention, NodeId(7))));
        for bad in [
            good.replace(":7", ":07"),
            good.replace(":7", ":+7"),
            good.replace(":7", ":0"),
            good.replace(":7", ":7:8"),
            good.replace("ab", "AB"),
            good.replace("director", "spiffe"),
            "director:".to_owned(),
            String::new(),
        ] {
            assert!(parse_name(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn garbage_is_no_certificate() {
        let error = NodeCertificate::from_der(vec![b"garbage".to_vec()]).unwrap_err();
        assert_eq!(error, CertificateFault::NotX509);
        assert!(NodeCertificate::from_pem("nothing here").is_err());
    }
}
