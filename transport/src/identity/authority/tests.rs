//! What the authority issues, and what it does not.

use super::super::{NodeKey, PeerIdentity, renew_at};
use super::*;
use crate::Credentials;

const NOW: Stamp = Stamp(1_800_000_000_000);

fn authority() -> Authority {
    Authority::found(ConventionId([7; 16]), NOW).unwrap()
}

#[test]
fn a_certificate_names_node_and_convention_for_thirty_days() {
    let key = NodeKey::generate().unwrap();
    let issued = authority()
        .issue(&key.request().unwrap(), NodeId(42), NOW)
        .unwrap();
    let identity = issued.identity();
    assert_eq!(identity.node, NodeId(42));
    assert_eq!(identity.convention, ConventionId([7; 16]));
    assert_eq!(identity.key, key.hash());
    assert_eq!(identity.validity.not_after, Stamp(NOW.0 + 30 * DAY_MS));
    assert!(!identity.validity.is_over(Stamp(NOW.0 + 30 * DAY_MS)));
    assert!(identity.validity.is_over(Stamp(NOW.0 + 31 * DAY_MS)));
    let due = renew_at(identity.validity, 500);
    assert!(due > Stamp(NOW.0 + 14 * DAY_MS) && due < Stamp(NOW.0 + 18 * DAY_MS));
}

#[test]
fn a_request_that_asks_for_more_gets_a_plain_node_certificate() {
    let key = KeyPair::generate().unwrap();
    let mut greedy = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
    greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    greedy.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let other = name_of(ConventionId([7; 16]), NodeId(1));
    let other = SanType::URI(other.try_into().unwrap());
    greedy.subject_alt_names.push(other);
    let request = greedy.serialize_request(&key).unwrap();
    let issued = authority().issue(request.der(), NodeId(2), NOW).unwrap();
    let leaf = issued.chain().first().unwrap();
    assert_eq!(PeerIdentity::read(leaf).unwrap().node, NodeId(2));
    let x509 = parse(leaf).unwrap();
    assert!(!x509.is_ca());
    assert!(!x509.key_usage().unwrap().unwrap().value.key_cert_sign());
    let names = x509.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names.len(), 1);
}

#[test]
fn a_request_for_a_key_that_is_not_held_is_refused() {
    let mine = NodeKey::generate().unwrap().request().unwrap();
    for place in [mine.len() / 2, mine.len() - 5] {
        let mut forged = mine.clone();
        forged[place] ^= 1;
        let error = authority().issue(&forged, NodeId(2), NOW).unwrap_err();
        assert!(matches!(error, IssueFault::Request(_)), "{error}");
    }
    for cut in 0..mine.len() {
        assert!(Authority::request_key_hash(&mine[..cut]).is_err());
    }
}

#[test]
fn the_files_of_an_authority_read_back_and_belong_together() {
    let one = authority();
    let two = authority();
    let convention = one.convention();
    let (key, certificate) = (one.key_to_pem(), one.certificate().to_pem());
    let again = Authority::from_pem(convention, &key, &certificate).unwrap();
    assert_eq!(again.certificate(), one.certificate());
    let node = NodeKey::generate().unwrap();
    let issued = again
        .issue(&node.request().unwrap(), NodeId(3), NOW)
        .unwrap();
    assert_eq!(NodeCertificate::from_pem(&issued.to_pem()).unwrap(), issued);
    assert_eq!(
        NodeKey::from_pem(&node.to_pem()).unwrap().hash(),
        node.hash()
    );
    let mixed = Authority::from_pem(convention, &two.key_to_pem(), &certificate);
    assert!(matches!(mixed, Err(AuthorityFault::Pair { .. })));
    let leaf = issued.chain().first().unwrap().to_vec();
    assert_eq!(
        CaCertificate::from_der(leaf),
        Err(CaCertificateFault::NotCa)
    );
}

#[test]
fn each_issue_has_a_serial_of_its_own() {
    let (authority, key) = (authority(), NodeKey::generate().unwrap());
    let request = key.request().unwrap();
    let serial_at = |now: Stamp| {
        let issued = authority.issue(&request, NodeId(3), now).unwrap();
        parse(issued.chain().first().unwrap())
            .unwrap()
            .raw_serial()
            .to_vec()
    };
    assert_ne!(serial_at(NOW), serial_at(Stamp(NOW.0 + DAY_MS)));
}

#[test]
fn a_voucher_is_for_one_node_and_key_and_opens_no_connection() {
    let ours = authority();
    let (key, other) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let certificate = ours.issue(&key.request().unwrap(), NodeId(3), NOW).unwrap();
    let trusted = vec![ours.certificate().clone()];
    let credentials = Credentials::new(&key, &certificate, trusted).unwrap();
    let peer = *certificate.identity();
    let check = |chain, peer| credentials.check_voucher(chain, &peer, NOW);
    let voucher = ours.vouch(&key.request().unwrap(), NodeId(3), NOW).unwrap();
    check(voucher.clone(), peer).unwrap();
    // Nobody else's, not for another key, and not from another authority.
    let neighbour = PeerIdentity {
        node: NodeId(4),
        ..peer
    };
    let rekeyed = PeerIdentity {
        key: other.hash(),
        ..peer
    };
    for wrong in [neighbour, rekeyed] {
        check(voucher.clone(), wrong).unwrap_err();
    }
    let foreign = authority().vouch(&key.request().unwrap(), NodeId(3), NOW);
    let fault = check(foreign.unwrap(), peer).unwrap_err();
    assert_eq!(fault, crate::PeerFault::ForeignAuthority);
    // A node's certificate is no voucher, and a voucher no certificate of a node.
    let fault = check(certificate.to_der(), peer).unwrap_err();
    assert_eq!(fault, crate::PeerFault::NoVoter { node: NodeId(3) });
    check(Vec::new(), peer).unwrap_err();
    NodeCertificate::from_der(voucher.clone()).unwrap_err();
    let late = Stamp(NOW.0 + 2 * DAY_MS);
    let stale = credentials.check_voucher(voucher, &peer, late);
    assert!(
        matches!(stale, Err(crate::PeerFault::Expired { .. })),
        "{stale:?}"
    );
}
