//! Sources that applications load themselves, their authority, who is told of sources.

use std::fs;
use std::time::Duration;

use node::agent::Patience;
use node::client::Target;
use protocol::SourceHash;
use protocol::control::{
    ApplicationRequest, ClientEnvironment, FailureCode, Request, RequestError, Response,
};

use crate::app::App;
use crate::host::{Host, directory, until};

/// Validates sources as it is told to, and remembers what it hears of them.
const WATCHFUL: &str = "
class Watchful(Foo):
    def constructed(self):
        self.mode, self.asked, self.told, self.own = 'accept', [], [], None

    def receiveMsg_tuple(self, message, sender):
        what = message[0]
        if what == 'register':
            self.mode = message[1]
            self.registerSourceAuthority()
        elif what == 'watch':
            self.notifyOnSourceAvailability(message[1])
        elif what == 'load':
            return self.send(sender, self.loadActorSource(message[1]))
        elif what == 'unload':
            self.unloadActorSource(message[1])
        elif what == 'answer':
            self.send(self.node, ValidatedSource(message[1], b'PK'))
        elif what == 'shutdown':
            self.actorSystemShutdown()
        self.send(sender, 'done')

    def receiveMsg_str(self, message, sender):
        if message in ('asked', 'told'):
            self.send(sender, getattr(self, message))
        else:
            super().receiveMsg_str(message, sender)

    def receiveMsg_ValidateSource(self, message, sender):
        self.asked.append(message.sourceInfo)
        if self.mode != 'silent':
            found = None if self.mode == 'reject' else message.sourceData
            self.send(sender, ValidatedSource(message.sourceHash, found))

    def receiveMsg_LoadedSource(self, message, sender):
        self.told.append(('loaded', message.sourceInfo))

    def receiveMsg_UnloadedSource(self, message, sender):
        self.told.append(('unloaded', message.sourceInfo))

class Parent(Foo):
    def receiveMsg_tuple(self, message, sender):
        child = self.createActor(Foo)
        self.send(child, ActorExitRequest())
        self.asker = sender

    def receiveMsg_ChildActorExited(self, message, sender):
        self.send(self.asker, 'child ended')
";

fn watchful() -> App {
    App::new("1.0")
        .code(WATCHFUL)
        .whole_tli("{'Actors': {'foo.main.Watchful': {'OnLoad': {'Role': 'Main'}}}}")
}

/// What a program loads: signed by the tests' key, of no group.
fn extra() -> App {
    App::new("extra").code(WATCHFUL)
}

async fn with_watchful(patience: Patience) -> Host {
    let host = Host::start_in(directory(&[]), patience).await;
    host.load(&watchful()).await.unwrap();
    host
}

async fn load_source(host: &Host, bytes: &[u8], info: &str) -> SourceHash {
    let info = info.to_owned();
    let request = Request::Application(ApplicationRequest::LoadSource { info });
    let mut client = host.client().await;
    match client.upload(bytes, request, |_bytes| ()).await.unwrap() {
        Response::SourceTaken { hash } => hash,
        other => panic!("{other:?}"),
    }
}

async fn create(host: &Host, class: &str, source: SourceHash) -> Result<Target, RequestError> {
    let request = Request::CreateActor {
        actor: None,
        class: class.to_owned(),
        source: Some(source),
        client: None,
        requirements: None,
        global_name: None,
    };
    match host.request(request).await? {
        Response::Created { actor } => Ok(Target::Actor(actor)),
        other => panic!("{other:?}"),
    }
}

async fn unload(host: &Host, hash: SourceHash) {
    let request = Request::Application(ApplicationRequest::UnloadSource { hash });
    host.request(request).await.unwrap();
}

/// Why no actor can be created from a source.
async fn not_created(host: &Host, source: SourceHash) -> Option<FailureCode> {
    create(host, "foo.main.Foo", source)
        .await
        .unwrap_err()
        .failure
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_program_loads_runs_if_the_node_s_own_keys_validate_it() {
    let host = Host::start().await;
    let hash = load_source(&host, &extra().package(), "extra.tls").await;
    assert_eq!(hash, extra().hash());
    let actor = create(&host, "foo.main.Foo", hash).await.unwrap();
    assert_eq!(host.ask_to(actor, "'version'").await.unwrap(), "'extra'");
    assert_eq!(host.standing().await, "", "it is in no group");

    let unsigned = load_source(&host, b"PK\x05\x06 and so on", "some.zip").await;
    let failure = not_created(&host, unsigned).await;
    assert_eq!(failure, Some(FailureCode::InvalidSourceHash));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_s_authority_is_asked_after_the_node_s_own() {
    let host = with_watchful(Patience::default()).await;
    host.ask("('register', 'reject')").await.unwrap();
    let hash = load_source(&host, &extra().package(), "extra.tls").await;
    let failure = not_created(&host, hash).await;
    assert_eq!(failure, Some(FailureCode::InvalidSourceHash));
    load_source(&host, b"nothing that a key validates", "bad.zip").await;

    let error = host.load(&App::new("2.0")).await.unwrap_err();
    assert!(
        error.message.contains("source authority rejects it"),
        "{error:?}"
    );
    assert_eq!(host.standing().await, "1.0 active");

    host.ask("('register', 'accept')").await.unwrap();
    let hash = load_source(&host, &extra().package(), "extra.tls").await;
    create(&host, "foo.main.Foo", hash).await.unwrap();
    let asked = host.ask("'asked'").await.unwrap();
    assert_eq!(asked, "['extra.tls', 'test.tls', 'extra.tls']");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_waits_for_the_authority_and_fails_when_it_says_nothing() {
    let patience = Patience {
        authority: Duration::from_millis(700),
        ..Patience::default()
    };
    let host = with_watchful(patience).await;
    host.ask("('register', 'silent')").await.unwrap();
    let hash = load_source(&host, &extra().package(), "extra.tls").await;
    let failure = not_created(&host, hash).await;
    assert_eq!(failure, Some(FailureCode::InvalidSourceHash));
    assert_eq!(host.ask("'asked'").await.unwrap(), "['extra.tls']");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_dies_leaves_its_sources_refused_and_later_ones_to_the_node() {
    let host = with_watchful(Patience::default()).await;
    host.ask("('register', 'silent')").await.unwrap();
    let hash = load_source(&host, &extra().package(), "extra.tls").await;
    host.tell("'die'").await;
    let failure = not_created(&host, hash).await;
    assert_eq!(failure, Some(FailureCode::InvalidSourceHash));
    let hash = load_source(&host, &extra().package(), "extra.tls").await;
    create(&host, "foo.main.Foo", hash).await.unwrap();
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actors_of_an_unloaded_source_go_on_and_its_files_go_with_the_last() {
    let host = Host::start().await;
    let hash = load_source(&host, &extra().package(), "extra.tls").await;
    let actor = create(&host, "foo.main.Parent", hash).await.unwrap();
    let folder = host.folder.path().join("state/applications/unpacked");
    let unpacked = folder.join(hash.to_string());
    assert!(unpacked.is_dir());
    unload(&host, hash).await;
    let failure = not_created(&host, hash).await;
    assert_eq!(failure, Some(FailureCode::InvalidSourceHash));
    let child = host.ask_to(actor, "('child',)").await.unwrap();
    assert_eq!(child, "'child ended'", "its own actors can create others");
    assert!(unpacked.is_dir());

    let Target::Actor(id) = actor else { return };
    host.client().await.tell(actor, "'die'").await.unwrap();
    until(async || !unpacked.exists()).await;
    assert!(host.ask_to(Target::Actor(id), "'version'").await.is_err());

    let hash = load_source(&host, &extra().package(), "extra.tls").await;
    let actor = create(&host, "foo.main.Foo", hash).await.unwrap();
    assert_eq!(host.ask_to(actor, "'version'").await.unwrap(), "'extra'");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_unloaded_and_loaded_again_at_once_runs() {
    let host = with_watchful(Patience::default()).await;
    for _ in 0..10 {
        let hash = load_source(&host, &extra().package(), "extra.tls").await;
        let actor = create(&host, "foo.main.Foo", hash).await.unwrap();
        host.client().await.tell(actor, "'die'").await.unwrap();
        until(async || host.ask_to(actor, "'version'").await.is_err()).await;
        // Nothing runs of it: its files go, while the same bytes come again.
        unload(&host, hash).await;
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actors_are_told_of_all_sources() {
    let host = with_watchful(Patience::default()).await;
    host.ask("('watch', True)").await.unwrap();
    let second = App::new("2.0").group("bar").tli("");
    host.load(&second).await.unwrap();
    let hash = load_source(&host, &extra().package(), "extra.tls").await;
    let all = "[('loaded', 'foo-1.0.tls'), ('loaded', 'bar-2.0.tls'), ('loaded', 'extra.tls')";
    until(async || host.ask("'told'").await.unwrap().starts_with(all)).await;
    unload(&host, hash).await;
    host.unload(&second, true).await.unwrap();
    let all = format!("{all}, ('unloaded', 'extra.tls'), ('unloaded', 'bar-2.0.tls')]");
    until(async || host.ask("'told'").await.unwrap() == all).await;

    host.ask("('watch', False)").await.unwrap();
    load_source(&host, &extra().package(), "extra.tls").await;
    create(&host, "foo.main.Foo", hash).await.unwrap();
    assert_eq!(host.ask("'told'").await.unwrap(), all);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_loads_a_source_and_unloads_it() {
    let host = with_watchful(Patience::default()).await;
    let file = host.folder.path().join("extra.bin");
    fs::write(&file, extra().package()).unwrap();
    let load = format!("('load', {:?})", file.to_str().unwrap());
    let answer = host.ask(&load).await.unwrap();
    assert_eq!(answer, format!("'{}'", extra().hash()));
    create(&host, "foo.main.Foo", extra().hash()).await.unwrap();
    host.ask(&format!("('unload', '{}')", extra().hash()))
        .await
        .unwrap();
    let failure = not_created(&host, extra().hash()).await;
    assert_eq!(failure, Some(FailureCode::InvalidSourceHash));
    host.ask(&format!("('unload', '{}')", extra().hash()))
        .await
        .unwrap();
    assert_eq!(host.standing().await, "1.0 active");
    host.stop().await;
}

/// An authority among a program's own modules, for a node that has no keys.
const PROGRAM: &str = "
from thespian.actors import *

class Authority(ActorTypeDispatcher):
    def receiveMsg_str(self, message, sender):
        self.registerSourceAuthority()
        self.send(sender, 'done')

    def receiveMsg_ValidateSource(self, message, sender):
        data = message.sourceData
        found = data[4:] if data.startswith(b'mine') else None
        if data.startswith(b'forge'):
            found = b'no zip at all'
        self.send(sender, ValidatedSource(message.sourceHash, found))
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_node_that_a_program_started_its_own_authority_alone_decides() {
    let folder = directory(&[]);
    fs::remove_file(folder.path().join("test_tls.key")).unwrap();
    fs::write(folder.path().join("private"), "").unwrap();
    let modules = tempfile::tempdir().unwrap();
    fs::write(modules.path().join("program.py"), PROGRAM).unwrap();
    let host = Host::start_in(folder, Patience::default()).await;

    let mut zip = package::Builder::new(std::io::Cursor::new(Vec::new()));
    let source = "from thespian.actors import *\nfrom helper import WHAT\n\n\nclass A(Actor):\n    \
                  def receiveMessage(self, message, sender):\n        self.send(sender, WHAT)\n";
    for (name, text) in [("a.py", source), ("helper.py", "WHAT = 'plain'\n")] {
        zip.add(name, &mut text.as_bytes()).unwrap();
    }
    let zip = zip.finish().unwrap().into_inner();
    let mine = [b"mine".as_slice(), &zip].concat();

    let ignored = load_source(&host, &mine, "mine").await;
    let failure = create(&host, "a.A", ignored).await.unwrap_err().failure;
    assert_eq!(
        failure,
        Some(FailureCode::InvalidSourceHash),
        "nobody validates it"
    );

    let python = std::process::Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .unwrap();
    let authority = Request::CreateActor {
        actor: None,
        class: "program.Authority".to_owned(),
        source: None,
        client: Some(ClientEnvironment {
            interpreter: String::from_utf8(python.stdout).unwrap().trim().to_owned(),
            sys_path: vec![modules.path().to_str().unwrap().to_owned()],
            main: None,
            directory: "/".to_owned(),
        }),
        requirements: None,
        global_name: None,
    };
    let Response::Created { actor } = host.request(authority).await.unwrap() else {
        panic!("an actor is created");
    };
    let registered = host.ask_to(Target::Actor(actor), "'register'").await;
    assert_eq!(registered.unwrap(), "'done'");

    let hash = load_source(&host, &mine, "mine").await;
    let actor = create(&host, "a.A", hash).await.unwrap();
    assert_eq!(host.ask_to(actor, "1").await.unwrap(), "'plain'");
    for bad in [b"other".as_slice(), b"forged", b""] {
        let hash = load_source(&host, bad, "bad").await;
        let failure = create(&host, "a.A", hash).await.unwrap_err().failure;
        assert_eq!(failure, Some(FailureCode::InvalidSourceHash), "{bad:?}");
    }
    let wrong = create(&host, "b.B", hash).await.unwrap_err().failure;
    assert_eq!(wrong, Some(FailureCode::ImportError));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_stops_its_node() {
    let host = with_watchful(Patience::default()).await;
    host.tell("('shutdown',)").await;
    host.stopped().await;
}
