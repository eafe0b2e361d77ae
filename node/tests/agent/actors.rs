//! Actors that applications create: children, names, failures, foreign classes.

use node::client::{AskEnd, Target};
use protocol::control::{Request, Response};

use crate::app::App;
use crate::host::{Host, is_asleep, kill, until};

/// A parent that remembers what it is told of its children.
const PARENT: &str = "
class Child(ActorTypeDispatcher):
    def receiveMsg_str(self, message, sender):
        if message == 'raise':
            raise ValueError('as asked')
        if message == 'pid':
            self.send(sender, os.getpid())
        else:
            self.send(sender, 'child of ' + VERSION)

class Failing(Actor):
    def __init__(self):
        raise ValueError('never')

class Parent(Foo):
    def constructed(self):
        self.told, self.children, self.asker = [], {}, None

    def receiveMsg_tuple(self, message, sender):
        what, name = message
        if what == 'create':
            child = {'class': Child, 'string': 'foo.main.Child', 'failing': Failing}[name]
            self.children[name] = self.createActor(child)
            self.send(sender, str(self.children[name]))
        elif what == 'named':
            self.children[name] = self.createActor(Child, globalName=name)
            self.send(sender, str(self.children[name]))
        elif what == 'exit':
            self.send(self.children[name], ActorExitRequest())
        elif what == 'forward':
            self.asker = sender
            self.send(self.children[name], 'hello')
        elif what == 'raise':
            self.send(self.children[name], 'raise')
        elif what == 'told':
            self.send(sender, self.told)

    def receiveMsg_str(self, message, sender):
        if self.asker is not None and message.startswith('child'):
            self.send(self.asker, message)
            self.asker = None
        else:
            super().receiveMsg_str(message, sender)

    def receiveMsg_ChildActorExited(self, message, sender):
        names = [n for n, a in self.children.items() if a == message.childAddress]
        self.told.append(('exited', names[0]))

    def receiveMsg_PoisonMessage(self, message, sender):
        self.told.append(('poison', message.poisonMessage, 'as asked' in (message.details or '')))
";

async fn parent() -> Host {
    let host = Host::start().await;
    host.load(&parent_app("1.0")).await.unwrap();
    host
}

fn parent_app(version: &str) -> App {
    App::new(version)
        .code(PARENT)
        .whole_tli("{'Actors': {'foo.main.Parent': {'OnLoad': {'Role': 'Main'}}}}")
}

async fn created(host: &Host, what: &str) -> Target {
    let address = host.ask(what).await.unwrap();
    let found = host.resolve(address.trim_matches('\'')).await;
    Target::Actor(found[0].actor.unwrap())
}

async fn told(host: &Host) -> String {
    host.ask("('told', '')").await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_by_class_and_by_string_answer_and_their_ends_are_told() {
    let host = parent().await;
    for name in ["class", "string"] {
        let child = created(&host, &format!("('create', '{name}')")).await;
        let answer = host.ask_to(child, "'hello'").await.unwrap();
        assert_eq!(answer, "'child of 1.0'");
        let forwarded = host.ask(&format!("('forward', '{name}')")).await;
        assert_eq!(forwarded.unwrap(), "'child of 1.0'");
        host.tell(&format!("('exit', '{name}')")).await;
        until(async || told(&host).await.contains(&format!("('exited', '{name}')"))).await;
    }
    assert_eq!(
        told(&host).await,
        "[('exited', 'class'), ('exited', 'string')]"
    );
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_child_is_told_once_and_its_asks_end_as_unknown() {
    let host = parent().await;
    let child = created(&host, "('create', 'class')").await;
    let pid = host.ask_to(child, "'pid'").await.unwrap();
    kill(pid.parse().unwrap());
    until(async || told(&host).await != "[]").await;
    assert_eq!(told(&host).await, "[('exited', 'class')]");
    let end = host.ask_to(child, "'hello'").await;
    assert!(matches!(end, Err(AskEnd::DeadLettered(_))), "{end:?}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_cannot_be_constructed_is_told_as_exited() {
    let host = parent().await;
    created_failing(&host).await;
    until(async || told(&host).await.contains("('exited', 'failing')")).await;
    host.stop().await;
}

async fn created_failing(host: &Host) {
    let address = host.ask("('create', 'failing')").await.unwrap();
    assert!(address.contains("ActorAddr"), "{address}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_raises_twice_sends_the_message_back() {
    let host = parent().await;
    created(&host, "('create', 'class')").await;
    host.tell("('raise', 'class')").await;
    until(async || told(&host).await != "[]").await;
    assert_eq!(told(&host).await, "[('poison', 'raise', True)]");
    let poison = host.ask("'raise'").await.unwrap();
    assert!(poison.contains("as asked"), "{poison}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_an_application_gives_is_one_actor_until_it_ends() {
    let host = parent().await;
    let first = created(&host, "('named', 'clerk')").await;
    let second = created(&host, "('named', 'clerk')").await;
    assert_eq!(first, second);
    assert_eq!(host.resolve("clerk").await[0].kind, "name");
    host.tell("('exit', 'clerk')").await;
    until(async || host.resolve("clerk").await.is_empty()).await;
    let third = created(&host, "('named', 'clerk')").await;
    assert_ne!(first, third);
    assert_eq!(
        host.ask_to(third, "'hello'").await.unwrap(),
        "'child of 1.0'"
    );
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_free_once_the_parent_has_been_told_of_the_exit() {
    let host = parent().await;
    let mut before = created(&host, "('named', 'clerk')").await;
    for round in 1..=5 {
        host.tell("('exit', 'clerk')").await;
        until(async || told(&host).await.matches("exited").count() == round).await;
        let after = created(&host, "('named', 'clerk')").await;
        assert_ne!(before, after);
        let answer = host.ask_to(after, "'hello'").await.unwrap();
        assert_eq!(answer, "'child of 1.0'");
        before = after;
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_whose_actor_is_killed_ends_as_unknown() {
    let host = parent().await;
    let pid = host.pid().await;
    let asking = host.ask("5.0");
    let killing = async {
        // The handler sleeps: what is asked next waits behind it.
        until(async || is_asleep(pid)).await;
        kill(pid);
    };
    let (asked, ()) = tokio::join!(asking, killing);
    assert!(matches!(asked, Err(AskEnd::Unknown(_))), "{asked:?}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_to_nobody_are_dead_letters_with_a_reason() {
    let host = parent().await;
    let child = created(&host, "('create', 'class')").await;
    host.tell("('exit', 'class')").await;
    until(async || told(&host).await != "[]").await;
    host.client().await.tell(child, "'anyone?'").await.unwrap();
    let letters = async || match host.request(Request::DeadLetters).await.unwrap() {
        Response::DeadLetters { kept, .. } => kept,
        other => panic!("{other:?}"),
    };
    until(async || !letters().await.is_empty()).await;
    let kept = letters().await;
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert!(
        kept[0].reason.contains("no actor has this address"),
        "{kept:?}"
    );
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_class_of_one_version_comes_back_from_another() {
    let host = Host::start().await;
    let sending = "
class Order:
    pass

class Sending(Foo):
    def constructed(self):
        self.poison = ''

    def receiveMsg_tuple(self, message, sender):
        if message == ('poison',):
            self.send(sender, self.poison)
        else:
            other = self.createActor('foo.main.Foo', sourceHash=message[0])
            self.send(other, Order())

    def receiveMsg_PoisonMessage(self, message, sender):
        self.poison = message.details
";
    let first = App::new("1.0");
    host.load(&first).await.unwrap();
    let sender = App::new("1.1")
        .code(sending)
        .whole_tli("{'Actors': {'foo.main.Sending': {'OnLoad': {'Role': 'Main'}}}}");
    host.load(&sender).await.unwrap();
    host.tell(&format!("('{}',)", first.hash())).await;
    until(async || host.ask("('poison',)").await.unwrap() != "''").await;
    let poison = host.ask("('poison',)").await.unwrap();
    assert!(poison.contains("foo.main.Order"), "{poison}");
    assert!(poison.contains("pickle.cfg"), "{poison}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pickle_cfg_lets_a_class_pass_between_versions() {
    let host = Host::start_with(&[("pickle.cfg", "['foo.shared.Order']")]).await;
    let receiving = "
    def receiveMsg_Order(self, message, sender):
        self.send(sender, 'got ' + message.what)
";
    let sending = "
from foo.shared import Order

class Sending(Foo):
    def constructed(self):
        self.answer = ''

    def receiveMsg_tuple(self, message, sender):
        if message == ('answer',):
            self.send(sender, self.answer)
        else:
            other = self.createActor('foo.main.Foo', sourceHash=message[0])
            self.send(other, Order('tea'))

    def receiveMsg_str(self, message, sender):
        if message.startswith('got'):
            self.answer = message
        else:
            super().receiveMsg_str(message, sender)

    def receiveMsg_PoisonMessage(self, message, sender):
        self.answer = message.details
";
    let shared = "class Order:\n    def __init__(self, what):\n        self.what = what\n";
    let first = App::new("1.0")
        .file("foo/shared.py", shared)
        .code("\nfrom foo.shared import Order\n");
    let main = first.files.iter().find(|(name, _)| name == "foo/main.py");
    let main = main.unwrap().1.replace(
        "    def receiveMsg_float",
        &format!("{receiving}\n    def receiveMsg_float"),
    );
    let first = first.file("foo/main.py", &main);
    host.load(&first).await.unwrap();
    let sender = App::new("1.1")
        .file("foo/shared.py", shared)
        .code(sending)
        .whole_tli("{'Actors': {'foo.main.Sending': {'OnLoad': {'Role': 'Main'}}}}");
    host.load(&sender).await.unwrap();
    host.tell(&format!("('{}',)", first.hash())).await;
    until(async || host.ask("('answer',)").await.unwrap() != "''").await;
    assert_eq!(host.ask("('answer',)").await.unwrap(), "'got tea'");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_version_takes_no_new_actors_of_others() {
    let host = Host::start().await;
    let first = App::new("1.0");
    host.load(&first).await.unwrap();
    host.load(&App::new("1.1")).await.unwrap();
    let create = Request::CreateActor {
        actor: None,
        class: "foo.main.Foo".to_owned(),
        source: Some(first.hash()),
        client: None,
        requirements: None,
        global_name: None,
    };
    let Response::Created { actor } = host.request(create.clone()).await.unwrap() else {
        panic!("a created actor has an address");
    };
    let target = Target::Actor(actor);
    let pid = host.ask_to(target, "'pid'").await.unwrap();
    let busy = host.ask_to(target, "1.5");
    let begin = async {
        until(async || is_asleep(pid.parse().unwrap())).await;
        host.unload(&first, false).await
    };
    let creating = async {
        until(async || host.standing().await.contains("1.0 draining")).await;
        host.request(create).await
    };
    let (_, unloaded, created) = tokio::join!(busy, begin, creating);
    let error = created.unwrap_err();
    assert!(error.message.contains("unloaded"), "{error:?}");
    unloaded.unwrap();
    host.stop().await;
}
