//! `preRegisterRemoteSystem` and `deRegisterRemoteSystem`, asked by Python programs of systems that
//! they have started themselves.

mod common;
mod online_support;

use online_support::Host;

/// What the programs begin with. Systems are started by [`HEAD`]'s `system`, ended at the end.
const HEAD: &str = r#"
import os, socket, sys, time
from thespian.actors import *


class Registrar(ActorTypeDispatcher):
    """Registers systems, and remembers which others it was told of."""
    told = ()
    exited = 0

    def receiveMsg_tuple(self, message, sender):
        if message[0] == 'register':
            self.preRegisterRemoteSystem(*message[1:])
        elif message[0] == 'deregister':
            self.deRegisterRemoteSystem(message[1])
        elif message[0] == 'watch':
            self.notifyOnSystemRegistrationChanges()
        elif message[0] == 'create':
            self.child = self.createActor(message[1])
        elif message[0] == 'register and create':
            self.preRegisterRemoteSystem(*message[1:3])
            self.child = self.createActor(message[3])
        elif message[0] == 'pass on':
            return self.send(self.child, (message[1], sender))
        elif message[0] == 'told':
            return self.send(sender, list(self.told))
        elif message[0] == 'exited':
            return self.send(sender, self.exited)
        self.send(sender, 'OK')

    def receiveMsg_ActorSystemConventionUpdate(self, update, sender):
        self.told += ((update.remoteAdded, update.remoteCapabilities, update.remoteAdminAddress),)

    def receiveMsg_ChildActorExited(self, message, sender):
        self.exited += 1


class Counter(ActorTypeDispatcher):
    count = 0

    def receiveMsg_str(self, message, sender):
        self.count += 1
        self.send(sender, self.count)


class Talks(ActorTypeDispatcher):
    def receiveMsg_str(self, message, sender):
        self.send(sender, (type(self).__name__, message))

    def receiveMsg_tuple(self, message, sender):
        self.send(message[1], (type(self).__name__, message[0]))


@requireCapability('barn')
class Horse(Talks):
    pass


@requireCapability('moo')
class Cow(Talks):
    pass


@requireCapability('kennel')
class Dog(Talks):
    pass


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(('127.0.0.1', 0))
        return taken.getsockname()[1]


systems = []


def system(port=None, **capabilities):
    port = port or free_port()
    capabilities['Admin Port'] = port
    started = ActorSystem('multiprocTCPBase', capabilities, transientUnique=True)
    started.port, started.at = port, '127.0.0.1:%d' % port
    systems.append(started)
    return started


def until(holds, what):
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until, what() if callable(what) else what
        time.sleep(0.02)


def asked(asys, actor, message):
    answer = asys.ask(actor, message, 30)
    assert not isinstance(answer, PoisonMessage), answer.details
    return answer


def is_created(asys, actor_class):
    try:
        return asys.createActor(actor_class)
    except NoCompatibleSystemForActor:
        return None


def news(asys, registrar):
    """Which systems with a barn came and went, as the registrar was told."""
    told = asked(asys, registrar, ('told',))
    assert all('Thespian Version' in offers for _added, offers, _at in told), told
    return [added for added, offers, _at in told if 'barn' in offers]


def main():
    try:
        run()
    finally:
        for one in systems:
            one.shutdown()
"#;

/// Runs a program whose `run` this is, in a directory whose node is not asked.
fn plays(run: &str) {
    let host = Host::new();
    play(&host, "0", run);
}

fn play(host: &Host, port: &str, run: &str) {
    let text = format!("{HEAD}\n{run}\n\nif __name__ == '__main__':\n    main()\n");
    host.program_at(port, &text);
}

#[test]
fn actors_and_clients_of_a_system_go_on_while_it_is_fetched_and_let_go() {
    plays(
        r#"
def run():
    one, two = system(kennel=True), system(barn='oats')
    counter = two.createActor(Counter, globalName='the counter')
    count = 0

    def counts():
        # From both systems, whatever lies between them.
        nonlocal count
        count += 2
        assert asked(two, counter, 'x') == count - 1
        assert asked(one, counter, 'x') == count

    counts()
    registrar = one.createActor(Registrar)
    asked(one, registrar, ('watch',))
    raised = [is_created(one, Horse), is_created(one, Cow), is_created(two, Dog)]
    assert raised == [None] * 3, raised
    for times in (1, 2):
        asked(one, registrar, ('register', two.at, {'moo': True}))
        until(lambda: len(news(one, registrar)) == 2 * times - 1, 'it came')
        assert news(one, registrar)[-1] is True
        # Both ways, by what each really offers.
        horse = one.createActor(Horse)
        assert asked(one, horse, 'a') == asked(two, horse, 'a') == ('Horse', 'a')
        dog = two.createActor(Dog)
        assert asked(two, dog, 'b') == asked(one, dog, 'b') == ('Dog', 'b')
        assert is_created(one, Cow) is None
        asked(one, registrar, ('create', Horse))
        assert asked(one, registrar, ('pass on', 'c')) == ('Horse', 'c')
        counts()
        assert two.createActor(Counter, globalName='the counter') == counter
        # By its address the first time, the second time by the one that the watcher has.
        admin = asked(one, registrar, ('told',))[-1][2]
        asked(one, registrar, ('deregister', two.at if times == 1 else admin))
        until(lambda: len(news(one, registrar)) == 2 * times, 'it is let go')
        assert news(one, registrar)[-1] is False
        # It goes on, and what there is between the actors of both as well.
        until(lambda: is_created(one, Horse) is None, 'no horse here')
        assert is_created(two, Dog) is None
        counts()
        assert asked(one, horse, 'd') == asked(two, horse, 'd') == ('Horse', 'd')
        assert asked(two, dog, 'e') == ('Dog', 'e')
        assert asked(one, registrar, ('pass on', 'f')) == ('Horse', 'f')
        assert asked(one, registrar, ('exited',)) == 0
        assert asked(two, two.createActor(Horse), 'g') == ('Horse', 'g')
"#,
    );
}

#[test]
fn a_system_comes_when_it_is_there_and_each_time_that_it_is_there_anew() {
    plays(
        r#"
def run():
    one, port = system(), free_port()
    registrar = one.createActor(Registrar)
    asked(one, registrar, ('watch',))
    asked(one, registrar, ('register', '127.0.0.1:%d' % port, {'barn': True}))
    assert is_created(one, Horse) is None, 'nobody is there yet'
    seen = 0
    for _time in range(2):
        two = system(port, barn=True)
        until(lambda: news(one, registrar)[seen:] == [True], 'it came')
        assert asked(one, one.createActor(Horse), 'a') == ('Horse', 'a')
        two.shutdown()
        systems.remove(two)
        until(lambda: news(one, registrar)[seen:] == [True, False], 'it went')
        seen += 2
    asked(one, registrar, ('deregister', '127.0.0.1:%d' % port))
    system(port, barn=True)
    assert is_created(one, Horse) is None
    # What it is said to offer counts while it comes.
    asked(one, registrar, ('register and create', '127.0.0.1:%d' % port, {'barn': 1}, Horse))
    assert asked(one, registrar, ('pass on', 'b')) == ('Horse', 'b')
"#,
    );
}

#[test]
fn a_system_whose_inviter_was_killed_goes_on_and_comes_to_the_next_one() {
    plays(
        r#"
import signal


class Process(ActorTypeDispatcher):
    def receiveMsg_str(self, message, sender):
        self.send(sender, os.getpid())


def node_of(pid):
    """The process of the node that an actor's process is of."""
    while True:
        with open('/proc/%d/stat' % pid) as stat:
            parent = int(stat.read().rsplit(')', 1)[1].split()[1])
        with open('/proc/%d/cmdline' % parent, 'rb') as line:
            if b'director' in line.read().split(b'\0')[0]:
                return parent
        pid = parent


def kill(pid):
    """Ends a process at once; its sockets are closed then."""
    os.kill(pid, signal.SIGKILL)

    def is_gone():
        try:
            # Nobody may reap it; until its last thread has ended its sockets are open.
            with open('/proc/%d/stat' % pid) as stat:
                ended = stat.read().rsplit(')', 1)[1].split()[0] in 'ZX'
            return ended and len(os.listdir('/proc/%d/task' % pid)) == 1
        except OSError:
            return True

    until(is_gone, 'the process has ended')


def run():
    one, two = system(), system(barn=True)
    counter = two.createActor(Counter)
    watcher = two.createActor(Registrar)
    asked(two, watcher, ('watch',))
    registrar = one.createActor(Registrar)
    asked(one, registrar, ('register', two.at, {}))
    until(lambda: len(asked(two, watcher, ('told',))) == 1, 'it is told of its inviter')
    assert asked(one, one.createActor(Horse), 'a') == ('Horse', 'a')
    kill(node_of(asked(one, one.createActor(Process), 'x')))
    systems.remove(one)
    assert asked(two, counter, 'x') == 1
    assert asked(two, two.createActor(Horse), 'b') == ('Horse', 'b')
    # The same system again: it is another, at the same port.
    again = system(one.port)
    registrar = again.createActor(Registrar)
    asked(again, registrar, ('register', two.at, {}))
    until(lambda: is_created(again, Horse), 'it comes to the one that is back')
    assert asked(two, counter, 'x') == 2
    added = lambda: [told[0] for told in asked(two, watcher, ('told',))]
    until(lambda: sorted(added()) == [False, True, True], added)
    # It does not come back this time.
    kill(node_of(asked(again, again.createActor(Process), 'x')))
    systems.remove(again)
    until(lambda: added().count(False) == 2, added)
    last = system()
    asked(last, last.createActor(Registrar), ('register', two.at, {}))
    until(lambda: is_created(last, Horse), 'it comes to another one')
    assert asked(two, counter, 'x') == 3
"#,
    );
}

#[test]
fn a_system_with_a_director_directory_is_not_fetched_and_fetches_nobody() {
    let host = Host::new();
    host.done("start");
    let port = host.port();
    play(
        &host,
        &port,
        r#"
def run():
    with_directory = ActorSystem('multiprocTCPBase', {'Admin Port': int(os.environ['PORT'])},
                                 transientUnique=True)
    one = system()
    said = one.ask(one.createActor(Registrar),
                   ('register', '127.0.0.1:' + os.environ['PORT'], {}), 30)
    for text in ('UnsupportedOperation', 'that system has a Director directory', 'convleader.cfg',
                 'director cluster invite'):
        assert text in said.details, said
    said = with_directory.ask(with_directory.createActor(Registrar), ('register', one.at, {}), 30)
    for text in ('UnsupportedOperation', 'this system has a Director directory',
                 'director cluster invite'):
        assert text in said.details, said
"#,
    );
}
