//! Whose certificates count: the authority that issues, the one that it replaces, and those before.
//!
//! An authority is replaced by a link: its successor's key, signed by it. Who knows only an older
//! root follows the links up to the one that issues now. Certificates of a root that has retired
//! open nothing but the way to a new certificate.
//! Not here: keys (`authority`), the checks of a handshake (`verify`), who decides (the registry).

use std::time::Duration;

use protocol::Stamp;
use rustls::pki_types::UnixTime;

use super::authority::CaCertificate;
use super::certificate::NodeCertificate;
use crate::verify::{self, PeerFault};

/// The authorities that a node knows, by their certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// Those whose certificates count. The first one issues, and it alone makes voters' vouchers.
    pub roots: Vec<CaCertificate>,
    /// What leads to the first root from those before it, the newest first.
    pub links: Vec<CaCertificate>,
    /// Those whose certificates are good for a renewal and nothing else.
    pub retired: Vec<CaCertificate>,
}

impl From<Vec<CaCertificate>> for Trust {
    fn from(roots: Vec<CaCertificate>) -> Self {
        Self {
            roots,
            ..Self::default()
        }
    }
}

impl Trust {
    /// What a node shows above a certificate and the root that issued it: the links, and the roots
    /// that are being replaced, which join tokens may still pin.
    pub fn above(&self) -> impl Iterator<Item = &CaCertificate> {
        self.links.iter().chain(self.roots.iter().skip(1))
    }

    /// The certificate with all that is to be shown above it, where the first root issued it.
    pub(crate) fn shown(&self, certificate: &NodeCertificate) -> NodeCertificate {
        let issues = self.roots.first().map(CaCertificate::key_hash);
        if certificate.issuer() != issues || issues.is_none() {
            return certificate.clone();
        }
        let more: Vec<_> = self.above().cloned().collect();
        let shown = certificate.clone();
        shown.with_above(&more)
    }

    /// The authority that issued a certificate which this node was given is trusted from here on,
    /// first of all: by a link, one that is known vouches for it.
    ///
    /// # Errors
    /// [`PeerFault`] when the certificate does not lead to an authority that is known.
    pub fn follow(&self, certificate: &NodeCertificate, now: Stamp) -> Result<Self, PeerFault> {
        let roots =
            verify::roots_of(&self.roots).map_err(|cause| PeerFault::Flawed(cause.to_string()))?;
        let Some((leaf, above)) = certificate.chain().split_first() else {
            return Err(PeerFault::NoAuthority);
        };
        let at = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
        verify::check_server_chain(leaf, above, &roots, at)
            .map_err(|cause| verify::fault_of(&cause, certificate.identity()))?;
        let above: Vec<_> = above
            .iter()
            .filter_map(|each| CaCertificate::new(each.clone()).ok())
            .collect();
        let (own, links): (Vec<_>, Vec<_>) =
            above.into_iter().partition(CaCertificate::is_self_signed);
        let Some(issuer) = certificate.issuer() else {
            return Err(PeerFault::NoAuthority);
        };
        if self.roots.iter().any(|root| root.key_hash() == issuer) {
            return Ok(self.clone());
        }
        let vouched = links.iter().any(|link| link.key_hash() == issuer);
        let shown = own.iter().find(|root| root.key_hash() == issuer);
        let Some(first) = shown.filter(|_| vouched) else {
            return Err(PeerFault::NoAuthority);
        };
        Ok(Self {
            roots: std::iter::once(first).chain(&self.roots).cloned().collect(),
            links: links.into_iter().take(LINKS_MAX).collect(),
            retired: self.retired.clone(),
        })
    }
}

/// How many links are kept: a node that was off while its convention went through more
/// replacements joins anew. Paths that are longer are not followed by TLS anyway.
pub const LINKS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use protocol::{ConventionId, NodeId};

    use super::super::{Authority, NodeKey};
    use super::*;
    use crate::Credentials;

    const NOW: Stamp = Stamp(1_800_000_000_000);

    fn authority() -> Authority {
        Authority::found(ConventionId([7; 16]), NOW).unwrap()
    }

    fn only(authority: &Authority) -> Trust {
        vec![authority.certificate().clone()].into()
    }

    /// As many authorities as can follow each other, and what the members of the last one know.
    fn generations(count: usize) -> (Vec<Authority>, Trust) {
        let all: Vec<_> = (0..count).map(|_| authority()).collect();
        let links = all.windows(2).rev().map(|pair| {
            let [old, new] = pair else { unreachable!() };
            old.vouch_for(new, NOW).unwrap()
        });
        let last = all.last().unwrap();
        let trust = Trust {
            links: links.collect(),
            ..only(last)
        };
        (all, trust)
    }

    #[test]
    fn who_knows_the_oldest_root_follows_the_links_to_the_newest() {
        let (all, trust) = generations(LINKS_MAX + 1);
        let last = all.last().unwrap();
        let key = NodeKey::generate().unwrap();
        let issued = last.issue(&key.request().unwrap(), NodeId(3), NOW).unwrap();
        let shown = trust.shown(&issued);
        for old in &all {
            let followed = only(old).follow(&shown, NOW).unwrap();
            assert_eq!(followed.roots.first(), trust.roots.first());
            let is_last = old.certificate() == last.certificate();
            assert_eq!(followed.roots.len(), if is_last { 1 } else { 2 });
            // What it shows now is accepted by those that know an older one as well.
            let again = followed.shown(&issued);
            only(&all[0]).follow(&again, NOW).unwrap_or_else(|fault| {
                // One that needed no links was told none.
                assert!(is_last, "{fault}");
                Trust::default()
            });
        }
        let stranger = only(&authority()).follow(&shown, NOW);
        assert_eq!(stranger, Err(PeerFault::ForeignAuthority));
    }

    #[test]
    fn a_root_that_nothing_known_vouches_for_is_not_followed() {
        let (ours, forger) = (authority(), authority());
        let key = NodeKey::generate().unwrap();
        let request = key.request().unwrap();
        let genuine = ours.issue(&request, NodeId(3), NOW).unwrap();
        // Somebody puts a root of its own above a certificate that holds.
        let forged = forger.certificate().clone();
        let mixed = genuine.clone().with_above(std::slice::from_ref(&forged));
        let followed = only(&ours).follow(&mixed, NOW).unwrap();
        assert_eq!(followed, only(&ours));
        // Or our link above its own certificate.
        let theirs = forger.issue(&request, NodeId(3), NOW).unwrap();
        let link = ours.vouch_for(&authority(), NOW).unwrap();
        let mixed = theirs.with_above(&[link, ours.certificate().clone()]);
        let followed = only(&ours).follow(&mixed, NOW);
        assert_eq!(followed, Err(PeerFault::ForeignAuthority));
    }

    #[test]
    fn a_voucher_is_of_the_authority_that_issues_and_of_no_other() {
        let (all, trust) = generations(2);
        let [old, new] = all.as_slice() else {
            panic!("two were asked for")
        };
        let key = NodeKey::generate().unwrap();
        let request = key.request().unwrap();
        let voucher = |by: &Authority, above: &Trust| {
            let chain = by.vouch(&request, NodeId(3), NOW).unwrap();
            let above = above.above().map(CaCertificate::to_der);
            chain.into_iter().chain(above).collect::<Vec<_>>()
        };
        let knows = |trust: Trust| {
            let by = if trust.roots.len() == 1 { old } else { new };
            let certificate = by.issue(&request, NodeId(3), NOW).unwrap();
            Credentials::new(&key, &certificate, trust).unwrap()
        };
        let check = |credentials: &Credentials, chain| {
            let peer = *credentials.identity();
            credentials.check_voucher(chain, &peer, NOW)
        };
        // Who was away knows the old one only: the link leads on.
        let away = knows(only(old));
        check(&away, voucher(old, &only(old))).unwrap();
        check(&away, voucher(new, &trust)).unwrap();
        // While both count, and after the old one has retired.
        let both = Trust {
            roots: vec![new.certificate().clone(), old.certificate().clone()],
            ..trust.clone()
        };
        let after = Trust {
            retired: vec![old.certificate().clone()],
            ..trust.clone()
        };
        for trust in [both, after] {
            let told = knows(trust.clone());
            check(&told, voucher(new, &trust)).unwrap();
            let fault = check(&told, voucher(old, &only(old))).unwrap_err();
            assert_eq!(fault, PeerFault::ForeignAuthority);
        }
    }
}
