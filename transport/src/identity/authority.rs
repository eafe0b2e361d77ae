//! The convention's certificate authority: its key, its certificate, and what it issues.
//!
//! Of a request it takes the public key alone; names, usage and times are its own.

use std::fmt;

use protocol::{ConventionId, NodeId, Stamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
    SanType, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::certificate::{
    CertificateFault, KeyHash, NodeCertificate, Validity, key_hash_of, name_of, parse, pem_of,
    validity_of, voter_name_of,
};
use super::trust::LINKS_MAX;

/// The private side of a convention's authority; only voters hold it.
pub struct Authority {
    convention: ConventionId,
    certificate: CaCertificate,
    issuer: Issuer<'static, KeyPair>,
}

/// The authority cannot be founded or read.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityFault {
    /// No key can be drawn or used.
    #[error("the authority's key cannot be drawn or does not sign")]
    Draw(#[source] rcgen::Error),
    /// The key's text is no private key.
    #[error("the text is no private key of an authority (PKCS #8 in PEM)")]
    Key(#[source] rcgen::Error),
    /// The certificate is of no use.
    #[error("the authority's certificate cannot be used")]
    Certificate(#[from] CaCertificateFault),
    /// Key and certificate are of two authorities.
    #[error("the key `{key}` is not the one in the certificate, `{certificate}`")]
    Pair {
        /// Hash of the key given.
        key: KeyHash,
        /// Hash of the key in the certificate.
        certificate: KeyHash,
    },
    /// A moment that no certificate can name.
    #[error("{0} ms since 1970 is no moment for a certificate")]
    Moment(u64),
}

/// A certificate that the authority does not issue.
#[derive(Debug, thiserror::Error)]
pub enum IssueFault {
    /// The request is cut, of an unknown kind, or not signed by the key that it names.
    #[error("the certificate request is malformed or does not prove that its key is held")]
    Request(#[source] rcgen::Error),
    /// The authority's own key does not sign.
    #[error("the authority's key does not sign")]
    Sign(#[source] rcgen::Error),
    /// A moment that no certificate can name.
    #[error("{0} ms since 1970 is no moment for a certificate")]
    Moment(u64),
    /// What was issued does not read back; a bug.
    #[error("the certificate issued does not read back")]
    ReadBack(#[from] CertificateFault),
}

impl Authority {
    /// Founds the authority of a convention, valid for twenty years from `now`.
    ///
    /// # Errors
    /// [`AuthorityFault::Draw`], [`AuthorityFault::Moment`].
    pub fn found(convention: ConventionId, now: Stamp) -> Result<Self, AuthorityFault> {
        let key = KeyPair::generate().map_err(AuthorityFault::Draw)?;
        let params = ca_params(convention, &key, now)?;
        let signed = params.self_signed(&key).map_err(AuthorityFault::Draw)?;
        Self::assemble(convention, CaCertificate::new(signed.der().clone())?, key)
    }

    /// The authority from the texts of its two files.
    ///
    /// # Errors
    /// [`AuthorityFault`] when one is no such text or they do not belong together.
    pub fn from_pem(
        convention: ConventionId,
        key: &str,
        certificate: &str,
    ) -> Result<Self, AuthorityFault> {
        let key = KeyPair::from_pem(key).map_err(AuthorityFault::Key)?;
        Self::assemble(convention, CaCertificate::from_pem(certificate)?, key)
    }

    fn assemble(
        convention: ConventionId,
        certificate: CaCertificate,
        key: KeyPair,
    ) -> Result<Self, AuthorityFault> {
        let hash = KeyHash::of(&key.subject_public_key_info());
        if hash != certificate.key_hash() {
            return Err(AuthorityFault::Pair {
                key: hash,
                certificate: certificate.key_hash(),
            });
        }
        let issuer =
            Issuer::from_ca_cert_der(&certificate.der, key).map_err(AuthorityFault::Draw)?;
        Ok(Self {
            convention,
            certificate,
            issuer,
        })
    }

    /// The convention.
    #[must_use]
    pub fn convention(&self) -> ConventionId {
        self.convention
    }

    /// The public side.
    #[must_use]
    pub fn certificate(&self) -> &CaCertificate {
        &self.certificate
    }

    /// The authority from the text of one file, with the key and the certificate for it.
    ///
    /// # Errors
    /// [`AuthorityFault`].
    pub fn from_bundle(convention: ConventionId, text: &str) -> Result<Self, AuthorityFault> {
        Self::from_pem(convention, text, text)
    }

    /// Key and certificate as the text of one file (mode 0600); never into log, snapshot or plain
    /// backup.
    #[must_use]
    pub fn to_bundle(&self) -> String {
        self.key_to_pem() + &self.certificate.to_pem()
    }

    /// The private key as its file's text (mode 0600); never into log, snapshot or plain backup.
    #[must_use]
    pub fn key_to_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Issues a certificate of 30 days for the key of `request` (PKCS #10, DER).
    ///
    /// That `node` may have one is the caller's decision; so is whether the key must be the one
    /// it had ([`request_key_hash`](Self::request_key_hash)).
    ///
    /// # Errors
    /// [`IssueFault`].
    pub fn issue(
        &self,
        request: &[u8],
        node: NodeId,
        now: Stamp,
    ) -> Result<NodeCertificate, IssueFault> {
        let name = name_of(self.convention, node);
        let issued = self.sign(request, name, node, now, NODE_LIFE_MS)?;
        let chain = vec![issued, self.certificate.der.clone()];
        Ok(NodeCertificate::new(chain)?)
    }

    /// Says that `node`, with the key of `request`, holds this authority's key: a voter's proof of
    /// what it is, checked by [`Credentials::check_voucher`](crate::Credentials::check_voucher).
    /// The chain in DER. A node makes it for itself and for nobody else.
    ///
    /// # Errors
    /// [`IssueFault`].
    pub fn vouch(
        &self,
        request: &[u8],
        node: NodeId,
        now: Stamp,
    ) -> Result<Vec<Vec<u8>>, IssueFault> {
        let name = voter_name_of(self.convention, node);
        let issued = self.sign(request, name, node, now, VOUCHER_LIFE_MS)?;
        Ok(vec![issued.to_vec(), self.certificate.to_der()])
    }

    fn sign(
        &self,
        request: &[u8],
        name: String,
        node: NodeId,
        now: Stamp,
        life_ms: u64,
    ) -> Result<CertificateDer<'static>, IssueFault> {
        let request = read_request(request)?;
        let (not_before, not_after) = life(now, life_ms).map_err(IssueFault::Moment)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&format!("Director node {node}"));
        let name = name.try_into().map_err(IssueFault::Sign)?;
        params.subject_alt_names = vec![SanType::URI(name)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        params.not_before = not_before;
        params.not_after = not_after;
        params.serial_number = Some(serial(&request.public_key, node, now));
        let issued = params
            .signed_by(&request.public_key, &self.issuer)
            .map_err(IssueFault::Sign)?;
        Ok(issued.der().clone())
    }

    /// Signs the key of the authority that is to take over, so that who trusts only this one
    /// accepts what the next one issues, once its certificates show this above them
    /// ([`NodeCertificate::with_above`]).
    ///
    /// # Errors
    /// [`AuthorityFault`].
    pub fn vouch_for(&self, next: &Self, now: Stamp) -> Result<CaCertificate, AuthorityFault> {
        let key = next.issuer.key();
        let mut params = ca_params(next.convention, key, now)?;
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial(key, NodeId::NONE, now));
        let signed = params
            .signed_by(key, &self.issuer)
            .map_err(AuthorityFault::Draw)?;
        Ok(CaCertificate::new(signed.der().clone())?)
    }

    /// The hash of the key that a request names and proves to hold.
    ///
    /// # Errors
    /// [`IssueFault::Request`].
    pub fn request_key_hash(request: &[u8]) -> Result<KeyHash, IssueFault> {
        let request = read_request(request)?;
        Ok(KeyHash::of(&request.public_key.subject_public_key_info()))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("convention", &self.convention)
            .field("key", &self.certificate.key_hash())
            .finish_non_exhaustive()
    }
}

/// The public side of an authority: what members trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaCertificate {
    der: CertificateDer<'static>,
    key_hash: KeyHash,
    validity: Validity,
}

/// Bytes that are no certificate of an authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaCertificateFault {
    /// No certificate at all.
    #[error("no certificate of an authority")]
    Unreadable(#[from] CertificateFault),
    /// A certificate that may not issue others.
    #[error("the certificate is not one of an authority: it may not issue others")]
    NotCa,
}

impl CaCertificate {
    /// Reads it from DER.
    ///
    /// # Errors
    /// [`CaCertificateFault`].
    pub fn from_der(der: Vec<u8>) -> Result<Self, CaCertificateFault> {
        Self::new(CertificateDer::from(der))
    }

    /// Reads it from its file's text.
    ///
    /// # Errors
    /// [`CaCertificateFault`].
    pub fn from_pem(text: &str) -> Result<Self, CaCertificateFault> {
        let der = CertificateDer::from_pem_slice(text.as_bytes())
            .map_err(|_cause| CertificateFault::NotPem)?;
        Self::new(der)
    }

    /// Reads all that are in a file's text.
    ///
    /// # Errors
    /// [`CaCertificateFault`].
    pub fn all_from_pem(text: &str) -> Result<Vec<Self>, CaCertificateFault> {
        let ders = CertificateDer::pem_slice_iter(text.as_bytes());
        ders.map(|der| Self::new(der.map_err(|_cause| CertificateFault::NotPem)?))
            .collect()
    }

    pub(crate) fn new(der: CertificateDer<'static>) -> Result<Self, CaCertificateFault> {
        let key_hash = key_hash_of(&der)?;
        let x509 = parse(&der)?;
        let validity = validity_of(&x509);
        let is_ca = x509.is_ca();
        drop(x509);
        if !is_ca {
            return Err(CaCertificateFault::NotCa);
        }
        Ok(Self {
            der,
            key_hash,
            validity,
        })
    }

    /// What a join token pins.
    #[must_use]
    pub fn key_hash(&self) -> KeyHash {
        self.key_hash
    }

    /// When it holds.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The certificate in DER.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        self.der.to_vec()
    }

    /// The certificate as its file's text.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem_of(&self.der)
    }

    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// Whether it names itself as its issuer: a root, and not a link to one.
    pub(crate) fn is_self_signed(&self) -> bool {
        parse(&self.der).is_ok_and(|x509| x509.subject() == x509.issuer())
    }
}

fn read_request(request: &[u8]) -> Result<CertificateSigningRequestParams, IssueFault> {
    let request = CertificateSigningRequestDer::from(request);
    CertificateSigningRequestParams::from_der(&request).map_err(IssueFault::Request)
}

/// Each key has a name of its own, so that a path is found by names; as many levels may stand
/// below as there are links.
fn ca_params(
    convention: ConventionId,
    key: &KeyPair,
    now: Stamp,
) -> Result<CertificateParams, AuthorityFault> {
    let (not_before, not_after) = life(now, CA_LIFE_MS).map_err(AuthorityFault::Moment)?;
    let key_name = KeyHash::of(&key.subject_public_key_info()).to_string();
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&format!("Director convention {convention} key {key_name}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(LEVELS_BELOW));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = not_before;
    params.not_after = not_after;
    Ok(params)
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// From a little before `now`, so that a member whose clock is behind accepts it.
fn life(now: Stamp, life_ms: u64) -> Result<(OffsetDateTime, OffsetDateTime), u64> {
    let at = |ms: u64| {
        i64::try_from(ms / 1000)
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .ok_or(ms)
    };
    let from = at(now.0.saturating_sub(BACKDATED_MS))?;
    Ok((from, at(now.0.saturating_add(life_ms))?))
}

/// Different for each issue of each key, without a counter to keep.
fn serial(key: &impl PublicKeyData, node: NodeId, now: Stamp) -> SerialNumber {
    let digest = Sha256::new()
        .chain_update(key.subject_public_key_info())
        .chain_update(node.0.to_be_bytes())
        .chain_update(now.0.to_be_bytes())
        .finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(digest.split_at(16).0);
    // RFC 5280, 4.1.2.2: positive; and not zero at its head, which DER would drop.
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    SerialNumber::from_slice(&bytes)
}

const SECOND_MS: u64 = 1000;
const DAY_MS: u64 = 24 * 60 * 60 * SECOND_MS;

/// Short enough that a removed node's certificate is soon worthless, long enough for a holiday.
const NODE_LIFE_MS: u64 = 30 * DAY_MS;

/// A voucher is made when it is asked for and looked at once, by clocks that may be apart.
const VOUCHER_LIFE_MS: u64 = DAY_MS;

/// The authority outlives its hosts; its key is replaced by cross-signing.
const CA_LIFE_MS: u64 = 20 * 365 * DAY_MS;

/// Levels of authorities below one: a link for each that has taken over since.
const LEVELS_BELOW: u8 = LINKS_MAX as u8;

/// How far clocks of two hosts may be apart: one an hour ahead, one an hour behind, and some more.
const BACKDATED_MS: u64 = 3 * 60 * 60 * SECOND_MS;

#[cfg(test)]
mod tests;
