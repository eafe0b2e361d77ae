//! What a node shows and whom it trusts, swapped as a whole while connections live on.
//!
//! Each new connection takes what lies in the cell at that moment; a renewal needs no restart.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use protocol::wire::JoinResponse;
use protocol::{ConventionId, NodeId, Stamp};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::crypto;
use crate::identity::{
    CaCertificate, CaCertificateFault, CertificateFault, KeyHash, NodeCertificate, NodeKey,
    PeerIdentity, Trust,
};
use crate::verify;

/// A node's key, its certificate, and the authorities whose certificates it accepts.
///
/// Key and certificate belong together; at least one authority is trusted.
pub struct Credentials {
    identity: PeerIdentity,
    shown: Arc<SingleCertAndKey>,
    trust: Trust,
    roots: Arc<RootCertStore>,
    /// The one that issues.
    first: Arc<RootCertStore>,
    retired: Arc<RootCertStore>,
}

/// Key, certificate and authorities that do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsFault {
    /// The certificate is for another key.
    #[error("the certificate of node `{node}` is for key `{certificate}`, not for ours, `{key}`")]
    Key {
        /// Whom the certificate names.
        node: NodeId,
        /// Hash of the key in the certificate.
        certificate: KeyHash,
        /// Hash of the key given.
        key: KeyHash,
    },
    /// The answer to a join names one node or convention, its certificate another.
    #[error("the answer names node `{node}` of `{convention}`, its certificate another")]
    Names {
        /// Node in the answer.
        node: NodeId,
        /// Convention in the answer.
        convention: ConventionId,
    },
    /// The certificate was not issued by the authority that answered.
    #[error("the certificate is not from the authority `{authority}` that was pinned")]
    Authority {
        /// The key that was pinned, or shown when the connection was made.
        authority: KeyHash,
        /// What is wrong.
        #[source]
        source: verify::PeerFault,
    },
    /// Not a node's certificate.
    #[error("no certificate of a node")]
    Certificate(#[from] CertificateFault),
    /// No authority at the end of the chain.
    #[error("no authority's certificate")]
    CaCertificate(#[from] CaCertificateFault),
    /// rustls does not take the key or an authority.
    #[error("the key or an authority's certificate cannot be used")]
    Unusable(#[source] rustls::Error),
}

impl Credentials {
    /// Puts together what a node has on its disk.
    ///
    /// # Errors
    /// [`CredentialsFault`] when key and certificate do not belong together.
    pub fn new(
        key: &NodeKey,
        certificate: &NodeCertificate,
        trust: impl Into<Trust>,
    ) -> Result<Self, CredentialsFault> {
        let trust = trust.into();
        let identity = *certificate.identity();
        if identity.key != key.hash() {
            return Err(CredentialsFault::Key {
                node: identity.node,
                certificate: identity.key,
                key: key.hash(),
            });
        }
        let private = crypto::provider()
            .key_provider
            .load_private_key(key.to_rustls())
            .map_err(CredentialsFault::Unusable)?;
        let shown = trust.shown(certificate).chain().to_vec();
        let shown = CertifiedKey::new(shown, private);
        let store = |trusted: &[CaCertificate]| {
            let roots = verify::roots_of(trusted);
            roots.map(Arc::new).map_err(CredentialsFault::Unusable)
        };
        let issues = trust.roots.first().map(std::slice::from_ref);
        Ok(Self {
            identity,
            shown: Arc::new(SingleCertAndKey::from(shown)),
            roots: store(&trust.roots)?,
            first: store(issues.unwrap_or_default())?,
            retired: store(&trust.retired)?,
            trust,
        })
    }

    /// Checks the answer to a join and takes over what it brings, with the certificate for the
    /// node's disk. `authority` is the key that was pinned, or that both sides were shown; the one
    /// that issued may be its successor.
    ///
    /// # Errors
    /// [`CredentialsFault`] when the answer is not from that authority or not for this key.
    pub fn joined(
        key: &NodeKey,
        response: &JoinResponse,
        authority: KeyHash,
        now: Stamp,
    ) -> Result<(Self, NodeCertificate), CredentialsFault> {
        let certificate = NodeCertificate::from_der(response.chain.clone())?;
        let identity = certificate.identity();
        if (identity.node, identity.convention) != (response.node, response.convention) {
            return Err(CredentialsFault::Names {
                node: response.node,
                convention: response.convention,
            });
        }
        let root = verify::pinned_issuer(certificate.chain(), Some(authority), now)
            .map_err(|source| CredentialsFault::Authority { authority, source })?;
        let trust = Trust::from(vec![root])
            .follow(&certificate, now)
            .map_err(|source| CredentialsFault::Authority { authority, source })?;
        let certificate = certificate.bare();
        Ok((Self::new(key, &certificate, trust)?, certificate))
    }

    /// Checks that `peer` holds the authority's key: a chain that it got from
    /// [`Authority::vouch`](crate::identity::Authority::vouch).
    ///
    /// # Errors
    /// [`PeerFault`](crate::PeerFault).
    pub fn check_voucher(
        &self,
        chain: Vec<Vec<u8>>,
        peer: &PeerIdentity,
        now: Stamp,
    ) -> Result<(), verify::PeerFault> {
        let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
        verify::check_voucher(&chain, peer, &self.first, now)
    }

    /// Who the node is.
    #[must_use]
    pub fn identity(&self) -> &PeerIdentity {
        &self.identity
    }

    /// The authorities that it trusts; several while one replaces another.
    #[must_use]
    pub fn trusted(&self) -> &[CaCertificate] {
        &self.trust.roots
    }

    /// All that it knows of authorities.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    pub(crate) fn shown(&self) -> Arc<SingleCertAndKey> {
        Arc::clone(&self.shown)
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }

    pub(crate) fn retired(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.retired)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("identity", &self.identity)
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}

/// Where an endpoint finds the credentials of each new connection; empty before joining.
#[derive(Debug, Default)]
pub struct CredentialsCell {
    // Not a mutex: every connection reads, a renewal writes once in weeks. Never held across await.
    current: RwLock<Option<Arc<Credentials>>>,
}

impl CredentialsCell {
    /// A cell that holds these.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Self {
            current: RwLock::new(Some(Arc::new(credentials))),
        }
    }

    /// A cell without credentials: joining is all that an endpoint can do with it.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Puts others in; connections from now on use them.
    pub fn swap(&self, credentials: Credentials) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Some(Arc::new(credentials));
    }

    /// What lies in it now.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Credentials>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }
}
