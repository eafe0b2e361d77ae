//! Unload: draining, at once, and by hashes that mean nothing.

use std::time::{Duration, Instant};

use node::agent::Patience;
use node::client::{AskEnd, Target};
use protocol::RequestId;
use protocol::control::Request;

use crate::app::App;
use crate::host::{Host, directory, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_waits_for_a_busy_actor() {
    let host = Host::start().await;
    let (first, second) = (App::new("1.0"), App::new("1.1"));
    host.load(&first).await.unwrap();
    let busy = async { host.ask("1.5").await };
    let unloading = async {
        until(async || host.resolve("Main").await.len() == 1).await;
        let old = host.actor().await;
        host.load(&second).await.unwrap();
        let queued = host.ask_to(Target::Actor(old), "'version'");
        let unloading = async {
            until(async || host.sources().await.len() == 2).await;
            host.unload(&first, false).await
        };
        tokio::join!(queued, unloading)
    };
    let (slow, (queued, unloaded)) = tokio::join!(busy, unloading);
    assert_eq!(slow.unwrap(), "'1.0'");
    assert_eq!(queued.unwrap(), "'1.0'");
    unloaded.unwrap();
    assert_eq!(host.standing().await, "1.1 active");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_once_ends_a_busy_actor() {
    let patience = Patience {
        exit: Duration::from_millis(500),
        ..Patience::default()
    };
    let host = Host::start_in(directory(&[]), patience).await;
    let app = App::new("1.0");
    host.load(&app).await.unwrap();
    host.tell("'hang'").await;
    let began = Instant::now();
    host.unload(&app, true).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(10), "{began:?}");
    assert_eq!(host.standing().await, "");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_ends_after_its_limit() {
    let patience = Patience {
        exit: Duration::from_millis(300),
        ..Patience::default()
    };
    let host = Host::start_in(directory(&[("drain.cfg", "0.5")]), patience).await;
    let app = App::new("1.0");
    host.load(&app).await.unwrap();
    let hung = host.actor().await;
    host.tell("'hang'").await;
    let ask = host.ask_to(Target::Actor(hung), "'version'");
    let (asked, unloaded) = tokio::join!(ask, host.unload(&app, false));
    unloaded.unwrap();
    assert!(
        matches!(asked, Err(AskEnd::DeadLettered(_) | AskEnd::Unknown(_))),
        "{asked:?}"
    );
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_that_others_created_end_with_their_source() {
    let host = Host::start().await;
    let parent = "
    def receiveMsg_tuple(self, message, sender):
        self.child = self.createActor('foo.main.Foo')
        self.send(sender, str(self.child))
";
    let app = App::new("1.0").code(parent);
    host.load(&app).await.unwrap();
    let child = host.ask("('create',)").await.unwrap();
    let child = host.resolve(child.trim_matches('\'')).await[0]
        .actor
        .unwrap();
    let version = host.ask_to(Target::Actor(child), "'version'").await;
    assert_eq!(version.unwrap(), "'1.0'");
    host.unload(&app, false).await.unwrap();
    let end = host.ask_to(Target::Actor(child), "'version'").await;
    assert!(matches!(end, Err(AskEnd::DeadLettered(_))), "{end:?}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hash_that_means_nothing_or_two_things_is_named() {
    let host = Host::start().await;
    host.load(&App::new("1.0")).await.unwrap();
    host.load(&App::new("1.1")).await.unwrap();
    for (prefix, said) in [("zz", "`zz`"), ("", "several hashes")] {
        let request = Request::Unload {
            request: RequestId(rand::random()),
            hash: prefix.to_owned(),
            now: false,
            by: "a test".to_owned(),
        };
        let error = host.request(request).await.unwrap_err();
        assert!(error.message.contains(said), "{error:?}");
        assert!(error.hint.unwrap().contains("director list"));
    }
    assert_eq!(host.standing().await, "1.1 active, 1.0 loaded");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unloads_and_loads_of_the_same_bytes_at_once_end_well() {
    let host = Host::start().await;
    let (first, second) = (App::new("1.0"), App::new("1.1"));
    host.load(&first).await.unwrap();
    for _round in 0..5 {
        host.load(&second).await.unwrap();
        let (unloaded, loaded) = tokio::join!(host.unload(&second, false), host.load(&second));
        unloaded.unwrap();
        // The load may have come first, found it active, or found it draining.
        if let Err(error) = loaded {
            assert!(error.message.contains("unload"), "{error:?}");
        }
        host.ask("'version'").await.unwrap();
    }
    host.stop().await;
}
