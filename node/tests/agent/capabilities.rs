//! Capabilities that change while a node runs.

use std::time::{Duration, Instant};

use protocol::control::{ApplicationRequest, Request, RequestError, Response};

use crate::app::App;
use crate::host::{Host, directory, until};
use node::agent::Patience;

/// A parent whose child runs only where it is red.
const COLORS: &str = "
@requireCapability('Red')
class Red(Foo):
    pass

class Picky(Actor):
    @staticmethod
    def actorSystemCapabilityCheck(capabilities, requirements):
        return requirements.get('hue') is None or 'Hue' in capabilities

    def receiveMessage(self, message, sender):
        pass

class Parent(Foo):
    def __init__(self, capabilities):
        self.python = capabilities['Python Version']
        self.told, self.kids = [], {}
        super().__init__()

    def receiveMsg_tuple(self, message, sender):
        what, name = message
        if what == 'create':
            self.kids[name] = self.createActor('foo.main.' + name)
        elif what == 'red':
            self.updateCapability('Red', name)
        self.send(sender, 'done')

    def receiveMsg_str(self, message, sender):
        if message == 'told':
            self.send(sender, self.told)
        elif message == 'python':
            self.send(sender, self.python)
        else:
            super().receiveMsg_str(message, sender)

    def receiveMsg_ChildActorExited(self, message, sender):
        self.told.append([n for n, a in self.kids.items() if a == message.childAddress][0])
";

async fn colors() -> Host {
    let host = Host::start_in(directory(&[]), Patience::default()).await;
    let app = App::new("1.0")
        .code(COLORS)
        .whole_tli("{'Actors': {'foo.main.Parent': {'OnLoad': {'Role': 'Main'}}}}");
    host.load(&app).await.unwrap();
    host
}

async fn update(host: &Host, name: &str, value: Option<&str>) -> Result<Response, RequestError> {
    let request = ApplicationRequest::UpdateCapability {
        name: name.to_owned(),
        value: value.map(str::to_owned),
    };
    host.request(Request::Application(request)).await
}

async fn told(host: &Host) -> String {
    host.ask("'told'").await.unwrap()
}

async fn red(host: &Host) -> Result<(), RequestError> {
    let request = Request::CreateActor {
        actor: None,
        class: "foo.main.Red".to_owned(),
        source: None,
        client: None,
        requirements: None,
        global_name: None,
    };
    host.request(request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capability_counts_for_every_creation_after_it() {
    let host = colors().await;
    assert!(red(&host).await.is_err());
    update(&host, "'Red'", Some("True")).await.unwrap();
    red(&host).await.unwrap();
    let shown = host.client().await.welcome().capabilities.clone();
    assert!(shown.contains("'Red': True"), "{shown}");
    update(&host, "'Red'", None).await.unwrap();
    assert!(red(&host).await.is_err());
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_changes_what_the_next_creation_sees() {
    let host = colors().await;
    host.ask("('red', 'very')").await.unwrap();
    red(&host).await.unwrap();
    host.ask("('red', None)").await.unwrap();
    assert!(red(&host).await.is_err());
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actors_that_no_longer_fit_exit_and_the_others_stay() {
    let host = colors().await;
    update(&host, "'Red'", Some("1")).await.unwrap();
    for class in ["Red", "Picky", "Foo"] {
        host.ask(&format!("('create', '{class}')")).await.unwrap();
    }
    update(&host, "'Blue'", Some("1")).await.unwrap();
    update(&host, "'Red'", Some("2")).await.unwrap();
    let before = Instant::now();
    update(&host, "'Red'", None).await.unwrap();
    until(async || told(&host).await == "['Red']").await;
    assert!(before.elapsed() < Duration::from_secs(10));
    // One more change: whoever was to go would have gone.
    update(&host, "'Blue'", None).await.unwrap();
    host.ask("('create', 'Red')").await.unwrap();
    until(async || told(&host).await == "['Red', 'Red']").await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_literal_is_no_capability() {
    let host = Host::start().await;
    let error = update(&host, "'x'", Some("object()")).await.unwrap_err();
    assert!(error.message.contains("no literal"), "{error:?}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_version_is_the_whole_version_info() {
    let host = colors().await;
    let version = host.ask("'python'").await.unwrap();
    assert_eq!(version.matches(',').count(), 4, "{version}");
    assert!(version.starts_with("(3, "), "{version}");
    host.stop().await;
}
