//! Sources between nodes of one user, and a member that came by a token.

use std::io::Cursor;

use protocol::wire::RefusalCode;

use super::*;
use crate::cluster::tests::host::Host;

const PRIVATE: (&str, &str) = ("private", "made for a test");

async fn founder() -> Host {
    Host::start(tempfile::tempdir().unwrap(), &[PRIVATE]).await
}

/// A node of the same user in the convention of `leader`.
async fn member(leader: &Host) -> Host {
    let address = leader.address();
    let settings = [PRIVATE, ("convleader.cfg", address.as_str())];
    let member = Host::start(tempfile::tempdir().unwrap(), &settings).await;
    member.until(Host::is_member).await;
    member
}

/// A node with a Director directory, in by a token.
async fn outsider(leader: &Host) -> Host {
    let token = leader.token(1, 3_600_000).await;
    Host::join("outsider", leader, &token).await
}

fn zip() -> Vec<u8> {
    let mut zip = package::Builder::new(Cursor::new(Vec::new()));
    zip.add("a.py", &mut b"WHAT = 1\n".as_slice()).unwrap();
    zip.finish().unwrap().into_inner()
}

/// A source that is valid on this node, as if its authority had made the zip of it.
async fn load(host: &Host) -> SourceHash {
    let sealed = [b"sealed".as_slice(), &zip()].concat();
    let package = host.node.store.take(&sealed).unwrap();
    let zip = Some(host.node.store.take(&zip()).unwrap());
    let hash = package.hash();
    let brought = std::future::ready(Ok(Brought { package, zip }));
    let info = "sealed.bin".to_owned();
    host.node.take_brought(hash, info, None, brought);
    host.node.application_code(hash).await.unwrap();
    hash
}

#[tokio::test(flavor = "multi_thread")]
async fn any_holder_passes_a_source_on_and_an_unload_reaches_all() {
    let first = founder().await;
    let (second, third) = (member(&first).await, member(&first).await);
    let hash = load(&first).await;
    second.node.take_over(first.node.id, hash).await.unwrap();
    third.node.take_over(second.node.id, hash).await.unwrap();
    let (info, content) = third.node.applications.lend(hash, NodeId(7)).unwrap();
    assert_eq!(info, "sealed.bin");
    let kept = std::fs::read(content.package.path()).unwrap();
    assert!(kept.starts_with(b"sealed"), "the bytes as they were loaded");
    assert_eq!(SourceHash::of(&kept), hash);

    second.node.unload_everywhere(hash).unwrap().await;
    for host in [&first, &second, &third] {
        assert!(!host.node.applications.offers(hash, false));
    }
    for host in [third, second, first] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capability_says_whose_sources_a_node_takes() {
    let first = founder().await;
    let second = member(&first).await;
    let hash = load(&first).await;
    let allow = |value: &str| {
        let name = "'AllowRemoteActorSources'";
        second.node.update_capability(name, Some(value)).unwrap();
    };
    for refusing in ["'no'", "'whatever!'", "True"] {
        allow(refusing);
        let failure = second.node.take_over(first.node.id, hash).await;
        let failure = failure.unwrap_err();
        assert_eq!(failure.code, FailureCode::InvalidSourceHash, "{refusing}");
        assert!(failure.message.contains("AllowRemoteActorSources"));
    }
    allow("'LeaderOnly'");
    second.node.take_over(first.node.id, hash).await.unwrap();
    let allow = |host: &Host| {
        let name = "'AllowRemoteActorSources'";
        let only = Some("'LeaderOnly'");
        host.node.update_capability(name, only).unwrap();
    };
    allow(&first);
    assert!(!first.node.accepts_sources_of(second.node.id));
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_by_token_gets_no_zip_unloads_nothing_and_brings_nothing() {
    let first = founder().await;
    let outsider = outsider(&first).await;
    let hash = load(&first).await;

    let offered = first.node.answer_source(outsider.node.id, hash, None);
    let PeerResponse::Source(Some(offer)) = offered else {
        panic!("{offered:?}");
    };
    assert_eq!(
        offer.zip, None,
        "what its authority made stays with its user"
    );
    // By its own keys it takes nothing that they do not validate.
    let taken = outsider.node.take_over(first.node.id, hash).await;
    assert_eq!(taken.unwrap_err().code, FailureCode::InvalidSourceHash);

    for proof in [None, Some([0; 32])] {
        let unloaded = first
            .node
            .answer_unload(outsider.node.id, hash, proof)
            .await;
        assert_eq!(unloaded.unwrap_err().code, RefusalCode::NotAllowed);
    }
    assert!(first.node.applications.offers(hash, false));

    // Nor does it have actors of sources of its own started on the user's node.
    let creation = protocol::peer::Creation {
        actor: protocol::ActorId::NONE,
        parent: protocol::ActorId::NONE,
        origin: protocol::control::Origin::Source(SourceHash([7; 32])),
        class: "a.A".to_owned(),
        global_name: None,
        requirements: None,
        proof: None,
    };
    let asked = PeerRequest::Create(creation);
    let created = crate::cluster::serve::answer(&first.node, outsider.node.id, asked).await;
    assert_eq!(created.unwrap_err().code, RefusalCode::NotAllowed);
    outsider.stop().await;
    first.stop().await;
}
