//! What a `.tli` may say: modules for classes, no actors, a role twice, an OnDeactivate at unload.

use node::client::Target;
use protocol::control::{Request, Response};

use crate::app::App;
use crate::host::Host;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_stands_for_the_one_actor_that_it_defines() {
    let host = Host::start().await;
    let app = App::new("1.0").whole_tli("{'Actors': {'foo.main': {'OnLoad': {'Role': 'Main'}}}}");
    host.load(&app).await.unwrap();
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    let listed = host.until_actor(|_| true).await;
    assert_eq!(listed.class, "foo.main.Foo");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_without_actors_of_its_own_gives_its_classes() {
    let host = Host::start().await;
    let (first, second) = (App::new("1.0"), App::new("1.1"));
    for app in [&first, &second] {
        host.load(&app.clone().whole_tli("{}")).await.unwrap();
    }
    for (source, version) in [(None, "'1.1'"), (Some(first.hash()), "'1.0'")] {
        let create = Request::CreateActor {
            actor: None,
            class: "foo.main.Foo".to_owned(),
            source,
            client: None,
            requirements: None,
            global_name: None,
        };
        let Response::Created { actor } = host.request(create).await.unwrap() else {
            panic!("a created actor has an address");
        };
        let answer = host.ask_to(Target::Actor(actor), "'version'").await;
        assert_eq!(answer.unwrap(), version);
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_role_twice_the_first_plays() {
    let host = Host::start().await;
    let app = App::new("1.0")
        .code(
            "
class Bar(Foo):
    def receiveMsg_str(self, message, sender):
        self.send(sender, 'bar')
",
        )
        .whole_tli(
            "{'Actors': {'foo.main.Bar': {'OnLoad': {'Role': 'Main'}},
                         'foo.main.Foo': {'OnLoad': {'Role': 'Main'}}}}",
        );
    host.load(&app).await.unwrap();
    assert_eq!(host.ask("'version'").await.unwrap(), "'bar'");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unload_sends_on_deactivate_where_the_source_was_active() {
    let host = Host::start().await;
    let journal = host.folder.path().join("journal");
    let code = format!(
        "
    def receiveMsg_tuple(self, message, sender):
        with open({journal:?}, 'a') as journal:
            journal.write(VERSION + ' ')
"
    );
    let tli = "'OnLoad': {'Role': 'Main'}, 'OnDeactivate': {'Message': ('leave',)}";
    let apps = ["1.0", "1.1", "1.2"].map(|version| App::new(version).tli(tli).code(&code));
    for app in &apps {
        host.load(app).await.unwrap();
    }
    let [first, _, third] = &apps;
    let noted = || std::fs::read_to_string(&journal).unwrap();
    assert_eq!(noted(), "1.0 1.1 ");
    host.unload(first, false).await.unwrap();
    assert_eq!(noted(), "1.0 1.1 ", "it was not active");
    host.unload(third, false).await.unwrap();
    assert_eq!(noted(), "1.0 1.1 1.2 ");
    assert_eq!(host.standing().await, "1.1 active");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_any_value_is_sent_and_an_absent_one_is_not() {
    let host = Host::start().await;
    let code = "
    def receiveMessage(self, message, sender):
        if message == 'heard':
            self.send(sender, self.heard)
        else:
            self.heard.append(message)
";
    for (version, message, heard) in [
        ("1", "", "[]"),
        ("2", ", 'Message': None", "[None]"),
        ("3", ", 'Message': 0", "[0]"),
        ("4", ", 'Message': ''", "['']"),
        ("5", ", 'Message': False", "[False]"),
    ] {
        let tli = format!("'OnLoad': {{'Role': 'Main'{message}}}");
        host.load(&App::new(version).tli(&tli).code(code))
            .await
            .unwrap();
        assert_eq!(host.ask("'heard'").await.unwrap(), heard);
    }
    host.stop().await;
}
