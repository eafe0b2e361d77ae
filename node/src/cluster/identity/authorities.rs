//! The convention's authorities as they lie on this node's disk: certificates, and on voters keys.
//!
//! `ca.crt` has the roots whose certificates count, the one that issues first; `ca.links.crt` what
//! leads to it from those before, `ca.retired.crt` those that are good for a renewal only. `ca.key`
//! is the key that issues, with its certificate, and `ca.next.key` one that is to follow it.
//! Not here: who decides (the registry), how a key gets to a voter (`rotation`).

use std::fs;

use protocol::Stamp;
use protocol::registry::{Authorities, KeyDigest, Root, RotationStep};
use transport::Credentials;
use transport::identity::{Authority, CaCertificate, IssueFault, KeyHash, NodeCertificate, Trust};

use super::{Identity, IdentityError, keys, read};
use protocol::{ConventionId, NodeId};

/// What voters hold of the authorities' keys.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The one that issued last, as far as this node knew when it got it.
    pub(super) current: Option<Authority>,
    /// One that is to take over.
    next: Option<Authority>,
}

/// A key that was drawn, and what members are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DrawnAuthority {
    pub(crate) current: Root,
    pub(crate) root: Root,
    pub(crate) link: Vec<u8>,
}

impl Identity {
    /// The private side of the authority that issues; only voters have it.
    pub(crate) fn authority(&self) -> Option<&Authority> {
        let issues = self.authority_key();
        let current = self.held.current.as_ref();
        current.filter(|authority| Some(authority.certificate().key_hash()) == issues)
    }

    /// The authority that issues, as a join token pins it.
    pub(crate) fn authority_key(&self) -> Option<KeyHash> {
        self.trust.roots.first().map(CaCertificate::key_hash)
    }

    /// Keys of authorities that this node holds.
    pub(crate) fn held_authorities(&self) -> Vec<KeyDigest> {
        let held = self.held.current.iter().chain(&self.held.next);
        held.map(|authority| KeyDigest(authority.certificate().key_hash().0))
            .collect()
    }

    /// A held key, with its certificate, for another voter.
    pub(crate) fn authority_bundle(&self, key: KeyDigest) -> Option<String> {
        let mut held = self.held.current.iter().chain(&self.held.next);
        let found = held.find(|authority| authority.certificate().key_hash().0 == key.0);
        found.map(Authority::to_bundle)
    }

    /// Key of the authority that issued this node's certificate.
    pub(crate) fn certified_by(&self) -> Option<KeyHash> {
        self.certificate.as_ref()?.issuer()
    }

    /// Whether another authority issues by now than the one of this node's certificate.
    pub(crate) fn is_outdated(&self) -> bool {
        self.certificate.is_some() && self.certified_by() != self.authority_key()
    }

    /// Issues a certificate, with all that is to be shown above it; `None`: this node may not.
    pub(crate) fn issue(
        &self,
        request: &[u8],
        node: NodeId,
        now: Stamp,
    ) -> Option<Result<NodeCertificate, IssueFault>> {
        let issued = self.authority()?.issue(request, node, now);
        let above: Vec<_> = self.trust.above().cloned().collect();
        Some(issued.map(|issued| issued.with_above(&above)))
    }

    /// This node's proof that it holds the key that issues; `None`: it does not.
    pub(crate) fn vouch(&self, now: Stamp) -> Option<Result<Vec<Vec<u8>>, IdentityError>> {
        let authority = self.authority()?;
        let made = self.key.request().map_err(keys);
        let made = made.and_then(|request| {
            let chain = authority.vouch(&request, self.record.node, now);
            chain.map_err(keys)
        });
        let links = self.trust.links.iter().map(CaCertificate::to_der);
        Some(made.map(|chain| chain.into_iter().chain(links).collect()))
    }

    /// Takes an authority's key, as a voter or one to be. One that does not issue yet waits until
    /// it does.
    pub(crate) fn take_authority(&mut self, bundle: &str) -> Result<KeyDigest, IdentityError> {
        let convention = self.record.convention.unwrap_or_default();
        let authority = Authority::from_bundle(convention, bundle).map_err(keys)?;
        let key = authority.certificate().key_hash();
        if self.authority_key().is_none() {
            let reason = "this node has joined no convention".to_owned();
            return Err(IdentityError::Keys { reason });
        }
        if self.authority_key() == Some(key) {
            self.keep(CA_KEY, bundle)?;
            self.held.current = Some(authority);
        } else {
            self.keep(CA_NEXT_KEY, bundle)?;
            self.held.next = Some(authority);
        }
        Ok(KeyDigest(key.0))
    }

    /// Deletes the authority's keys: the node is no voter any more, and founds no log again.
    pub(crate) fn drop_authority(&mut self) -> Result<(), IdentityError> {
        self.settle()?;
        self.held = Held::default();
        self.remove(CA_NEXT_KEY)?;
        self.remove(CA_KEY)
    }

    /// Draws the key that is to follow, unless one is kept that is to.
    pub(crate) fn draw_authority(
        &mut self,
        now: Stamp,
    ) -> Result<Option<DrawnAuthority>, IdentityError> {
        if self.authority().is_none() {
            return Ok(None);
        }
        if self.held.next.is_none() {
            let convention = self.record.convention.unwrap_or_default();
            let next = Authority::found(convention, now).map_err(keys)?;
            self.keep(CA_NEXT_KEY, &next.to_bundle())?;
            self.held.next = Some(next);
        }
        let (Some(current), Some(next)) = (self.authority(), &self.held.next) else {
            return Ok(None);
        };
        let link = current.vouch_for(next, now).map_err(keys)?;
        Ok(Some(DrawnAuthority {
            current: root_of(current.certificate()),
            root: root_of(next.certificate()),
            link: link.to_der(),
        }))
    }

    /// Takes over what the registry of this convention says of its authorities; `None`: nothing
    /// that this node does not know already.
    pub(crate) fn follow(
        &mut self,
        convention: ConventionId,
        told: &Authorities,
    ) -> Result<Option<Credentials>, IdentityError> {
        if self.record.convention != Some(convention) {
            return Ok(None);
        }
        let is_news = !told.roots.is_empty() && told.changes > self.record.authorities;
        if is_news {
            let trust = trust_of(told)?;
            self.keep_trust(&trust)?;
            self.trust = trust;
            self.hand_over()?;
            self.record.authorities = told.changes;
            self.keep_record()?;
        }
        let is_awaited = |next: &Authority| {
            let key = KeyDigest(next.certificate().key_hash().0);
            match told.rotation.as_ref().map(|rotation| &rotation.step) {
                Some(RotationStep::Wanted) => true,
                Some(RotationStep::Drawn { root, .. }) => root.key == key,
                // This node may know less than who gave it the key.
                Some(RotationStep::Issues) | None => told.changes < self.record.authorities,
            }
        };
        if self
            .held
            .next
            .as_ref()
            .is_some_and(|next| !is_awaited(next))
        {
            self.remove(CA_NEXT_KEY)?;
            self.held.next = None;
        }
        if is_news {
            self.credentials()
        } else {
            Ok(None)
        }
    }

    /// A certificate that was issued to this node may lead to an authority that it does not know.
    pub(super) fn adopt(
        &mut self,
        certificate: &NodeCertificate,
        now: Stamp,
    ) -> Result<(), IdentityError> {
        let trust = self.trust.follow(certificate, now).map_err(keys)?;
        if trust != self.trust {
            self.keep_trust(&trust)?;
            self.trust = trust;
            self.hand_over()?;
        }
        if certificate.issuer() != self.authority_key() {
            let reason = "the certificate is of an authority that issues no more".to_owned();
            return Err(IdentityError::Keys { reason });
        }
        Ok(())
    }

    /// The key that waited issues from here on.
    fn hand_over(&mut self) -> Result<(), IdentityError> {
        let issues = self.authority_key();
        let next = self.held.next.take();
        match next {
            Some(next) if Some(next.certificate().key_hash()) == issues => {
                self.keep(CA_KEY, &next.to_bundle())?;
                self.remove(CA_NEXT_KEY)?;
                self.held.current = Some(next);
            }
            next => self.held.next = next,
        }
        Ok(())
    }

    /// Reads the authorities; those of the past are for members only, so nothing is missed where
    /// there are none.
    pub(super) fn read_trust(&mut self) -> Result<(), IdentityError> {
        let all = |name: &str| {
            let found = read(&self.folder, name, CaCertificate::all_from_pem)?;
            Ok::<_, IdentityError>(found.unwrap_or_default())
        };
        self.trust = Trust {
            roots: all(CA_CERTIFICATE)?,
            links: all(CA_LINKS)?,
            retired: all(CA_RETIRED)?,
        };
        Ok(())
    }

    pub(super) fn read_authority(&mut self) -> Result<(), IdentityError> {
        let (Some(convention), Some(ca)) = (self.record.convention, self.trust.roots.first())
        else {
            return Ok(());
        };
        let certificate = ca.to_pem();
        let parse = |text: &str| match text.contains("CERTIFICATE") {
            true => Authority::from_bundle(convention, text),
            // As they were kept before there was a second one.
            false => Authority::from_pem(convention, text, &certificate),
        };
        self.held = Held {
            current: read(&self.folder, CA_KEY, parse)?,
            next: read(&self.folder, CA_NEXT_KEY, parse)?,
        };
        self.hand_over()
    }

    pub(super) fn keep_trust(&self, trust: &Trust) -> Result<(), IdentityError> {
        let kept = [
            (CA_RETIRED, &trust.retired),
            (CA_LINKS, &trust.links),
            (CA_CERTIFICATE, &trust.roots),
        ];
        for (name, certificates) in kept {
            if certificates.is_empty() {
                self.remove(name)?;
            } else {
                let text: String = certificates.iter().map(CaCertificate::to_pem).collect();
                self.keep(name, &text)?;
            }
        }
        Ok(())
    }

    /// Makes the convention's first authority.
    pub(super) fn found_authority(&mut self, now: Stamp) -> Result<(), IdentityError> {
        let convention = self.record.convention.unwrap_or_default();
        let authority = Authority::found(convention, now).map_err(keys)?;
        self.remove(CA_NEXT_KEY)?;
        self.keep(CA_KEY, &authority.to_bundle())?;
        let trust = vec![authority.certificate().clone()].into();
        self.keep_trust(&trust)?;
        self.trust = trust;
        self.record.authorities = 0;
        self.held = Held {
            current: Some(authority),
            next: None,
        };
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), IdentityError> {
        match fs::remove_file(self.folder.join(name)) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(cause.into()),
            _ => Ok(()),
        }
    }
}

fn root_of(certificate: &CaCertificate) -> Root {
    Root {
        key: KeyDigest(certificate.key_hash().0),
        certificate: certificate.to_der(),
    }
}

fn trust_of(told: &Authorities) -> Result<Trust, IdentityError> {
    let roots = |roots: &[Root]| {
        let ders = roots.iter().map(|root| root.certificate.clone());
        ders.map(CaCertificate::from_der)
            .collect::<Result<Vec<_>, _>>()
    };
    let links = told.links.iter().cloned().map(CaCertificate::from_der);
    Ok(Trust {
        roots: roots(&told.roots).map_err(keys)?,
        links: links.collect::<Result<_, _>>().map_err(keys)?,
        retired: roots(&told.retired).map_err(keys)?,
    })
}

const CA_CERTIFICATE: &str = "ca.crt";
const CA_LINKS: &str = "ca.links.crt";
const CA_RETIRED: &str = "ca.retired.crt";
pub(super) const CA_KEY: &str = "ca.key";
const CA_NEXT_KEY: &str = "ca.next.key";

#[cfg(test)]
mod tests;
