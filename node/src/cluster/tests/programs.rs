//! Who proves on a lane to run as the same user, and who does not.

use std::fs;
use std::path::Path;

use protocol::ActorId;
use protocol::control::{ClientEnvironment, Origin};
use protocol::peer::{Creation, PeerRequest, PeerResponse};
use transport::{Alpn, Connection};

use super::host::Host;
use crate::cluster::{creation, programs, same_user};

const PRIVATE: (&str, &str) = ("private", "made for a test");

async fn lane(from: &Host, to: &Host) -> Connection {
    let peers = &from.node.membership.peers;
    let dialled = peers.dial(to.node.id, &to.address(), Alpn::Lane).await;
    dialled.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_one_user_prove_it_on_each_lane_and_members_by_token_cannot() {
    let founder = Host::start(tempfile::tempdir().unwrap(), &[PRIVATE]).await;
    let address = founder.address();
    let settings = [PRIVATE, ("convleader.cfg", address.as_str())];
    let member = Host::start(tempfile::tempdir().unwrap(), &settings).await;
    member.until(Host::is_member).await;
    let token = founder.token(1, 3_600_000).await;
    let outsider = Host::join("outsider", &founder, &token).await;
    let key = |host: &Host| host.node.membership.identity().key().hash();
    let (secret, authority) = {
        let identity = founder.node.membership.identity();
        let secret = identity.user_secret().cloned().unwrap();
        (secret, identity.authority_key().unwrap())
    };
    let shown = |from: &Host, to: &Host| same_user::lanes(&secret, authority, key(from), key(to));

    let between = lane(&member, &founder).await;
    let own = programs::shows(&member.node, &between).unwrap();
    assert_eq!(own, shown(&member, &founder));
    let answer = shown(&founder, &member);
    assert!(programs::is_shown(&member.node, &between, &answer));
    assert!(
        !programs::is_shown(&member.node, &between, &own),
        "sent back"
    );
    assert!(!programs::is_shown(&member.node, &between, &[]));
    let of_another = shown(&founder, &outsider);
    assert!(!programs::is_shown(&member.node, &between, &of_another));

    let from_outside = lane(&outsider, &founder).await;
    assert_eq!(programs::shows(&outsider.node, &from_outside), None);
    let answer = shown(&founder, &outsider);
    assert!(!programs::is_shown(&outsider.node, &from_outside, &answer));
    // The member's own proof, heard somewhere and shown by another.
    let to_member = lane(&outsider, &member).await;
    drop(to_member);
    let back = lane(&member, &outsider).await;
    assert!(!programs::is_shown(
        &member.node,
        &back,
        &shown(&founder, &member)
    ));
    for host in [outsider, member, founder] {
        host.stop().await;
    }
}

/// An actor of a program's own module in this folder, as a member asks for it.
fn wanted(node: &crate::agent::node::Node, folder: &Path) -> Creation {
    fs::write(
        folder.join("app.py"),
        "from thespian.actors import Actor\n\nclass Main(Actor):\n    pass\n",
    )
    .unwrap();
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python");
    let mut creation = Creation {
        actor: node.fresh_actor(),
        parent: ActorId::NONE,
        origin: Origin::Client(ClientEnvironment {
            interpreter: "python3".to_owned(),
            sys_path: vec![text(folder), text(&module)],
            main: None,
            directory: text(folder),
        }),
        class: "app.Main".to_owned(),
        global_name: Some("the one".to_owned()),
        requirements: None,
        proof: None,
    };
    let bare = PeerRequest::Create(creation.clone());
    creation.proof = programs::proof_of(node, node.id, &bare);
    creation
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_is_asked_for_again_gets_its_answer_and_nobody_lives_twice() {
    let host = Host::start(tempfile::tempdir().unwrap(), &[PRIVATE]).await;
    let folder = tempfile::tempdir().unwrap();
    let wanted = wanted(&host.node, folder.path());
    let ask = || creation::answer(&host.node, host.node.id, wanted.clone());
    let created = |answer| match answer {
        Ok(PeerResponse::Created(Ok(at))) => at == host.node.id,
        other => panic!("{other:?}"),
    };
    // Its first answer was not waited for.
    let (first, again) = tokio::join!(ask(), ask());
    assert!(created(first) && created(again));
    assert!(host.node.actors.stage(wanted.actor).is_some());
    host.node.exit(wanted.actor, host.node.patience.exit).await;
    assert!(created(ask().await));
    assert!(
        host.node.actors.stage(wanted.actor).is_none(),
        "it has ended"
    );
    host.stop().await;
}
