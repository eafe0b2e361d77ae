//! What actors do at their worst, with all that was sent accounted for: many messages, large ones,
//! many actors, and actors that raise, hang, exit, fork, print and flood their log.

use node::client::{AskEnd, Target};
use protocol::control::{Request, Response};

use crate::app::App;
use crate::host::{Host, is_asleep, kill, until};

const HARD: &str = "
import hashlib, logging, sys

class Counter(ActorTypeDispatcher):
    def __init__(self):
        super().__init__()
        self.seen, self.in_order = 0, True

    def receiveMsg_int(self, number, sender):
        self.in_order = self.in_order and number == self.seen
        self.seen += 1

    def receiveMsg_str(self, message, sender):
        self.send(sender, (self.seen, self.in_order))

    def receiveMsg_bytes(self, message, sender):
        self.send(sender, (len(message), hashlib.sha256(message).hexdigest()))

class Wild(Foo):
    def receiveMsg_tuple(self, message, sender):
        what = message[0]
        if what == 'exit':
            sys.exit(3)
        elif what == 'quit':
            os._exit(4)
        elif what == 'fork':
            if os.fork() == 0:
                return
            os.wait()
        elif what == 'print':
            for n in range(message[1]):
                print('a line of this actor', n)
        elif what == 'log':
            for n in range(message[1]):
                logging.getLogger('flood').warning('record %d', n)
        self.send(sender, what)

class Hard(Foo):
    def constructed(self):
        self.asker, self.answers, self.ended, self.kids = None, [], 0, []

    def receiveMsg_tuple(self, message, sender):
        what = message[0]
        if what == 'count':
            self.asker = sender
            child = self.createActor(Counter)
            for number in range(message[1]):
                self.send(child, number)
            self.send(child, 'seen')
        elif what == 'large':
            self.asker = sender
            data = bytes(range(256)) * (message[1] // 256)
            self.expected = len(data), hashlib.sha256(data).hexdigest()
            self.send(self.createActor(Counter), data)
        elif what == 'create':
            self.asker = sender
            self.kids = [self.createActor(Counter) for _ in range(message[1])]
            for kid in self.kids:
                self.send(kid, 'seen')
        elif what == 'end':
            self.asker = sender
            for kid in self.kids:
                self.send(kid, ActorExitRequest())
        elif what == 'wild':
            self.send(sender, str(self.createActor(Wild)))
        elif self.kids:
            self.answers.append(message)
            if len(self.answers) == len(self.kids):
                self.send(self.asker, len(self.answers))
        elif message == getattr(self, 'expected', None):
            self.send(self.asker, 'whole')
        else:
            self.send(self.asker, message)

    def receiveMsg_ChildActorExited(self, message, sender):
        self.ended += 1
        if self.ended == len(self.kids):
            self.send(self.asker, self.ended)
";

async fn hard() -> Host {
    let host = Host::start().await;
    let app = App::new("1.0")
        .code(HARD)
        .whole_tli("{'Actors': {'foo.main.Hard': {'OnLoad': {'Role': 'Main'}}}}");
    host.load(&app).await.unwrap();
    host
}

async fn wild(host: &Host) -> Target {
    let address = host.ask("('wild',)").await.unwrap();
    let found = host.resolve(address.trim_matches('\'')).await;
    Target::Actor(found[0].actor.unwrap())
}

async fn n_dead_letters(host: &Host) -> u64 {
    match host.request(Request::DeadLetters).await.unwrap() {
        Response::DeadLetters { total, .. } => total,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_messages_of_one_handler_arrive_in_order() {
    let host = hard().await;
    let seen = host.ask("('count', 10000)").await.unwrap();
    assert_eq!(seen, "(10000, True)");
    assert_eq!(n_dead_letters(&host).await, 0);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_a_hundred_megabytes_arrives_whole() {
    let host = hard().await;
    let answer = host.ask("('large', 104857600)");
    assert_eq!(answer.await.unwrap(), "'whole'");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_actors_answer_and_their_ends_are_told_once_each() {
    let host = hard().await;
    assert_eq!(host.ask("('create', 500)").await.unwrap(), "500");
    assert_eq!(host.ask("('end',)").await.unwrap(), "500");
    assert_eq!(n_dead_letters(&host).await, 0);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actors_that_exit_end_their_asks_as_unknown_and_others_are_served() {
    let host = hard().await;
    for how in ["exit", "quit"] {
        let actor = wild(&host).await;
        let end = host.ask_to(actor, &format!("('{how}',)")).await;
        assert!(matches!(end, Err(AskEnd::Unknown(_))), "{how}: {end:?}");
        let after = host.ask_to(actor, "'version'").await;
        assert!(matches!(after, Err(AskEnd::DeadLettered(_))), "{after:?}");
        assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    }
    assert_eq!(n_dead_letters(&host).await, 2);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_forks_goes_on_and_its_copy_does_not() {
    let host = hard().await;
    let actor = wild(&host).await;
    for _ in 0..3 {
        assert_eq!(host.ask_to(actor, "('fork',)").await.unwrap(), "'fork'");
    }
    assert_eq!(host.ask_to(actor, "'version'").await.unwrap(), "'1.0'");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actors_that_print_and_flood_their_log_are_served_all_the_same() {
    let host = hard().await;
    let (printing, logging) = (wild(&host).await, wild(&host).await);
    let (printed, logged) = tokio::join!(
        host.ask_to(printing, "('print', 100000)"),
        host.ask_to(logging, "('log', 30000)"),
    );
    assert_eq!(
        (printed.unwrap(), logged.unwrap()),
        ("'print'".to_owned(), "'log'".to_owned())
    );
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_hangs_stops_nobody_and_what_waits_for_it_is_counted() {
    let host = hard().await;
    let actor = wild(&host).await;
    let pid: u32 = host.ask_to(actor, "'pid'").await.unwrap().parse().unwrap();
    host.client().await.tell(actor, "'hang'").await.unwrap();
    until(async || is_asleep(pid)).await;
    // More than its process is sent ahead: the rest waits in the node.
    let large = format!("'{}'", "x".repeat(256 << 10));
    for _ in 0..10 {
        host.client().await.tell(actor, &large).await.unwrap();
    }
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    assert_eq!(host.ask("('count', 1000)").await.unwrap(), "(1000, True)");
    assert_eq!(n_dead_letters(&host).await, 0);
    kill(pid);
    until(async || n_dead_letters(&host).await >= 5).await;
    let end = host.ask_to(actor, "'version'").await;
    assert!(matches!(end, Err(AskEnd::DeadLettered(_))), "{end:?}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_raises_gives_each_message_back_and_goes_on() {
    let host = hard().await;
    let actor = wild(&host).await;
    for _ in 0..20 {
        let poison = host.ask_to(actor, "'raise'").await.unwrap();
        assert!(poison.contains("as asked"), "{poison}");
    }
    assert_eq!(host.ask_to(actor, "'version'").await.unwrap(), "'1.0'");
    host.stop().await;
}
