//! A node from end to end: load, ask, update, roll back, unload, restart.

mod agent;

use agent::{Application, Host, children};
use node::client::{AskEnd, ClientError};
use protocol::control::{Request, Response};
use protocol::{RequestId, SourceHash};

const TLI: &str = "{'Actors': {'foo.main.Foo': {
    'OnLoad': {'Role': 'Main', 'Message': 'loaded'},
    'OnDeactivate': {'Message': 'deactivated'},
    'OnReactivate': {'Message': 'reactivated'}}}}";

const SOURCE: &str = "
from thespian.actors import ActorTypeDispatcher
from foo import VERSION

class Foo(ActorTypeDispatcher):
    def __init__(self):
        super().__init__()
        self.heard = []

    def receiveMsg_str(self, message, sender):
        if message == 'version':
            self.send(sender, VERSION)
        elif message == 'heard':
            self.send(sender, self.heard)
        else:
            self.heard.append(message)
";

fn version(number: &'static str) -> (&'static str, String) {
    (number, format!("VERSION = '{number}'\n"))
}

async fn unload(host: &Host, (_, init): &(&'static str, String)) {
    let files = [("foo/__init__.py", init.as_str()), ("foo/main.py", SOURCE)];
    let application = Application {
        group: "foo",
        version: "",
        tli: TLI,
        files: &files,
    };
    let request = Request::Unload {
        request: RequestId(rand::random()),
        hash: SourceHash::of(&application.package()).to_string(),
        now: false,
        by: "a test".to_owned(),
    };
    host.client().await.request(request).await.unwrap();
}

async fn load(
    host: &Host,
    (number, init): &(&'static str, String),
) -> Result<Response, ClientError> {
    let files = [("foo/__init__.py", init.as_str()), ("foo/main.py", SOURCE)];
    host.load(&Application {
        group: "foo",
        version: number,
        tli: TLI,
        files: &files,
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_is_loaded_updated_rolled_back_and_unloaded() {
    let mut host = Host::start().await;
    load(&host, &version("1.0")).await.unwrap();
    assert_eq!(host.ask("foo", "Main", "'version'").await.unwrap(), "'1.0'");
    load(&host, &version("1.1")).await.unwrap();
    assert_eq!(host.ask("foo", "Main", "'version'").await.unwrap(), "'1.1'");
    assert_eq!(
        host.ask("foo", "Main", "'heard'").await.unwrap(),
        "['loaded']"
    );

    let mut client = host.client().await;
    let rollback = Request::Rollback {
        request: RequestId(rand::random()),
        group: "foo".to_owned(),
        by: "a test".to_owned(),
    };
    assert!(matches!(
        client.request(rollback).await.unwrap(),
        Response::RolledBack { .. }
    ));
    assert_eq!(host.ask("foo", "Main", "'version'").await.unwrap(), "'1.0'");
    assert_eq!(
        host.ask("foo", "Main", "'heard'").await.unwrap(),
        "['loaded', 'deactivated', 'reactivated']"
    );

    unload(&host, &version("1.1")).await;
    assert_eq!(host.ask("foo", "Main", "'version'").await.unwrap(), "'1.0'");
    unload(&host, &version("1.0")).await;
    let end = host.ask("foo", "Main", "'version'").await;
    assert!(matches!(end, Err(AskEnd::DeadLettered(_))), "{end:?}");
    host.stop().await;
    assert_eq!(children(), 0, "no process stays behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_runs_what_was_active() {
    let host = Host::start().await;
    load(&host, &version("1.0")).await.unwrap();
    let mut host = host.restart().await;
    assert_eq!(host.ask("foo", "Main", "'version'").await.unwrap(), "'1.0'");
    host.stop().await;
}
