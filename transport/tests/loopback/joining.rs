//! Joining by token or comparison, and renewal, from the first packet to a working member.

use protocol::NodeId;
use protocol::wire::{
    JoinRequest, JoinResponse, Refusal, RefusalCode, RenewRequest, RenewResponse,
};
use transport::endpoint::{DialFault, JoinTrust};
use transport::identity::{Authority, NodeCertificate, NodeKey, Trust};
use transport::streams::AskFault;
use transport::token::{JoinToken, TokenSecret};
use transport::{Alpn, Connection, Credentials, CredentialsCell, CredentialsFault, PeerFault};

use crate::world::{DAY_MS, Host, SOON, World, connected, now, settings};

/// What a registry would know of the one token that this convention has given out.
struct Desk {
    token: JoinToken,
    uses_left: u32,
}

impl Desk {
    /// Answers one request on a join connection, as a leader would.
    async fn answer(&mut self, connection: &Connection, world: &World) {
        let mut stream = connection.accept().await.unwrap();
        let request: JoinRequest = stream.request().await.unwrap();
        let outcome = self.judge(&request).map(|()| {
            let issued = world
                .authority
                .issue(&request.certificate_request, NodeId(7), now());
            JoinResponse {
                convention: world.authority.convention(),
                node: NodeId(7),
                chain: issued.unwrap().to_der(),
                document: Vec::new(),
            }
        });
        stream.answer(outcome).await.unwrap();
    }

    fn judge(&mut self, request: &JoinRequest) -> Result<(), Refusal> {
        let refuse = |code, text: &str| Err(Refusal::new(code, text));
        let secret = TokenSecret::from_bytes(&request.secret);
        let known = request.token_id == Some(self.token.id.to_string())
            && secret.is_some_and(|secret| secret.hash() == self.token.secret.hash());
        if !known {
            return refuse(RefusalCode::TokenUnknown, "no such join token");
        }
        if self.uses_left == 0 {
            return refuse(RefusalCode::TokenUsed, "the join token has been used");
        }
        self.uses_left -= 1;
        Ok(())
    }
}

fn request(key: &NodeKey, token: &JoinToken) -> JoinRequest {
    JoinRequest {
        token_id: Some(token.id.to_string()),
        secret: token.secret.bytes().to_vec(),
        certificate_request: key.request().unwrap(),
        document: Vec::new(),
    }
}

fn desk(world: &World) -> Desk {
    let token = JoinToken::draw(world.authority.certificate().key_hash()).unwrap();
    Desk {
        token,
        uses_left: 1,
    }
}

/// Sends a request over a fresh join connection and lets the desk answer it.
async fn ask(
    joiner: &Host,
    leader: &mut Host,
    world: &World,
    desk: &mut Desk,
    request: &JoinRequest,
) -> Result<JoinResponse, AskFault> {
    let trust = JoinTrust::Pinned(world.authority.certificate().key_hash());
    let here = joiner.endpoint.dial_to_join(leader.address, trust);
    let here = here.await.unwrap();
    let there = leader.admitted().await;
    assert!(there.peer().is_none());
    let (answered, ()) = tokio::join!(here.ask(request, SOON), desk.answer(&there, world));
    answered
}

#[tokio::test]
async fn a_token_makes_a_stranger_a_member_once() {
    let world = World::new(1);
    let (mut leader, mut desk) = (world.host(1), desk(&world));
    let joiner = Host::with_cell(CredentialsCell::empty(), settings());
    let unjoined = joiner.dial(&leader, Alpn::Convention).await.unwrap_err();
    assert!(matches!(unjoined, DialFault::NoCredentials));

    let key = NodeKey::generate().unwrap();
    let request = request(&key, &desk.token);
    let answered = ask(&joiner, &mut leader, &world, &mut desk, &request).await;
    let pinned = desk.token.authority;
    let joined = Credentials::joined(&key, &answered.unwrap(), pinned, now());
    let (credentials, certificate) = joined.unwrap();
    assert_eq!(certificate.identity().node, NodeId(7));
    joiner.cell.swap(credentials);
    let (_here, there) = connected(&joiner, &mut leader, Alpn::Convention).await;
    assert_eq!(there.peer().unwrap().node, NodeId(7));

    let again = ask(&joiner, &mut leader, &world, &mut desk, &request).await;
    let Err(AskFault::Refused(refusal)) = again else {
        panic!("the token worked twice");
    };
    assert_eq!(refusal.code, RefusalCode::TokenUsed);
}

#[tokio::test]
async fn a_wrong_secret_is_an_unknown_token() {
    let world = World::new(1);
    let (mut leader, mut desk) = (world.host(1), desk(&world));
    let joiner = Host::with_cell(CredentialsCell::empty(), settings());
    let key = NodeKey::generate().unwrap();
    let mut request = request(&key, &desk.token);
    request.secret[0] ^= 1;
    let answered = ask(&joiner, &mut leader, &world, &mut desk, &request).await;
    let Err(AskFault::Refused(refusal)) = answered else {
        panic!("a wrong secret was accepted");
    };
    assert_eq!(refusal.code, RefusalCode::TokenUnknown);
    assert_eq!(desk.uses_left, 1);
}

#[tokio::test]
async fn a_token_of_another_authority_sends_no_secret_anywhere() {
    let (world, other) = (World::new(1), World::new(2));
    let mut leader = world.host(1);
    let joiner = Host::with_cell(CredentialsCell::empty(), settings());
    let pinned = other.authority.certificate().key_hash();
    let trust = JoinTrust::Pinned(pinned);
    let dialled = joiner.endpoint.dial_to_join(leader.address, trust);
    let fault = dialled.await.unwrap_err();
    let DialFault::Peer { fault, .. } = fault else {
        panic!("{fault}");
    };
    assert_eq!(fault, PeerFault::Pin { pinned });
    leader.rejected().await;
}

#[tokio::test]
async fn an_impostor_that_shows_the_pinned_certificate_is_found_out() {
    let (world, forger) = (World::new(1), World::new(1));
    // The authority's certificate is no secret: the impostor puts it above its own chain.
    let key = NodeKey::generate().unwrap();
    let mut chain = forger.certificate(&key, 1, now()).to_der();
    chain.push(world.authority.certificate().to_der());
    let certificate = NodeCertificate::from_der(chain).unwrap();
    let trusted = vec![forger.authority.certificate().clone()];
    let shown = Credentials::new(&key, &certificate, trusted).unwrap();
    let impostor = Host::start(shown, settings());
    let joiner = Host::with_cell(CredentialsCell::empty(), settings());
    let trust = JoinTrust::Pinned(world.authority.certificate().key_hash());
    let dialled = joiner.endpoint.dial_to_join(impostor.address, trust);
    let fault = dialled.await.unwrap_err();
    assert!(
        matches!(
            &fault,
            DialFault::Peer {
                fault: PeerFault::ForeignAuthority,
                ..
            }
        ),
        "{fault}"
    );
}

#[tokio::test]
async fn without_a_token_both_sides_can_compare_fingerprints() {
    let world = World::new(1);
    let mut leader = world.host(1);
    let joiner = Host::with_cell(CredentialsCell::empty(), settings());
    let dialled = joiner
        .endpoint
        .dial_to_join(leader.address, JoinTrust::Compared);
    let here = dialled.await.unwrap();
    leader.admitted().await;
    let shown = here.authority().unwrap();
    assert_eq!(shown, world.authority.certificate().key_hash());
    let key = NodeKey::generate().unwrap();
    let fingerprint = Authority::request_key_hash(&key.request().unwrap());
    assert_eq!(fingerprint.unwrap(), key.hash());
}

#[tokio::test]
async fn an_answer_that_does_not_fit_makes_no_member() {
    let (world, other) = (World::new(1), World::new(2));
    let (key, thief) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let pinned = world.authority.certificate().key_hash();
    let answer = |world: &World, key: &NodeKey, node| JoinResponse {
        convention: world.authority.convention(),
        node: NodeId(node),
        chain: world.certificate(key, 7, now()).to_der(),
        document: Vec::new(),
    };
    let fault =
        |response: &JoinResponse| Credentials::joined(&key, response, pinned, now()).map(drop);
    assert!(fault(&answer(&world, &key, 7)).is_ok());
    let wrong = fault(&answer(&world, &thief, 7));
    assert!(matches!(wrong, Err(CredentialsFault::Key { .. })));
    let wrong = fault(&answer(&world, &key, 8));
    assert!(matches!(wrong, Err(CredentialsFault::Names { .. })));
    let wrong = fault(&answer(&other, &key, 7));
    assert!(matches!(wrong, Err(CredentialsFault::Authority { .. })));
}

#[tokio::test]
async fn a_member_that_was_off_for_months_renews_and_is_back() {
    let world = World::new(1);
    let mut leader = world.host(1);
    let key = NodeKey::generate().unwrap();
    let trusted = vec![world.authority.certificate().clone()];
    let long_ago = protocol::Stamp(now().0 - 90 * DAY_MS);
    let old = world.certificate(&key, 2, long_ago);
    let old = Credentials::new(&key, &old, trusted.clone()).unwrap();
    let member = Host::start(old, settings());
    let (here, there) = connected(&member, &mut leader, Alpn::Join).await;
    let serve = async {
        let mut stream = there.accept().await.unwrap();
        let request: RenewRequest = stream.request().await.unwrap();
        let peer = there.peer().unwrap();
        let asked = Authority::request_key_hash(&request.certificate_request);
        assert_eq!(asked.unwrap(), peer.key, "only the same key renews");
        let issued = world
            .authority
            .issue(&request.certificate_request, peer.node, now());
        let chain = issued.unwrap().to_der();
        stream.answer(Ok(RenewResponse { chain })).await.unwrap();
    };
    let request = RenewRequest {
        certificate_request: key.request().unwrap(),
    };
    let (answered, ()) = tokio::join!(here.ask(&request, SOON), serve);
    let response: RenewResponse = answered.unwrap();
    let renewed = NodeCertificate::from_der(response.chain).unwrap();
    member
        .cell
        .swap(Credentials::new(&key, &renewed, trusted).unwrap());
    connected(&member, &mut leader, Alpn::Convention).await;
}

#[tokio::test]
async fn an_authority_hands_over_without_a_gap() {
    let (old, new) = (World::new(1), World::new(1));
    let vouched = old.authority.vouch_for(&new.authority, now()).unwrap();
    assert_eq!(vouched.key_hash(), new.authority.certificate().key_hash());
    let root = old.authority.certificate().clone();
    let trusted = vec![root.clone(), new.authority.certificate().clone()];
    let key = NodeKey::generate().unwrap();
    let renewed = new.certificate(&key, 1, now());
    let shown = renewed.clone().with_above(&[vouched, root.clone()]);
    let mut leader = Host::start(
        Credentials::new(&key, &shown, trusted.clone()).unwrap(),
        settings(),
    );
    // A member that knows only the old authority, in both directions.
    let mut member = old.host(2);
    connected(&member, &mut leader, Alpn::Convention).await;
    connected(&leader, &mut member, Alpn::Convention).await;
    // A token from before pins the old authority's key.
    let joiner = Host::with_cell(CredentialsCell::empty(), settings());
    let trust = JoinTrust::Pinned(root.key_hash());
    let dialled = joiner.endpoint.dial_to_join(leader.address, trust);
    dialled.await.unwrap();
    // Without the voucher, the old one's members do not follow.
    let bare = Host::start(
        Credentials::new(&key, &renewed, trusted).unwrap(),
        settings(),
    );
    member.dial(&bare, Alpn::Convention).await.unwrap_err();
}

#[tokio::test]
async fn a_certificate_of_an_authority_that_has_retired_may_only_renew() {
    let (old, new) = (World::new(1), World::new(1));
    let link = old.authority.vouch_for(&new.authority, now()).unwrap();
    let trust = Trust {
        roots: vec![new.authority.certificate().clone()],
        links: vec![link],
        retired: vec![old.authority.certificate().clone()],
    };
    let key = NodeKey::generate().unwrap();
    let issued = new.certificate(&key, 1, now());
    let credentials = Credentials::new(&key, &issued, trust.clone()).unwrap();
    let mut leader = Host::start(credentials, settings());
    // One that was off the whole time, and whose certificate has expired besides.
    let long_ago = protocol::Stamp(now().0 - 90 * DAY_MS);
    for (node, at) in [(2, now()), (3, long_ago)] {
        let away = Host::start(old.credentials(node, at), settings());
        for alpn in [Alpn::Convention, Alpn::Lane, Alpn::Bulk] {
            let fault = away.dial(&leader, alpn).await.unwrap_err();
            let DialFault::Refused { refusal, by, .. } = &fault else {
                panic!("{fault}");
            };
            assert_eq!(refusal.code, RefusalCode::AuthorityRetired);
            assert_eq!(*by, Some(NodeId(1)), "by the link it knows who refuses");
            assert_eq!(leader.rejected().await.peer.unwrap().node, NodeId(node));
        }
        let (_here, there) = connected(&away, &mut leader, Alpn::Join).await;
        assert_eq!(there.peer().unwrap().node, NodeId(node));
        // What answers with such a certificate is believed nothing.
        let fault = leader.dial(&away, Alpn::Join).await.unwrap_err();
        let DialFault::Peer { fault, .. } = fault else {
            panic!("{fault}");
        };
        let expired = matches!(fault, PeerFault::Expired { .. }) && node == 3;
        assert!(expired || fault == PeerFault::ForeignAuthority, "{fault}");
    }
    // A token from before pins a key that is shown no more.
    let joiner = Host::with_cell(CredentialsCell::empty(), settings());
    let pinned = old.authority.certificate().key_hash();
    let trust = JoinTrust::Pinned(pinned);
    let dialled = joiner.endpoint.dial_to_join(leader.address, trust);
    let fault = dialled.await.unwrap_err();
    let DialFault::Peer { fault, .. } = fault else {
        panic!("{fault}");
    };
    assert_eq!(fault, PeerFault::Pin { pinned });
    // Another convention's authority, or one that never was ours, is no retired one.
    let stranger = Host::start(World::new(1).credentials(4, now()), settings());
    stranger.dial(&leader, Alpn::Join).await.unwrap_err();
}
