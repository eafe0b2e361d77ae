//! Updates: what is switched, what is kept, what reverts.

use std::time::Duration;

use node::agent::Patience;
use node::client::Target;
use protocol::control::Response;

use crate::app::App;
use crate::host::{Host, directory, kill};

const HANGS_ON_DEACTIVATE: &str = "'OnLoad': {'Role': 'Main'}, 'OnDeactivate': {'Message': 'hang'}";

fn impatient() -> Patience {
    Patience {
        hold: Duration::from_millis(600),
        exit: Duration::from_millis(600),
        ..Patience::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_on_deactivate_that_hangs_reverts() {
    let host = Host::start_in(directory(&[]), impatient()).await;
    let tli = "'OnLoad': {'Role': 'Main'}, 'OnDeactivate': {'Message': 2.0},
        'OnReactivate': {'Message': 'reactivated'}";
    host.load(&App::new("1.0").tli(tli)).await.unwrap();
    let second = App::new("1.1");
    let asking = async {
        crate::host::until(async || host.standing().await.contains("loading")).await;
        host.ask("'version'").await
    };
    let (loaded, held) = tokio::join!(host.load(&second), asking);
    let error = loaded.unwrap_err();
    assert!(
        error.message.contains("within 600ms of the hold"),
        "{error:?}"
    );
    assert_eq!(held.unwrap(), "'1.0'");
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    assert_eq!(host.ask("'heard'").await.unwrap(), "['reactivated']");
    assert_eq!(host.standing().await, "1.1 loaded, 1.0 active");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_actor_that_dies_in_the_hold_reverts() {
    let host = Host::start().await;
    let tli = "'OnLoad': {'Role': 'Main'}, 'OnDeactivate': {'Message': 'die'}";
    host.load(&App::new("1.0").tli(tli)).await.unwrap();
    let error = host.load(&App::new("1.1")).await.unwrap_err();
    assert!(error.message.contains("ended in the hold"), "{error:?}");
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    assert_eq!(host.standing().await, "1.1 loaded, 1.0 active");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unload_whose_on_deactivate_hangs_reverts_unless_at_once() {
    let host = Host::start_in(directory(&[]), impatient()).await;
    let app = App::new("1.0").tli(HANGS_ON_DEACTIVATE);
    host.load(&app).await.unwrap();
    let error = host.unload(&app, false).await.unwrap_err();
    assert!(
        error.message.contains("within 600ms of the hold"),
        "{error:?}"
    );
    assert_eq!(host.standing().await, "1.0 active");
    host.unload(&app, true).await.unwrap();
    assert_eq!(host.standing().await, "");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auto_unload_keeps_as_many_as_it_says() {
    for (auto_unload, standing) in [
        ("True", "4 active"),
        ("2", "4 active, 3 loaded"),
        ("False", "4 active, 3 loaded, 2 loaded, 1 loaded"),
    ] {
        let host = Host::start().await;
        let tli = format!(
            "{{'Actors': {{'foo.main.Foo': {{'OnLoad': {{'Role': 'Main'}}}}}}, \
             'AutoUnload': {auto_unload}}}"
        );
        for version in ["1", "2", "3", "4"] {
            host.load(&App::new(version).whole_tli(&tli)).await.unwrap();
        }
        crate::host::until(async || host.standing().await == standing).await;
        let kept = standing.split(", ").count();
        let packages = host.folder.path().join("state/packages");
        crate::host::until(async || packages.read_dir().unwrap().count() == kept).await;
        assert_eq!(host.ask("'version'").await.unwrap(), "'4'");
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_withdraws_and_refresh_skips_what_was_withdrawn() {
    let host = Host::start().await;
    let (first, second) = (App::new("1.0"), App::new("1.1"));
    host.load(&first).await.unwrap();
    let error = host.rollback().await.unwrap_err();
    assert!(error.message.contains("`foo`"), "{error:?}");
    host.load(&second).await.unwrap();
    host.rollback().await.unwrap();
    assert_eq!(host.standing().await, "1.1 withdrawn, 1.0 active");
    let Response::Loaded { changed, notes, .. } = host.refresh(&second).await.unwrap() else {
        panic!("a load is answered");
    };
    assert!(!changed && notes[0].contains("withdrawn"), "{notes:?}");
    host.load(&second).await.unwrap();
    assert_eq!(host.standing().await, "1.1 active, 1.0 loaded");
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.1'");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refresh_moves_upwards_only() {
    let host = Host::start().await;
    host.load(&App::new("1.1")).await.unwrap();
    let Response::Loaded { changed, .. } = host.refresh(&App::new("1.0")).await.unwrap() else {
        panic!("a load is answered");
    };
    assert!(!changed);
    host.refresh(&App::new("1.2")).await.unwrap();
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.2'");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loaded_version_is_switched_to_with_its_own_actors() {
    let host = Host::start().await;
    let tli = "'OnLoad': {'Role': 'Main', 'Message': 'loaded'},
        'OnReactivate': {'Message': 'reactivated'}";
    let first = App::new("1.0").tli(tli);
    host.load(&first).await.unwrap();
    let old = host.actor().await;
    host.load(&App::new("1.1")).await.unwrap();
    // Two versions at once: the older answers at its own address.
    let version = host.ask_to(Target::Actor(old), "'version'").await.unwrap();
    assert_eq!(version, "'1.0'");
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.1'");
    host.load(&first).await.unwrap();
    assert_eq!(host.actor().await, old);
    let heard = host.ask("'heard'").await.unwrap();
    assert_eq!(heard, "['loaded', 'reactivated']");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_version_whose_actor_is_gone_gets_a_new_one() {
    let host = Host::start().await;
    let first = App::new("1.0");
    host.load(&first).await.unwrap();
    let pid = host.pid().await;
    host.load(&App::new("1.1")).await.unwrap();
    kill(pid);
    let gone = async || {
        let sources = host.sources().await;
        sources[1].2[0].state == "gone"
    };
    crate::host::until(gone).await;
    host.rollback().await.unwrap();
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    assert_eq!(host.ask("'heard'").await.unwrap(), "['loaded']");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loads_of_one_group_at_once_all_end_well() {
    let host = Host::start().await;
    let apps = ["1.0", "1.1", "1.2", "1.3"].map(App::new);
    let [a, b, c, d] = &apps;
    let (a, b, c, d) = tokio::join!(host.load(a), host.load(b), host.load(c), host.load(d));
    for loaded in [a, b, c, d] {
        loaded.unwrap();
    }
    let standing = host.standing().await;
    assert_eq!(standing.matches("active").count(), 1, "{standing}");
    assert_eq!(standing.matches("loaded").count(), 3, "{standing}");
    host.ask("'version'").await.unwrap();
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_global_name_follows_the_switch() {
    let host = Host::start().await;
    let named = "'OnLoad': {'Role': 'Main', 'GlobalName': 'Boss'}";
    host.load(&App::new("1.0").tli(named)).await.unwrap();
    let old = host.resolve("Boss").await[0].actor;
    host.load(&App::new("1.1").tli(named)).await.unwrap();
    let new = host.resolve("Boss").await[0].actor;
    assert_ne!(old, new);
    let boss = Target::Actor(new.unwrap());
    assert_eq!(host.ask_to(boss, "'version'").await.unwrap(), "'1.1'");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_stood_and_ended_before_the_switch_refuses() {
    let host = Host::start().await;
    host.load(&App::new("1.0")).await.unwrap();
    let dying = "
import threading

class Dying(Foo):
    def constructed(self):
        threading.Timer(0.2, os._exit, (3,)).start()

class Slow(Foo):
    def constructed(self):
        time.sleep(0.8)
";
    let second = App::new("1.1").code(dying).whole_tli(
        "{'Actors': {'foo.main.Dying': {'OnLoad': {'Role': 'Main'}}, 'foo.main.Slow': {}}}",
    );
    let error = host.load(&second).await.unwrap_err();
    assert!(error.message.contains("foo.main.Dying"), "{error:?}");
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    assert_eq!(host.standing().await, "1.0 active");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_bytes_loaded_twice_at_once_are_loaded_once() {
    let host = Host::start().await;
    let app = App::new("1.0");
    let (one, other) = tokio::join!(host.load(&app), host.load(&app));
    let changes = [one.unwrap(), other.unwrap()].map(|loaded| match loaded {
        Response::Loaded { changed, .. } => u8::from(changed),
        other => panic!("{other:?}"),
    });
    assert_eq!(changes.iter().sum::<u8>(), 1);
    assert_eq!(host.ask("'heard'").await.unwrap(), "['loaded']");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_before_the_hold_is_handled_before_on_deactivate() {
    let host = Host::start().await;
    let journal = host.folder.path().join("journal");
    let tli = "'OnLoad': {'Role': 'Main'}, 'OnDeactivate': {'Message': 'deactivated'}";
    let noting = format!(
        "
    def receiveMsg_int(self, number, sender):
        with open({journal:?}, 'a') as journal:
            journal.write('%s %d\\n' % (VERSION, number))
"
    );
    host.load(&App::new("1.0").tli(tli).code(&noting))
        .await
        .unwrap();
    let mut client = host.client().await;
    let role = Target::Role(protocol::RoleId::of("foo", "Main"));
    for number in 0..500 {
        client.tell(role, &number.to_string()).await.unwrap();
    }
    host.load(&App::new("1.1").code(&noting)).await.unwrap();
    client.ask(role, "'version'", None).await.unwrap();
    let text = std::fs::read_to_string(&journal).unwrap();
    let wanted = (0..500).map(|number| number.to_string());
    let numbers = text.lines().map(|line| line.split(' ').nth(1).unwrap());
    assert!(numbers.eq(wanted), "in order, each once: {text}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_leads_to_the_new_actor_while_its_holder_restarts() {
    let host = Host::start().await;
    let named = "'OnLoad': {'Role': 'Main', 'GlobalName': 'Boss'}";
    let slow = "\n    def constructed(self):\n        time.sleep(0.3)\n";
    host.load(&App::new("1.0").tli(named).code(slow))
        .await
        .unwrap();
    let old = host.actor().await;
    kill(host.pid().await);
    host.until_actor(|actor| actor.state != "running").await;
    let create = protocol::control::Request::CreateActor {
        actor: None,
        class: "foo.main.Foo".to_owned(),
        source: None,
        client: None,
        requirements: None,
        global_name: Some("Boss".to_owned()),
    };
    let Response::Created { actor } = host.request(create).await.unwrap() else {
        panic!("a created actor has an address");
    };
    assert_ne!(actor, old);
    let version = host.ask_to(Target::Actor(actor), "'version'").await;
    assert_eq!(version.unwrap(), "'1.0'");
    host.stop().await;
}
