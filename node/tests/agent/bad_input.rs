//! What a user can hand in wrongly: refused with the thing's name and the next step.

use protocol::control::Request;

use crate::app::App;
use crate::host::{Host, until};

fn packages(host: &Host) -> usize {
    let folder = host.folder.path().join("state/packages");
    folder.read_dir().unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_vanishes_in_its_upload_leaves_nothing() {
    let host = Host::start().await;
    let mut client = host.client().await;
    let request = host.load_request(&App::new("1.0"));
    let (_writer, never) = tokio::io::duplex(1);
    let package = vec![7_u8; 4 << 20];
    let package = tokio::io::AsyncReadExt::chain(package.as_slice(), never);
    tokio::select! {
        answer = client.upload(package, request, |_bytes| ()) => panic!("{answer:?}"),
        () = until(async || packages(&host) == 1) => {}
    }
    drop(client);
    until(async || packages(&host) == 0).await;
    host.load(&App::new("1.0")).await.unwrap();
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_without_a_package_is_refused() {
    let host = Host::start().await;
    let error = host.request(host.load_request(&App::new("1.0"))).await;
    let error = error.unwrap_err();
    assert!(error.message.contains("no package was sent"), "{error:?}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_names_its_limit() {
    let first = App::new("1.0");
    let limit = (first.package().len() + 10).to_string();
    let host = Host::start_with(&[("storelimit.cfg", &limit)]).await;
    host.load(&first).await.unwrap();
    let error = host.load(&App::new("1.1")).await.unwrap_err();
    assert!(error.message.contains("storelimit.cfg"), "{error:?}");
    assert!(error.hint.unwrap().contains("unload"));
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    assert_eq!(packages(&host), 1);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_python_is_named_with_the_next_step() {
    let host = Host::start_with(&[("python.cfg", "/no/such/python")]).await;
    let error = host.load(&App::new("1.0")).await.unwrap_err();
    assert!(error.message.contains("/no/such/python"), "{error:?}");
    assert!(error.message.contains("python.cfg"), "{error:?}");
    assert_eq!(host.standing().await, "");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_without_a_key_that_fits_names_the_keys() {
    let host = Host::start().await;
    let key = host.folder.path().join("test_tls.key");
    std::fs::remove_file(&key).unwrap();
    let error = host.load(&App::new("1.0")).await.unwrap_err();
    assert!(error.message.contains("test.tls"), "{error:?}");
    assert!(error.hint.unwrap().contains("_tls.key"));
    // Keys are read afresh: one that comes is used at once.
    let pem = crate::app::key().public_pem().unwrap();
    std::fs::write(&key, pem).unwrap();
    host.load(&App::new("1.0")).await.unwrap();
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_key_is_removed_trust_at_the_next_start() {
    let host = Host::start().await;
    host.load(&App::new("1.0")).await.unwrap();
    std::fs::remove_file(host.folder.path().join("test_tls.key")).unwrap();
    let host = host.restart().await;
    let untrusted = |reason: &String| reason.contains("not trusted here");
    host.until_actor(|actor| actor.failed.as_ref().is_some_and(untrusted))
        .await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_class_that_no_active_source_has_is_named() {
    let host = Host::start().await;
    host.load(&App::new("1.0")).await.unwrap();
    host.load(&App::new("1.0").group("bar").file("bar.txt", ""))
        .await
        .unwrap();
    for (class, said) in [
        ("nowhere.Foo", "`nowhere`"),
        ("Foo", "`Foo`"),
        ("foo.main.Foo", "`bar`, `foo`"),
    ] {
        let create = Request::CreateActor {
            actor: None,
            class: class.to_owned(),
            source: None,
            client: None,
            requirements: None,
            global_name: None,
        };
        let error = host.request(create).await.unwrap_err();
        assert!(error.message.contains(said), "{error:?}");
    }
    host.stop().await;
}
