//! Nodes of one user that share no convention, and what is of a convention.

use protocol::Incarnation;

use super::host::Host;
use crate::cluster::{neighbours, reachable};

const PRIVATE: (&str, &str) = ("private", "made for a test");

async fn private() -> Host {
    Host::start(tempfile::tempdir().unwrap(), &[PRIVATE]).await
}

fn knows(host: &Host, other: &Host) -> bool {
    host.node.mutual.neighbours.knows(other.node.id)
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_programs_of_one_user_start_find_each_other_and_no_others() {
    let (one, two) = (private().await, private().await);
    let with_directory = Host::found("a").await;
    let found = neighbours::find(&one.node, two.node.incarnation).await;
    assert_eq!(found, Some(two.node.id));
    let strange = neighbours::find(&one.node, Incarnation(5)).await;
    assert_eq!(strange, None);
    let operators = neighbours::find(&one.node, with_directory.node.incarnation).await;
    assert_eq!(operators, None, "it is nobody's neighbour");
    let from_there = neighbours::find(&with_directory.node, one.node.incarnation).await;
    assert_eq!(from_there, None, "and has none");

    assert!(!knows(&two, &one));
    neighbours::bring_up(&one.node, two.node.id).await;
    two.until(|two| knows(two, &one)).await;
    let (id, folder) = (two.node.id, two.stop().await);
    one.until(|one| !one.node.mutual.neighbours.is_up(id)).await;
    neighbours::bring_up(&one.node, id).await;
    assert!(!one.node.mutual.neighbours.knows(id), "it is gone");
    drop(folder);
    with_directory.stop().await;
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_is_of_the_convention_by_its_address_or_its_nodes() {
    let founder = private().await;
    let address = founder.address();
    let settings = [PRIVATE, ("convleader.cfg", address.as_str())];
    let member = Host::start(tempfile::tempdir().unwrap(), &settings).await;
    member.until(Host::is_member).await;
    let other = private().await;
    let port = |host: &Host| format!("localhost:{}", host.node.port);
    let own = |host: &Host| protocol::ActorId::allot(host.node.incarnation, 1).to_string();
    for host in [&founder, &member] {
        for told in [port(host), own(host), host.address()] {
            assert!(
                reachable::is_of_convention(&founder.node, &told).await,
                "{told}"
            );
        }
    }
    for told in [port(&other), own(&other), "10.101.10:9999".to_owned()] {
        assert!(
            !reachable::is_of_convention(&founder.node, &told).await,
            "{told}"
        );
    }
    for host in [other, member, founder] {
        host.stop().await;
    }
}
