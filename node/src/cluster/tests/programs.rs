//! Who proves on a lane to run as the same user, and who does not.

use transport::{Alpn, Connection};

use super::host::Host;
use crate::cluster::{programs, same_user};

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
