//! Who is let in, who is not, and what each side is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use protocol::wire::RefusalCode;
use protocol::{ConventionId, NodeId, Stamp};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, NamedGroup, SignatureScheme};
use transport::endpoint::{DialFault, RejectedBy, Versions};
use transport::identity::{Authority, NodeKey};
use transport::{Alpn, Closed, Credentials, PeerFault};

use crate::world::{DAY_MS, Host, World, connected, now, settings, told};

fn refused(fault: &DialFault) -> RefusalCode {
    match fault {
        DialFault::Refused { refusal, .. } => refusal.code,
        other => panic!("not refused by the other end: {}", told(other)),
    }
}

#[tokio::test]
async fn members_reach_each_other_and_know_who_is_there() {
    let world = World::new(1);
    let (one, mut two) = (world.host(1), world.host(2));
    // Known only once the port is bound.
    one.endpoint.set_recoveries(3);
    two.endpoint.set_recoveries(4);
    for alpn in [Alpn::Convention, Alpn::Lane, Alpn::Bulk] {
        let dialled = one.endpoint.dial(two.address, Some(NodeId(2)), alpn).await;
        let (here, there) = (dialled.unwrap(), two.admitted().await);
        assert_eq!(here.peer().unwrap().node, NodeId(2));
        assert_eq!(there.peer().unwrap().node, NodeId(1));
        assert_eq!((here.alpn(), there.alpn()), (alpn, alpn));
        assert_eq!((here.version(), there.version()), (1, 1));
        assert_eq!(there.about().release, "test");
        let recoveries = (here.about().recoveries, there.about().recoveries);
        assert_eq!(recoveries, (4, 3));
        assert_eq!(
            here.authority(),
            Some(world.authority.certificate().key_hash())
        );
    }
}

#[tokio::test]
async fn a_certificate_of_a_foreign_authority_is_refused_on_both_sides() {
    let (mut ours, theirs) = (World::new(1).host(1), World::new(1).host(2));
    let fault = theirs.dial(&ours, Alpn::Convention).await.unwrap_err();
    let DialFault::Peer { fault, .. } = fault else {
        panic!("{fault}");
    };
    assert_eq!(fault, PeerFault::ForeignAuthority);
    let rejected = ours.rejected().await;
    assert!(matches!(rejected.by, RejectedBy::Gone(_)), "{rejected}");

    // A dialler that trusts us, with a certificate of its own authority.
    let (world, forger) = (World::new(1), World::new(1));
    let mut ours = world.host(1);
    let key = NodeKey::generate().unwrap();
    let forged = forger.certificate(&key, 2, now());
    let trusted = vec![world.authority.certificate().clone()];
    let forged = Credentials::new(&key, &forged, trusted).unwrap();
    let intruder = Host::start(forged, settings());
    let fault = intruder.dial(&ours, Alpn::Convention).await.unwrap_err();
    assert_eq!(refused(&fault), RefusalCode::ForeignConvention, "{fault}");
    let rejected = ours.rejected().await;
    let RejectedBy::Certificate(fault) = rejected.by else {
        panic!("{rejected}");
    };
    assert_eq!(fault, PeerFault::ForeignAuthority);
}

#[tokio::test]
async fn another_convention_of_the_same_authority_is_refused() {
    let world = World::new(1);
    let (key, certificate) = (
        world.authority.key_to_pem(),
        world.authority.certificate().to_pem(),
    );
    let authority = Authority::from_pem(ConventionId([9; 16]), &key, &certificate).unwrap();
    let mut ours = world.host(1);
    let stranger = World { authority }.host(2);
    let fault = ours.dial(&stranger, Alpn::Lane).await.unwrap_err();
    let wanted = PeerFault::ForeignConvention {
        found: ConventionId([9; 16]),
        ours: ConventionId([1; 16]),
    };
    assert!(matches!(fault, DialFault::Peer { fault, .. } if fault == wanted));
    stranger.dial(&ours, Alpn::Lane).await.unwrap_err();
    ours.rejected().await;
}

#[tokio::test]
async fn another_node_than_the_one_dialled_is_refused() {
    let world = World::new(1);
    let (one, mut two) = (world.host(1), world.host(2));
    let dialled = one
        .endpoint
        .dial(two.address, Some(NodeId(3)), Alpn::Convention);
    let fault = dialled.await.unwrap_err();
    assert_eq!(
        told(&fault),
        format!(
            "`{}` is not accepted: node `2` answers where node `3` was dialled; check its address",
            two.address
        )
    );
    two.rejected().await;
}

#[tokio::test]
async fn a_member_cannot_issue_certificates() {
    let world = World::new(1);
    let mut ours = world.host(1);
    let key = NodeKey::generate().unwrap();
    let member = world.certificate(&key, 2, now());
    // The member signs for node 1, as if it were an authority, and shows its own certificate above.
    let pair = rcgen::KeyPair::from_pem(&key.to_pem()).unwrap();
    let leaf = CertificateDer::from(member.to_der().swap_remove(0));
    let issuer = rcgen::Issuer::from_ca_cert_der(&leaf, pair).unwrap();
    let fresh = NodeKey::generate().unwrap();
    let subject = rcgen::KeyPair::from_pem(&fresh.to_pem()).unwrap();
    let mut params = rcgen::CertificateParams::default();
    let name = format!("director:{}:1", world.authority.convention());
    params.subject_alt_names = vec![rcgen::SanType::URI(name.try_into().unwrap())];
    let forged = params.signed_by(&subject, &issuer).unwrap();
    let mut chain = vec![forged.der().to_vec()];
    chain.extend(member.to_der());
    let forged = transport::identity::NodeCertificate::from_der(chain).unwrap();
    let trusted = vec![world.authority.certificate().clone()];
    let intruder = Credentials::new(&fresh, &forged, trusted).unwrap();
    let intruder = Host::start(intruder, settings());
    intruder.dial(&ours, Alpn::Convention).await.unwrap_err();
    let rejected = ours.rejected().await;
    assert!(
        matches!(rejected.by, RejectedBy::Certificate(_)),
        "{rejected}"
    );
}

#[tokio::test]
async fn an_expired_certificate_is_told_apart_and_may_only_renew() {
    let world = World::new(1);
    let mut ours = world.host(1);
    let long_ago = Stamp(now().0 - 90 * DAY_MS);
    let old = Host::start(world.credentials(2, long_ago), settings());
    for alpn in [Alpn::Convention, Alpn::Lane, Alpn::Bulk] {
        let fault = old.dial(&ours, alpn).await.unwrap_err();
        assert_eq!(refused(&fault), RefusalCode::CertificateExpired, "{fault}");
        let rejected = ours.rejected().await;
        assert_eq!(rejected.peer.unwrap().node, NodeId(2));
    }
    let (_here, there) = connected(&old, &mut ours, Alpn::Join).await;
    let peer = there.peer().unwrap();
    assert_eq!(peer.node, NodeId(2));
    assert!(peer.validity.is_over(now()));
    // Removed in the meantime: not even that.
    ours.ban(2, RefusalCode::Removed);
    let fault = old.dial(&ours, Alpn::Join).await.unwrap_err();
    assert_eq!(refused(&fault), RefusalCode::Removed);
    // And nobody trusts an expired member that answers.
    let fault = ours.dial(&old, Alpn::Convention).await.unwrap_err();
    assert!(
        matches!(
            &fault,
            DialFault::Peer {
                fault: PeerFault::Expired { .. },
                ..
            }
        ),
        "{fault}"
    );
}

#[tokio::test]
async fn an_expired_certificate_of_a_foreign_authority_may_not_even_renew() {
    let (world, forger) = (World::new(1), World::new(1));
    let mut ours = world.host(1);
    let key = NodeKey::generate().unwrap();
    let forged = forger.certificate(&key, 2, Stamp(now().0 - 90 * DAY_MS));
    let trusted = vec![world.authority.certificate().clone()];
    let forged = Credentials::new(&key, &forged, trusted).unwrap();
    let intruder = Host::start(forged, settings());
    intruder.dial(&ours, Alpn::Join).await.unwrap_err();
    let rejected = ours.rejected().await;
    assert!(
        matches!(rejected.by, RejectedBy::Certificate(_)),
        "{rejected}"
    );
}

#[tokio::test]
async fn older_and_newer_protocols_are_refused_and_neighbours_agree() {
    let world = World::new(1);
    let speaking = |node, oldest, newest| {
        let mut settings = settings();
        settings.versions = Versions { oldest, newest };
        Host::start(world.credentials(node, now()), settings)
    };
    let mut ours = speaking(1, 4, 5);
    let (here, there) = connected(&speaking(2, 3, 4), &mut ours, Alpn::Convention).await;
    assert_eq!((here.version(), there.version()), (4, 4));
    let (here, there) = connected(&speaking(3, 5, 6), &mut ours, Alpn::Convention).await;
    assert_eq!((here.version(), there.version()), (5, 5));
    for (oldest, newest, code) in [
        (2, 3, RefusalCode::VersionTooOld),
        (6, 7, RefusalCode::VersionTooNew),
    ] {
        let dialler = speaking(4, oldest, newest);
        let fault = dialler.dial(&ours, Alpn::Convention).await.unwrap_err();
        assert_eq!(refused(&fault), code, "{fault}");
        assert!(told(&fault).contains("speaks versions"), "{fault}");
        ours.rejected().await;
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let world = World::new(1);
    let (one, mut two) = (world.host(1), world.host(2));
    let (before, _there) = connected(&one, &mut two, Alpn::Convention).await;
    let life = |connection: &transport::Connection| connection.peer().unwrap().validity;
    let later = Stamp(now().0 + 60_000);
    two.cell.swap(world.credentials(2, later));
    one.cell.swap(world.credentials(1, later));
    let (after, there) = connected(&one, &mut two, Alpn::Convention).await;
    assert!(life(&after).not_after > life(&before).not_after);
    assert!(life(&there).not_after > life(&before).not_after);
    // The connection from before lives on.
    assert!(before.open().await.is_ok());
}

#[tokio::test]
async fn without_a_certificate_only_joining_is_open() {
    let world = World::new(1);
    let mut ours = world.host(1);
    let bare = Bare::new();
    for alpn in [Alpn::Convention, Alpn::Lane, Alpn::Bulk] {
        let closed = bare.dial(ours.address, alpn.name()).await.unwrap_err();
        let Closed::Refused(refusal) = closed else {
            panic!("{closed}");
        };
        assert_eq!(refusal.code, RefusalCode::NoCertificate);
        let rejected = ours.rejected().await;
        assert!(rejected.peer.is_none());
    }
    let closed = bare.dial(ours.address, "h3").await.unwrap_err();
    assert!(matches!(closed, Closed::Refused(_)), "{closed}");
}

#[tokio::test]
async fn no_session_can_be_resumed() {
    let world = World::new(1);
    let ours = world.host(1);
    let mut bare = Bare::new();
    let tickets = Arc::new(Tickets::default());
    bare.tls.resumption = Resumption::store(tickets.clone());
    for _round in 0..2 {
        let config = bare.config("join/1");
        let dialling = bare.quic.connect_with(config, ours.address, "director");
        let dialling = dialling.unwrap();
        let full = dialling.into_0rtt().err().expect("early data was possible");
        let quic = full.await.unwrap();
        // The answer to nonsense comes after any ticket.
        let (mut sender, _receiver) = quic.open_bi().await.unwrap();
        sender.write_all(b"no document").await.unwrap();
        quic.closed().await;
    }
    assert_eq!(tickets.0.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_first_document_that_makes_no_sense_is_refused() {
    let world = World::new(1);
    let mut ours = world.host(1);
    let bare = Bare::new();
    let endless = u32::MAX.to_le_bytes();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &endless, &[0; 4]] {
        let dialling = bare
            .quic
            .connect_with(bare.config("join/1"), ours.address, "director");
        let quic = dialling.unwrap().await.unwrap();
        let (mut sender, _receiver) = quic.open_bi().await.unwrap();
        sender.write_all(garbage).await.unwrap();
        let Closed::Refused(refusal) = Closed::from(quic.closed().await) else {
            panic!("not refused");
        };
        assert_eq!(refusal.code, RefusalCode::BadHello);
        ours.rejected().await;
    }
}

/// A dialler that Director never is: no certificate, believes anybody, offers to resume.
struct Bare {
    quic: quinn::Endpoint,
    tls: rustls::ClientConfig,
}

impl Bare {
    fn new() -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Gullible))
            .with_no_client_auth();
        tls.enable_early_data = true;
        let quic = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
        Self { quic, tls }
    }

    fn config(&self, alpn: &str) -> quinn::ClientConfig {
        // The clone shares the store of sessions, as a dialler that wants to resume would.
        let mut tls = self.tls.clone();
        tls.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
        quinn::ClientConfig::new(Arc::new(tls))
    }

    /// Waits for the end that the other side brings.
    async fn dial(&self, to: std::net::SocketAddr, alpn: &str) -> Result<(), Closed> {
        let dialling = self.quic.connect_with(self.config(alpn), to, "director");
        let quic = dialling.unwrap().await.map_err(Closed::from)?;
        Err(Closed::from(quic.closed().await))
    }
}

/// Counts what a dialler could resume with.
#[derive(Debug, Default)]
struct Tickets(AtomicUsize);

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _server: ServerName<'static>, _group: NamedGroup) {}

    fn kx_hint(&self, _server: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _server: ServerName<'static>, _value: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _server: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _server: ServerName<'static>, _value: Tls13ClientSessionValue) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn take_tls13_ticket(&self, _server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }
}

#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
