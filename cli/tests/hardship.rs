//! Actors at their worst, used by a Python program through the API, all that was sent accounted
//! for: as `node/tests/agent/hardship.rs` does it at the node's own socket.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of a test fail the test"
)]

mod common;
mod online_support;

use online_support::{Host, until};

const HEAD: &str = r#"
import collections, hashlib, logging, os, signal, sys, time
from datetime import timedelta
from thespian.actors import *


class Hard(ActorTypeDispatcher):
    seen, in_order, gone, slow = 0, True, 0, 0

    def receiveMsg_int(self, number, sender):
        self.in_order = self.in_order and number == self.seen
        self.seen += 1

    def receiveMsg_bytes(self, data, sender):
        self.send(sender, data)

    def receiveMsg_tuple(self, message, sender):
        what = message[0]
        if what == 'seen':
            self.send(sender, (self.seen, self.in_order))
        elif what == 'send':
            for number in range(message[1]):
                self.send(sender, number)
        elif what == 'create':
            self.kids = [self.createActor(Hard) for _ in range(message[1])]
            self.send(sender, self.kids)
        elif what == 'gone':
            self.send(sender, self.gone)
        elif what == 'raise':
            raise ValueError('as asked', message[1])
        elif what == 'slow exit':
            self.slow = 0.03
        elif what == 'hang':
            while True:
                time.sleep(60)
        elif what == 'exit':
            sys.exit(3)
        elif what == 'quit':
            os._exit(4)
        elif what == 'kill':
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == 'fork':
            pid = os.fork()
            if pid == 0:
                return
            os.waitpid(pid, 0)
            self.send(sender, 'forked')
        elif what == 'print':
            for number in range(message[1]):
                print('printed', number)
                print('to stderr', number, file=sys.stderr)
            self.send(sender, 'printed')
        elif what == 'log':
            for number in range(message[1]):
                logging.getLogger('flood').warning('record %d', number)
            self.send(sender, 'logged')
        elif what == 'echo':
            self.send(sender, message[1])

    def receiveMsg_ActorExitRequest(self, message, sender):
        time.sleep(self.slow)

    def receiveMsg_ChildActorExited(self, message, sender):
        self.gone += 1


def ask(asys, actor, *message):
    answer = asys.ask(actor, message, timedelta(seconds=100))
    assert answer is not None, message
    return answer


if __name__ == '__main__':
    asys = ActorSystem('multiprocTCPBase', {'Admin Port': int(os.environ['PORT'])})
    hard = asys.createActor(Hard)
"#;

fn runs(host: &Host, body: &str) {
    let indented: Vec<_> = body.lines().map(|line| format!("    {line}")).collect();
    host.program(&format!("{HEAD}{}\n", indented.join("\n")));
}

fn started() -> Host {
    let host = Host::new();
    host.done("start");
    host
}

fn n_dead_letters(host: &Host) -> u64 {
    host.json("dead-letters")["total"].as_u64().unwrap()
}

#[test]
fn ten_thousand_messages_go_each_way_in_order() {
    let host = started();
    runs(
        &host,
        "
for number in range(10000):
    asys.tell(hard, number)
assert ask(asys, hard, 'seen') == (10000, True)
asys.tell(hard, ('send', 10000))
assert [asys.listen(60) for _ in range(10000)] == list(range(10000))
",
    );
    assert_eq!(n_dead_letters(&host), 0);
}

#[test]
fn a_hundred_megabytes_go_there_and_back() {
    let host = started();
    runs(
        &host,
        "
data = os.urandom(1 << 20) * 100
back = asys.ask(hard, data, 100)
assert back == data and len(back) == 100 << 20
",
    );
    assert_eq!(n_dead_letters(&host), 0);
}

#[test]
fn five_hundred_actors_answer_a_program_and_end() {
    let host = started();
    runs(
        &host,
        "
own = [asys.createActor(Hard) for _ in range(100)]
kids = ask(asys, hard, 'create', 400)
for number, kid in enumerate(own + kids):
    asys.tell(kid, ('echo', number))
assert sorted(asys.listen(60) for _ in range(500)) == list(range(500))
for kid in own + kids:
    asys.tell(kid, ActorExitRequest())
limit = time.monotonic() + 60
while ask(asys, hard, 'gone') < 400:
    assert time.monotonic() < limit
    time.sleep(0.05)
# Once each.
time.sleep(0.2)
assert ask(asys, hard, 'gone') == 400
assert all(asys.ask(kid, ('echo', 1), 20) is None for kid in own[:5] + kids[:5])
",
    );
    assert_eq!(n_dead_letters(&host), 10);
}

#[test]
fn one_that_raises_hangs_exits_or_forks_harms_nobody_else() {
    let host = started();
    runs(
        &host,
        "
for number in range(50):
    poison = ask(asys, hard, 'raise', number)
    assert isinstance(poison, PoisonMessage), poison
    assert poison.poisonMessage == ('raise', number) and 'as asked' in poison.details
hanging = asys.createActor(Hard)
assert asys.ask(hanging, ('hang',), 0.2) is None
for number in range(200):
    asys.tell(hanging, number)
assert ask(asys, hard, 'echo', 'served') == 'served'
for how in ('exit', 'quit', 'kill'):
    wild = asys.createActor(Hard)
    assert asys.ask(wild, (how,), 60) is None, how
    assert asys.ask(wild, ('echo', 1), 60) is None, how
    assert ask(asys, hard, 'echo', how) == how
forking = asys.createActor(Hard)
for _ in range(3):
    assert ask(asys, forking, 'fork') == 'forked'
assert ask(asys, forking, 'echo', 'whole') == 'whole'
",
    );
    assert_eq!(n_dead_letters(&host), 3);
}

#[test]
fn who_asks_after_an_exit_request_finds_it_carried_out() {
    let host = started();
    runs(
        &host,
        "
for number in range(50):
    [kid] = ask(asys, hard, 'create', 1)
    asys.tell(kid, ('slow exit',))
    asys.tell(kid, ActorExitRequest())
    began = time.monotonic()
    gone = ask(asys, hard, 'gone')
    # A machine may be too busy for any limit.
    assert gone == number + 1 or time.monotonic() - began > 0.5, (number, gone)
    while gone < number + 1:
        gone = ask(asys, hard, 'gone')
# Nobody waits for one that is busy.
[kid] = ask(asys, hard, 'create', 1)
asys.tell(kid, ('hang',))
asys.tell(kid, ActorExitRequest())
began = time.monotonic()
assert ask(asys, hard, 'gone') == 50
assert time.monotonic() - began < 2
began = time.monotonic()
assert ask(asys, hard, 'gone') == 50
assert time.monotonic() - began < 1
",
    );
}

#[test]
fn what_is_printed_and_logged_in_floods_is_written_or_counted() {
    const LINES: u64 = 20_000;
    let host = Host::new();
    let configuration = "{'version': 1, 'root': {'level': 'INFO', 'handlers': ['file']},
        'formatters': {'plain': {'format': '%(name)s %(message)s'}},
        'handlers': {'file': {'class': 'logging.FileHandler', 'filename': 'flood.log',
                              'formatter': 'plain'}}}";
    host.write("dir/thesplog.cfg", configuration);
    host.write("dir/thesplogd.cfg", host.path("").to_str().unwrap());
    host.done("start");
    runs(
        &host,
        "
assert ask(asys, hard, 'print', 20000) == 'printed'
assert ask(asys, hard, 'log', 20000) == 'logged'
assert ask(asys, hard, 'echo', 'served') == 'served'
asys.tell(hard, ActorExitRequest())
",
    );
    let path = host.path("flood.log");
    until("each record is written or told to be dropped", || {
        let log = std::fs::read_to_string(&path).unwrap_or_default();
        let told = |line: &str| {
            let (before, _) = line.split_once(" records were dropped")?;
            before.split_whitespace().next_back()?.parse().ok()
        };
        accounted(&log, "flood record ", told) == LINES
    });
    until("each line is written or told to be dropped", || {
        let log = String::from_utf8_lossy(&host.read("dir/thespian_system.log")).into_owned();
        let told = |line: &str| line.split_once("dropped=")?.1.trim().parse().ok();
        let printed = accounted(&log, "printed ", told);
        printed + accounted(&log, "to stderr ", |_| None) == 2 * LINES
    });
}

/// Lines with the text, and those that a line tells to have been dropped.
fn accounted(log: &str, written: &str, told: impl Fn(&str) -> Option<u64>) -> u64 {
    let count = |line: &str| told(line).unwrap_or_else(|| u64::from(line.contains(written)));
    log.lines().map(count).sum()
}
