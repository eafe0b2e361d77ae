//! Several nodes in one process, as one convention: what members do for each other.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails; its helpers as well"
)]
#![allow(dead_code, reason = "the helpers of the agent's tests can do more")]

use std::future::Future;
use std::time::{Duration, Instant};

use node::agent::Patience;
use protocol::control::{ClusterRequest, ClusterResponse, Request, Response};

#[path = "agent/app.rs"]
mod app;
#[path = "agent/host.rs"]
mod host;

use app::App;
use host::{Host, directory};

/// Waits for a condition; says what it waited for when it does not come.
async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(90), "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A founder and so many members that joined it by a token; each has a capability of its name.
async fn convention(members: usize) -> Vec<Host> {
    let caps = |name: &str| format!("{{'{name}': True}}");
    let founder = directory(&[("nodename.cfg", "a"), ("othercaps.cfg", &caps("a"))]);
    let founder = Host::start_in(founder, Patience::default()).await;
    let invite = ClusterRequest::Invite {
        uses: members as u32,
        ttl_s: 600,
        by: "a test".to_owned(),
    };
    let invited = founder.request(Request::Cluster(invite)).await.unwrap();
    let Response::Cluster(ClusterResponse::Invited { token, .. }) = invited else {
        panic!("{invited:?}");
    };
    let address = format!("127.0.0.1:{}", founder.port());
    let mut hosts = vec![founder];
    for name in ["b", "c", "d", "e"].iter().take(members) {
        let folder = directory(&[
            ("nodename.cfg", name),
            ("othercaps.cfg", &caps(name)),
            ("convleader.cfg", &address),
            ("convtoken.cfg", &token),
        ]);
        hosts.push(Host::start_in(folder, Patience::default()).await);
    }
    hosts
}

async fn stop(hosts: Vec<Host>) {
    for host in hosts.into_iter().rev() {
        host.stop().await;
    }
}

fn on(name: &str) -> String {
    format!("'OnLoad': {{'Role': 'Main', 'Message': 'loaded'}}, 'Requirements': {{'{name}': True}}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_on_another_member_answers_everywhere() {
    let hosts = convention(2).await;
    let [a, b, c] = hosts.as_slice() else {
        panic!("three hosts");
    };
    a.load(&App::new("1.0").tli(&on("b"))).await.unwrap();
    for host in [c, b, a] {
        assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    }
    // And the other way round: loaded at a member, by the leader's order, placed at the founder.
    c.load(&App::new("1.1").tli(&on("a"))).await.unwrap();
    for host in [b, c, a] {
        assert_eq!(host.ask("'version'").await.unwrap(), "'1.1'");
        assert_eq!(host.ask("'heard'").await.unwrap(), "['loaded']");
    }
    stop(hosts).await;
}
