//! Loads that are refused, each with its reason; the running version keeps answering.

use protocol::control::{FailureCode, RequestError, Response};

use crate::app::App;
use crate::host::Host;

/// Loads version 1.0, then `broken`, which is refused with the failure given.
async fn refused(broken: &App) -> RequestError {
    let host = Host::start().await;
    host.load(&App::new("1.0")).await.unwrap();
    let error = host.load(broken).await.unwrap_err();
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    assert_eq!(host.standing().await, "1.0 active");
    assert!(error.hint.is_some(), "{error:?}");
    host.stop().await;
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_error_refuses_with_the_traceback() {
    let error = refused(&App::new("1.1").code("\nimport no_such_module\n")).await;
    assert_eq!(error.failure, Some(FailureCode::ImportError));
    let traceback = error.traceback.unwrap();
    assert!(traceback.contains("foo/main.py\", line "), "{traceback}");
    assert!(
        traceback.contains("No module named 'no_such_module'"),
        "{traceback}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_constructor_that_raises_refuses_with_the_traceback() {
    let raising = App::new("1.1").code("\n    def constructed(self):\n        1 / 0\n");
    let error = refused(&raising).await;
    assert!(error.message.contains("foo.main.Foo"), "{error:?}");
    let traceback = error.traceback.unwrap();
    assert!(traceback.contains("ZeroDivisionError"), "{traceback}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_constructor_that_crashes_refuses_with_its_last_words() {
    let crashing = "
    def constructed(self):
        print('last words', flush=True)
        os.abort()
";
    let error = refused(&App::new("1.1").code(crashing)).await;
    assert!(error.message.contains("signal 6"), "{error:?}");
    let traceback = error.traceback.unwrap();
    assert!(traceback.starts_with("last words"), "{traceback}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_failing_constructor_of_two_leaves_no_actor_of_the_new_version() {
    let broken = App::new("1.1")
        .code("\nclass Bar(Foo):\n    def constructed(self):\n        1 / 0\n")
        .whole_tli("{'Actors': {'foo.main.Foo': {}, 'foo.main.Bar': {}}}");
    let error = refused(&broken).await;
    assert!(error.message.contains("foo.main.Bar"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_class_that_is_missing_is_named() {
    let error = refused(&App::new("1.1").whole_tli("{'Actors': {'foo.main.Fou': {}}}")).await;
    assert_eq!(error.message, "`foo.main` has no class `Fou`");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capability_check_may_say_no() {
    let picky = "
    @staticmethod
    def actorSystemCapabilityCheck(capabilities, requirements):
        return capabilities.get('Has GPU', False)
";
    let error = refused(&App::new("1.1").code(picky)).await;
    assert_eq!(error.failure, Some(FailureCode::NoCompatibleSystem));
    assert!(error.message.contains("foo.main.Foo"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requirement_that_is_not_met_is_named() {
    let demanding = App::new("1.1").tli("'Requirements': {'Has GPU': True}");
    let error = refused(&demanding).await;
    assert_eq!(error.failure, Some(FailureCode::NoCompatibleSystem));
    assert!(error.message.contains("'Has GPU': True"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requirements_and_checks_see_othercaps() {
    let host = Host::start_with(&[("othercaps.cfg", "{'Has GPU': True}")]).await;
    let picky = "
    @staticmethod
    def actorSystemCapabilityCheck(capabilities, requirements):
        return capabilities.get('Has GPU', False)
";
    let tli = "'OnLoad': {'Role': 'Main'}, 'Requirements': {'Has GPU': True}";
    host.load(&App::new("1.0").tli(tli).code(picky))
        .await
        .unwrap();
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_package_is_refused_and_leaves_nothing() {
    let host = Host::start().await;
    let app = App::new("1.0");
    let mut package = app.package();
    let middle = package.len() / 2;
    package[middle] ^= 1;
    let error = host.load_bytes(&app, &package, false).await.unwrap_err();
    assert!(error.message.contains("test.tls"), "{error:?}");
    assert!(error.hint.is_some(), "{error:?}");
    assert_eq!(host.standing().await, "");
    let packages = host.folder.path().join("state/packages");
    assert_eq!(packages.read_dir().unwrap().count(), 0);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_import_leaves_no_files() {
    let host = Host::start().await;
    let app = App::new("1.0").code("\nimport no_such_module\n");
    host.load(&app).await.unwrap_err();
    for folder in ["packages", "unpacked"] {
        let left = host.folder.path().join("state").join(folder).read_dir();
        let left: Vec<_> = left.unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_bytes_twice_change_nothing_and_say_so() {
    let host = Host::start().await;
    let app = App::new("1.0");
    host.load(&app).await.unwrap();
    let actor = host.actor().await;
    let Response::Loaded { changed, notes, .. } = host.load(&app).await.unwrap() else {
        panic!("a load is answered");
    };
    assert!(!changed);
    assert!(
        notes.iter().any(|note| note.contains("active already")),
        "{notes:?}"
    );
    assert_eq!(host.actor().await, actor);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_group_that_claims_a_global_name_is_refused() {
    let host = Host::start().await;
    let named = "'OnLoad': {'Role': 'Main', 'GlobalName': 'Boss'}";
    host.load(&App::new("1.0").tli(named)).await.unwrap();
    let other = App::new("2.0").group("bar").tli(named);
    let error = host.load(&other).await.unwrap_err();
    assert!(
        error.message.contains("`Boss` belongs to group `foo`"),
        "{error:?}"
    );
    assert_eq!(host.standing().await, "1.0 active");
    host.stop().await;
}
